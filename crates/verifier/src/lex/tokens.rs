//! The alphabet: tokens, delimiters, and why a text could not be read.

use thiserror::Error;

use crate::{
    number::Number,
    syntax::{Constant, Func, Relation},
};

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The text has no tokens.
    #[error("the text is empty")]
    Empty,
    /// A limit of [`crate::limits`] was reached.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Something else was expected.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What was expected.
        expected: &'static str,
        /// Where, in bytes of the answer.
        at: usize,
    },
}

/// A delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Delim {
    Paren,
    Bracket,
    /// `\{` and `\}`.
    Brace,
    /// `{` and `}`.
    Group,
    Floor,
    Ceil,
    Angle,
    /// `\left|`, `\lvert`.
    Abs,
}

/// A token's kind.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Tok {
    Number(Number),
    /// ½ and its like, which join a preceding integer.
    Vulgar(Number),
    /// A variable.
    Name(String),
    Word(String),
    Func(Func),
    Const(Constant),
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    Slash,
    Caret,
    Under,
    Bang,
    Percent,
    Degree,
    Prime,
    Comma,
    Semicolon,
    Colon,
    Rel(Relation),
    Cup,
    Cap,
    SetMinus,
    In,
    NotIn,
    Bar,
    Mid,
    Open(Delim),
    Close(Delim),
    Frac,
    Sqrt,
    Root(u32),
    Binom,
    Choose,
    Sum,
    Product,
    Dots,
    Begin(String),
    End(String),
    Amp,
    NewRow,
    Mod,
    /// `\over`.
    Over,
    And,
    Or,
    Currency(&'static str),
    Not,
    Overline,
    /// `x \mapsto 2x`.
    MapsTo,
}

/// A token with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub tok: Tok,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Whether white space stands before it.
    pub space: bool,
    /// Whether it stands inside `\text{}` or its like.
    pub text: bool,
}
