//! What a verification says.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// The outcome of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The response's final answer equals the gold answer.
    Correct,
    /// The response has a final answer that was read and does not equal the gold answer.
    Incorrect,
    /// No final answer could be read from the response. Counted apart from `Incorrect`.
    UnparsedResponse,
    /// The gold answer could not be read. Never a reward: the fault is in the data, not in the response.
    UnparsedGold,
}

impl Verdict {
    /// Whether this is [`Verdict::Correct`].
    pub fn is_correct(self) -> bool {
        self == Verdict::Correct
    }

    /// The name used in JSON, such as `unparsed_gold`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Correct => "correct",
            Verdict::Incorrect => "incorrect",
            Verdict::UnparsedResponse => "unparsed_response",
            Verdict::UnparsedGold => "unparsed_gold",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a verdict was reached. [`Display`](fmt::Display) gives a sentence; serde gives the snake_case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The two texts are the same after trivial clean-up.
    SameText,
    /// Equal by exact arithmetic or by structure.
    EqualExactly,
    /// Equal at random points modulo large primes (a polynomial or rational identity).
    EqualModular,
    /// Equal to more than 400 bits at every tested point of the common domain.
    EqualNumerically,
    /// A decimal that is the value correctly rounded to enough digits.
    EqualRounded,
    /// Within the policy's relative tolerance.
    EqualWithin,
    /// Words that are the same after normalisation.
    EqualText,
    /// A value differs.
    DifferentValue,
    /// The two answers are of kinds that cannot be equal, such as a matrix and a number.
    DifferentKind,
    /// Collections with a different number of items.
    DifferentLength,
    /// The units differ.
    DifferentUnit,
    /// The units are missing where the policy requires them.
    MissingUnit,
    /// The base of a numeral is missing or differs.
    DifferentBase,
    /// Words that differ.
    DifferentText,
    /// Equality could not be decided within the precision or work limits; counted as not equal.
    Undecided,
    /// The form of the answer is not allowed by the policy (for instance an unreduced fraction).
    Form,
    /// The response gives several answers, or hedges, where one is expected.
    Hedged,
    /// The response denies the value it names.
    Negated,
    /// The response is empty or holds nothing that looks like an answer.
    NoAnswer,
    /// The last answer marker of the response has no content.
    EmptyAnswer,
    /// The last answer marker of the response is not closed.
    Unterminated,
    /// The extracted answer could not be read.
    ResponseSyntax,
    /// The gold answer could not be read.
    GoldSyntax,
    /// The text is longer than the policy allows.
    TooLong,
}

impl Reason {
    /// The sentence shown to people.
    pub fn message(self) -> &'static str {
        match self {
            Reason::SameText => "same text",
            Reason::EqualExactly => "equal by exact arithmetic",
            Reason::EqualModular => "equal as rational functions",
            Reason::EqualNumerically => "equal at every tested point to more than 400 bits",
            Reason::EqualWithin => "within the relative tolerance",
            Reason::EqualRounded => "a correctly rounded decimal of the value",
            Reason::EqualText => "the same words",
            Reason::DifferentValue => "the values differ",
            Reason::DifferentKind => "the answers are of different kinds",
            Reason::DifferentLength => "the collections have different lengths",
            Reason::DifferentUnit => "the units differ",
            Reason::MissingUnit => "a unit is required and missing",
            Reason::DifferentBase => "the bases of the numerals differ",
            Reason::DifferentText => "the words differ",
            Reason::Undecided => "equality could not be decided within the limits",
            Reason::Form => "the form is not allowed by the policy",
            Reason::Hedged => "several answers where one is expected",
            Reason::Negated => "the response denies this answer",
            Reason::NoAnswer => "no answer found in the response",
            Reason::EmptyAnswer => "the last answer is empty",
            Reason::Unterminated => "the last answer is not closed",
            Reason::ResponseSyntax => "the extracted answer could not be read",
            Reason::GoldSyntax => "the gold answer could not be read",
            Reason::TooLong => "the text is longer than the policy allows",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// A verdict, why, and what was taken as the response's final answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The outcome.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The text that was taken as the final answer.
    pub extracted: Option<String>,
    /// Where that text starts and ends in the response, in bytes. With several boxes joined, the hull.
    pub span: Option<Range<usize>>,
}

impl Verification {
    /// A verification without an extracted answer, for checks of other tasks.
    pub fn new(verdict: Verdict, reason: Reason) -> Self {
        Verification { verdict, reason, extracted: None, span: None }
    }

    /// Whether the verdict is [`Verdict::Correct`].
    pub fn is_correct(&self) -> bool {
        self.verdict.is_correct()
    }

    /// The reward for reinforcement learning: 1 for correct, 0 for wrong or unreadable, none when the gold answer
    /// itself could not be read.
    pub fn reward(&self) -> Option<f64> {
        match self.verdict {
            Verdict::UnparsedGold => None,
            Verdict::Correct => Some(1.0),
            Verdict::Incorrect | Verdict::UnparsedResponse => Some(0.0),
        }
    }
}
