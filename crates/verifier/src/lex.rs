//! Text to tokens: LaTeX, ASCII and Unicode notation become one alphabet.
//!
//! One pass over the bytes, no backtracking beyond a numeral. `\text{...}` turns letters into words; style commands,
//! `\left`, `\right`, spacing and dollar signs vanish; superscript digits become powers.

use thiserror::Error;

use crate::{
    limits,
    number::{Decimal, Number},
    policy::Separators,
    syntax::{Constant, Func, Relation},
    units, words,
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
    Ok(lexer.out)
}

fn greek(c: char) -> Option<&'static str> {
    Some(match c {
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'ε' | 'ϵ' => "epsilon",
        'ζ' => "zeta",
        'η' => "eta",
        'θ' | 'ϑ' => "theta",
        'ι' => "iota",
        'κ' => "kappa",
        'λ' => "lambda",
        'μ' | 'µ' => "mu",
        'ν' => "nu",
        'ξ' => "xi",
        'ρ' => "rho",
        'σ' => "sigma",
        'τ' => "tau",
        'φ' | 'ϕ' => "phi",
        'χ' => "chi",
        'ψ' => "psi",
        'ω' => "omega",
        'Γ' => "Gamma",
        'Δ' => "Delta",
        'Θ' => "Theta",
        'Λ' => "Lambda",
        'Φ' => "Phi",
        'Ψ' => "Psi",
        'Ω' => "Omega",
        _ => return None,
    })
}

/// The plain letter of `𝑥`, `𝐀` and the like.
fn styled_latin(c: char) -> Option<char> {
    match c {
        'ℎ' => Some('h'),
        'ⅈ' => Some('i'),
        '\u{1d400}'..='\u{1d6a3}' => {
            let k = ((c as u32 - 0x1d400) % 52) as u8;
            Some(char::from(if k < 26 { b'A' + k } else { b'a' + k - 26 }))
        }
        _ => None,
    }
}

/// The name of `𝛼`, `𝜋` and the like.
fn styled_greek(c: char) -> Option<&'static str> {
    let '\u{1d6a8}'..='\u{1d7c9}' = c else { return None };
    let k = (c as u32 - 0x1d6a8) % 58;
    match k {
        0..=24 if k != 17 => greek(char::from_u32(0x391 + k)?),
        26..=50 if k == 41 => Some("pi"),
        26..=50 => greek(char::from_u32(0x3b1 + k - 26)?),
        52 => Some("epsilon"),
        53 => Some("theta"),
        55 => Some("phi"),
        _ => None,
    }
}

const GREEK_NAMES: &[&str] = &[
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
    "Phi", "Psi", "Omega",
];

/// A function of that name.
pub fn function(name: &str) -> Option<Func> {
    Some(match name {
        "sin" => Func::Sin,
        "cos" => Func::Cos,
        "tan" | "tg" => Func::Tan,
        "cot" | "ctg" => Func::Cot,
        "sec" => Func::Sec,
        "csc" | "cosec" => Func::Csc,
        "arcsin" | "asin" => Func::Asin,
        "arccos" | "acos" => Func::Acos,
        "arctan" | "atan" | "arctg" => Func::Atan,
        "arccot" | "acot" => Func::Acot,
        "arcsec" | "asec" => Func::Asec,
        "arccsc" | "acsc" => Func::Acsc,
        "sinh" => Func::Sinh,
        "cosh" => Func::Cosh,
        "tanh" => Func::Tanh,
        "coth" => Func::Coth,
        "arcsinh" | "asinh" | "arsinh" => Func::Asinh,
        "arccosh" | "acosh" | "arcosh" => Func::Acosh,
        "arctanh" | "atanh" | "artanh" => Func::Atanh,
        "ln" => Func::Ln,
        "log" => Func::Log,
        "lg" => Func::Lg,
        "exp" => Func::Exp,
        "abs" | "Abs" => Func::Abs,
        "floor" => Func::Floor,
        "ceil" | "ceiling" => Func::Ceil,
        "max" | "Max" => Func::Max,
        "min" | "Min" => Func::Min,
        "gcd" => Func::Gcd,
        "lcm" => Func::Lcm,
        "sgn" | "sign" => Func::Sgn,
        "Re" => Func::Re,
        "Im" => Func::Im,
        "cis" => Func::Cis,
        "binomial" | "binom" => Func::Binom,
        "factorial" => Func::Factorial,
        "arg" | "Arg" => Func::Arg,
        _ => return None,
    })
}

fn number_set(letter: u8) -> Option<Constant> {
    Some(match letter {
        b'R' => Constant::Reals,
        b'Z' => Constant::Integers,
        b'N' => Constant::Naturals,
        b'Q' => Constant::Rationals,
        b'C' => Constant::Complexes,
        _ => return None,
    })
}

fn is_text_command(name: &str) -> bool {
    matches!(
        name,
        "text"
            | "textbf"
            | "textit"
            | "textrm"
            | "mbox"
            | "hbox"
            | "textnormal"
            | "texttt"
            | "textsf"
            | "emph"
            | "textup"
    )
}

fn is_style_command(name: &str) -> bool {
    matches!(
        name,
        "displaystyle"
            | "textstyle"
            | "scriptstyle"
            | "limits"
            | "nolimits"
            | "left"
            | "right"
            | "big"
            | "Big"
            | "bigg"
            | "Bigg"
            | "bigl"
            | "bigr"
            | "Bigl"
            | "Bigr"
            | "biggl"
            | "biggr"
            | "Biggl"
            | "Biggr"
            | "middle"
            | "mathit"
            | "mathsf"
            | "mathcal"
            | "mathscr"
            | "mathfrak"
            | "boxed"
            | "fbox"
            | "overrightarrow"
            | "vec"
            | "ensuremath"
            | "underline"
            | "tilde"
            | "widehat"
            | "widetilde"
            | "boldsymbol"
            | "bm"
            | "mathbf"
            | "hat"
            | "normalsize"
            | "large"
            | "Large"
            | "color"
            | "rm"
            | "bf"
            | "it"
            | "sf"
            | "phantom"
            | "operatorname*"
            | "mathop"
            | "mathopen"
            | "mathclose"
            | "mathord"
            | "mathstrut"
            | "strut"
    )
}

impl Lexer<'_> {
    /// Whether the text outside commands has a run of five or more letters that is no function and no Greek letter.
    fn has_long_word(&self) -> bool {
        let b = self.b;
        let mut i = 0;
        while i < b.len() {
            if b[i] == b'\\' {
                i += 1;
                while i < b.len() && b[i].is_ascii_alphabetic() {
                    i += 1;
                }
                continue;
            }
            if b[i].is_ascii_alphabetic() {
                let start = i;
                while i < b.len() && b[i].is_ascii_alphabetic() {
                    i += 1;
                }
                let run = &self.s[start..i];
                if run.len() >= 4
                    && function(run).is_none()
                    && !GREEK_NAMES.contains(&run)
                    && run != "sqrt"
                    && run != "infty"
                {
                    return true;
                }
                continue;
            }
            i += 1;
        }
        false
    }

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

    fn step(&mut self) -> Result<(), SyntaxError> {
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
                    Tok::Word(word)
                }
                None => return Err(SyntaxError::Expected { expected: "a mathematical symbol", at: start }),
            },
        };
        self.push(tok, start);
        Ok(())
    }

    /// Whether the other side of an equation starts here: `F = am`.
    fn ends_in_relation(&self) -> bool {
        self.out.last().is_some_and(|t| matches!(t.tok, Tok::Rel(_)))
    }

    /// Whether an operand cannot have ended here (start of text, after an operator or opening).
    fn ends_open(&self) -> bool {
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

    fn letters(&mut self) {
        let start = self.i;
        let mut end = start;
        while end < self.b.len() && self.b[end].is_ascii_alphabetic() {
            end += 1;
        }
        let run = &self.s[start..end];
        // Abbreviations keep their points: a.m., p.m.
        if run.len() == 1 && matches!(run, "a" | "p" | "A" | "P") && self.s[end..].len() >= 2 {
            let tail = &self.b[end..];
            if tail[0] == b'.' && matches!(tail[1], b'm' | b'M') {
                self.i = (end + 2 + usize::from(tail.get(2) == Some(&b'.'))).min(self.b.len());
                self.push(Tok::Word(format!("{}m", run.to_ascii_lowercase())), start);
                return;
            }
        }
        // plus or minus 3
        if run.eq_ignore_ascii_case("plus")
            && let tail = self.s[end..].trim_start()
            && let Some(tail) = tail.strip_prefix("or ")
            && let Some(tail) = tail.trim_start().strip_prefix("minus")
            && !tail.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            self.i = self.s.len() - tail.len();
            self.push(Tok::PlusMinus, start);
            return;
        }
        if self.text_depth > 0 {
            self.i = end;
            let lower = run.to_ascii_lowercase();
            let tok = match lower.as_str() {
                "and" => Tok::And,
                "or" => Tok::Or,
                _ => Tok::Word(run.into()),
            };
            self.push(tok, start);
            return;
        }
        // US$5
        if matches!(run, "US" | "USD" | "CAD" | "AUD" | "HK") && {
            let tail = self.s[end..].trim_start().trim_start_matches('\\');
            tail.starts_with('$') || (run.len() == 3 && tail.starts_with(|c: char| c.is_ascii_digit()))
        } {
            self.i = end;
            if run.len() == 3 && !self.s[end..].contains('$') {
                self.push(Tok::Currency("$"), start);
            }
            self.space = true;
            return;
        }
        if let Some(tok) = self.known_run(run) {
            self.i = end;
            self.push(tok, start);
            return;
        }
        let digit_before = start > 0 && self.b[start - 1].is_ascii_digit();
        let word = run.len() > 1
            && !self.bold
            && (words::is_short_word(run) && !(matches!(run, "am" | "pm") && self.ends_in_relation())
                || (units::canonical(run).is_some()
                    && (digit_before
                        || !self.latex
                        || self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_)))
                        || (self.space
                            && matches!(
                                run,
                                "cm" | "mm" | "km" | "kg" | "mg" | "mL" | "ml" | "ft" | "yd" | "mph"
                            )
                            && self.out.last().is_some_and(|t| {
                                matches!(t.tok, Tok::Close(_) | Tok::Const(Constant::Pi) | Tok::Vulgar(_))
                            }))))
                || (run.len() >= 4 && !(self.latex && run.len() == 4 && !self.prose))
                || (self.prose && run.len() >= 2 && !digit_before && !self.touches_operator(start, end))
                || is_number_word(run));
        // A capital or small "a" in prose is an article.
        if word || (run == "a" || run == "A" || run == "I") && self.prose && self.spaced(start, end) {
            if run.len() >= 4
                && let Some(cut) = self.function_prefix(run)
            {
                let tok = self.known_run(&run[..cut]).unwrap_or_else(|| Tok::Word(run[..cut].into()));
                self.i = start + cut;
                self.push(tok, start);
                return;
            }
            self.i = end;
            self.push(Tok::Word(run.into()), start);
            return;
        }
        // A product of one-letter names; functions and constants inside the run are cut out ("sinx", "xsin").
        let cut = self.function_prefix(run);
        let (len, tok) = match cut {
            Some(n) => (n, self.known_run(&run[..n])),
            None => (1, None),
        };
        self.i = start + len;
        let name = &run[..len];
        let tok = tok.unwrap_or_else(|| match name {
            "e" if !self.bold => Tok::Const(Constant::E),
            "i" | "j" | "k" if self.bold => Tok::Name(format!("vector {name}")),
            _ => Tok::Name(name.into()),
        });
        self.push(tok, start);
    }

    /// Letters next to an arithmetic operator are names rather than prose.
    fn touches_operator(&self, start: usize, end: usize) -> bool {
        let op = |b: Option<&u8>| {
            b.is_some_and(|b| matches!(b, b'^' | b'_' | b'+' | b'*' | b'/' | b'=' | b'(' | b'{' | b'['))
        };
        op(self.b.get(end)) || (start > 0 && op(self.b.get(start - 1)) && self.b[start - 1] != b'(')
    }

    fn spaced(&self, start: usize, end: usize) -> bool {
        let blank = |b: Option<&u8>| b.is_none_or(|b| b.is_ascii_whitespace());
        blank(if start == 0 { None } else { self.b.get(start - 1) })
            && self.b.get(end).is_some_and(u8::is_ascii_whitespace)
    }

    /// Length of a function or constant name that starts the run and is followed by at most two more letters.
    fn function_prefix(&self, run: &str) -> Option<usize> {
        (2..=run.len().min(7)).rev().find(|&n| {
            let (head, tail) = run.split_at(n);
            tail.len() <= 2
                && tail.len() < run.len()
                && !tail.is_empty()
                && matches!(
                    head,
                    "sin"
                        | "cos"
                        | "tan"
                        | "cot"
                        | "sec"
                        | "csc"
                        | "ln"
                        | "log"
                        | "lg"
                        | "sqrt"
                        | "exp"
                        | "pi"
                        | "arcsin"
                        | "arccos"
                        | "arctan"
                )
                && !(head == "pi" && tail.len() > 1)
                && !is_number_word(run)
                && !words::is_short_word(run)
                && !matches!(
                    run,
                    "since"
                        | "sincos"
                        | "tang"
                        | "sint"
                        | "cost"
                        | "costs"
                        | "tank"
                        | "tanks"
                        | "login"
                        | "logs"
                        | "expo"
                        | "pie"
                        | "pin"
                        | "pig"
                        | "pit"
                        | "sing"
                        | "sins"
                        | "cosy"
                        | "coste"
                        | "second"
                        | "secs"
                        | "sect"
                        | "cots"
                        | "pins"
                        | "pies"
                        | "log2"
                )
        })
    }

    fn known_run(&self, run: &str) -> Option<Tok> {
        if let Some(f) = function(run) {
            // "min" and "sec" after a number are units; "max of" is prose.
            let after_number =
                self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_) | Tok::Vulgar(_)));
            if matches!(f, Func::Min | Func::Sec)
                && after_number
                && !self.s[self.i + run.len()..].trim_start().starts_with(['(', '{', '^', 'x', '\\'])
            {
                return Some(Tok::Word(run.into()));
            }
            // 42 factorial
            if f == Func::Factorial
                && after_number
                && !self.s[self.i + run.len()..].trim_start().starts_with(['(', '{'])
            {
                return Some(Tok::Word(run.into()));
            }
            return Some(Tok::Func(f));
        }
        Some(match run {
            "sqrt" | "Sqrt" => Tok::Sqrt,
            "cbrt" => Tok::Root(3),
            "pi" | "Pi" | "PI" => Tok::Const(Constant::Pi),
            "infinity" | "Infinity" | "infty" | "inf" | "oo" => Tok::Const(Constant::Infinity),
            "emptyset" => Tok::Const(Constant::Empty),
            "or" | "OR" | "Or" => Tok::Or,
            "and" | "AND" | "And" => Tok::And,
            "union" | "U" if self.out.last().is_some_and(|t| matches!(t.tok, Tok::Close(_))) => Tok::Cup,
            "mod" => Tok::Mod,
            "choose" => Tok::Choose,
            "times" if self.value_after(run.len()) => Tok::Times,
            "plus" if self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_))) => Tok::Plus,
            "pm" if self.ends_open() => Tok::PlusMinus,
            "frac" => Tok::Frac,
            "le" | "leq" if self.latex => Tok::Rel(Relation::Le),
            "ge" | "geq" if self.latex => Tok::Rel(Relation::Ge),
            "x" if self.is_times_sign() => Tok::Times,
            _ if GREEK_NAMES.contains(&run) => Tok::Name(run.into()),
            _ => return None,
        })
    }

    /// Whether a value can start after the run that begins here: "7 times" alone multiplies nothing.
    fn value_after(&self, len: usize) -> bool {
        let tail = self.s[self.i + len..].trim_start();
        let word = tail.find(|c: char| !c.is_ascii_alphabetic()).map_or(tail, |n| &tail[..n]);
        word.len() == 1
            || !word.is_empty()
                && (is_number_word(word) || function(word).is_some() || matches!(word, "sqrt" | "pi"))
            || tail.starts_with(|c: char| {
                !c.is_ascii_alphabetic() && !matches!(c, '.' | ',' | ';' | '}' | ')' | '*')
            })
    }

    /// `3 x 4` and `3x4`: an x between numerals multiplies.
    fn is_times_sign(&self) -> bool {
        let before = self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_)));
        let tail = &self.b[self.i + 1..];
        let spaces = tail.iter().take_while(|b| **b == b' ').count();
        before && tail.get(spaces).is_some_and(u8::is_ascii_digit)
    }

    fn command(&mut self) -> Result<(), SyntaxError> {
        let start = self.i;
        self.i += 1;
        let Some(&b) = self.b.get(self.i) else {
            return Ok(());
        };
        if !b.is_ascii_alphabetic() {
            let c = self.rest().chars().next().unwrap_or(' ');
            self.i += c.len_utf8();
            let tok = match c {
                '{' => Tok::Open(Delim::Brace),
                '}' => Tok::Close(Delim::Brace),
                '%' => Tok::Percent,
                '$' => Tok::Currency("$"),
                '\\' => Tok::NewRow,
                '|' => Tok::Bar,
                '&' => Tok::And,
                '_' | '#' => return Ok(()),
                // \( \) \[ \] delimit mathematics; \, \; \! \: and "\ " are space.
                _ => {
                    self.space = true;
                    return Ok(());
                }
            };
            self.push(tok, start);
            return Ok(());
        }
        let mut end = self.i;
        while end < self.b.len() && self.b[end].is_ascii_alphabetic() {
            end += 1;
        }
        let name = &self.s[self.i..end];
        self.i = end;
        // TeX skips blanks after a command.
        let skip = |i: usize| i + self.b[i..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        if is_text_command(name) || matches!(name, "mathrm" | "operatorname") {
            let at = skip(self.i);
            if self.b.get(at) == Some(&b'{') {
                let inner_end = self.s[at..].find('}').map_or(self.s.len(), |n| at + n);
                let inner = self.s[at + 1..inner_end].trim();
                let single = inner.len() == 1 && (!is_text_command(name) || matches!(inner, "e" | "i"));
                if let Some(f) = function(inner).filter(|_| !is_text_command(name)) {
                    self.i = (inner_end + 1).min(self.b.len());
                    self.push(Tok::Func(f), start);
                    return Ok(());
                }
                self.i = at + 1;
                if single {
                    self.braces.push(Brace::Style);
                    self.bold = matches!(inner, "i" | "j" | "k") && name == "mathbf";
                } else {
                    self.braces.push(Brace::Text);
                    self.text_depth += 1;
                }
                self.space = true;
                if self.braces.len() > 8 * limits::DEPTH as usize {
                    return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
                }
            }
            return Ok(());
        }
        let tok = match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" => {
                self.push(Tok::Frac, start);
                self.single = 2;
                self.single_depth = self.braces.len();
                return Ok(());
            }
            "binom" | "dbinom" | "tbinom" => {
                self.push(Tok::Binom, start);
                self.single = 2;
                self.single_depth = self.braces.len();
                return Ok(());
            }
            "sqrt" => Tok::Sqrt,
            "choose" => Tok::Choose,
            "over" => Tok::Over,
            "pi" => Tok::Const(Constant::Pi),
            "infty" => Tok::Const(Constant::Infinity),
            "emptyset" | "varnothing" => Tok::Const(Constant::Empty),
            "pm" => Tok::PlusMinus,
            "mp" => Tok::MinusPlus,
            "times" | "cdot" | "ast" | "bullet" => Tok::Times,
            "div" => Tok::Slash,
            "le" | "leq" | "leqslant" | "leqq" => Tok::Rel(Relation::Le),
            "ge" | "geq" | "geqslant" | "geqq" => Tok::Rel(Relation::Ge),
            "lt" => Tok::Rel(Relation::Lt),
            "gt" => Tok::Rel(Relation::Gt),
            "ne" | "neq" => Tok::Rel(Relation::Ne),
            "approx" | "simeq" | "cong" => Tok::Rel(Relation::Approx),
            "equiv" => Tok::Rel(Relation::Congruent),
            "mapsto" | "longmapsto" => Tok::MapsTo,
            "to" | "rightarrow" | "implies" | "Rightarrow" | "longrightarrow" | "Longrightarrow" | "iff" => {
                Tok::Rel(Relation::Arrow)
            }
            "not" => Tok::Not,
            "in" => Tok::In,
            "notin" => Tok::NotIn,
            "cup" | "bigcup" => Tok::Cup,
            "cap" | "bigcap" => Tok::Cap,
            "setminus" | "backslash" | "smallsetminus" => Tok::SetMinus,
            "mid" | "vert" => Tok::Mid,
            "lvert" => Tok::Open(Delim::Abs),
            "rvert" => Tok::Close(Delim::Abs),
            "lfloor" => Tok::Open(Delim::Floor),
            "rfloor" => Tok::Close(Delim::Floor),
            "lceil" => Tok::Open(Delim::Ceil),
            "rceil" => Tok::Close(Delim::Ceil),
            "langle" => Tok::Open(Delim::Angle),
            "rangle" => Tok::Close(Delim::Angle),
            "lbrace" => Tok::Open(Delim::Brace),
            "rbrace" => Tok::Close(Delim::Brace),
            "lbrack" => Tok::Open(Delim::Bracket),
            "rbrack" => Tok::Close(Delim::Bracket),
            "lparen" => Tok::Open(Delim::Paren),
            "rparen" => Tok::Close(Delim::Paren),
            "ldots" | "cdots" | "dots" | "dotsc" | "dotsb" | "hdots" | "dotso" => Tok::Dots,
            "sum" => Tok::Sum,
            "prod" => Tok::Product,
            "bmod" | "pmod" | "mod" => Tok::Mod,
            "land" | "wedge" => Tok::And,
            "lor" | "vee" => Tok::Or,
            "circ" | "degree" => Tok::Degree,
            "prime" => Tok::Prime,
            "percent" => Tok::Percent,
            "mathbb" | "Bbb" => {
                let at = skip(self.i);
                let braced = self.b.get(at) == Some(&b'{');
                let letter = self.b.get(at + usize::from(braced)).copied().unwrap_or(b' ');
                let Some(constant) = number_set(letter) else { return Ok(()) };
                if braced && self.b.get(at + 2) != Some(&b'}') {
                    return Ok(());
                }
                self.i = at + 1 + 2 * usize::from(braced);
                Tok::Const(constant)
            }
            "begin" | "end" => {
                let at = skip(self.i);
                if self.b.get(at) != Some(&b'{') {
                    return Err(SyntaxError::Expected { expected: "an environment name", at });
                }
                let Some(close) = self.s[at..].find('}').filter(|n| *n < 24) else {
                    return Err(SyntaxError::Expected { expected: "an environment name", at });
                };
                let env = self.s[at + 1..at + close].trim_end_matches('*').to_string();
                self.i = at + close + 1;
                if name == "begin" {
                    // \begin{array}{ccc}
                    if env == "array"
                        && self.b.get(self.i) == Some(&b'{')
                        && let Some(n) = self.s[self.i..].find('}')
                    {
                        self.i += n + 1;
                    }
                    Tok::Begin(env)
                } else {
                    Tok::End(env)
                }
            }
            "overline" | "bar" => {
                // Around capital letters it is a segment, around anything else a conjugate or a digit string.
                Tok::Overline
            }
            "left" | "right" | "middle" => {
                let at = skip(self.i);
                match self.b.get(at) {
                    Some(b'.') => {
                        self.i = at + 1;
                        return Ok(());
                    }
                    Some(b'|') => {
                        self.i = at + 1;
                        match name {
                            "left" => Tok::Open(Delim::Abs),
                            "right" => Tok::Close(Delim::Abs),
                            _ => Tok::Mid,
                        }
                    }
                    Some(b'<') if name == "left" => {
                        self.i = at + 1;
                        Tok::Open(Delim::Angle)
                    }
                    Some(b'>') if name == "right" => {
                        self.i = at + 1;
                        Tok::Close(Delim::Angle)
                    }
                    _ => return Ok(()),
                }
            }
            "quad" | "qquad" | "hspace" | "enspace" | "thinspace" | "space" | "hfill" | "newline"
            | "limits" | "displaystyle" | "textstyle" | "rm" | "bf" | "it" => {
                self.space = true;
                return Ok(());
            }
            "R" | "Z" | "N" | "Q" | "C" | "reals" => {
                Tok::Const(number_set(name.as_bytes()[0].to_ascii_uppercase()).unwrap_or(Constant::Reals))
            }
            "cr" => Tok::NewRow,
            "colon" => Tok::Colon,
            "varphi" => Tok::Name("phi".into()),
            "varepsilon" => Tok::Name("epsilon".into()),
            "vartheta" => Tok::Name("theta".into()),
            "imath" if self.bold => Tok::Name("vector i".into()),
            "jmath" if self.bold => Tok::Name("vector j".into()),
            "ell" => Tok::Name("ell".into()),
            "dollar" => Tok::Currency("$"),
            "euro" => Tok::Currency("€"),
            "pounds" => Tok::Currency("£"),
            "textdollar" => Tok::Currency("$"),
            "hat" | "mathbf" | "vec" | "boldsymbol" | "bm" => {
                let at = skip(self.i);
                if self.b.get(at) == Some(&b'{') {
                    let letter = self
                        .b
                        .get(at + 1..at + 3)
                        .is_some_and(|w| matches!(w[0], b'i' | b'j' | b'k') && w[1] == b'}');
                    // Bold capitals are the number sets of older print.
                    if let (Some([set, b'}']), "mathbf" | "boldsymbol" | "bm") =
                        (self.b.get(at + 1..at + 3), name)
                        && let Some(constant) = number_set(*set).filter(|c| *c != Constant::Complexes)
                    {
                        self.i = at + 3;
                        self.push(Tok::Const(constant), start);
                        return Ok(());
                    }
                    let dotless = ["\\imath}", "\\jmath}"].iter().any(|n| self.s[at + 1..].starts_with(n));
                    if letter || dotless {
                        self.bold = true;
                    }
                    self.i = at + 1;
                    self.braces.push(Brace::Style);
                }
                return Ok(());
            }
            _ if is_style_command(name) => {
                // The braces of a style command group nothing.
                let at = skip(self.i);
                if self.b.get(at) == Some(&b'{') && !name.starts_with("big") && !name.starts_with("Big") {
                    self.i = at + 1;
                    self.braces.push(Brace::Style);
                }
                return Ok(());
            }
            _ => match function(name) {
                Some(f) => Tok::Func(f),
                None => Tok::Name(name.into()),
            },
        };
        self.push(tok, start);
        Ok(())
    }

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

    fn number(&mut self) -> Result<(), SyntaxError> {
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

fn is_number_word(run: &str) -> bool {
    let lower = run.to_ascii_lowercase();
    words::number(&[&lower]).is_some()
}

fn vulgar(n: i64, d: i64) -> Tok {
    Tok::Vulgar(Number::rational(num_rational::BigRational::new(n.into(), d.into())))
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
