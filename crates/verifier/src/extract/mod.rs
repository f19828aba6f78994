//! Finds the final answer of a response. One winner: never "any candidate matches".
//!
//! Every search is a single pass. The order of trust:
//!
//! 1. Only the text after the last `</think>` counts.
//! 2. Marked answers: `\boxed{}` and `\fbox{}`, `<answer>`, `####`, "the answer is", "Answer:", "答案". The last in the text wins;
//!    a phrase after a box must be followed by a value. An empty or unclosed last mark is no answer.
//! 3. Without a mark: the whole response if it is just an answer, else the last maths span, bold text or number.
//!
//! A denied ("not 5", "5 is wrong", "we reject 5") or hedged ("maybe 5", "3 or maybe 4") answer is no answer, nor is the last number
//! of a text that breaks off; "3 or 4" is a list.

mod closing;
mod last;
mod lists;
mod marks;
mod names;
mod numerals;
mod phrases;
mod prose;
mod relation;
mod retraction;
mod spans;
mod text;
mod turn;

use std::ops::Range;

use crate::{policy::Policy, verdict::Reason};
use turn::{before_proof_end, turn_end};

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a box.
    Boxed,
    /// In an `<answer>` tag.
    Tag,
    /// After `####`.
    Hashes,
    /// After a phrase such as "the answer is".
    Phrase,
    /// The whole text.
    Whole,
    /// The last maths span, bold text or number.
    Last,
}

/// The text taken as the final answer and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The answer's text.
    pub text: String,
    /// Its bytes in the response.
    pub span: Range<usize>,
    /// How it was found.
    pub source: Source,
}

type Found = Result<Extraction, Reason>;

fn found(full: &str, range: Range<usize>, source: Source) -> Found {
    let inner = &full[range.clone()];
    let trimmed = inner.trim();
    if trimmed.is_empty() {
        return Err(Reason::EmptyAnswer);
    }
    let start = range.start + (inner.len() - inner.trim_start().len());
    Ok(Extraction { text: trimmed.to_string(), span: start..start + trimmed.len(), source })
}

/// The whole text as the answer; a box in it still counts as a box.
pub fn answer_only(text: &str, policy: &Policy) -> Found {
    if let Some(found) = boxed(text, policy) {
        return found;
    }
    found(text, 0..text.len(), Source::Whole).map_err(|_| Reason::NoAnswer)
}

/// The final answer of a response.
pub fn extract(full: &str, policy: &Policy) -> Found {
    let mut start = full.len().saturating_sub(policy.max_bytes);
    while !full.is_char_boundary(start) {
        start += 1;
    }
    if policy.after_think {
        if let Some(at) = full[start..].rfind("</think>") {
            start += at + "</think>".len();
        }
        if full[start..].contains("<think>") {
            return Err(Reason::Unterminated);
        }
    }
    let full = &full[..start + turn_end(&full[start..])];
    let full = &full[..start + before_proof_end(&full[start..]).len()];
    let view = View { full, start, policy, turns: 0 };
    let text = &full[start..];
    if text.trim().is_empty() {
        return Err(Reason::NoAnswer);
    }
    // Marks, the last wins.
    let mut best: Option<(usize, Found)> = None;
    let mut offer = |at: Option<(usize, Found)>| {
        if let Some((at, f)) = at
            && best.as_ref().is_none_or(|(b, _)| at > *b)
        {
            best = Some((at, f));
        }
    };
    offer(view.boxes());
    offer(view.tag());
    offer(view.hashes());
    if policy.prose {
        let after = best.as_ref().map_or(start, |(at, _)| *at);
        let marked = best.is_some();
        // Words inside a box that never closes announce nothing.
        let open_box = matches!(&best, Some((_, Err(Reason::Unterminated))));
        if !open_box && let Some((at, f)) = view.phrase(after, marked) {
            best = Some((at, f));
        }
    }
    match best {
        Some((_, f)) => f,
        None if policy.prose => view.last(),
        None => Err(Reason::NoAnswer),
    }
}

/// The last box of a text, if it has any.
pub fn boxed(text: &str, policy: &Policy) -> Option<Found> {
    View { full: text, start: 0, policy, turns: 0 }.boxes().map(|(_, f)| f)
}

/// How many changes of mind are followed; longer chains end where they are.
const TURNS: u8 = 4;

struct View<'a> {
    full: &'a str,
    start: usize,
    policy: &'a Policy,
    /// Changes of mind that have been followed so far.
    turns: u8,
}
