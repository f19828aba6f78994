//! What the last sentence says about the number in it: counted, repeated, denied, remarked on.

use std::ops::Range;

use super::{
    numerals::number_around,
    text::{PrefixIgnoreCase, floor_boundary, word_positions},
};
use crate::{stance, verdict::Reason};

/// Where the number stands that "there are" announces in the last sentence, if only a phrase follows that ends in another
/// number: "So there are 13 ways to climb 6 stairs".
pub(super) fn counted(text: &str, last: usize) -> Option<usize> {
    let from = floor_boundary(text, last.saturating_sub(200));
    let sentence = text[from..last].rfind(['\n', '.', '?', '!']).map_or(from, |n| from + n + 1);
    let said = &text[sentence..last];
    if !said.as_bytes().windows(5).any(|w| w == b"here ") {
        return None;
    }
    let at = ["there are ", "there were ", "there will be ", "There are ", "There were "]
        .iter()
        .filter_map(|w| said.rfind(w).map(|at| at + w.len()))
        .max()?;
    let number = said[at..].trim_start_matches('$');
    let digits = number.bytes().take_while(|c| c.is_ascii_digit() || *c == b',').count();
    let rest = number[digits..].trim_start_matches('$');
    let joined = [",", "=", ";", ":", "(", " and ", " or ", " so ", " but ", " not ", " than "];
    let plain = digits > 0
        && rest.strip_prefix(' ').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()))
        && !joined.iter().any(|w| rest.contains(w));
    plain.then_some(sentence + at)
}

/// The result of the calculation right before the last sentence where that sentence repeats it before its last number,
/// which starts at `last`.
pub(super) fn restated(text: &str, last: usize) -> Option<Range<usize>> {
    let from = floor_boundary(text, last.saturating_sub(300));
    let b = text.as_bytes();
    let start =
        (from..last).rev().find(|&i| b[i] == b'\n' || b[i] == b'.' && b.get(i + 1) == Some(&b' '))? + 1;
    let sentence = &text[start..];
    let conditional = sentence.trim_start().to_ascii_lowercase_prefix("if ");
    if conditional || sentence.bytes().any(|c| matches!(c, b'=' | b'\\')) {
        return None;
    }
    let window = floor_boundary(text, start.saturating_sub(200));
    let before = &text[window..start];
    let result = number_around(before, before.bytes().rposition(|c| c.is_ascii_digit())?);
    if !before[..result.start].trim_end_matches([' ', '$']).ends_with('=') {
        return None;
    }
    let number = &before[result];
    let clear = |at: usize| {
        let part = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b',' | b'/' | b'-' | b'%');
        let b = sentence.as_bytes();
        !(at > 0 && part(&b[at - 1]))
            && b.get(at + number.len()).is_none_or(|c| *c == b' ')
            && start + at + number.len() < last
    };
    let (at, _) = sentence.match_indices(number).find(|(at, _)| clear(*at))?;
    // Numbers that are joined are a list or a ratio, and what is denied is no result.
    let rest = &text[start + at + number.len()..last];
    let joined = [" and ", " or ", ",", ";", ":", " to ", " not ", " than ", " but ", "n't "];
    let lead = &sentence[..at];
    let plain = !joined.iter().any(|w| rest.contains(w)) && lead_denies(lead).is_none();
    plain.then(|| start + at..start + at + number.len())
}

/// Where the first of several assignments begins, the last of which has its value at `start`: "x = 5 and y = -1".
pub(super) fn assignments_before(text: &str, start: usize) -> Option<usize> {
    let name_before = |end: usize| -> Option<(usize, u8)> {
        let head = text[..end].trim_end().strip_suffix('=')?.trim_end();
        let name = *head.as_bytes().last().filter(|c| c.is_ascii_alphabetic())?;
        let at = head.len() - 1;
        let alone =
            text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '\\');
        alone.then_some((at, name))
    };
    let (mut at, name) = name_before(start)?;
    let mut names = vec![name];
    while names.len() < 8 {
        let head = text[..at].trim_end();
        let Some(left) = head.strip_suffix(" and").or_else(|| head.strip_suffix(',')) else { break };
        let left = left.strip_suffix(',').unwrap_or(left);
        if !left.ends_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        let Some((first, name)) = name_before(number_around(left, left.len() - 1).start) else { break };
        if names.contains(&name) {
            break;
        }
        names.push(name);
        at = first;
    }
    (names.len() > 1).then_some(at)
}

/// Whether the sentence so far denies the value that follows.
pub(super) fn lead_denies(before: &str) -> Option<Reason> {
    let before = &before[floor_boundary(before, before.len().saturating_sub(400))..];
    let lead = &before[before.rfind(['\n', '.']).map_or(0, |n| n + 1)..];
    let plain =
        format!(" {}", lead.trim().trim_end_matches(['$', '*', '(', '\\']).trim_end().to_ascii_lowercase());
    // "12 instead of 13" is left to others.
    let replaced = ["other than", "instead of", "rather than"].iter().any(|w| plain.ends_with(w));
    if stance::denies(&plain) && !replaced {
        return Some(Reason::Negated);
    }
    stance::clause_before(lead)
}

/// Where a closing remark begins: a bracket of words at the end of the text, or a quantifier behind a maths span.
pub(super) fn before_remark(text: &str) -> Option<usize> {
    let t = text.trim_end().trim_end_matches('.');
    let words = |s: &str| {
        word_positions(s)
            .filter(|(at, w)| w.len() >= 2 && (*at == 0 || s.as_bytes()[at - 1] != b'\\'))
            .count()
    };
    if t.ends_with(')')
        && let Some(open) = t.rfind(" (")
        && !t[open..].contains('\n')
        && (words(&t[open..]) >= 2
            || [" (not ", " (at ", " (when ", " (where ", " (for ", " (since ", " (as ", " (with "]
                .iter()
                .any(|w| t[open..].starts_with(w)))
        && t[t[..open].rfind(['\n', '.']).map_or(0, |n| n + 1)..open]
            .contains(|c: char| c.is_ascii_digit() || c == '$')
    {
        return Some(open);
    }
    let sentence = t.rfind(['\n', '.']).map_or(0, |n| n + 1);
    let tail = &t[sentence..];
    [" for all ", " for every ", " for any ", " for each ", " where "]
        .iter()
        .filter_map(|w| tail.find(w))
        .min()
        .filter(|at| {
            tail[..*at].trim_end().trim_end_matches(',').ends_with('$')
                && tail[..*at].matches('$').count() >= 2
        })
        .map(|at| sentence + at)
}

/// Whether a text is sentences rather than just an answer.
pub(super) fn is_prose(text: &str) -> bool {
    const OPENERS: &[&str] = &["since", "because", "given", "using", "note"];
    if text.contains('\n') && !text.contains("\\begin") {
        return true;
    }
    const CONCLUSIONS: &[&str] = &[
        ", so ",
        ", giving ",
        ", hence ",
        ", thus ",
        ", therefore ",
        ", we ",
        ", which ",
        ", yielding ",
        ", making ",
    ];
    if CONCLUSIONS.iter().any(|w| text.contains(w)) {
        return true;
    }
    // 移项得 $x^2+2x-3=0$，即 $(x+3)(x-1)=0$。 ...
    if text.matches(['，', '。', '；']).count() >= 2 && text.matches('$').count() >= 4 {
        return true;
    }
    let first = text.split([' ', ',']).next().unwrap_or("");
    if OPENERS.iter().any(|w| first.eq_ignore_ascii_case(w)) {
        return true;
    }
    // "where k is an integer" says what a letter is.
    let remark = [", where ", " where ", ", for any integer", " for any integer", " for every integer"];
    let text = match remark.iter().filter_map(|w| text.find(w)).min() {
        Some(at) if text[at..].contains("integer") && text.len() - at < 40 => &text[..at],
        _ => text,
    };
    let mut words = 0;
    let mut rest = 0;
    // Three words before the first sign open a sentence.
    let opening = text.find(|c: char| !(c.is_ascii_alphabetic() || c == ' ')).unwrap_or(0);
    if text[..opening].split(' ').filter(|w| w.len() >= 2).count() >= 3
        && text[opening..].starts_with(|c: char| c.is_ascii_digit() || c == '$')
    {
        return true;
    }
    for (at, word) in word_positions(text) {
        let command = at > 0 && text.as_bytes()[at - 1] == b'\\'
            || text[..at].ends_with("\\begin{")
            || text[..at].ends_with("\\end{");
        if word.len() >= 2
            && !command
            && at >= rest
            && crate::lex::function(word).is_none()
            && !matches!(word, "or" | "and" | "pi" | "sqrt" | "circ")
        {
            words += 1;
        }
        rest = at;
    }
    words > if text.bytes().any(|c| c.is_ascii_digit()) { 3 } else { 8 }
}
