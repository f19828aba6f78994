//! The numeral around a digit, with its unit, its brackets or the signs around it.

use std::ops::Range;

use super::{
    View,
    text::{floor_boundary, word_positions},
};
use crate::value::{Answer, Value};

impl View<'_> {
    /// A number with the unit of measurement behind it.
    pub(super) fn with_unit(&self, text: &str, number: Range<usize>) -> Range<usize> {
        let tail = &text[number.end..floor_boundary(text, number.end + 40)];
        for word in [" percent", " per cent"] {
            let rest = tail.strip_prefix(word);
            if rest.is_some_and(|r| !r.starts_with(|c: char| c.is_alphabetic())) {
                return number.start..number.end + word.len();
            }
        }
        let Some((at, word)) = word_positions(tail).next() else { return number };
        // 45 dozen
        if at == 1
            && tail.starts_with(' ')
            && matches!(word, "dozen" | "hundred" | "thousand" | "million" | "billion" | "trillion")
        {
            return number.start..number.end + 1 + word.len();
        }
        let unit = match word {
            "in" | "a" | "A" | "t" | "K" | "V" | "W" | "J" | "N" | "l" => false,
            w => crate::units::canonical(w).is_some_and(|u| !crate::units::is_money(u)),
        };
        if !unit || at > 1 || (at == 1 && !tail.starts_with(' ')) {
            return number;
        }
        // The longest reading that is one quantity.
        let ends: Vec<usize> = word_positions(tail)
            .enumerate()
            .take_while(|(k, (_, w))| {
                *k == 0
                    || crate::units::canonical(w).is_some()
                    || matches!(*w, "per" | "square" | "cubic" | "squared" | "cubed" | "and")
            })
            .map(|(_, (at, w))| number.end + at + w.len())
            .take(4)
            .collect();
        for end in ends.into_iter().rev() {
            let squared =
                ["²", "³", "^2", "^3"].iter().find_map(|p| text[end..].starts_with(p).then_some(p.len()));
            let end = end + squared.unwrap_or(0);
            let read = Answer::read(&text[number.start..end], self.policy);
            if let Ok(Answer { value: Value::Scalar(s), .. }) = read
                && s.unit.is_some()
                && !text[number.end..end].contains(['.', ',', ';', '\n', '('])
            {
                return number.start..end;
            }
        }
        number
    }
}

/// The last word, if it ends at or after the last digit and is more than a numeral: `2√3`, `4π`, `x^2`. Words that an
/// operator joins to it belong to it.
pub(super) fn rich_token(text: &str, digit: Option<usize>) -> Option<Range<usize>> {
    const SIGNS: [char; 14] = ['√', 'π', '∞', '²', '³', '⁴', '½', '¼', '¾', '⅓', '⅔', '∛', '^', '°'];
    let sign = text.rfind(SIGNS).max(text.rfind("sqrt(")).max(text.rfind("*pi"));
    let at = sign?.max(digit.unwrap_or(0));
    let blank = |c: char| c.is_whitespace();
    let mut start =
        text[..at].rfind(blank).map_or(0, |n| n + text[n..].chars().next().map_or(1, char::len_utf8));
    let end = text[at..].find(blank).map_or(text.len(), |n| at + n);
    if sign? < start || end - start > 200 {
        return None;
    }
    // Words before an operator.
    for _ in 0..16 {
        let head = text[..start].trim_end();
        let Some(op) =
            head.chars().next_back().filter(|c| matches!(c, '+' | '-' | '−' | '*' | '×' | '·' | '/' | '±'))
        else {
            break;
        };
        let before = head[..head.len() - op.len_utf8()].trim_end();
        let from =
            before.rfind(blank).map_or(0, |n| n + before[n..].chars().next().map_or(1, char::len_utf8));
        let word = &before[from..];
        let mathy = word.chars().any(|c| c.is_ascii_digit() || SIGNS.contains(&c))
            || word.len() == 1 && word.starts_with(|c: char| c.is_ascii_alphabetic());
        if !mathy || word.len() > 60 {
            break;
        }
        start = from;
    }
    let word = &text[start..end];
    let trimmed = word.trim_end_matches(['.', ',', ';', ':', '!', '*', '$', '"']);
    let end = start + trimmed.len();
    let lead = trimmed.len() - trimmed.trim_start_matches(['*', '$', '"', '=', '≈']).len();
    (start + lead < end).then_some(start + lead..end)
}

/// The numeral around a digit: sign, currency, thousands, fraction, percent, exponent.
pub(super) fn number_around(text: &str, digit: usize) -> Range<usize> {
    let b = text.as_bytes();
    let mut end = digit + 1;
    // Forward: the rest of the numeral is behind `digit` only as percent, letters of an exponent or a unit sign.
    while b.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    let mut start = digit;
    let is_part = |i: usize| -> bool {
        let c = b[i];
        c.is_ascii_digit()
            || (matches!(c, b'.' | b',')
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b'.' && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b':'
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b'/'
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
    };
    while start > 0 && is_part(start - 1) && digit - start < 4096 {
        start -= 1;
    }
    // A comma list without blanks is not one number: "1,2" stays, the lexer knows.
    // 1 1/4
    if text[start..end].contains('/') && start >= 2 && b[start - 1] == b' ' && b[start - 2].is_ascii_digit() {
        let mut s = start - 2;
        while s > 0 && b[s - 1].is_ascii_digit() {
            s -= 1;
        }
        start = s;
    }
    // Sign and currency.
    let mut head = start;
    if head > 0 && b[head - 1] == b'$' {
        head -= 1;
        if head > 0 && b[head - 1] == b'\\' {
            head -= 1;
        }
    }
    let sign_len = if head > 0 && b[head - 1] == b'-' {
        1
    } else if text[..head].ends_with('−') {
        '−'.len_utf8()
    } else {
        0
    };
    if sign_len > 0 {
        let before = text[..head - sign_len].chars().next_back();
        let touches =
            before.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '=' | ':' | '[' | '*' | '$'));
        // "8 - 3" has blanks on both sides of its sign; a sign at the number needs a blank or nothing before it.
        if touches {
            start = head - sign_len;
        }
    }
    if text[end..].starts_with('%') || text[end..].starts_with("\\%") {
        end += if text[end..].starts_with('%') { 1 } else { 2 };
    }
    let tail = text[end..].trim_start();
    if text[start..end].contains(':') {
        for m in ["am", "pm", "a.m.", "p.m.", "AM", "PM", "A.M.", "P.M."] {
            if tail.starts_with(m) {
                end = text.len() - tail.len() + m.len();
                break;
            }
        }
    }
    start..end
}

/// The bracketed list that ends right after a number: `(3, 4)`.
pub(super) fn group_around(text: &str, number: &Range<usize>) -> Option<Range<usize>> {
    let rest = &text[number.end..];
    let end = number.end + (rest.len() - rest.trim_start().len());
    if !text[end..].starts_with([')', ']', '}']) {
        return None;
    }
    let from = floor_boundary(text, number.start.saturating_sub(200));
    let open = text[from..number.start].rfind(['(', '[', '{']).map(|n| from + n)?;
    let open = if text[..open].ends_with('\\') { open - 1 } else { open };
    let inner = &text[open..number.start];
    let plain = inner.contains(',')
        && word_positions(inner).all(|(_, w)| w.len() == 1 || matches!(w, "sqrt" | "pi" | "frac"));
    plain.then_some(open..end + 1)
}
