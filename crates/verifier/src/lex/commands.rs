//! LaTeX commands.

use super::{
    Brace, Lexer,
    names::{function, number_set},
    tokens::{Delim, SyntaxError, Tok},
};
use crate::{
    limits,
    syntax::{Constant, Relation},
};

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
    pub(super) fn command(&mut self) -> Result<(), SyntaxError> {
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
}
