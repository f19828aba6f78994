//! The entry points: a gold answer, a response, and the check between them.

use crate::{
    extract::{self, Extraction},
    policy::Policy,
    verdict::{Reason, Verdict, Verification},
};

/// A gold answer, read once and reused for every response to its question.
#[derive(Clone, Debug)]
pub struct Gold {
    text: String,
}

impl Gold {
    /// Reads a gold answer under the default policy. A text that cannot be read gives a `Gold` whose every
    /// verification is [`Verdict::UnparsedGold`].
    pub fn parse(text: &str) -> Self {
        Self::parse_with(text, &Policy::default())
    }

    /// Reads a gold answer under a policy.
    pub fn parse_with(text: &str, _policy: &Policy) -> Self {
        Gold { text: text.trim().to_string() }
    }

    /// The text as given.
    pub fn text(&self) -> &str {
        &self.text
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
    if gold.text.is_empty() {
        return Verification::new(Verdict::UnparsedGold, Reason::GoldSyntax);
    }
    let Extraction { text, span } = match if response.answer_only {
        extract::whole(response.text)
    } else {
        extract::extract(response.text, policy)
    } {
        Ok(found) => found,
        Err(reason) => return Verification::new(Verdict::UnparsedResponse, reason),
    };
    let same = clean(&gold.text) == clean(&text);
    let (verdict, reason) = if same {
        (Verdict::Correct, Reason::SameText)
    } else if let (Some(a), Some(b)) = (number(&gold.text), number(&text))
        && a == b
    {
        (Verdict::Correct, Reason::EqualExactly)
    } else {
        (Verdict::Incorrect, Reason::DifferentValue)
    };
    Verification { verdict, reason, extracted: Some(text), span: Some(span) }
}

fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '$' | ','))
        .collect::<String>()
        .trim_end_matches('.')
        .to_string()
}

fn number(text: &str) -> Option<num_rational::BigRational> {
    use num_bigint::BigInt;
    let text = clean(text);
    let text = text.replace("\\frac{", "").replace("}{", "/").replace('}', "");
    if text.len() > 1000 {
        return None;
    }
    let part = |t: &str| -> Option<num_rational::BigRational> {
        let (a, b) = t.split_once('.').unwrap_or((t, ""));
        if a.is_empty() && b.is_empty() {
            return None;
        }
        let n: BigInt = format!("{a}{b}").parse().ok()?;
        Some(num_rational::BigRational::new(n, BigInt::from(10).pow(b.len() as u32)))
    };
    match text.split_once('/') {
        Some((n, d)) => {
            let d = part(d)?;
            (d != num_rational::BigRational::from(BigInt::from(0))).then_some(part(n)? / d)
        }
        None => part(&text),
    }
}

/// The reward of a response under the default policy: 1 or 0, and none when the gold answer could not be read.
pub fn reward(gold: &Gold, response: &Response<'_>) -> Option<f64> {
    verify(gold, response).reward()
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
