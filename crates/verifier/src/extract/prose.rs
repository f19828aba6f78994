//! The answer at the start of a stretch of prose.

use std::ops::Range;

use super::{
    Extraction, Found, Source, TURNS, View, found,
    lists::{connector, connector_is_or, or_value},
    spans::span_at,
    text::{Reading, floor_boundary, readable, sentence_end, word_positions},
};
use crate::{stance, value, verdict::Reason};

impl View<'_> {
    /// The answer at the start of a stretch of prose. With `value_only`, words alone are no answer.
    pub(super) fn narrow(&self, p: usize, value_only: bool) -> Option<Found> {
        let content = &self.full[p..floor_boundary(self.full, p + 4096)];
        // A maths span or bold text first.
        if let Some(span) = span_at(content) {
            let mut end = span.outer;
            let mut parts = vec![content[span.inner.clone()].trim()];
            // Spans joined by commas, "and", "or".
            while parts.len() < 32 {
                let rest = &content[end..];
                let Some(next) =
                    rest.find(['$', '\\', '*']).filter(|n| *n <= 12 && connector(&rest[..*n]).is_some())
                else {
                    break;
                };
                let Some(more) = span_at(&rest[next..]) else { break };
                parts.push(rest[next..][more.inner.clone()].trim());
                end += next + more.outer;
            }
            let or = connector_is_or(&content[span.outer..end]);
            if let Some(f) = self.retracted(p + end) {
                return Some(f);
            }
            if let Some(reason) = stance::after(&content[end..]) {
                return Some(Err(reason));
            }
            if parts.len() > 1 {
                let text = parts.join(if or { " or " } else { ", " });
                return Some(Ok(Extraction {
                    text,
                    span: p + span.inner.start..p + end,
                    source: Source::Phrase,
                }));
            }
            // A unit after the span belongs to it; a number before a span does too.
            let inner = &content[span.inner.clone()];
            if !inner.trim().is_empty() {
                if let Some(more) = or_value(&content[end..]) {
                    let text = format!("{} or {more}", inner.trim());
                    return Some(Ok(Extraction {
                        text,
                        span: p + span.inner.start..p + end,
                        source: Source::Phrase,
                    }));
                }
                return Some(found(self.full, p + span.inner.start..p + span.inner.end, Source::Phrase));
            }
        }
        // A span that never closes.
        if ["\\(", "\\["].iter().any(|w| content.starts_with(w)) || content.starts_with("$\\") {
            let close = if content.starts_with("\\(") {
                "\\)"
            } else if content.starts_with('$') {
                "$"
            } else {
                "\\]"
            };
            if !content[2..].contains(close) {
                return Some(Err(Reason::Unterminated));
            }
        }
        let line_end = content.find('\n').unwrap_or(content.len());
        let line = &content[..line_end.min(floor_boundary(content, 2000))];
        let sentence = &line[..sentence_end(line)];
        let sentence = &sentence[..next_clause(sentence)];
        let sentence = &sentence[..sentence.find(", i.e.").unwrap_or(sentence.len())];
        if stance::hedge_inside(sentence) || line[sentence.len()..].starts_with('?') {
            return Some(Err(Reason::Hedged));
        }
        // "12 (EDIT: 13)"
        const CHANGES: [&str; 6] = ["(edit", "(correct", "(actually", "(no,", ", i mean ", ", i meant "];
        if self.turns < TURNS && (sentence.contains('(') || sentence.contains(", I mean")) {
            if ["(wrong)", "(incorrect)", "(rejected)", "(extraneous)"].iter().any(|w| sentence.contains(w)) {
                return Some(Err(Reason::Negated));
            }
            let lower = sentence.to_ascii_lowercase();
            if let Some((at, len)) = CHANGES.iter().find_map(|w| lower.find(w).map(|at| (at, w.len()))) {
                let skip = match CHANGES.iter().any(|w| w.ends_with(' ') && lower[at..].starts_with(w)) {
                    true => 0,
                    false => sentence[at + len..].find([' ', ':']).map_or(0, |n| n + 1),
                };
                let behind = View { turns: self.turns + 1, ..*self };
                return Some(behind.narrow(p + at + len + skip, true).unwrap_or(Err(Reason::Negated)));
            }
        }
        match readable(sentence, self.policy) {
            Reading::Value => {
                return Some(self.kept(p..p + sentence.len()));
            }
            Reading::Text if !value_only && !sentence.bytes().any(|c| c.is_ascii_digit()) => {
                // "C because ..." has been cut by the choice rule below.
                let lead = leading_letter(sentence);
                let end = lead.unwrap_or(sentence.len());
                return Some(found(self.full, p..p + end, Source::Phrase));
            }
            _ => {}
        }
        // 2x2 matrix
        if value::dimensions(sentence).is_some() {
            return Some(found(self.full, p..p + sentence.len(), Source::Phrase));
        }
        // A value, then prose.
        if let Some(end) = leading_value(sentence)
            && matches!(readable(&sentence[..end], self.policy), Reading::Value)
        {
            return Some(self.kept(p..p + end));
        }
        if let Some(end) = leading_letter(sentence) {
            return Some(self.kept(p..p + end));
        }
        if value_only {
            return None;
        }
        let inside = View { full: &self.full[..p + sentence.len()], start: p, ..*self };
        match inside.last_value() {
            Some(f) => Some(f),
            None if sentence.trim().is_empty() => None,
            None => Some(found(self.full, p..p + sentence.len(), Source::Phrase)),
        }
    }

    /// An answer unless what follows takes it back.
    fn kept(&self, range: Range<usize>) -> Found {
        if let Some(f) = self.retracted(range.end) {
            return f;
        }
        match stance::after(&self.full[range.end..]) {
            Some(reason) => Err(reason),
            None => found(self.full, range, Source::Phrase),
        }
    }
}

/// Where a clause of prose begins behind a semicolon: "36; 35 does not work".
fn next_clause(sentence: &str) -> usize {
    sentence
        .match_indices("; ")
        .map(|(at, _)| at)
        .find(|at| word_positions(&sentence[*at..]).filter(|(_, w)| w.len() >= 3 && *w != "and").count() >= 2)
        .filter(|at| !sentence[*at..].contains(['\\', '$', '=']))
        .unwrap_or(sentence.len())
}

/// How far a value at the start of a sentence reaches before prose begins.
fn leading_value(sentence: &str) -> Option<usize> {
    let first = sentence.chars().next()?;
    if !(first.is_ascii_digit()
        || matches!(first, '-' | '(' | '[' | '{' | '\\' | '$' | '.' | '−' | '√' | 'π' | '∞' | '|')
        || starts_assignment(sentence))
    {
        return None;
    }
    let mut end = sentence.len();
    let mut previous_end = 0;
    for (at, word) in word_positions(sentence) {
        let glued = at > 0 && !sentence.as_bytes()[at - 1].is_ascii_whitespace();
        let keep = glued
            || word.len() == 1
            || matches!(
                word,
                "or" | "and"
                    | "sqrt"
                    | "pi"
                    | "squared"
                    | "cubed"
                    | "factorial"
                    | "dozen"
                    | "hundred"
                    | "thousand"
                    | "million"
                    | "billion"
            )
            || word == "by" && sentence[at + 2..].trim_start().starts_with(|c: char| c.is_ascii_digit())
            || crate::units::canonical(word).is_some() && !matches!(word, "in" | "day");
        if !keep {
            end = at;
            break;
        }
        previous_end = at + word.len();
    }
    let _ = previous_end;
    let t = sentence[..end].trim_end_matches([' ', ',', ';', ':', '(', '-']);
    let t = t.strip_suffix(" and").or_else(|| t.strip_suffix(" or")).unwrap_or(t);
    (!t.is_empty()).then_some(t.len())
}

fn starts_assignment(sentence: &str) -> bool {
    let mut chars = sentence.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.as_str().trim_start().starts_with('=')
}

/// `C` or `(C)` at the start, followed by prose.
fn leading_letter(sentence: &str) -> Option<usize> {
    let b = sentence.as_bytes();
    match b {
        [b'(', c, b')', ..] if c.is_ascii_uppercase() => Some(3),
        [c, b' ' | b',' | b':' | b')', ..] if c.is_ascii_uppercase() && !matches!(c, b'A' | b'I') => Some(1),
        [b'A', b',' | b':' | b')', ..] => Some(1),
        _ => None,
    }
}
