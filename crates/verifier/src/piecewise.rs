//! Functions given by cases: compared point by point on every piece of the line.

use std::cmp::Ordering;

use num_rational::BigRational;

use crate::{
    limits,
    region::Region,
    scalar::{Outcome, Rounding, Scalar},
    syntax::Node,
    value::{Value, to_region},
    verdict::Reason,
};

const EXACT: Rounding = Rounding { significant: u32::MAX, relative: 0.0 };
/// Most breakpoints of both sides together.
const BREAKS: usize = 16;
/// Where points are taken in a piece between two breakpoints, in 64ths.
const INNER: [i64; 7] = [3, 11, 20, 29, 37, 46, 59];
/// How far beyond the last breakpoint points are taken, in 64ths.
const OUTER: [i64; 7] = [5, 37, 91, 170, 333, 901, 2777];

/// A function: its formulas, each on a set. No set means everywhere else.
struct Pieces<'a>(Vec<(&'a Scalar, Option<Region>)>);

impl<'a> Pieces<'a> {
    fn new(value: &'a Value) -> Option<Self> {
        match value {
            Value::Scalar(s) => Some(Pieces(vec![(s, None)])),
            Value::Cases(rows) => {
                let piece = |(v, c): &'a (Value, Value)| {
                    let Value::Scalar(formula) = v else { return None };
                    match c {
                        Value::Scalar(s) if matches!(&s.node, Node::Var(w) if w == "otherwise") => {
                            Some((&**formula, None))
                        }
                        Value::Assign { value, .. } => match &**value {
                            Value::Scalar(p) => Some((&**formula, Some(Region::point((**p).clone())))),
                            _ => None,
                        },
                        other => Some((&**formula, Some(to_region(other)?))),
                    }
                };
                rows.iter().map(piece).collect::<Option<Vec<_>>>().map(Pieces)
            }
            _ => None,
        }
    }

    fn breaks(&self, out: &mut Vec<Scalar>) -> Option<()> {
        for region in self.0.iter().filter_map(|(_, r)| r.as_ref()) {
            let Region::Sorted { points, .. } = region else { return None };
            out.extend(points.iter().cloned());
        }
        (out.len() <= BREAKS).then_some(())
    }

    /// The formula that holds at a point.
    fn at(&self, x: &Scalar) -> Option<Option<&Scalar>> {
        for (formula, region) in &self.0 {
            let holds = match region {
                None => true,
                Some(r) => r.contains(x)?,
            };
            if holds {
                return Some(Some(formula));
            }
        }
        Some(None)
    }
}

/// Compares two functions of one variable, of which at least one is given by cases. None if that is not what they are.
pub fn compare(a: &Value, b: &Value) -> Option<Outcome> {
    let (p, q) = (Pieces::new(a)?, Pieces::new(b)?);
    let mut names: Vec<&String> = Vec::new();
    for (s, _) in p.0.iter().chain(&q.0) {
        names.extend(s.variables());
    }
    names.sort();
    names.dedup();
    if names.len() > 1 {
        return None;
    }
    let mut left = limits::REPEATED_NODES;
    for (s, _) in p.0.iter().chain(&q.0) {
        left = left.checked_sub(s.node.size_within(left)?)?;
        if s.node.is_costly() {
            return None;
        }
    }
    let mut breaks = Vec::new();
    p.breaks(&mut breaks)?;
    q.breaks(&mut breaks)?;
    let mut unknown = false;
    breaks.sort_by(|x, y| {
        x.order(y).unwrap_or_else(|| {
            unknown = true;
            Ordering::Equal
        })
    });
    if unknown {
        return None;
    }
    let mut points = breaks.clone();
    let near = |s: &Scalar| s.enclosure::<2>().and_then(|b| BigRational::from_float(b.mid.to_f64()));
    let part = |k: i64| BigRational::new(k.into(), 64.into());
    let ends: Vec<BigRational> = breaks.iter().map(near).collect::<Option<_>>()?;
    for w in ends.windows(2).filter(|w| w[0] < w[1]) {
        points.extend(INNER.iter().map(|k| Scalar::rational(&w[0] + (&w[1] - &w[0]) * part(*k))));
    }
    let origin = [BigRational::from_integer(0.into())];
    let (low, high) = match (ends.first(), ends.last()) {
        (Some(low), Some(high)) => (low, high),
        _ => (&origin[0], &origin[0]),
    };
    for k in OUTER {
        points.push(Scalar::rational(low - part(k)));
        points.push(Scalar::rational(high + part(k)));
    }
    let mut agreed = 0;
    for x in &points {
        let value = |s: &Scalar| match names.first() {
            Some(name) => Scalar::new(s.node.substitute(name, &x.node)),
            None => s.clone(),
        };
        match (p.at(x)?, q.at(x)?) {
            (None, None) => {}
            (Some(f), Some(g)) => {
                let outcome = value(f).compare(&value(g), EXACT);
                if outcome.equal {
                    agreed += 1;
                } else if outcome.reason == Reason::DifferentValue {
                    return Some(outcome);
                }
            }
            // Not defined on one side: different functions, unless the formula is not real there either.
            (Some(f), None) | (None, Some(f)) => {
                if value(f).enclosure::<2>().is_some() {
                    return Some(Outcome::no(Reason::DifferentValue));
                }
            }
        }
    }
    Some(if agreed >= INNER.len() {
        Outcome::yes(Reason::EqualNumerically)
    } else {
        Outcome::no(Reason::Undecided)
    })
}

#[cfg(test)]
mod tests {
    use crate::{Gold, Response, verify};

    fn equal(a: &str, b: &str) -> bool {
        verify(&Gold::parse(a), &Response::answer_only(b)).is_correct()
    }

    #[test]
    fn pieces_are_compared_everywhere() {
        let size = "\\begin{cases}x&x\\ge0\\\\-x&x<0\\end{cases}";
        assert!(equal(size, "|x|") && equal("|x|", size));
        // At 0 both formulas of either side give 0.
        assert!(equal(size, "\\begin{cases}x&x>0\\\\-x&x\\le0\\end{cases}"));
        assert!(!equal(size, "\\begin{cases}x&x\\ge1\\\\-x&x<1\\end{cases}"));
        assert!(!equal(size, "x"));
        let step = |at: &str| format!("\\begin{{cases}}1&x{at}\\\\0&\\text{{otherwise}}\\end{{cases}}");
        assert!(!equal(&step(">0"), &step("\\ge0")));
        assert!(!equal(&step(">0"), &step(">\\frac1{1000000}")));
        assert!(!equal(&step(">\\sqrt2"), &step(">1.4142")));
        // Nothing is said of a function outside its pieces.
        assert!(!equal("\\begin{cases}x&x>0\\end{cases}", "x"));
    }
}
