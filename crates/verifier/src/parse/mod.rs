//! Tokens to a syntax tree: a Pratt parser with counted depth.
//!
//! From loose to tight: relations, set operations, ratio, sum, product (written or implied), sign, power, postfix.
//! Words after a value are its unit or a remark; words before it are a label.

mod calls;
mod groups;
mod join;
mod labels;
mod lists;
mod operands;
mod operators;
mod phrases;
mod quantities;
mod rewrite;

use crate::{
    lex::{SyntaxError, Tok, Token},
    syntax::{Node, Relation},
};
use rewrite::{angled, listed_condition, moduli, probability, scientific_unit};

pub use join::{add, multiply};

const RELATION: u8 = 10;
const SET: u8 = 20;
const RATIO: u8 = 30;
const CHOOSE: u8 = 35;
const SUM: u8 = 40;
const MOD: u8 = 42;
const SIGN: u8 = 45;
const PRODUCT: u8 = 50;
const IMPLIED: u8 = 51;
const POWER: u8 = 80;
const POSTFIX: u8 = 90;

struct Parser<'a> {
    source: &'a str,
    tokens: &'a [Token],
    pos: usize,
    depth: u32,
    bars: u32,
    /// Whether a bar separates (inside set braces).
    builder: bool,
    /// Whether a comma belongs to an enclosing bracket.
    nested: u32,
}

type Parsed = Result<Node, SyntaxError>;

/// Reads the tokens of `source` as one answer.
pub fn parse(source: &str, tokens: &[Token]) -> Parsed {
    if tokens.is_empty() {
        return Err(SyntaxError::Empty);
    }
    match moduli(tokens).or_else(|| scientific_unit(source, tokens)) {
        Some(rewritten) => parse_answer(source, &rewritten),
        None => parse_answer(source, tokens),
    }
}

fn parse_answer(source: &str, tokens: &[Token]) -> Parsed {
    if let Some(rewritten) =
        angled(tokens).or_else(|| listed_condition(tokens)).or_else(|| probability(tokens))
    {
        return parse_tokens(source, &rewritten);
    }
    // \ell: 3x - y = 2
    if let [Token { tok: Tok::Name(line), .. }, Token { tok: Tok::Colon, .. }, equation @ ..] = tokens
        && line == "ell"
        && equation.iter().any(|t| t.tok == Tok::Rel(Relation::Eq))
    {
        return parse_tokens(source, equation);
    }
    // f: x \mapsto 2x
    if let Some(at) = tokens.iter().take(16).position(|t| t.tok == Tok::MapsTo)
        && let Some(Tok::Name(x)) = at.checked_sub(1).map(|i| &tokens[i].tok)
    {
        let function = match &tokens[0].tok {
            Tok::Name(f) if at > 1 => f.clone(),
            _ => "f".into(),
        };
        let left = Node::Mul(vec![Node::Var(function), Node::Var(x.clone())]);
        let right = parse_tokens(source, &tokens[at + 1..])?;
        return Ok(Node::Rel(vec![left, right], vec![Relation::Eq]));
    }
    parse_tokens(source, tokens)
}

fn parse_tokens(source: &str, tokens: &[Token]) -> Parsed {
    let mut parser = Parser { source, tokens, pos: 0, depth: 0, bars: 0, builder: false, nested: 0 };
    let node = parser.list()?;
    if parser.pos < tokens.len() {
        return Err(parser.expected("the end of the answer"));
    }
    Ok(node)
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Tok> {
        self.tokens.get(self.pos).map(|t| &t.tok)
    }

    fn peek_at(&self, n: usize) -> Option<&Tok> {
        self.tokens.get(self.pos + n).map(|t| &t.tok)
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        let at = self.tokens.get(self.pos).map_or(self.source.len(), |t| t.start);
        SyntaxError::Expected { expected, at }
    }

    fn eat(&mut self, tok: &Tok) -> bool {
        let found = self.peek() == Some(tok);
        self.pos += usize::from(found);
        found
    }

    fn word_at(&self, n: usize) -> Option<String> {
        match self.peek_at(n) {
            Some(Tok::Word(w)) => Some(w.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn at_end(&self) -> bool {
        matches!(self.peek(), None | Some(Tok::Close(_) | Tok::End(_) | Tok::Amp))
    }
}
