//! Text to tokens: LaTeX, ASCII and Unicode notation become one alphabet.
//!
//! One pass over the bytes, no backtracking beyond a numeral. `\text{...}` turns letters into words; style commands,
//! `\left`, `\right`, spacing and dollar signs vanish; superscript digits become powers.

mod commands;
mod letters;
mod names;
mod numerals;
mod signs;
mod tokens;

use crate::{limits, policy::Separators};

pub use names::function;
pub use tokens::{Delim, SyntaxError, Tok, Token};

#[derive(Clone, Copy, PartialEq)]
enum Brace {
    Group,
    Text,
    Style,
}

struct Lexer<'a> {
    s: &'a str,
    b: &'a [u8],
    i: usize,
    out: Vec<Token>,
    braces: Vec<Brace>,
    text_depth: u32,
    /// The depth of text around a stretch of mathematics between dollar signs.
    paused: Option<u32>,
    space: bool,
    /// Arguments of `\frac` or `\binom` still to come whose bare digits are single tokens.
    single: u8,
    /// Brace depth at which `single` counts.
    single_depth: usize,
    latex: bool,
    prose: bool,
    bold: bool,
    separators: Separators,
}

/// Cuts a text into tokens.
pub fn lex(text: &str, separators: Separators) -> Result<Vec<Token>, SyntaxError> {
    if text.len() > limits::ANSWER_BYTES {
        return Err(SyntaxError::Limit { what: "answer bytes", limit: limits::ANSWER_BYTES });
    }
    let latex = text.bytes().any(|b| matches!(b, b'\\' | b'^' | b'_'));
    let mut lexer = Lexer {
        s: text,
        b: text.as_bytes(),
        i: 0,
        out: Vec::with_capacity(text.len().min(64)),
        braces: Vec::new(),
        text_depth: 0,
        paused: None,
        space: false,
        single: 0,
        single_depth: 0,
        latex,
        prose: false,
        bold: false,
        separators,
    };
    lexer.prose = lexer.has_long_word();
    while lexer.i < lexer.b.len() {
        lexer.step()?;
        if lexer.out.len() > limits::TOKENS {
            return Err(SyntaxError::Limit { what: "tokens", limit: limits::TOKENS });
        }
    }
    if lexer.out.iter().any(|t| t.tok == Tok::Amp) {
        join_lines(&mut lexer.out);
    }
    Ok(lexer.out)
}

/// In environments of aligned lines the signs of alignment say nothing, and a line that begins with a relation goes on
/// with the line before.
fn join_lines(tokens: &mut Vec<Token>) {
    let mut open: Vec<bool> = Vec::new();
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        match &token.tok {
            Tok::Begin(name) => open.push(is_lines(name)),
            Tok::End(_) => {
                open.pop();
            }
            Tok::Amp if open.last() == Some(&true) => continue,
            Tok::Rel(_) if open.last() == Some(&true) => {
                kept.pop_if(|last| last.tok == Tok::NewRow);
            }
            _ => {}
        }
        kept.push(token);
    }
    *tokens = kept;
}

/// Whether an environment holds lines of mathematics rather than a table.
pub(crate) fn is_lines(environment: &str) -> bool {
    matches!(
        environment,
        "aligned" | "align" | "gather" | "gathered" | "equation" | "split" | "alignat" | "eqnarray"
    )
}

impl Lexer<'_> {
    fn push(&mut self, tok: Tok, start: usize) {
        // A numeral, name or group as argument of \frac uses up one of its bare-digit slots.
        if self.single > 0 && self.braces.len() == self.single_depth && tok == Tok::Close(Delim::Group) {
            // \frac{1}72: after a braced argument bare digits stay together.
            self.single = 0;
        }
        if self.single > 0
            && self.braces.len() == self.single_depth
            && !matches!(tok, Tok::Frac | Tok::Binom | Tok::Open(Delim::Group))
        {
            self.single -= 1;
        }
        let text = self.text_depth > 0;
        self.out.push(Token { tok, start, end: self.i, space: self.space, text });
        self.space = false;
    }

    fn rest(&self) -> &str {
        &self.s[self.i..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<String> {
        lex(text, Separators::English)
            .unwrap()
            .into_iter()
            .filter_map(|t| if let Tok::Number(n) = t.tok { Some(n.value.to_string()) } else { None })
            .collect()
    }

    #[test]
    fn thousands_and_lists() {
        assert_eq!(numbers("1,234,567"), ["1234567"]);
        assert_eq!(numbers("27,54,108,135,189"), ["27", "54", "108", "135", "189"]);
        assert_eq!(numbers("(2,251,252)"), ["2", "251", "252"]);
        assert_eq!(numbers("1{,}234"), ["1234"]);
        assert_eq!(numbers("10\\,000"), ["10000"]);
        assert_eq!(numbers("1, 234"), ["1", "234"]);
        assert_eq!(numbers("1_000_000"), ["1000000"]);
        assert_eq!(numbers("41352,42351"), ["41352", "42351"]);
    }

    #[test]
    fn decimals() {
        assert_eq!(numbers("0.25."), ["1/4"]);
        assert_eq!(numbers("0.\\overline{3}"), ["1/3"]);
        assert_eq!(numbers("0.(142857)"), ["1/7"]);
        assert_eq!(numbers("1.6e-3"), ["1/625"]);
        assert_eq!(numbers("\\frac12"), ["1", "2"]);
        assert_eq!(numbers("\\frac1{72}"), ["1", "72"]);
    }
}
