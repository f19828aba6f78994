//! Right or wrong, and which approaches a solution uses.

use serde::Serialize;
use verifier::{Check, Reason, Verdict, Verification};

use super::approach::{Approach, working};
use super::problem::{Part, Problem};

/// How many words a part's working has.
pub const PART_WORDS: usize = 11;

/// Decides whether a solution is right: its shape, the result of every part (`so 17`) and the final answer.
///
/// The final answer alone would let luck through: it is one of 49 numbers, and sixteen attempts find it often.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldCheck;

/// One part of a solution as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written<'a> {
    /// The marker word's approach.
    #[serde(skip)]
    pub approach: Approach,
    /// All words from the marker to `;`.
    pub words: Vec<&'a str>,
    /// The number after `so`.
    pub result: i32,
}

/// Splits a solution `step ... so 30 ; back ... so 17 ; answer 17` into its parts and the final answer.
///
/// `None` when the shape is broken: another length, an unknown marker, a missing `so`, text after the answer.
pub fn read(solution: &str) -> Option<(Vec<Written<'_>>, i32)> {
    let words: Vec<&str> = solution.split_whitespace().collect();
    let (parts, rest) = words.as_chunks::<PART_WORDS>();
    let ["answer", answer] = rest else { return None };
    let parts = parts.iter().map(|part| {
        let approach = Approach::from_marker(part[0])?;
        let result = part[9].parse().ok()?;
        (part[8] == "so" && part[10] == ";").then(|| Written { approach, words: part.to_vec(), result })
    });
    Some((parts.collect::<Option<Vec<_>>>()?, answer.parse().ok()?))
}

impl Check for WorldCheck {
    type Task = Problem;

    fn check(&self, problem: &Problem, response: &str) -> Verification {
        let Some((parts, answer)) = read(response) else {
            return Verification::new(Verdict::UnparsedResponse, Reason::NoAnswer);
        };
        let right = parts.len() == problem.parts.len()
            && parts.iter().zip(&problem.parts).all(|(written, part)| written.result == part.boxed())
            && answer == problem.answer();
        let (verdict, reason) = match right {
            true => (Verdict::Correct, Reason::EqualExactly),
            false => (Verdict::Incorrect, Reason::DifferentValue),
        };
        Verification { extracted: Some(answer.to_string()), ..Verification::new(verdict, reason) }
    }
}

/// The approach of each part, in order; empty when the shape is broken.
pub fn approaches_used(solution: &str) -> Vec<Approach> {
    read(solution).map(|(parts, _)| parts.iter().map(|p| p.approach).collect()).unwrap_or_default()
}

/// How closely a solution follows one approach: the share of its words that are that approach's exact working.
pub fn adherence(problem: &Problem, solution: &str, approach: Approach) -> f64 {
    let Some((written, _)) = read(solution) else { return 0.0 };
    let total = problem.parts.len() * PART_WORDS;
    let same = |(written, part): (&Written, &Part)| {
        let exact = working(approach, part).unwrap_or_default();
        exact.iter().zip(&written.words).filter(|(a, b)| a == *b).count()
    };
    written.iter().zip(&problem.parts).map(same).sum::<usize>() as f64 / total as f64
}
