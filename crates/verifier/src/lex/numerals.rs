//! Numerals: thousands, decimals, repeating decimals, exponents.

use super::{
    Lexer,
    tokens::{Delim, SyntaxError, Tok},
};
use crate::{
    limits,
    number::{Decimal, Number},
    policy::Separators,
    syntax::Relation,
};

impl Lexer<'_> {
    fn digits_at(&self, at: usize) -> usize {
        self.b.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
    }

    /// Length of a thousands separator at a place, if one stands there.
    fn group_separator(&self, at: usize) -> Option<usize> {
        let rest = &self.s[at..];
        let comma = match self.separators {
            Separators::English => ",",
            Separators::European => ".",
        };
        for mark in [
            comma, "{,}", "\\,", "\\!", ",\\!", "\\!,\\!", "\\!,", "{,}\\!", "\\ ", "\\;", "\\:", "\u{2009}",
            "\u{202f}", "\u{a0}", "~", "_", " ", "'", "’",
        ] {
            if rest.starts_with(mark) && self.digits_at(at + mark.len()) == 3 {
                return Some(mark.len());
            }
        }
        rest.starts_with(",\\!").then_some(3).filter(|n| self.digits_at(at + n) == 3)
    }

    pub(super) fn number(&mut self) -> Result<(), SyntaxError> {
        let start = self.i;
        let first = self.digits_at(start);
        let bare_argument = self.single > 0 && self.braces.len() == self.single_depth;
        let too_long = SyntaxError::Limit { what: "digits", limit: limits::DIGITS };
        if bare_argument && first > 0 {
            self.i += 1;
            let n = Number::from_digits(&self.s[start..self.i], None, 0).ok_or(too_long)?;
            self.push(Tok::Number(n), start);
            return Ok(());
        }
        if first > limits::DIGITS {
            return Err(too_long);
        }
        // Most numerals are short integers and nothing else.
        if (1..=15).contains(&first) && self.ends_numeral(start + first) {
            self.i = start + first;
            let n = self.s[start..self.i].parse::<u64>().map_err(|_| too_long)?;
            self.push(Tok::Number(Number::integer(n)), start);
            return Ok(());
        }
        let mut whole = self.s[start..start + first].to_string();
        let mut at = start + first;
        // Thousands: a chain of groups of exactly three digits, not inside a list of such numbers.
        let in_chain = self.out.len() >= 2
            && !self.space
            && self.out[self.out.len() - 1].tok == Tok::Comma
            && matches!(self.out[self.out.len() - 2].tok, Tok::Number(_))
            && !self.out[self.out.len() - 1].space;
        if (1..=3).contains(&first) && !in_chain && !(whole.starts_with('0')) {
            let mut end = at;
            let mut digits = whole.clone();
            let mut mark = None;
            let mut plain = true;
            while let Some(n) = self.group_separator(end) {
                let this = &self.s[end..end + n];
                if mark.is_some_and(|m| m != this) || digits.len() > limits::DIGITS {
                    plain = false;
                    break;
                }
                mark = Some(this);
                digits.push_str(&self.s[end + n..end + n + 3]);
                end += n + 3;
            }
            // `27,108,5` is a list, and so is (100,200).
            let tail = &self.b[end..];
            let broken = mark == Some(",")
                && tail.first() == Some(&b',')
                && tail.get(1).is_some_and(u8::is_ascii_digit);
            // (100,200) is a pair; (1,000) is not.
            let enclosed = mark == Some(",")
                && !digits[first..].starts_with('0')
                && self.out.last().is_some_and(|t| {
                    matches!(
                        t.tok,
                        Tok::Open(Delim::Paren | Delim::Bracket | Delim::Brace | Delim::Group | Delim::Angle)
                            | Tok::Rel(Relation::Lt)
                    )
                })
                && self.s[end..].trim_start().starts_with([')', ']', '\\', '}', '⟩', '〉', '>']);
            // A space groups only when nothing else could be meant.
            let spaced = mark == Some(" ") && tail.first() == Some(&b'/');
            if mark.is_some() && plain && !broken && !enclosed && !spaced {
                whole = digits;
                at = end;
            } else if mark == Some("_") || mark.is_none() {
                // A subscript is a base; nothing grouped.
            }
        }
        // The fraction.
        let (point, point_len) = match self.separators {
            Separators::English if self.s[at..].starts_with('.') => (true, 1),
            Separators::European if self.s[at..].starts_with(',') => (true, 1),
            _ if self.s[at..].starts_with("{,}") && self.digits_at(at + 3) != 3 => (true, 3),
            _ if self.s[at..].starts_with("{.}") => (true, 3),
            _ => (false, 0),
        };
        let mut fraction: Option<String> = None;
        if point {
            let n = self.digits_at(at + point_len);
            if n > 0 {
                fraction = Some(self.s[at + point_len..at + point_len + n].to_string());
                at += point_len + n;
            }
            let after = if n > 0 { at } else { at + point_len };
            // A repeating block: \overline{..}, \bar{..}, \dot{..}, (..).
            if let Some((block, end)) = self.repeating_block(after) {
                let n =
                    Number::repeating(&whole, fraction.as_deref().unwrap_or(""), &block).ok_or(too_long)?;
                self.i = end;
                self.push(Tok::Number(n), start);
                return Ok(());
            }
            if let Some(f) = &fraction {
                let dots = ["...", "…", "\\ldots", "\\dots", "\\cdots", "\\overline", "\\ldots"]
                    .iter()
                    .find(|d| self.s[at..].starts_with(**d));
                if let Some(d) = dots {
                    self.i = at + d.len();
                    while self.b.get(self.i) == Some(&b'.') {
                        self.i += 1;
                    }
                    let n = Number::with_dots(&whole, f).ok_or(too_long)?;
                    self.push(Tok::Number(n), start);
                    return Ok(());
                }
                // A combining overline over single digits.
                if f.len() <= 16 && self.s[at..].starts_with('\u{305}') {
                    let cut = f.len() - 1;
                    let n = Number::repeating(&whole, &f[..cut], &f[cut..]).ok_or(too_long)?;
                    self.i = at + '\u{305}'.len_utf8();
                    self.push(Tok::Number(n), start);
                    return Ok(());
                }
            }
        }
        // An exponent: 1.6e-19.
        let mut exponent = 0i32;
        if matches!(self.b.get(at), Some(b'e' | b'E')) {
            let mut e = at + 1;
            let sign = match self.b.get(e) {
                Some(b'-') => -1,
                Some(b'+') => 1,
                _ if self.s[e..].starts_with('−') => -1,
                _ => 0,
            };
            if sign != 0 {
                e += if self.s[e..].starts_with('−') { '−'.len_utf8() } else { 1 };
            }
            let n = self.digits_at(e);
            if n > 0 && n <= 6 && !(sign != 0 && fraction.is_none() && sign == 1 && n == 0) {
                let value: i32 = self.s[e..e + n].parse().unwrap_or(i32::MAX);
                // 2e-1 could be 2·e - 1; a decimal or a long exponent is scientific, and so is the usual short form.
                if value <= limits::EXPONENT {
                    exponent = if sign < 0 { -value } else { value };
                    at = e + n;
                } else {
                    return Err(SyntaxError::Limit { what: "exponent", limit: limits::EXPONENT as usize });
                }
                self.i = at;
                let mut n = Number::from_digits(&whole, fraction.as_deref(), exponent).ok_or(too_long)?;
                if n.decimal.is_none() {
                    n.decimal = Some(Decimal {
                        significant: whole.trim_start_matches('0').len() as u32,
                        last: 0,
                        dots: false,
                    });
                }
                self.push(Tok::Number(n), start);
                return Ok(());
            }
        }
        self.i = at;
        let n =
            Number::from_digits(if whole.is_empty() { "0" } else { &whole }, fraction.as_deref(), exponent)
                .ok_or(too_long)?;
        self.push(Tok::Number(n), start);
        Ok(())
    }

    /// Whether what follows digits can belong to no numeral: the end, or a sign that neither groups nor continues digits.
    fn ends_numeral(&self, at: usize) -> bool {
        match self.b.get(at) {
            None
            | Some(
                b'+' | b'-' | b'*' | b'/' | b'=' | b'<' | b'>' | b')' | b']' | b'}' | b'^' | b'&' | b'!',
            ) => true,
            // A comma groups only before a digit.
            Some(b',') if self.separators == Separators::English => {
                self.digits_at(at + 1) != 3 && self.b.get(at + 1) != Some(&b'\\')
            }
            _ => false,
        }
    }

    fn repeating_block(&self, at: usize) -> Option<(String, usize)> {
        let rest = &self.s[at..];
        let rest_trim = rest.trim_start();
        let at = at + rest.len() - rest_trim.len();
        for (open, close) in [
            ("\\overline{", "}"),
            ("\\bar{", "}"),
            ("\\overline ", ""),
            ("\\bar ", ""),
            ("\\dot ", ""),
            ("\\dot", ""),
            ("(", ")"),
            ("\\dot{", "}"),
            ("{\\overline{", "}}"),
        ] {
            let Some(tail) = rest_trim.strip_prefix(open) else { continue };
            let dot = open.starts_with("\\dot");
            let mut n = tail.bytes().take_while(u8::is_ascii_digit).count();
            if dot && close.is_empty() {
                n = n.min(1);
            }
            if n == 0 || n > limits::DIGITS || !tail[n..].starts_with(close) {
                continue;
            }
            let mut block = tail[..n].to_string();
            let mut end = at + open.len() + n + close.len();
            if dot {
                // 0.\dot{1}4285\dot{7}
                let more = &self.s[end..];
                let m = more.bytes().take_while(u8::is_ascii_digit).count();
                if let Some(t) = more[m..].strip_prefix(open) {
                    let k = t.bytes().take_while(u8::is_ascii_digit).count();
                    let k = if close.is_empty() { k.min(1) } else { k };
                    if k > 0 && t[k..].starts_with(close) {
                        block.push_str(&more[..m]);
                        block.push_str(&t[..k]);
                        end += m + open.len() + k + close.len();
                    }
                }
            }
            // "0.5(3)" is a repeating decimal only without a following power or variable; ")" must close it directly.
            return Some((block, end));
        }
        None
    }
}
