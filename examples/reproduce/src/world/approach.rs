//! The four approaches and the exact working each of them writes for a part.

use super::problem::{Kind, MAX_VALUE, Op, Part};

/// A way to solve a part. The prompts and names are data: `approaches/*.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Approach {
    /// Carry out the chain from the start, one step after the other.
    Step,
    /// Start from the end and undo the steps.
    Back,
    /// Walk from both ends until the two meet at the gap.
    Meet,
    /// Name the unknown, collect the chain into `a? + c = end` and solve.
    Equation,
}

impl Approach {
    /// All approaches, in the order of [`Kind::ALL`].
    pub const ALL: [Approach; 4] = [Approach::Step, Approach::Back, Approach::Meet, Approach::Equation];

    /// The marker word that opens the working, also the approach's id.
    pub fn marker(self) -> &'static str {
        match self {
            Approach::Step => "step",
            Approach::Back => "back",
            Approach::Meet => "meet",
            Approach::Equation => "equation",
        }
    }

    /// The approach with this marker.
    pub fn from_marker(word: &str) -> Option<Approach> {
        Self::ALL.into_iter().find(|a| a.marker() == word)
    }

    /// The kind of part on which this approach needs no guess.
    pub fn own_kind(self) -> Kind {
        match self {
            Approach::Step => Kind::End,
            Approach::Back => Kind::Start,
            Approach::Meet => Kind::Operand,
            Approach::Equation => Kind::Twice,
        }
    }
}

/// The words of `approach`'s exact working on `part`, from its marker to the closing `;`: always twelve.
///
/// `None` where the numbers of an equation leave the world's range (off its own kind only).
pub fn working(approach: Approach, part: &Part) -> Option<Vec<String>> {
    let [v0, v1, v2, v3] = part.values.map(|v| v.to_string());
    let [a, b, c] = part.ops;
    let body = match approach {
        Approach::Step => [v0, a.text(), v1, b.text(), v2, c.text(), v3, "end".to_string()],
        Approach::Back => {
            [v3, c.inverse_text(), v2, b.inverse_text(), v1, a.inverse_text(), v0, "start".to_string()]
        }
        // The number before the gap stands again beside the one after it: what closes the gap is read off two neighbours.
        Approach::Meet => [v0, a.text(), v1.clone(), v3, c.inverse_text(), v2, v1, b.text()],
        Approach::Equation => equation(part)?,
    };
    let mut words = vec![approach.marker().to_string()];
    words.extend(body);
    words.extend(["so".to_string(), part.boxed().to_string(), ";".to_string()]);
    Some(words)
}

/// `2? +1 15 -1 14 /2 7`: two boxes and one make 15, so two boxes are 14, so a box is 7.
fn equation(part: &Part) -> Option<[String; 8]> {
    let (boxed, end) = (part.boxed(), part.values[3]);
    let factor = match part.kind {
        Kind::End => 1,
        Kind::Start => part.ops.iter().map(|op| if let Op::Mul(n) = op { *n } else { 1 }).product(),
        Kind::Operand => {
            let sign = if matches!(part.ops[1], Op::Sub(_)) { -1 } else { 1 };
            sign * if let Op::Mul(n) = part.ops[2] { n } else { 1 }
        }
        Kind::Twice => 2,
    };
    let rest = factor * boxed;
    let constant = end - rest;
    let fits = (1..=5).contains(&factor.abs()) && constant.abs() < MAX_VALUE && rest.abs() <= MAX_VALUE;
    fits.then(|| {
        [
            format!("{factor}?"),
            format!("{constant:+}"),
            end.to_string(),
            format!("{:+}", -constant),
            rest.to_string(),
            format!("/{factor}"),
            boxed.to_string(),
            "box".to_string(),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(approach: Approach, kind: Kind, values: [i32; 4], ops: [Op; 3]) -> String {
        working(approach, &Part { kind, ops, values }).unwrap().join(" ")
    }

    #[test]
    fn each_approach_writes_its_own_kind() {
        let ops = [Op::Add(8), Op::Add(2), Op::Add(4)];
        assert_eq!(
            words(Approach::Step, Kind::End, [16, 24, 26, 30], ops),
            "step 16 +8 24 +2 26 +4 30 end so 30 ;"
        );
        let ops = [Op::Add(4), Op::Sub(5), Op::Sub(4)];
        assert_eq!(
            words(Approach::Back, Kind::Start, [17, 21, 16, 12], ops),
            "back 12 +4 16 +5 21 -4 17 start so 17 ;"
        );
        let ops = [Op::Mul(4), Op::Sub(5), Op::Add(7)];
        assert_eq!(
            words(Approach::Meet, Kind::Operand, [4, 16, 11, 18], ops),
            "meet 4 *4 16 18 -7 11 16 -5 so 5 ;"
        );
        let ops = [Op::Add(3), Op::Add(7), Op::Sub(2)];
        assert_eq!(
            words(Approach::Equation, Kind::Twice, [7, 10, 17, 15], ops),
            "equation 2? +1 15 -1 14 /2 7 box so 7 ;"
        );
    }

    #[test]
    fn an_equation_off_its_kind_states_the_same_relation() {
        // ? *2 +3 -4 = 13: two boxes and -1 make 13.
        let ops = [Op::Mul(2), Op::Add(3), Op::Sub(4)];
        assert_eq!(
            words(Approach::Equation, Kind::Start, [7, 14, 17, 13], ops),
            "equation 2? -1 13 +1 14 /2 7 box so 7 ;"
        );
        // 4 *4 -? +7 = 18: minus one box and 23 make 18.
        let ops = [Op::Mul(4), Op::Sub(5), Op::Add(7)];
        assert_eq!(
            words(Approach::Equation, Kind::Operand, [4, 16, 11, 18], ops),
            "equation -1? +23 18 -23 -5 /-1 5 box so 5 ;"
        );
    }
}
