//! Right or wrong, and which approaches a solution uses.

use serde::Serialize;
use verifier::{Check, Reason, Verdict, Verification};

use super::approach::{Approach, working};
use super::problem::{Part, Problem};

/// How many words a part's working has.
pub const PART_WORDS: usize = 12;

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
        let result = part[10].parse().ok()?;
        (part[9] == "so" && part[11] == ";").then(|| Written { approach, words: part.to_vec(), result })
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

/// Whether every part is tackled by the approach that needs no guess on it.
pub fn fits(problem: &Problem, solution: &str) -> bool {
    let used = approaches_used(solution);
    used.len() == problem.parts.len() && used.iter().zip(&problem.parts).all(|(a, p)| a.own_kind() == p.kind)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::documents::solution;
    use crate::world::{Kind, Layout, layout, vocabulary};
    use training::stream;

    #[test]
    fn every_exact_solution_is_right_adheres_and_is_in_the_vocabulary() {
        let words = vocabulary::words();
        let mut rng = stream(1, "test", 0, 0, 0);
        let mut written = 0;
        for i in 0..400 {
            let kinds = [Kind::ALL[i % 4], Kind::ALL[i / 4 % 4], Kind::ALL[i / 16 % 4]];
            let problem = Problem::draw(&kinds[..1 + i % 3], &mut rng);
            for layout in [Layout::Plain, Layout::Code, Layout::Story] {
                let question = layout::question(&problem, layout, &mut rng);
                assert!(question.iter().all(|w| words.contains(w)), "{question:?}");
            }
            for approach in Approach::ALL {
                let Some(solution) = solution(&problem, approach) else { continue };
                assert!(solution.iter().all(|w| words.contains(w)), "{solution:?}");
                let text = solution.join(" ");
                assert_eq!(WorldCheck.check(&problem, &text).verdict, Verdict::Correct, "{text}");
                assert_eq!(adherence(&problem, &text, approach), 1.0, "{text}");
                written += 1;
            }
        }
        assert!(written > 1200, "{written} of 1600 could be written");
    }

    #[test]
    fn a_lucky_answer_a_wrong_part_and_a_broken_shape_are_not_right() {
        let mut rng = stream(2, "test", 0, 0, 0);
        let problem = Problem::draw(&[Kind::End, Kind::Start], &mut rng);
        let right = solution(&problem, Approach::Step).expect("step can always be written").join(" ");
        let verdict = |text: &str| WorldCheck.check(&problem, text).verdict;
        assert_eq!(verdict(&right), Verdict::Correct);
        // The first part's result is wrong, the final answer right.
        let result = format!("so {} ;", problem.parts[0].boxed());
        let other = format!("so {} ;", problem.parts[0].boxed() + 1);
        assert_eq!(verdict(&right.replacen(&result, &other, 1)), Verdict::Incorrect);
        assert_eq!(verdict(&format!("answer {}", problem.answer())), Verdict::Incorrect);
        assert_eq!(verdict(&format!("{right} again")), Verdict::UnparsedResponse);
        assert_eq!(verdict(&right.replace("step", "leap")), Verdict::UnparsedResponse);
        assert_eq!(verdict(""), Verdict::UnparsedResponse);
    }
}
