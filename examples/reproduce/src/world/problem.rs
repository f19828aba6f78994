//! Parts and problems, and how they are drawn.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The largest number that may occur in a chain.
pub const MAX_VALUE: i32 = 49;

/// One step of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Add the operand.
    Add(i32),
    /// Subtract the operand.
    Sub(i32),
    /// Multiply by the operand.
    Mul(i32),
}

impl Op {
    /// The value after this step.
    pub fn apply(self, value: i32) -> i32 {
        match self {
            Op::Add(n) => value + n,
            Op::Sub(n) => value - n,
            Op::Mul(n) => value * n,
        }
    }

    /// `+8`, `-5` or `*3`.
    pub fn text(self) -> String {
        match self {
            Op::Add(n) => format!("+{n}"),
            Op::Sub(n) => format!("-{n}"),
            Op::Mul(n) => format!("*{n}"),
        }
    }

    /// The step that undoes this one: `-8`, `+5` or `/3`.
    pub fn inverse_text(self) -> String {
        match self {
            Op::Add(n) => format!("-{n}"),
            Op::Sub(n) => format!("+{n}"),
            Op::Mul(n) => format!("/{n}"),
        }
    }
}

/// Which number of a part is in the box; each kind has one approach that reaches it without guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The end: `16 +8 +2 +4 = ?`.
    End,
    /// The start: `? +4 -5 -4 = 12`.
    Start,
    /// The middle operand: `4 *4 -? +7 = 18`.
    Operand,
    /// Start and middle operand, the same number: `? +3 +? -2 = 15` has the box in steps one and three of the left side.
    Twice,
}

impl Kind {
    /// All kinds, in the order of [`super::Approach::ALL`].
    pub const ALL: [Kind; 4] = [Kind::End, Kind::Start, Kind::Operand, Kind::Twice];
}

/// One chain with its hidden number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What is hidden.
    pub kind: Kind,
    /// The three steps, with the hidden operand filled in.
    pub ops: [Op; 3],
    /// The start, the two values between, and the end.
    pub values: [i32; 4],
}

impl Part {
    /// The number in the box.
    pub fn boxed(&self) -> i32 {
        match self.kind {
            Kind::End => self.values[3],
            Kind::Start | Kind::Twice => self.values[0],
            Kind::Operand => match self.ops[1] {
                Op::Add(n) | Op::Sub(n) | Op::Mul(n) => n,
            },
        }
    }

    /// The number that a later part takes over from the part before: its end when the start is hidden, else its start.
    fn linked(&self) -> i32 {
        match self.kind {
            Kind::End | Kind::Operand => self.values[0],
            Kind::Start | Kind::Twice => self.values[3],
        }
    }

    /// Draws a part of this kind; with `link`, the number taken over from the part before must be that one.
    fn draw(kind: Kind, link: Option<i32>, rng: &mut impl Rng) -> Option<Part> {
        // Rejection: draw a chain, keep it when every value lies in 1..=MAX_VALUE and the link fits.
        for _ in 0..20_000 {
            let start = match (kind, link) {
                (Kind::End | Kind::Operand, Some(link)) => link,
                _ => rng.random_range(1..=MAX_VALUE),
            };
            let mut ops = [0; 3].map(|_| draw_op(rng));
            match kind {
                Kind::Operand if matches!(ops[1], Op::Mul(_)) => continue,
                Kind::Twice => {
                    if matches!(ops[0], Op::Mul(_)) || matches!(ops[2], Op::Mul(_)) {
                        continue;
                    }
                    ops[1] = Op::Add(start);
                }
                _ => {}
            }
            let mut values = [start; 4];
            for i in 0..3 {
                values[i + 1] = ops[i].apply(values[i]);
            }
            let part = Part { kind, ops, values };
            let fits = link.is_none_or(|link| part.linked() == link);
            if fits && values.iter().all(|v| (1..=MAX_VALUE).contains(v)) {
                return Some(part);
            }
        }
        None
    }
}

fn draw_op(rng: &mut impl Rng) -> Op {
    match rng.random_range(0..3) {
        0 => Op::Add(rng.random_range(1..=9)),
        1 => Op::Sub(rng.random_range(1..=9)),
        _ => Op::Mul(rng.random_range(2..=5)),
    }
}

/// A question: one or more parts, each later one built on the result of the part before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// At least one part.
    pub parts: Vec<Part>,
}

impl Problem {
    /// Draws a problem with parts of these kinds.
    pub fn draw(kinds: &[Kind], rng: &mut impl Rng) -> Problem {
        loop {
            let mut parts: Vec<Part> = Vec::new();
            for &kind in kinds {
                let link = parts.last().map(Part::boxed);
                let Some(part) = Part::draw(kind, link, rng) else { break };
                parts.push(part);
            }
            if parts.len() == kinds.len() {
                return Problem { parts };
            }
        }
    }

    /// The final answer: the box of the last part.
    pub fn answer(&self) -> i32 {
        self.parts.last().map_or(0, Part::boxed)
    }
}
