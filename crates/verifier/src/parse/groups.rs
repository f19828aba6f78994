//! Brackets: groups, intervals, sets, matrices and cases.

use super::{POSTFIX, Parsed, Parser};
use crate::{
    lex::{Delim, SyntaxError, Tok, is_lines},
    syntax::{Constant, Func, Node, Relation},
};

impl Parser<'_> {
    /// \det of a written matrix
    #[inline(never)]
    pub(super) fn determinant(&mut self) -> Parsed {
        let Node::Matrix(rows) = self.expr(POSTFIX + 1)? else { return Err(self.expected("a matrix")) };
        determinant(&rows).ok_or_else(|| self.expected("a square matrix of up to three rows"))
    }

    /// ]1, 2[
    #[inline(never)]
    pub(super) fn reversed_brackets(&mut self) -> Parsed {
        let items = self.items()?;
        let close = match self.peek() {
            Some(Tok::Open(Delim::Bracket)) => Delim::Paren,
            Some(Tok::Close(Delim::Bracket)) => Delim::Bracket,
            _ => return Err(self.expected("the other end of the interval")),
        };
        self.pos += 1;
        Ok(Node::Group { open: Delim::Paren, close, items })
    }

    pub(super) fn bracketed(&mut self, f: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = false;
        self.nested += 1;
        let out = f(self);
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        out
    }

    #[inline(never)]
    pub(super) fn enclosed(&mut self, delim: Delim, func: Func) -> Parsed {
        let inner = self.bracketed(|p| p.expr(0))?;
        // \lfloor 1.5] is a typing error, not a floor
        if !self.eat(&Tok::Close(delim)) {
            return Err(self.expected("the closing delimiter"));
        }
        Ok(Node::Call(func, vec![inner]))
    }

    /// Comma-separated items up to a closing delimiter, which is not consumed.
    pub(super) fn items(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = false;
        self.nested += 1;
        let result = self.list();
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        Ok(match result? {
            Node::List(items) | Node::Or(items) => items,
            one => vec![one],
        })
    }

    #[inline(never)]
    pub(super) fn group(&mut self, delim: Delim) -> Parsed {
        if delim == Delim::Brace || (delim == Delim::Group && self.group_is_set()) {
            return self.set(delim);
        }
        if let Some(Tok::Close(close)) = self.peek() {
            // () and []: empty.
            let close = *close;
            self.pos += 1;
            return Ok(Node::Group { open: delim, close, items: Vec::new() });
        }
        let mut items = self.items()?;
        let close = match self.peek() {
            Some(Tok::Close(close)) => *close,
            // [1, 2[
            Some(Tok::Open(Delim::Bracket)) if delim == Delim::Bracket && items.len() == 2 => Delim::Paren,
            _ => return Err(self.expected("a closing bracket")),
        };
        let fits = match delim {
            Delim::Paren | Delim::Bracket => matches!(close, Delim::Paren | Delim::Bracket),
            other => close == other,
        };
        if !fits {
            return Err(self.expected("the matching bracket"));
        }
        self.pos += 1;
        if items.len() == 1 && (delim == Delim::Group || delim == close) {
            return Ok(items.remove(0));
        }
        let open = if delim == Delim::Group { Delim::Brace } else { delim };
        let close = if close == Delim::Group { Delim::Brace } else { close };
        Ok(Node::Group { open, close, items })
    }

    /// Whether the `{` just passed opens a set in plain notation: it holds a comma, a bar or a colon at its top level.
    fn group_is_set(&self) -> bool {
        if self.nested > 0 || self.pos < 1 {
            return false;
        }
        let before = self.pos.checked_sub(2).map(|i| &self.tokens[i].tok);
        if matches!(before, Some(Tok::Caret | Tok::Under | Tok::Frac | Tok::Sqrt)) {
            return false;
        }
        let (mut depth, mut bars) = (0, 0);
        for t in &self.tokens[self.pos..] {
            match t.tok {
                Tok::Open(_) => depth += 1,
                // Bars in pairs are absolute values: {|b|}.
                Tok::Close(_) if depth == 0 => return bars % 2 == 1,
                Tok::Close(_) => depth -= 1,
                Tok::Mid | Tok::Colon if depth == 0 => return true,
                Tok::Bar if depth == 0 => bars += 1,
                _ => {}
            }
        }
        false
    }

    #[inline(never)]
    fn set(&mut self, delim: Delim) -> Parsed {
        if self.eat(&Tok::Close(delim)) {
            return Ok(Node::Const(Constant::Empty));
        }
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = true;
        self.nested += 1;
        let head = self.list()?;
        let node = if matches!(self.peek(), Some(Tok::Mid | Tok::Bar | Tok::Colon)) {
            self.pos += 1;
            self.builder = false;
            let condition = self.list()?;
            Node::Builder(Box::new((head, condition)))
        } else {
            let items = match head {
                Node::List(items) | Node::Or(items) => items,
                one => vec![one],
            };
            Node::Group { open: Delim::Brace, close: Delim::Brace, items }
        };
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        if !self.eat(&Tok::Close(delim)) {
            return Err(self.expected("a closing brace"));
        }
        Ok(node)
    }

    #[inline(never)]
    pub(super) fn environment(&mut self, env: &str) -> Parsed {
        let lines = is_lines(env);
        let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
        self.nested += 1;
        loop {
            match self.peek() {
                None => return Err(self.expected("\\end")),
                Some(Tok::End(_)) => break,
                Some(Tok::Amp) => self.pos += 1,
                Some(Tok::NewRow) => {
                    self.pos += 1;
                    rows.push(Vec::new());
                }
                Some(Tok::Comma | Tok::Semicolon) => self.pos += 1,
                Some(_) => {
                    // "otherwise" and "if" introduce conditions.
                    while env == "cases" && matches!(self.word_at(0).as_deref(), Some("if" | "for" | "when"))
                    {
                        self.pos += 1;
                    }
                    let cell = if env == "cases"
                        && matches!(self.word_at(0).as_deref(), Some("otherwise" | "else"))
                    {
                        self.pos += 1;
                        Node::Var("otherwise".into())
                    } else {
                        self.item()?
                    };
                    if let Some(row) = rows.last_mut() {
                        row.push(cell);
                    }
                }
            }
        }
        self.nested -= 1;
        self.pos += 1;
        rows.retain(|r| !r.is_empty());
        if rows.is_empty() {
            return Err(self.expected("entries"));
        }
        if env == "vmatrix"
            && let Some(node) = determinant(&rows)
        {
            return Ok(node);
        }
        Ok(if env == "cases" && rows.iter().all(|r| r.len() == 2) {
            Node::Cases(rows)
        } else if lines || env == "cases" {
            let mut items: Vec<Node> = rows.into_iter().flatten().collect();
            if lines && is_derivation(&items) {
                items.drain(..items.len() - 1);
            }
            if items.len() == 1 { items.remove(0) } else { Node::List(items) }
        } else {
            Node::Matrix(rows)
        })
    }
}

/// Whether lines of equations lead to the last, `x = 5/3`: a line before speaks of its name without giving its value.
fn is_derivation(lines: &[Node]) -> bool {
    let solved = |n: &Node| match n {
        Node::Rel(terms, ops) if ops[..] == [Relation::Eq] && terms[1].variables().is_empty() => {
            match &terms[0] {
                Node::Var(name) => Some(name.clone()),
                _ => None,
            }
        }
        _ => None,
    };
    let [before @ .., last] = lines else { return false };
    solved(last).is_some_and(|name| {
        before.iter().any(|n| {
            solved(n).is_none()
                && matches!(n, Node::Rel(terms, _) if terms.iter().any(|t| t.variables().contains(&name)))
        })
    })
}

/// The determinant of a matrix of up to three rows, as an expression.
fn determinant(rows: &[Vec<Node>]) -> Option<Node> {
    let n = rows.len();
    if n == 0 || n > 3 || rows.iter().any(|r| r.len() != n) {
        return None;
    }
    if n == 1 {
        return Some(rows[0][0].clone());
    }
    let mut sum = Vec::with_capacity(n);
    for k in 0..n {
        let minor: Vec<Vec<Node>> = rows[1..]
            .iter()
            .map(|r| r.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, x)| x.clone()).collect())
            .collect();
        let term = Node::Mul(vec![rows[0][k].clone(), determinant(&minor)?]);
        sum.push(if k % 2 == 1 { Node::Neg(Box::new(term)) } else { term });
    }
    Some(Node::Add(sum))
}
