//! Choices, names and words as answers.

use std::ops::Range;

use super::{Found, Source, View, found, text::floor_boundary};
use crate::{stance, verdict::Reason};

impl View<'_> {
    /// "Yes" or a choice in prose without numbers.
    pub(super) fn word_answer(&self, text: &str) -> Option<Found> {
        if text.bytes().any(|c| c.is_ascii_digit()) {
            return None;
        }
        // "Yes, because ...": the word that opens the text.
        let lead = text.trim_start();
        for word in ["Yes", "No", "True", "False", "yes", "no", "true", "false"] {
            if lead.strip_prefix(word).is_some_and(|rest| rest.starts_with([',', '.', ';', ':'])) {
                let at = self.start + text.len() - lead.len();
                return Some(found(self.full, at..at + word.len(), Source::Last));
            }
        }
        let mut text = text;
        for _ in 0..8 {
            let range = last_choice(text)?;
            let head = text[..range.start].trim_end_matches([' ', '*', '$']);
            // "(B), not (C)"
            if let Some(before) =
                ["not", "n't", "not option", "not choice"].iter().find_map(|w| head.strip_suffix(w))
            {
                text = before;
                continue;
            }
            // "(A) or (B)" decides nothing.
            let list = head.strip_suffix("or").map(|h| h.trim_end_matches([' ', ',', '*', '$']));
            if list.is_some_and(|l| choice_in(l).is_some_and(|r| r.end == l.len())) {
                return Some(Err(Reason::Hedged));
            }
            return Some(found(self.full, self.start + range.start..self.start + range.end, Source::Last));
        }
        Some(Err(Reason::Negated))
    }
}

/// A choice or a day of the week that the last sentence names, if that sentence has no number and the text has some:
/// "Only statement (C) is true.", "it will be **Tuesday**".
pub(super) fn closing_name(text: &str, choices: bool) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches(['.', '*', '!', ' ']);
    let from = floor_boundary(t, t.len().saturating_sub(160));
    let start = t[from..].rfind(['\n', '.', '?', '!']).map_or(from, |n| from + n + 1);
    let sentence = &t[start..];
    if sentence.bytes().any(|c| matches!(c, b'$' | b'\\'))
        || sentence.trim().len() < 12
        || !text.bytes().any(|c| c.is_ascii_digit())
    {
        return None;
    }
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    if let Some(day) = DAYS.iter().find(|d| t.ends_with(**d)) {
        let head = t[start..t.len() - day.len()].trim_end_matches(['*', ' ']);
        let said = [" be", " is", " was"].iter().any(|w| head.ends_with(w));
        return said.then(|| t.len() - day.len()..t.len());
    }
    // "The fastest runner is Ben."
    if let Some(words) = predicate(sentence)
        && sentence.trim_start().starts_with("The ")
        && !sentence.bytes().any(|c| c.is_ascii_digit() || c == b'(')
        && let name = &sentence[words.clone()]
        && name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|c| c.is_ascii_alphabetic())
    {
        return Some(start + words.start..start + words.end);
    }
    if !choices || sentence.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    let range = choice_in(sentence)?;
    let head = sentence[..range.start].trim_end_matches([' ', '*']);
    let clear = sentence.matches('(').count() <= 1
        && !stance::denies(&format!(" {}", head.to_ascii_lowercase()))
        && (["option", "choice", "statement", "answer", "is", "pick", "choose", "select"]
            .iter()
            .any(|w| head.ends_with(w))
            || [
                " is the correct",
                " is the right",
                " is the answer",
                " is correct",
                " is right",
                " is true",
            ]
            .iter()
            .any(|w| sentence[range.end..].trim_start_matches('*').starts_with(w)))
        && stance::after(&sentence[range.end..]).is_none();
    clear.then_some(start + range.start..start + range.end)
}

/// "no solution" and its like at the very end of a text.
pub(super) fn closing_words(text: &str) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches(['.', '*', '$', '!', '}']);
    if !["olution", "olutions", "root", "roots", "exist", "ndefined"].iter().any(|w| t.ends_with(w)) {
        return None;
    }
    let tail = t[floor_boundary(t, t.len().saturating_sub(40))..].to_ascii_lowercase();
    const CLOSINGS: [&str; 10] = [
        " no solution",
        " no solutions",
        " no real solution",
        " no real solutions",
        " no real roots",
        " no real root",
        " no roots",
        " infinitely many solutions",
        " does not exist",
        " undefined",
    ];
    let words = CLOSINGS.iter().find(|w| tail.ends_with(**w))?;
    Some(t.len() - words.len() + 1..t.len())
}

/// The bold text that is the last line by itself: "**Yes**".
pub(super) fn bold_line(text: &str) -> Option<Range<usize>> {
    let t = text.trim_end();
    let from = t.rfind('\n')? + 1;
    for word in ["**Yes**", "**No**"] {
        if t[from..].starts_with(word) && t[from + word.len()..].starts_with([',', '.', ':', ' ']) {
            return Some(from + 2..from + word.len() - 2);
        }
    }
    let inner = t[from..].trim().strip_prefix("**")?.strip_suffix("**")?;
    let plain = !inner.is_empty() && inner.len() <= 40 && !inner.contains(['*', ':', '$', '\\']);
    let at = from + t[from..].find(inner)?;
    (plain && !inner.bytes().any(|c| c.is_ascii_digit())).then_some(at..at + inner.len())
}

/// What the last of several sentences without numbers or mathematics says something is: "Therefore, the thief is **Bob**."
pub(super) fn concluded(text: &str) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches('.');
    let from = t.rfind(['\n', '.', '?', '!'])? + 1;
    let sentence = &t[from..];
    let signs = |s: &str| s.bytes().any(|c| c.is_ascii_digit() || matches!(c, b'$' | b'\\'));
    // Behind a calculation only what is given a kind: "Therefore the curve is a hyperbola."
    let kind = [" is a ", " is an "].iter().any(|w| sentence.contains(w));
    if t.len() < 40 || signs(sentence) || signs(text) && !kind {
        return None;
    }
    let start = sentence.len() - sentence.trim_start().len();
    const OPENERS: [&str; 8] =
        ["Therefore", "Thus", "Hence", "So ", "So, ", "Consequently", "In conclusion", "It follows"];
    if sentence.len() > 160 || !OPENERS.iter().any(|w| sentence[start..].starts_with(w)) {
        return None;
    }
    let words = predicate(sentence)?;
    let denied = stance::denies(&format!(" {}", sentence[..words.start].trim().to_ascii_lowercase()))
        || sentence[words.clone()]
            .split_whitespace()
            .any(|w| matches!(w, "not" | "no" | "unknown" | "unclear"));
    (!denied).then_some(from + words.start..from + words.end)
}

/// The words behind the last "is" or "be" of one sentence, or its bold words: "It will be **Friday**".
pub(super) fn predicate(sentence: &str) -> Option<Range<usize>> {
    let bold = sentence.rfind("**").and_then(|end| Some(sentence[..end].rfind("**")? + 2..end));
    if let Some(bold) = bold.filter(|r| !r.is_empty()) {
        return Some(bold);
    }
    // "The series converges"
    if let Some(verb) =
        ["converges", "diverges"].iter().find(|v| sentence.trim_end_matches('.').ends_with(**v))
    {
        let end = sentence.trim_end_matches('.').len();
        return Some(end - verb.len()..end);
    }
    let (at, len) = [" is ", " are ", " was ", " were ", " be "]
        .iter()
        .filter_map(|w| sentence.rfind(w).map(|at| (at, w.len())))
        .max()?;
    let tail = at + len..sentence.len();
    (1..=4).contains(&sentence[tail.clone()].split_whitespace().count()).then_some(tail)
}

/// The last choice in prose: "option C", "(C)" in a text without numbers.
fn last_choice(text: &str) -> Option<Range<usize>> {
    if text.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    if text.trim().len() < 12 {
        return None; // just an answer, read as a whole
    }
    choice_in(text)
}

fn choice_in(text: &str) -> Option<Range<usize>> {
    let b = text.as_bytes();
    let bracketed = (0..b.len().saturating_sub(2))
        .rev()
        .find(|&i| b[i] == b'(' && b[i + 1].is_ascii_uppercase() && b[i + 2] == b')');
    let named = ["option ", "Option ", "choice ", "Choice "]
        .iter()
        .filter_map(|w| text.rfind(w).map(|at| at + w.len()))
        .filter(|&at| {
            b.get(at).is_some_and(u8::is_ascii_uppercase)
                && !b.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
        })
        .max();
    match (bracketed, named) {
        (Some(i), Some(j)) if j > i => Some(j..j + 1),
        (Some(i), _) => Some(i..i + 3),
        (None, Some(j)) => Some(j..j + 1),
        (None, None) => None,
    }
}
