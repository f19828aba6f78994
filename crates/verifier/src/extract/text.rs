//! Small looks at a text: sentences, words, character boundaries, and whether it reads as a value.

use crate::{
    policy::Policy,
    value::{Answer, Value},
};

pub(super) trait PrefixIgnoreCase {
    fn to_ascii_lowercase_prefix(&self, prefix: &str) -> bool;
}

impl PrefixIgnoreCase for str {
    fn to_ascii_lowercase_prefix(&self, prefix: &str) -> bool {
        self.len() >= prefix.len() && self.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
    }
}

pub(super) fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

pub(super) enum Reading {
    Value,
    Text,
    Nothing,
}

pub(super) fn readable(text: &str, policy: &Policy) -> Reading {
    if text.len() > 2000 {
        return Reading::Nothing;
    }
    match Answer::read(text, policy) {
        Ok(Answer { value: Value::Text(_), .. }) => Reading::Text,
        Ok(_) => Reading::Value,
        Err(_) => Reading::Nothing,
    }
}

/// The last few words before an answer, in lower case and without maths signs.
pub(super) fn plain_tail(text: &str) -> String {
    let from = floor_boundary(text, text.len().saturating_sub(48));
    let mut t: String = text[from..].to_ascii_lowercase();
    t.retain(|c| !matches!(c, '$' | '\\' | '(' | '[' | '*' | '{'));
    format!(" {}", t.trim())
}

/// The end of the first sentence: a period before a blank (not after an abbreviation's single letter) or the end.
pub(super) fn sentence_end(line: &str) -> usize {
    let b = line.as_bytes();
    for i in 0..b.len() {
        if matches!(b[i], b'.' | b'?')
            && b.get(i + 1).is_none_or(|c| c.is_ascii_whitespace() || matches!(c, b'*' | b'"' | b'<'))
        {
            // "C. 12" keeps its content; "3 p.m." its mark
            let letter_mark = i == 1 && b[0].is_ascii_uppercase();
            let from = line[..i].rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |n| n + 1);
            let short = i + 2 < b.len()
                && line.is_char_boundary(from)
                && (matches!(&line[from..i], "Rs" | "rs" | "approx" | "vs" | "Mr" | "Mrs" | "Dr" | "St")
                    || line[..i].ends_with("i.e")
                    || line[..i].ends_with("e.g"));
            if short {
                continue;
            }
            let pm = i >= 3 && b[i - 2] == b'.' && b[i - 1].eq_ignore_ascii_case(&b'm');
            if !letter_mark && !pm {
                return i;
            }
        }
        if b[i] == 0xe3 && line.is_char_boundary(i) && line[i..].starts_with('。') {
            return i;
        }
    }
    line.len()
}

pub(super) fn word_positions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let skip = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let rest = &rest[skip..];
        let len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let start = at + skip;
        at = start + len;
        Some((start, &text[start..start + len]))
    })
}
