//! What an operand can begin with: signs, names, roots, bars, subscripts.

use num_traits::Zero;

use super::{
    POSTFIX, Parsed, Parser, RELATION, SIGN,
    join::{Join, add, multiply},
};
use crate::{
    lex::{Delim, Tok, Token},
    syntax::{Big, Constant, Func, Node, Relation},
};

impl Parser<'_> {
    pub(super) fn prefix(&mut self) -> Parsed {
        let tokens = self.tokens;
        let Some(token) = tokens.get(self.pos) else { return Err(self.expected("a value")) };
        self.pos += 1;
        match &token.tok {
            Tok::Plus => self.expr(SIGN),
            Tok::Minus => self.signed(Join::Subtract),
            Tok::PlusMinus => self.signed(Join::PlusMinus(false)),
            Tok::MinusPlus => self.signed(Join::PlusMinus(true)),
            Tok::Currency(c) => self.amount(c),
            Tok::Rel(Relation::Eq | Relation::Approx | Relation::Arrow) | Tok::Colon => self.expr(0),
            Tok::Rel(op) if op.is_order() => self.one_sided(*op),
            Tok::Frac => self.two_arguments(false),
            Tok::Binom => self.two_arguments(true),
            Tok::Sqrt => self.root(),
            Tok::Root(n) => self.root_of(Node::int(i64::from(*n))),
            Tok::Func(f) => self.call(*f),
            Tok::Sum => self.big(Big::Sum),
            Tok::Product => self.big(Big::Product),
            Tok::Overline => self.expr(POSTFIX),
            Tok::Bar => self.bars(),
            Tok::Open(Delim::Abs) => self.enclosed(Delim::Abs, Func::Abs),
            Tok::Open(Delim::Floor) => self.enclosed(Delim::Floor, Func::Floor),
            Tok::Open(Delim::Ceil) => self.enclosed(Delim::Ceil, Func::Ceil),
            Tok::Open(delim) => self.group(*delim),
            Tok::Close(Delim::Bracket) => self.reversed_brackets(),
            // ^3/_4
            Tok::Caret => self.raised_fraction(),
            Tok::Name(det) if det == "det" && matches!(self.peek(), Some(Tok::Begin(_))) => {
                self.determinant()
            }
            Tok::Name(gamma) if gamma == "Gamma" && self.peek() == Some(&Tok::Open(Delim::Paren)) => {
                self.gamma()
            }
            Tok::Under => self.left_subscript(),
            Tok::Begin(env) => self.environment(env),
            Tok::Word(_) => {
                self.pos -= 1;
                self.words()
            }
            _ => self.leaf(token),
        }
    }

    /// A value of one token (with its subscript or base).
    #[inline(never)]
    fn leaf(&mut self, token: &Token) -> Parsed {
        match &token.tok {
            Tok::Number(n) => {
                if self.peek() == Some(&Tok::Under) && n.is_plain_integer() {
                    let digits: String =
                        self.source[token.start..token.end].chars().filter(char::is_ascii_digit).collect();
                    self.pos += 1;
                    return self.base(digits);
                }
                Ok(Node::Num(n.clone()))
            }
            Tok::Vulgar(n) => Ok(Node::Num(n.clone())),
            Tok::Name(name) => self.name(name.clone()),
            Tok::Const(Constant::E) if self.peek() == Some(&Tok::Under) => self.name("e".into()),
            Tok::Const(c @ (Constant::Reals | Constant::Integers)) => Ok(self.signed_set(*c)),
            Tok::Const(c) => Ok(Node::Const(*c)),
            Tok::Dots => Ok(Node::Dots),
            _ => {
                self.pos -= 1;
                Err(self.expected("a value"))
            }
        }
    }

    /// A set of numbers, and those of one sign: `\mathbb{R}^+`, `\mathbb{Z}_{>0}`.
    #[inline(never)]
    fn signed_set(&mut self, set: Constant) -> Node {
        let caret = self.peek() == Some(&Tok::Caret);
        if !caret && self.peek() != Some(&Tok::Under) {
            return Node::Const(set);
        }
        let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
        let at = 1 + usize::from(grouped);
        let (op, used) = match (self.peek_at(at), self.peek_at(at + 1)) {
            (Some(Tok::Plus), _) => (Relation::Gt, 1),
            (Some(Tok::Minus), _) if caret => (Relation::Lt, 1),
            (Some(Tok::Rel(op)), Some(Tok::Number(n))) if !caret && op.is_order() && n.value.is_zero() => {
                (*op, 2)
            }
            _ => return Node::Const(set),
        };
        let end = at + used + usize::from(grouped);
        if grouped && self.peek_at(end - 1) != Some(&Tok::Close(Delim::Group)) {
            return Node::Const(set);
        }
        match (set, op) {
            (Constant::Reals, _) => {
                self.pos += end;
                Node::Rel(vec![Node::Var("?".into()), Node::int(0)], vec![op])
            }
            (Constant::Integers, Relation::Gt) => {
                self.pos += end;
                Node::Const(Constant::Naturals)
            }
            _ => Node::Const(set),
        }
    }

    #[inline(never)]
    fn signed(&mut self, sign: Join) -> Parsed {
        let x = Box::new(self.expr(SIGN)?);
        Ok(match sign {
            Join::PlusMinus(minus) => Node::PlusMinus(x, minus),
            _ => Node::Neg(x),
        })
    }

    /// A bound without its variable: > 5.
    #[inline(never)]
    fn one_sided(&mut self, op: Relation) -> Parsed {
        let right = self.expr(RELATION + 1)?;
        Ok(Node::Rel(vec![Node::Var("?".into()), right], vec![op]))
    }

    #[inline(never)]
    fn two_arguments(&mut self, binomial: bool) -> Parsed {
        let a = self.argument()?;
        let b = self.argument()?;
        Ok(if binomial { Node::Call(Func::Binom, vec![a, b]) } else { Node::Div(Box::new((a, b))) })
    }

    #[inline(never)]
    fn root(&mut self) -> Parsed {
        if self.eat(&Tok::Open(Delim::Bracket)) {
            let n = self.bracketed(|p| p.expr(0))?;
            if !self.eat(&Tok::Close(Delim::Bracket)) {
                return Err(self.expected("`]` after the root's degree"));
            }
            return self.root_of(n);
        }
        Ok(Node::Call(Func::Sqrt, vec![self.argument()?]))
    }

    #[inline(never)]
    fn root_of(&mut self, n: Node) -> Parsed {
        let x = self.argument()?;
        Ok(Node::Call(Func::Root, vec![n, x]))
    }

    #[inline(never)]
    fn bars(&mut self) -> Parsed {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 1;
        self.builder = false;
        let inner = self.expr(0)?;
        self.bars = bars;
        self.builder = builder;
        if !self.eat(&Tok::Bar) {
            return Err(self.expected("a closing bar"));
        }
        Ok(Node::Call(Func::Abs, vec![inner]))
    }

    /// Γ(n) = (n - 1)!
    #[inline(never)]
    fn gamma(&mut self) -> Parsed {
        let x = self.expr(POSTFIX + 1)?;
        Ok(Node::Call(Func::Factorial, vec![add(x, Node::int(-1))]))
    }

    /// {}_5C_2 and {}_5P_2
    #[inline(never)]
    fn left_subscript(&mut self) -> Parsed {
        let n = self.expr(POSTFIX + 1)?;
        let sign = match self.peek() {
            Some(Tok::Name(c)) if matches!(c.as_str(), "C" | "P") => c.clone(),
            _ => return Err(self.expected("a combination")),
        };
        if self.peek_at(1) != Some(&Tok::Under) {
            return Err(self.expected("a combination"));
        }
        self.pos += 2;
        let k = self.expr(POSTFIX + 1)?;
        let choices = Node::Call(Func::Binom, vec![n, k.clone()]);
        Ok(match sign.as_str() {
            "P" => multiply(choices, Node::Call(Func::Factorial, vec![k])),
            _ => choices,
        })
    }

    /// `^7/_{12}`
    #[inline(never)]
    fn raised_fraction(&mut self) -> Parsed {
        let n = self.expr(POSTFIX + 1)?;
        if self.peek() != Some(&Tok::Slash) || self.peek_at(1) != Some(&Tok::Under) {
            return Err(self.expected("a fraction"));
        }
        self.pos += 2;
        let d = self.expr(POSTFIX + 1)?;
        Ok(Node::Div(Box::new((n, d))))
    }

    /// A name with its subscript.
    fn name(&mut self, mut name: String) -> Parsed {
        if self.peek() == Some(&Tok::Under) {
            self.pos += 1;
            name.push('_');
            if self.eat(&Tok::Open(Delim::Group)) {
                let mut depth = 1;
                while depth > 0 {
                    let Some(token) = self.tokens.get(self.pos) else { return Err(self.expected("`}`")) };
                    match token.tok {
                        Tok::Open(Delim::Group) => depth += 1,
                        Tok::Close(Delim::Group) => depth -= 1,
                        _ => {}
                    }
                    if depth > 0 {
                        name.push_str(&self.source[token.start..token.end]);
                    }
                    if name.len() > 128 {
                        return Err(self.expected("a shorter subscript"));
                    }
                    self.pos += 1;
                }
            } else {
                let Some(token) = self.tokens.get(self.pos) else { return Err(self.expected("a subscript")) };
                name.push_str(&self.source[token.start..token.end]);
                self.pos += 1;
            }
        }
        // C_5^2
        if let Some(n) = name.strip_prefix("C_").and_then(|n| n.parse::<i64>().ok())
            && self.peek() == Some(&Tok::Caret)
        {
            let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
            let at = 1 + usize::from(grouped);
            if let Some(Tok::Number(k)) = self.peek_at(at)
                && k.to_i64().is_some_and(|k| (0..=n).contains(&k))
                && (!grouped || self.peek_at(at + 1) == Some(&Tok::Close(Delim::Group)))
            {
                let k = Node::Num(k.clone());
                self.pos += at + 1 + usize::from(grouped);
                return Ok(Node::Call(Func::Binom, vec![Node::int(n), k]));
            }
        }
        // C(n, n-k): the second entry is made of the first, so it is no point.
        if name == "C"
            && self.peek() == Some(&Tok::Open(Delim::Paren))
            && let (Some(Tok::Name(n)), Some(Tok::Comma), Some(Tok::Name(m)), Some(Tok::Minus)) =
                (self.peek_at(1), self.peek_at(2), self.peek_at(3), self.peek_at(4))
            && n == m
        {
            let start = self.pos;
            self.pos += 1;
            let items = self.items()?;
            if items.len() == 2 && self.eat(&Tok::Close(Delim::Paren)) {
                return Ok(Node::Call(Func::Binom, items));
            }
            self.pos = start;
        }
        // C(5, 2)
        if name == "C"
            && self.peek() == Some(&Tok::Open(Delim::Paren))
            && let (
                Some(Tok::Number(_) | Tok::Name(_)),
                Some(Tok::Comma),
                Some(Tok::Number(_) | Tok::Name(_)),
                Some(Tok::Close(Delim::Paren)),
            ) = (self.peek_at(1), self.peek_at(2), self.peek_at(3), self.peek_at(4))
        {
            self.pos += 1;
            let items = self.items()?;
            self.pos += 1;
            return Ok(Node::Call(Func::Binom, items));
        }
        Ok(Node::Var(name))
    }
}
