//! Functions, sums and products with their arguments.

use super::{POSTFIX, POWER, Parsed, Parser, SIGN, join::multiply};
use crate::{
    lex::{Delim, Tok},
    syntax::{Big, BigParts, Constant, Func, Node, Relation},
};

impl Parser<'_> {
    /// The argument of a command: a group, or the next single value.
    pub(super) fn argument(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::Open(Delim::Group)) => self.expr(POSTFIX + 1),
            Some(Tok::Open(Delim::Paren)) => {
                // frac(1)(2), sqrt(2)
                self.expr(POSTFIX + 1)
            }
            Some(Tok::Minus) => {
                self.pos += 1;
                Ok(Node::Neg(Box::new(self.argument_after_minus()?)))
            }
            _ => self.expr(POSTFIX + 1),
        }
    }

    fn argument_after_minus(&mut self) -> Parsed {
        self.expr(POSTFIX + 1)
    }

    /// A function with its power, subscript and arguments.
    #[inline(never)]
    pub(super) fn call(&mut self, func: Func) -> Parsed {
        let mut base = None;
        let mut power = None;
        loop {
            match self.peek() {
                Some(Tok::Under)
                    if base.is_none() && matches!(func, Func::Log | Func::Ln | Func::Max | Func::Min) =>
                {
                    self.pos += 1;
                    base = Some(self.expr(POSTFIX + 1)?);
                }
                Some(Tok::Caret) if power.is_none() => {
                    self.pos += 1;
                    power = Some(self.exponent()?);
                }
                _ => break,
            }
        }
        let mut args = match self.peek() {
            Some(Tok::Open(Delim::Paren | Delim::Bracket | Delim::Brace)) => {
                self.pos += 1;
                let items = self.items()?;
                if !matches!(self.peek(), Some(Tok::Close(Delim::Paren | Delim::Bracket | Delim::Brace))) {
                    return Err(self.expected("a closing bracket"));
                }
                self.pos += 1;
                items
            }
            Some(Tok::Open(Delim::Group)) => {
                self.pos += 1;
                let items = self.items()?;
                if !self.eat(&Tok::Close(Delim::Group)) {
                    return Err(self.expected("`}`"));
                }
                if func == Func::Binom && self.peek() == Some(&Tok::Open(Delim::Group)) {
                    let mut items = items;
                    items.push(self.argument()?);
                    items
                } else {
                    items
                }
            }
            _ => vec![self.bare_argument()?],
        };
        // log2(8) and log10(x) in plain text.
        if func == Func::Log
            && base.is_none()
            && let [Node::Mul(parts)] = &args[..]
            && self.source_says_base()
            && let Some((Node::Num(b), rest)) = parts
                .split_first()
                .filter(|(b, _)| matches!(b, Node::Num(n) if matches!(n.to_i64(), Some(2 | 10))))
        {
            base = Some(Node::Num(b.clone()));
            args = vec![rest.iter().cloned().reduce(multiply).unwrap_or(Node::int(1))];
        }
        let arity_ok = match func {
            Func::Binom | Func::Mod => args.len() == 2,
            Func::Max | Func::Min | Func::Gcd | Func::Lcm => !args.is_empty(),
            Func::Log => matches!(args.len(), 1 | 2),
            _ => args.len() == 1,
        };
        if !arity_ok {
            return Err(self.expected("another number of arguments"));
        }
        let node = match (func, base) {
            (Func::Log | Func::Ln, Some(b)) => {
                args.insert(0, b);
                Node::Call(Func::LogBase, args)
            }
            // log(x, b), as computer algebra systems write it
            (Func::Log, None) if args.len() == 2 => {
                args.swap(0, 1);
                Node::Call(Func::LogBase, args)
            }
            _ => Node::Call(func, args),
        };
        Ok(match power {
            None => node,
            // sin^{-1} is the inverse function.
            Some(Node::Neg(one)) if matches!(&*one, Node::Num(n) if n.to_i64() == Some(1)) => {
                let Node::Call(func, args) = node else { return Err(self.expected("a function")) };
                let inverse = match func {
                    Func::Sin => Func::Asin,
                    Func::Cos => Func::Acos,
                    Func::Tan => Func::Atan,
                    Func::Cot => Func::Acot,
                    Func::Sec => Func::Asec,
                    Func::Csc => Func::Acsc,
                    Func::Sinh => Func::Asinh,
                    Func::Cosh => Func::Acosh,
                    Func::Tanh => Func::Atanh,
                    _ => return Ok(Node::Div(Box::new((Node::int(1), Node::Call(func, args))))),
                };
                Node::Call(inverse, args)
            }
            Some(p) => Node::Pow(Box::new((node, p))),
        })
    }

    /// Whether the source has `log2` or `log10` written together.
    fn source_says_base(&self) -> bool {
        self.source.contains("log2") || self.source.contains("log10")
    }

    /// A function's argument without brackets: a product up to the next sign, function or bracket.
    fn bare_argument(&mut self) -> Parsed {
        if self.eat(&Tok::Minus) {
            return Ok(Node::Neg(Box::new(self.bare_argument()?)));
        }
        let mut product = self.expr(POWER - 1)?;
        while let Some(tok) = self.peek() {
            match tok {
                Tok::Number(_)
                | Tok::Name(_)
                | Tok::Const(Constant::Pi | Constant::E)
                | Tok::Frac
                | Tok::Sqrt
                | Tok::Vulgar(_) => {
                    if matches!(self.tokens[self.pos - 1].tok, Tok::Number(_))
                        && matches!(tok, Tok::Number(_))
                    {
                        break;
                    }
                    let factor = self.expr(POWER - 1)?;
                    product = multiply(product, factor);
                }
                Tok::Open(Delim::Paren) if matches!(self.tokens[self.pos - 1].tok, Tok::Number(_)) => {
                    let factor = self.expr(POWER - 1)?;
                    product = multiply(product, factor);
                }
                _ => break,
            }
        }
        // \sin 30^\circ has been taken with its degree sign by the power level; \ln 2/3 stops before the slash, but a
        // constant over a number belongs to a trigonometric argument: \sin \pi/6.
        if self.peek() == Some(&Tok::Slash)
            && matches!(self.peek_at(1), Some(Tok::Number(_)))
            && product.any(&mut |n| matches!(n, Node::Const(Constant::Pi)))
        {
            self.pos += 1;
            let d = self.expr(POWER - 1)?;
            product = Node::Div(Box::new((product, d)));
        }
        Ok(product)
    }

    #[inline(never)]
    pub(super) fn big(&mut self, kind: Big) -> Parsed {
        let (mut lower, mut upper) = (None, None);
        for _ in 0..2 {
            if self.eat(&Tok::Under) {
                lower = Some(self.expr(POSTFIX + 1)?);
            } else if self.eat(&Tok::Caret) {
                upper = Some(self.expr(POSTFIX + 1)?);
            }
        }
        let (Some(Node::Rel(terms, ops)), Some(to)) = (lower, upper) else {
            return Err(self.expected("the bounds of the sum"));
        };
        let ([Node::Var(var), from], [Relation::Eq]) = (&terms[..], &ops[..]) else {
            return Err(self.expected("a lower bound such as k=1"));
        };
        let body = self.expr(SIGN)?;
        Ok(Node::Big(kind, Box::new(BigParts { var: var.clone(), from: from.clone(), to, body })))
    }
}
