//! The entry points: a gold answer, a response, and the check between them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    compare::compare,
    extract::{self, Extraction, Source},
    lex::SyntaxError,
    policy::Policy,
    value::{Answer, Value},
    verdict::{Reason, Verdict, Verification},
};

/// A gold answer, read once and reused for every response to its question.
#[derive(Clone, Debug)]
pub struct Gold {
    text: String,
    answer: Result<Answer, SyntaxError>,
}

impl Gold {
    /// Reads a gold answer under the default policy. A text that cannot be read gives a `Gold` whose every
    /// verification is [`Verdict::UnparsedGold`].
    pub fn parse(text: &str) -> Self {
        Self::parse_with(text, &Policy::default())
    }

    /// Reads a gold answer under a policy. If it is boxed, the box's content counts.
    pub fn parse_with(text: &str, policy: &Policy) -> Self {
        let answer = match extract::boxed(text, policy) {
            Some(Ok(inner)) => Answer::read(&inner.text, policy),
            Some(Err(_)) => Err(SyntaxError::Empty),
            None => Answer::read(text.rsplit("####").next().unwrap_or(text), policy),
        };
        Gold { text: text.to_string(), answer }
    }

    /// The text as given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was understood, or why not.
    pub fn answer(&self) -> Result<&Answer, &SyntaxError> {
        self.answer.as_ref()
    }
}

impl Serialize for Gold {
    /// As its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Gold {
    /// From its text, read under the default policy.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Gold::parse(&String::deserialize(deserializer)?))
    }
}

/// A response to be checked. A type of its own, so that gold and response cannot be swapped.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    text: &'a str,
    answer_only: bool,
}

impl<'a> Response<'a> {
    /// A full response, from which the final answer is extracted.
    pub fn new(text: &'a str) -> Self {
        Response { text, answer_only: false }
    }

    /// A text that is already just the answer; nothing is extracted from it.
    pub fn answer_only(text: &'a str) -> Self {
        Response { text, answer_only: true }
    }

    /// The text as given.
    pub fn text(&self) -> &'a str {
        self.text
    }
}

/// Whether the response's final answer equals the gold answer, under the default policy.
pub fn verify(gold: &Gold, response: &Response<'_>) -> Verification {
    verify_with(gold, response, &Policy::default())
}

/// Whether the response's final answer equals the gold answer, under a policy.
pub fn verify_with(gold: &Gold, response: &Response<'_>, policy: &Policy) -> Verification {
    let Ok(expected) = &gold.answer else {
        return Verification::new(Verdict::UnparsedGold, Reason::GoldSyntax);
    };
    let found = if response.answer_only {
        extract::answer_only(response.text, policy)
    } else {
        extract::extract(response.text, policy)
    };
    let Extraction { text, span, source } = match found {
        Ok(found) => found,
        Err(reason) => return Verification::new(Verdict::UnparsedResponse, reason),
    };
    let (verdict, reason) = match Answer::read(&text, policy) {
        Err(_) => (Verdict::UnparsedResponse, Reason::ResponseSyntax),
        // Words that nobody marked as the answer do not answer a mathematical question.
        Ok(Answer { value: Value::Text(_), .. })
            if !matches!(source, Source::Boxed | Source::Tag | Source::Hashes)
                && expected.is_mathematics() =>
        {
            return Verification::new(Verdict::UnparsedResponse, Reason::NoAnswer);
        }
        Ok(answer) => {
            let outcome = compare(expected, &answer, policy);
            (if outcome.equal { Verdict::Correct } else { Verdict::Incorrect }, outcome.reason)
        }
    };
    Verification { verdict, reason, extracted: Some(text), span: Some(span) }
}

/// The reward of a response under the default policy: 1 or 0, and none when the gold answer could not be read.
pub fn reward(gold: &Gold, response: &Response<'_>) -> Option<f64> {
    verify(gold, response).reward()
}

/// Verifies many responses on all threads of the current rayon pool; the results are in the order of the pairs and do not
/// depend on the number of threads.
#[cfg(feature = "rayon")]
pub fn verify_batch(pairs: &[(&Gold, &str)], policy: &Policy) -> Vec<Verification> {
    use rayon::prelude::*;
    pairs.par_iter().map(|(gold, response)| verify_with(gold, &Response::new(response), policy)).collect()
}

/// The plug for other tasks: a task and a response give a verdict.
pub trait Check {
    /// What the response is checked against.
    type Task: ?Sized;
    /// Judges one response.
    fn check(&self, task: &Self::Task, response: &str) -> Verification;
}

/// The check of this crate: mathematics answers under a policy.
#[derive(Clone, Debug, Default)]
pub struct MathCheck {
    /// The judgement calls.
    pub policy: Policy,
}

impl Check for MathCheck {
    type Task = Gold;

    fn check(&self, task: &Gold, response: &str) -> Verification {
        verify_with(task, &Response::new(response), &self.policy)
    }
}
