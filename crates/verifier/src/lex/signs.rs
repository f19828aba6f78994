//! Single signs, ASCII and Unicode, and superscripts.

use super::{
    Brace, Lexer,
    names::{greek, styled_greek, styled_latin},
    tokens::{Delim, SyntaxError, Tok, Token},
};
use crate::{
    limits,
    number::Number,
    syntax::{Constant, Relation},
};

impl Lexer<'_> {
    pub(super) fn step(&mut self) -> Result<(), SyntaxError> {
        let start = self.i;
        let b = self.b[self.i];
        let bare_point = b == b'.' && {
            let rest = &self.s[self.i + 1..];
            rest.starts_with(|c: char| c.is_ascii_digit())
                || rest.starts_with("\\overline{")
                || rest.starts_with("\\bar{")
        };
        if b.is_ascii_digit() || bare_point {
            return self.number();
        }
        if b.is_ascii_alphabetic() {
            self.letters();
            return Ok(());
        }
        if b == b'\\' {
            return self.command();
        }
        let c = self.rest().chars().next().unwrap_or('\0');
        self.i += c.len_utf8();
        let tok = match c {
            '$' => {
                // A delimiter, or a currency sign when a digit follows and no second dollar closes it.
                if self.b.get(self.i).is_some_and(u8::is_ascii_digit)
                    && !self.s[self.i..].contains('$')
                    && !self.s[..start].contains('$')
                {
                    Tok::Currency("$")
                } else {
                    // \text{if $n$ is even}: mathematics between words
                    if let Some(depth) = self.paused.take() {
                        self.text_depth = depth;
                    } else if self.text_depth > 0 {
                        self.paused = Some(std::mem::take(&mut self.text_depth));
                    }
                    self.space = true;
                    return Ok(());
                }
            }
            '€' => Tok::Currency("€"),
            '£' => Tok::Currency("£"),
            '¥' | '￥' => Tok::Currency("¥"),
            '₹' => Tok::Currency("₹"),
            '¢' => Tok::Currency("¢"),
            '+' | '＋' => {
                if self.rest().starts_with("/-") || self.rest().starts_with("/−") {
                    self.i += if self.rest().starts_with("/-") { 2 } else { 1 + '−'.len_utf8() };
                    Tok::PlusMinus
                } else if self.rest().starts_with('-')
                    && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
                    && self.ends_open()
                {
                    self.i += 1;
                    Tok::PlusMinus
                } else {
                    Tok::Plus
                }
            }
            '-' | '−' | '–' | '‐' | '‑' | '－' | '—' | '﹣' => {
                if self.rest().starts_with('>') {
                    self.i += 1;
                    Tok::Rel(Relation::Arrow)
                } else {
                    Tok::Minus
                }
            }
            '±' => Tok::PlusMinus,
            '∓' => Tok::MinusPlus,
            '*' => {
                if self.rest().starts_with('*') {
                    self.i += 1;
                    // "**" is a power between operands, bold around them.
                    let operand = self.out.last().is_some_and(|t| {
                        matches!(t.tok, Tok::Number(_) | Tok::Name(_) | Tok::Const(_) | Tok::Close(_))
                    });
                    let next = self.rest().chars().next().unwrap_or(' ');
                    if operand && (next.is_alphanumeric() || matches!(next, '(' | '-')) {
                        Tok::Caret
                    } else {
                        return Ok(());
                    }
                } else {
                    Tok::Times
                }
            }
            '×' | '·' | '⋅' | '∙' | '∗' | '✕' | '•' => Tok::Times,
            '/' | '÷' | '∕' | '⁄' | '／' => Tok::Slash,
            '^' => Tok::Caret,
            '_' => Tok::Under,
            '!' | '！' => {
                if self.rest().starts_with('=') && !self.rest().starts_with("==") {
                    self.i += 1;
                    Tok::Rel(Relation::Ne)
                } else {
                    Tok::Bang
                }
            }
            '%' | '％' => Tok::Percent,
            '‰' => {
                self.push(Tok::Percent, start);
                self.push(Tok::Slash, start);
                Tok::Number(Number::integer(10))
            }
            '°' | '˚' | 'º' => {
                // Temperature scales are units of their own.
                match self.b.get(self.i) {
                    Some(b'C') => {
                        self.i += 1;
                        Tok::Word("°C".into())
                    }
                    Some(b'F') => {
                        self.i += 1;
                        Tok::Word("°F".into())
                    }
                    _ => Tok::Degree,
                }
            }
            '℃' => Tok::Word("°C".into()),
            '℉' => Tok::Word("°F".into()),
            '\'' | '′' | '’' | '‘' => Tok::Prime,
            '"' | '″' | '”' | '“' => {
                if self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_)))
                    && self.out.iter().any(|t| t.tok == Tok::Degree)
                {
                    self.push(Tok::Prime, start);
                    Tok::Prime
                } else {
                    self.space = true;
                    return Ok(());
                }
            }
            ',' | '，' | '、' => Tok::Comma,
            ';' | '；' => Tok::Semicolon,
            ':' | '：' | '∶' => {
                if self.rest().starts_with('=') {
                    self.i += 1;
                    Tok::Rel(Relation::Eq)
                } else {
                    Tok::Colon
                }
            }
            '=' | '＝' => {
                if self.rest().starts_with('=') {
                    self.i += 1;
                } else if self.rest().starts_with("<") {
                    self.i += 1;
                    self.push(Tok::Rel(Relation::Le), start);
                    return Ok(());
                } else if self.rest().starts_with('>') {
                    self.i += 1;
                    self.push(Tok::Rel(Relation::Arrow), start);
                    return Ok(());
                }
                Tok::Rel(Relation::Eq)
            }
            '≠' => Tok::Rel(Relation::Ne),
            '≈' | '≃' | '≅' => Tok::Rel(Relation::Approx),
            '<' | '＜' => {
                if self.rest().starts_with('=') {
                    self.i += 1;
                    Tok::Rel(Relation::Le)
                } else if self.rest().starts_with('>') {
                    self.i += 1;
                    Tok::Rel(Relation::Ne)
                } else {
                    Tok::Rel(Relation::Lt)
                }
            }
            '>' | '＞' => {
                if self.rest().starts_with('=') {
                    self.i += 1;
                    Tok::Rel(Relation::Ge)
                } else {
                    Tok::Rel(Relation::Gt)
                }
            }
            '≤' | '⩽' | '≦' => Tok::Rel(Relation::Le),
            '≥' | '⩾' | '≧' => Tok::Rel(Relation::Ge),
            '→' | '⇒' | '⟹' => Tok::Rel(Relation::Arrow),
            '↦' => Tok::MapsTo,
            '≡' => Tok::Rel(Relation::Congruent),
            '∪' => Tok::Cup,
            '∩' => Tok::Cap,
            '∖' => Tok::SetMinus,
            '∈' => Tok::In,
            '∉' => Tok::NotIn,
            '∧' => Tok::And,
            '∨' => Tok::Or,
            '∣' => Tok::Mid,
            '|' => {
                if self.rest().starts_with('|') {
                    self.i += 1;
                }
                Tok::Bar
            }
            '(' | '（' => Tok::Open(Delim::Paren),
            ')' | '）' => Tok::Close(Delim::Paren),
            '[' | '【' => Tok::Open(Delim::Bracket),
            ']' | '】' => Tok::Close(Delim::Bracket),
            '{' => {
                if self.b.get(self.i) == Some(&b'}') {
                    self.i += 1; // an empty group
                    if self.out.is_empty() && self.rest().trim().is_empty() && !self.latex {
                        Tok::Const(Constant::Empty)
                    } else {
                        return Ok(());
                    }
                } else {
                    self.braces.push(Brace::Group);
                    if self.braces.len() > 8 * limits::DEPTH as usize {
                        return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
                    }
                    let token = Tok::Open(Delim::Group);
                    let text = self.text_depth > 0;
                    self.out.push(Token { tok: token, start, end: self.i, space: self.space, text });
                    self.space = false;
                    return Ok(());
                }
            }
            '}' => {
                match self.braces.pop() {
                    None => {
                        return Err(SyntaxError::Expected {
                            expected: "an opening brace before this `}`",
                            at: start,
                        });
                    }
                    Some(Brace::Text) => {
                        self.text_depth = self.paused.take().unwrap_or(self.text_depth);
                        self.text_depth = self.text_depth.saturating_sub(1);
                        self.space = true;
                        return Ok(());
                    }
                    Some(Brace::Style) => {
                        self.bold = false;
                        return Ok(());
                    }
                    Some(Brace::Group) => {}
                }
                Tok::Close(Delim::Group)
            }
            '⌊' => Tok::Open(Delim::Floor),
            '⌋' => Tok::Close(Delim::Floor),
            '⌈' => Tok::Open(Delim::Ceil),
            '⌉' => Tok::Close(Delim::Ceil),
            '⟨' | '〈' => Tok::Open(Delim::Angle),
            '⟩' | '〉' => Tok::Close(Delim::Angle),
            '√' => Tok::Sqrt,
            '∛' => Tok::Root(3),
            '∜' => Tok::Root(4),
            'π' | 'П' => Tok::Const(Constant::Pi),
            '∞' => Tok::Const(Constant::Infinity),
            '∅' | 'Ø' | '⌀' => Tok::Const(Constant::Empty),
            'ℝ' => Tok::Const(Constant::Reals),
            'ℤ' => Tok::Const(Constant::Integers),
            'ℕ' => Tok::Const(Constant::Naturals),
            'ℚ' => Tok::Const(Constant::Rationals),
            'ℂ' => Tok::Const(Constant::Complexes),
            '∑' | 'Σ' => Tok::Sum,
            '∏' | 'Π' => Tok::Product,
            '…' | '⋯' => Tok::Dots,
            '½' => vulgar(1, 2),
            '⅓' => vulgar(1, 3),
            '⅔' => vulgar(2, 3),
            '¼' => vulgar(1, 4),
            '¾' => vulgar(3, 4),
            '⅕' => vulgar(1, 5),
            '⅖' => vulgar(2, 5),
            '⅗' => vulgar(3, 5),
            '⅘' => vulgar(4, 5),
            '⅙' => vulgar(1, 6),
            '⅚' => vulgar(5, 6),
            '⅐' => vulgar(1, 7),
            '⅛' => vulgar(1, 8),
            '⅜' => vulgar(3, 8),
            '⅝' => vulgar(5, 8),
            '⅞' => vulgar(7, 8),
            '⅑' => vulgar(1, 9),
            '⅒' => vulgar(1, 10),
            '&' => {
                // Entities that web text leaves behind.
                let entity = [
                    ("nbsp;", None),
                    ("lt;=", Some(Tok::Rel(Relation::Le))),
                    ("gt;=", Some(Tok::Rel(Relation::Ge))),
                    ("lt;", Some(Tok::Rel(Relation::Lt))),
                    ("gt;", Some(Tok::Rel(Relation::Gt))),
                    ("le;", Some(Tok::Rel(Relation::Le))),
                    ("ge;", Some(Tok::Rel(Relation::Ge))),
                    ("ne;", Some(Tok::Rel(Relation::Ne))),
                    ("minus;", Some(Tok::Minus)),
                    ("times;", Some(Tok::Times)),
                    ("amp;", Some(Tok::Amp)),
                ]
                .into_iter()
                .find(|(name, _)| self.rest().starts_with(name));
                match entity {
                    Some((name, tok)) => {
                        self.i += name.len();
                        match tok {
                            Some(tok) => tok,
                            None => {
                                self.space = true;
                                return Ok(());
                            }
                        }
                    }
                    None => Tok::Amp,
                }
            }
            '.' => {
                if self.rest().starts_with("..") {
                    while self.rest().starts_with('.') {
                        self.i += 1;
                    }
                    Tok::Dots
                } else {
                    // A period that ends the text or a word.
                    self.space = true;
                    return Ok(());
                }
            }
            '?' | '？' | '。' | '`' | '#' | '~' | '\u{200b}' | '\u{feff}' | '✓' | '✅' => {
                self.space = true;
                return Ok(());
            }
            '⁺' | '⁻' | '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' | 'ⁿ' => {
                self.i = start;
                self.superscript();
                return Ok(());
            }
            '₀'..='₉' => {
                self.i = start;
                let mut digits = String::new();
                while let Some(c @ '₀'..='₉') = self.rest().chars().next() {
                    digits.push(char::from_digit(c as u32 - '₀' as u32, 10).unwrap_or('0'));
                    self.i += c.len_utf8();
                }
                self.push(Tok::Under, start);
                if let Some(n) = Number::from_digits(&digits, None, 0) {
                    self.push(Tok::Number(n), start);
                }
                return Ok(());
            }
            c if c.is_whitespace() || c.is_control() => {
                self.space = true;
                return Ok(());
            }
            '０'..='９' => {
                let mut digits = String::new();
                self.i = start;
                while let Some(c @ '０'..='９') = self.rest().chars().next() {
                    digits.push(char::from_digit(c as u32 - '０' as u32, 10).unwrap_or('0'));
                    self.i += c.len_utf8();
                }
                match Number::from_digits(&digits, None, 0) {
                    Some(n) => Tok::Number(n),
                    None => return Err(SyntaxError::Limit { what: "digits", limit: limits::DIGITS }),
                }
            }
            '\u{1d7ce}'..='\u{1d7ff}' => {
                // 𝟏𝟐
                let mut digits = String::new();
                self.i = start;
                while let Some(c @ '\u{1d7ce}'..='\u{1d7ff}') = self.rest().chars().next() {
                    digits.push(char::from_digit((c as u32 - 0x1d7ce) % 10, 10).unwrap_or('0'));
                    self.i += c.len_utf8();
                }
                match Number::from_digits(&digits, None, 0) {
                    Some(n) => Tok::Number(n),
                    None => return Err(SyntaxError::Limit { what: "digits", limit: limits::DIGITS }),
                }
            }
            'ℯ' | 'ⅇ' => Tok::Const(Constant::E),
            c => match greek(c).or_else(|| styled_greek(c)) {
                Some("pi") => Tok::Const(Constant::Pi),
                Some(name) => Tok::Name(name.into()),
                None if let Some(letter) = styled_latin(c) => match letter {
                    'e' => Tok::Const(Constant::E),
                    letter => Tok::Name(letter.into()),
                },
                None if c.is_alphabetic() => {
                    // A word in another script, or accented letters.
                    let mut word = String::from(c);
                    while let Some(c) = self.rest().chars().next().filter(|c| c.is_alphabetic()) {
                        word.push(c);
                        self.i += c.len_utf8();
                    }
                    match word.as_str() {
                        "或" | "或者" | "または" | "또는" | "или" => Tok::Or,
                        "和" | "与" | "及" | "以及" | "и" | "와" | "と" => Tok::And,
                        _ => Tok::Word(word),
                    }
                }
                None => return Err(SyntaxError::Expected { expected: "a mathematical symbol", at: start }),
            },
        };
        self.push(tok, start);
        Ok(())
    }

    /// Whether the other side of an equation starts here: `F = am`.
    pub(super) fn ends_in_relation(&self) -> bool {
        self.out.last().is_some_and(|t| matches!(t.tok, Tok::Rel(_)))
    }

    /// Whether an operand cannot have ended here (start of text, after an operator or opening).
    pub(super) fn ends_open(&self) -> bool {
        self.out.last().is_none_or(|t| {
            !matches!(
                t.tok,
                Tok::Number(_)
                    | Tok::Name(_)
                    | Tok::Const(_)
                    | Tok::Close(_)
                    | Tok::Vulgar(_)
                    | Tok::Bang
                    | Tok::Percent
            )
        })
    }

    fn superscript(&mut self) {
        let start = self.i;
        let (mut digits, mut negative, mut name) = (String::new(), false, false);
        while let Some(c) = self.rest().chars().next() {
            let d = match c {
                '⁰' => '0',
                '¹' => '1',
                '²' => '2',
                '³' => '3',
                '⁴'..='⁹' => char::from_digit(c as u32 - '⁴' as u32 + 4, 10).unwrap_or('0'),
                '⁻' => {
                    negative = true;
                    self.i += c.len_utf8();
                    continue;
                }
                '⁺' => {
                    self.i += c.len_utf8();
                    continue;
                }
                'ⁿ' => {
                    name = true;
                    self.i += c.len_utf8();
                    continue;
                }
                _ => break,
            };
            digits.push(d);
            self.i += c.len_utf8();
        }
        self.push(Tok::Caret, start);
        let group = |tok| Token { tok, start, end: self.i, space: false, text: false };
        let mut tokens = vec![group(Tok::Open(Delim::Group))];
        if negative {
            tokens.push(group(Tok::Minus));
        }
        if let Some(n) = Number::from_digits(&digits, None, 0) {
            tokens.push(group(Tok::Number(n)));
        }
        if name {
            tokens.push(group(Tok::Name("n".into())));
        }
        tokens.push(group(Tok::Close(Delim::Group)));
        self.out.extend(tokens);
    }
}

fn vulgar(n: i64, d: i64) -> Tok {
    Tok::Vulgar(Number::rational(num_rational::BigRational::new(n.into(), d.into())))
}
