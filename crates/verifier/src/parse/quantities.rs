//! Units, currencies, degrees of arc and bases of numerals.

use num_rational::BigRational;

use super::{
    IMPLIED, Parsed, Parser,
    join::{add, multiply},
};
use crate::{
    lex::{Delim, Tok, Token},
    number::Number,
    syntax::Node,
    units::{self, Unit},
    words,
};

impl Parser<'_> {
    /// Whether a number of minutes (1) or seconds (2) of arc stands here in words.
    pub(super) fn arc(&self, part: usize) -> bool {
        matches!(self.peek(), Some(Tok::Number(_)))
            && matches!(
                (part, self.word_at(1).as_deref()),
                (1, Some("minute" | "minutes" | "min")) | (2, Some("second" | "seconds" | "sec"))
            )
    }

    /// Degrees, with minutes and seconds behind them.
    pub(super) fn degrees(&mut self, whole: Node) -> Parsed {
        // 25 °C written with \circ
        if let (Some(Tok::Name(c)), Node::Num(_)) = (self.peek(), &whole)
            && matches!(c.as_str(), "C" | "F")
            && self.pos + 1 == self.tokens.len()
        {
            let unit = Unit::new([(if c == "C" { "°C" } else { "°F" }, 1)]);
            self.pos += 1;
            return Ok(Node::Quantity(Box::new(whole), unit, false));
        }
        if let Some(Tok::Word(c)) = self.peek()
            && matches!(c.as_str(), "C" | "F")
        {
            let unit = Unit::new([(if c == "C" { "°C" } else { "°F" }, 1)]);
            self.pos += 1;
            return Ok(Node::Quantity(Box::new(whole), unit, false));
        }
        let mut total = whole;
        let mut scale = BigRational::new(1.into(), 60.into());
        for primes in 1..=2 {
            let Some(Tok::Number(n)) = self.peek() else { break };
            let n = n.value.clone();
            if self.arc(primes) {
                self.pos += 2;
                total = add(total, Node::Num(Number::rational(n * &scale)));
                scale /= BigRational::from_integer(60.into());
                continue;
            }
            let mut at = 1;
            let caret = self.peek_at(at) == Some(&Tok::Caret);
            at += usize::from(caret);
            let grouped = caret && self.peek_at(at) == Some(&Tok::Open(Delim::Group));
            at += usize::from(grouped);
            if (0..primes).any(|k| self.peek_at(at + k) != Some(&Tok::Prime)) {
                break;
            }
            at += primes + usize::from(grouped);
            self.pos += at;
            total = add(total, Node::Num(Number::rational(n * &scale)));
            scale /= BigRational::from_integer(60.into());
        }
        Ok(Node::Degree(Box::new(total)))
    }

    /// A unit at the current word, consumed if there is one.
    pub(super) fn unit(&mut self) -> Option<Unit> {
        let start = self.pos;
        let mut factors: Vec<(&'static str, i32)> = Vec::new();
        let mut sign = 1;
        let mut power_prefix = 1;
        loop {
            let word = match self.peek() {
                Some(Tok::Word(w)) => w.clone(),
                Some(Tok::Name(n)) if !factors.is_empty() || sign < 0 => n.clone(),
                _ => break,
            };
            match word.to_ascii_lowercase().as_str() {
                "square" | "sq" => {
                    power_prefix = 2;
                    self.pos += 1;
                    continue;
                }
                "cubic" | "cu" => {
                    power_prefix = 3;
                    self.pos += 1;
                    continue;
                }
                "per" => {
                    sign = -1;
                    self.pos += 1;
                    continue;
                }
                _ => {}
            }
            let Some(name) = units::canonical(&word) else { break };
            // "in" is an inch only where nothing follows that it could introduce.
            if word == "in" && matches!(self.peek_at(1), Some(Tok::Word(_))) {
                break;
            }
            self.pos += 1;
            if name == "°"
                && let Some(scale) = match self.word_at(0).as_deref() {
                    Some("celsius" | "centigrade" | "c") => Some("°C"),
                    Some("fahrenheit" | "f") => Some("°F"),
                    _ => None,
                }
            {
                self.pos += 1;
                factors.push((scale, sign));
                continue;
            }
            let mut power = power_prefix;
            power_prefix = 1;
            if self.peek() == Some(&Tok::Caret) {
                let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
                let at = 1 + usize::from(grouped);
                let minus = self.peek_at(at) == Some(&Tok::Minus);
                if let Some(Tok::Number(n)) = self.peek_at(at + usize::from(minus))
                    && let Some(n) = n.to_i64().filter(|n| (1..=9).contains(n))
                {
                    power = if minus { -(n as i32) } else { n as i32 };
                    self.pos += at + 1 + usize::from(minus) + usize::from(grouped);
                }
            } else if let Some(w @ ("squared" | "cubed")) = self.word_at(0).as_deref() {
                power = if w == "squared" { 2 } else { 3 };
                self.pos += 1;
            }
            factors.push((name, sign * power));
            match self.peek() {
                Some(Tok::Slash) if matches!(self.peek_at(1), Some(Tok::Word(_) | Tok::Name(_))) => {
                    self.pos += 1;
                    sign = -1;
                }
                Some(Tok::Times) if matches!(self.peek_at(1), Some(Tok::Word(_))) => {
                    self.pos += 1;
                }
                _ => {}
            }
        }
        if factors.is_empty() {
            self.pos = start;
            return None;
        }
        Some(Unit::new(factors))
    }

    /// `60 \frac{\text{km}}{\text{h}}`.
    pub(super) fn fraction_unit(&mut self) -> Option<Unit> {
        // {m}, {m^2}, {m^{2}}: the unit, its power and the place behind it
        let part = |p: &Self, open: usize| {
            // One letter of \mathrm{h} is a name; with a word on the other side it is a unit.
            let (w, word) = match p.peek_at(open + 1) {
                Some(Tok::Word(w)) => (w, true),
                Some(Tok::Name(w)) => (w, false),
                _ => return None,
            };
            let name = units::canonical(w)?;
            let (mut at, mut power) = (open + 2, 1);
            if p.peek_at(at) == Some(&Tok::Caret) {
                let grouped = p.peek_at(at + 1) == Some(&Tok::Open(Delim::Group));
                at += 1 + usize::from(grouped);
                let Some(Tok::Number(n)) = p.peek_at(at) else { return None };
                power = n.to_i64().filter(|n| (1..=9).contains(n))? as i32;
                at += 1;
                if grouped && p.peek_at(at) != Some(&Tok::Close(Delim::Group)) {
                    return None;
                }
                at += usize::from(grouped);
            }
            let braces = p.peek_at(open) == Some(&Tok::Open(Delim::Group))
                && p.peek_at(at) == Some(&Tok::Close(Delim::Group));
            braces.then_some((name, power, at + 1, word))
        };
        let (upper, up, at, above) = part(self, 1)?;
        let (lower, down, end, below) = part(self, at)?;
        if !(above || below) {
            return None;
        }
        self.pos += end;
        Some(Unit::new([(upper, up), (lower, -down)]))
    }

    /// `5 m`: one letter after a numeral and a space, at the end of the value.
    pub(super) fn soft_unit(&mut self) -> Option<(Unit, bool)> {
        let token = self.tokens.get(self.pos)?;
        let Tok::Name(name) = &token.tok else { return None };
        let spaced = token.space
            && matches!(self.tokens.get(self.pos.wrapping_sub(1)).map(|t| &t.tok), Some(Tok::Number(_)));
        if !matches!(
            name.as_str(),
            "m" | "s" | "g" | "h" | "L" | "l" | "N" | "J" | "W" | "V" | "A" | "K" | "t" | "Omega"
        ) {
            return None;
        }
        let after_number =
            matches!(self.tokens.get(self.pos.wrapping_sub(1)).map(|t| &t.tok), Some(Tok::Number(_)));
        // 2h 30min
        let duration = after_number
            && matches!(name.as_str(), "h" | "m" | "s")
            && matches!(self.peek_at(1), Some(Tok::Number(_)))
            && matches!(self.peek_at(2), Some(Tok::Name(u) | Tok::Word(u)) if units::canonical(u).is_some());
        if duration {
            self.pos += 1;
            let unit = if name == "m" { "min" } else { units::canonical(name)? };
            return Some((Unit::new([(unit, 1)]), false));
        }
        let spaced = spaced || (after_number && name == "Omega");
        let mut factors = vec![(if name == "Omega" { "Ω" } else { units::canonical(name)? }, 1)];
        let mut at = 1;
        let power = |p: &Self, at: &mut usize| -> i32 {
            if p.peek_at(*at) != Some(&Tok::Caret) {
                return 1;
            }
            // m^2, m^{2}, m²
            let grouped = p.peek_at(*at + 1) == Some(&Tok::Open(Delim::Group));
            let end = *at + 2 + 2 * usize::from(grouped);
            if let Some(Tok::Number(n)) = p.peek_at(*at + 1 + usize::from(grouped))
                && (!grouped || p.peek_at(end - 1) == Some(&Tok::Close(Delim::Group)))
                && matches!(p.peek_at(end), None | Some(Tok::Comma | Tok::Slash))
                && let Some(n @ 1..=3) = n.to_i64()
            {
                *at = end;
                return n as i32;
            }
            1
        };
        factors[0].1 = power(self, &mut at);
        let mut compound = false;
        if self.peek_at(at) == Some(&Tok::Slash)
            && let Some(Tok::Name(d) | Tok::Word(d)) = self.peek_at(at + 1)
            && let Some(d) = units::canonical(d)
        {
            at += 2;
            let p = power(self, &mut at);
            factors.push((d, -p));
            compound = true;
        }
        let follows = self.peek_at(at);
        if !(spaced || compound)
            || !matches!(
                follows,
                None | Some(
                    Tok::Comma
                        | Tok::And
                        | Tok::Or
                        | Tok::Close(Delim::Paren | Delim::Bracket | Delim::Brace)
                        | Tok::Word(_)
                )
            )
        {
            return None;
        }
        self.pos += at;
        Some((Unit::new(factors), true))
    }

    /// The digits of a node that can carry a base.
    pub(super) fn base_digits(&self, node: Node) -> Option<String> {
        match node {
            Node::Num(n) if n.is_plain_integer() => Some(n.value.to_integer().to_string()),
            Node::Group { items, .. } if items.len() == 1 => self.base_digits(items.into_iter().next()?),
            _ => None,
        }
    }

    /// The base after an underscore or the word "base".
    pub(super) fn base(&mut self, digits: String) -> Parsed {
        let _ = self.word_at(0).as_deref() == Some("base") && {
            self.pos += 1;
            true
        };
        let grouped = self.eat(&Tok::Open(Delim::Group));
        let parens = self.eat(&Tok::Open(Delim::Paren));
        while matches!(self.word_at(0).as_deref(), Some("base")) {
            self.pos += 1;
        }
        let base = match self.peek() {
            Some(Tok::Number(n)) => n.to_i64(),
            Some(Tok::Word(w)) => match w.to_ascii_lowercase().as_str() {
                "binary" => Some(2),
                "octal" => Some(8),
                "hex" => Some(16),
                lower => words::number(&[lower])
                    .and_then(|(n, _)| n.is_integer().then(|| n.to_integer().try_into().ok()).flatten()),
            },
            _ => None,
        };
        let Some(base) = base.filter(|b| (2..=36).contains(b)) else {
            return Err(self.expected("a base from 2 to 36"));
        };
        self.pos += 1;
        if (parens && !self.eat(&Tok::Close(Delim::Paren)))
            || (grouped && !self.eat(&Tok::Close(Delim::Group)))
        {
            return Err(self.expected("a closing bracket after the base"));
        }
        Ok(Node::Base(digits, base as u32))
    }

    /// A value after a currency sign: $-5, $5 million.
    #[inline(never)]
    pub(super) fn amount(&mut self, currency: &'static str) -> Parsed {
        Ok(match self.expr(IMPLIED + 1)? {
            value @ Node::Quantity(..) => value,
            // $2k, $1.5M
            value @ Node::Num(_)
                if let Some(Token { tok: Tok::Name(k), space: false, .. }) = self.tokens.get(self.pos)
                    && let Some(scale) = match k.as_str() {
                        "k" | "K" => Some(1000),
                        "M" => Some(1_000_000),
                        "B" => Some(1_000_000_000),
                        _ => None,
                    }
                    && matches!(self.peek_at(1), None | Some(Tok::Word(_) | Tok::Comma | Tok::Close(_))) =>
            {
                self.pos += 1;
                Node::Quantity(Box::new(multiply(value, Node::int(scale))), Unit::new([(currency, 1)]), false)
            }
            value => Node::Quantity(Box::new(value), Unit::new([(currency, 1)]), false),
        })
    }
}
