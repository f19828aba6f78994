//! Questions with gold answers, and the check that decides whether a response is correct.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A question to be solved. Fields that are not known here are carried through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Unique id.
    pub id: String,
    /// The question.
    pub question: String,
    /// The gold answer, in whatever form the check reads.
    pub answer: String,
    /// Everything else on the line.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

impl Question {
    /// A question without further fields.
    pub fn new(id: impl Into<String>, question: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { id: id.into(), question: question.into(), answer: answer.into(), rest: Default::default() }
    }
}

/// Checks that ids are unique and no text is empty.
///
/// # Errors
/// [`Error::Question`] with the id.
pub fn check_questions(questions: &[Question]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for q in questions {
        let bad = |message: &str| Err(Error::Question { id: q.id.clone(), message: message.to_owned() });
        if !seen.insert(q.id.as_str()) {
            return bad("the id is given twice");
        }
        if q.question.trim().is_empty() {
            return bad("the question is empty");
        }
        if q.answer.trim().is_empty() {
            return bad("the question has no answer");
        }
    }
    Ok(())
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The final answer equals the gold answer.
    Correct,
    /// It was read and differs.
    Incorrect,
    /// No answer could be read: neither right nor wrong.
    Unparsed,
}

/// Decides whether a response answers its question. Any function `(&Question, &str) -> Outcome` is one.
pub trait Correctness {
    /// The outcome for one response.
    fn check(&self, question: &Question, response: &str) -> Outcome;
}

impl<F: Fn(&Question, &str) -> Outcome> Correctness for F {
    fn check(&self, question: &Question, response: &str) -> Outcome {
        self(question, response)
    }
}
