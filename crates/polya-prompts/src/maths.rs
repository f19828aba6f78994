//! Correctness of mathematical answers, by the `verifier` crate.

use verifier::{Gold, Response, Verdict, verify};

use crate::question::{Correctness, Outcome, Question};

/// Compares a response's final answer with the question's gold answer by mathematical equivalence.
///
/// ```
/// use polya_prompts::{Correctness, MathsAnswers, Outcome, Question};
///
/// let q = Question::new("q", "What is half of one?", "1/2");
/// assert_eq!(MathsAnswers.check(&q, "So it is $\\boxed{0.5}$."), Outcome::Correct);
/// assert_eq!(MathsAnswers.check(&q, "So it is $\\boxed{2}$."), Outcome::Incorrect);
/// assert_eq!(MathsAnswers.check(&q, ""), Outcome::Unparsed);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct MathsAnswers;

impl Correctness for MathsAnswers {
    fn check(&self, question: &Question, response: &str) -> Outcome {
        match verify(&Gold::parse(&question.answer), &Response::new(response)).verdict {
            Verdict::Correct => Outcome::Correct,
            Verdict::Incorrect => Outcome::Incorrect,
            _ => Outcome::Unparsed,
        }
    }
}
