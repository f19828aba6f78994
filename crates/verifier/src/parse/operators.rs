//! The Pratt loop: what an operator does to the value before it.

use super::{
    CHOOSE, IMPLIED, MOD, POSTFIX, POWER, PRODUCT, Parsed, Parser, RATIO, RELATION, SET, SIGN, SUM,
    join::{Join, add, joined, multiply},
};
use crate::{
    lex::{Delim, SyntaxError, Tok, Token},
    limits,
    number::Number,
    syntax::{Constant, Func, Node, Relation, SetOp},
    units::Unit,
    words,
};

impl Parser<'_> {
    pub(super) fn expr(&mut self, min: u8) -> Parsed {
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
        }
        let left = self.prefix()?;
        let node = self.operators(left, min)?;
        self.depth -= 1;
        Ok(node)
    }

    /// Extends `left` by the operators that bind at least as tightly as `min`. Everything that recurses is called from
    /// here with a small frame, so that deep nesting needs little stack.
    fn operators(&mut self, mut left: Node, min: u8) -> Parsed {
        let mut wraps = 0;
        loop {
            if wraps > limits::WRAPS {
                return Err(SyntaxError::Limit { what: "operators around one value", limit: limits::WRAPS });
            }
            match self.plan(&mut left, min)? {
                Plan::Stop => return Ok(left),
                Plan::Extended => wraps += 1,
                Plan::Operand(bp, join) => {
                    let right = self.expr(bp)?;
                    wraps += usize::from(!join.is_flat(&left));
                    left = joined(left, right, join);
                }
                Plan::Chain => left = self.chain(left)?,
                Plan::Fraction => left = self.fraction_after(left)?,
            }
        }
    }

    /// Decides what the next token does to `left`. Never recurses.
    #[inline(never)]
    fn plan(&mut self, left: &mut Node, min: u8) -> Result<Plan, SyntaxError> {
        let tokens = self.tokens;
        let Some(Token { tok, .. }) = tokens.get(self.pos) else { return Ok(Plan::Stop) };
        let take = |left: &mut Node| std::mem::replace(left, Node::Dots);
        let plan = match tok {
            Tok::Bang if POSTFIX >= min => {
                let mut n = 0;
                while self.eat(&Tok::Bang) {
                    n += 1;
                }
                match n {
                    1 | 3 => {
                        for _ in 0..n {
                            *left = Node::Call(Func::Factorial, vec![take(left)]);
                        }
                    }
                    2 => *left = Node::Call(Func::DoubleFactorial, vec![take(left)]),
                    _ => return Err(self.expected("fewer factorial signs")),
                }
                return Ok(Plan::Extended);
            }
            Tok::Percent if PRODUCT >= min => {
                self.pos += 1;
                *left = Node::Percent(Box::new(take(left)));
                return Ok(Plan::Extended);
            }
            Tok::Degree if POSTFIX >= min => {
                self.pos += 1;
                *left = self.degrees(take(left))?;
                return Ok(Plan::Extended);
            }
            Tok::Currency(c) if SIGN >= min => {
                self.pos += 1;
                *left = Node::Quantity(Box::new(take(left)), Unit::new([(*c, 1)]), false);
                return Ok(Plan::Extended);
            }
            Tok::Prime if POSTFIX >= min => {
                let Node::Var(name) = left else { return Err(self.expected("a name before the prime")) };
                while tokens.get(self.pos).is_some_and(|t| t.tok == Tok::Prime) && name.len() < 64 {
                    self.pos += 1;
                    name.push('\'');
                }
                return if self.peek() == Some(&Tok::Prime) {
                    Err(self.expected("fewer primes"))
                } else {
                    Ok(Plan::Extended)
                };
            }
            Tok::Caret if POWER >= min => {
                // 60^\circ
                if self.eat_raised_degree() {
                    *left = self.degrees(take(left))?;
                    return Ok(Plan::Extended);
                }
                let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
                let mark = self.peek_at(1 + usize::from(grouped));
                // 60^{\text{o}}
                let letter = matches!(mark, Some(Tok::Word(o) | Tok::Name(o)) if o == "o");
                if letter
                    && matches!(left, Node::Num(_))
                    && (!grouped || self.peek_at(3) == Some(&Tok::Close(Delim::Group)))
                {
                    self.pos += if grouped { 4 } else { 2 };
                    *left = self.degrees(take(left))?;
                    return Ok(Plan::Extended);
                }
                self.pos += 1;
                match self.peek() {
                    Some(Tok::Minus) => {
                        self.pos += 1;
                        return Ok(Plan::Operand(POWER - 1, Join::PowerOfNegative));
                    }
                    Some(Tok::Plus) => self.pos += 1,
                    // ^{\text{th}}
                    Some(Tok::Word(_)) => return Err(self.expected("an exponent")),
                    _ => {}
                }
                return Ok(Plan::Operand(POWER - 1, Join::Power));
            }
            Tok::Times if PRODUCT >= min => {
                if self.peek_at(1) == Some(&Tok::Times) {
                    self.pos += 1;
                }
                Plan::Operand(IMPLIED, Join::Multiply)
            }
            Tok::Slash if PRODUCT >= min => Plan::Operand(IMPLIED + 1, Join::Divide),
            // A sign before the residue belongs to it: -1 mod 6 is 5.
            Tok::Mod if MOD >= min => Plan::Operand(SIGN + 1, Join::Mod),
            Tok::Plus if SUM >= min => Plan::Operand(SUM + 1, Join::Add),
            Tok::Minus if SUM >= min => Plan::Operand(SUM + 1, Join::Subtract),
            Tok::PlusMinus | Tok::MinusPlus if SUM >= min => {
                Plan::Operand(SUM + 1, Join::PlusMinus(*tok == Tok::MinusPlus))
            }
            Tok::Over if min == 0 => Plan::Operand(0, Join::Divide),
            Tok::Choose if CHOOSE >= min => Plan::Operand(CHOOSE + 1, Join::Choose),
            Tok::Colon if RATIO >= min && !self.builder && self.pos + 1 < tokens.len() => {
                Plan::Operand(RATIO + 1, Join::Ratio)
            }
            Tok::Cup if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Union)),
            Tok::Cap if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Intersection)),
            Tok::SetMinus if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Difference)),
            Tok::Rel(_) | Tok::In | Tok::NotIn | Tok::Not if RELATION >= min => return Ok(Plan::Chain),
            Tok::Word(_) => return self.after_word(left, min),
            Tok::Vulgar(n) if IMPLIED >= min => {
                let n = Node::Num(n.clone());
                let mixed = self.after_plain_integer();
                self.pos += 1;
                let a = take(left);
                *left = if mixed { add(a, n) } else { multiply(a, n) };
                return Ok(Plan::Extended);
            }
            Tok::Number(_) if IMPLIED >= min => {
                if matches!(tokens[self.pos - 1].tok, Tok::Number(_)) {
                    // A mixed number: 1 1/4.
                    let fraction = match (self.peek(), self.peek_at(1), self.peek_at(2)) {
                        (Some(Tok::Number(n)), Some(Tok::Slash), Some(Tok::Number(d)))
                            if self.after_plain_integer()
                                && n.is_plain_integer()
                                && d.is_plain_integer()
                                && n.value < d.value =>
                        {
                            Node::Num(Number::rational(&n.value / &d.value))
                        }
                        _ => return Err(self.expected("an operator between the numbers")),
                    };
                    self.pos += 3;
                    *left = add(take(left), fraction);
                    return Ok(Plan::Extended);
                }
                let quantity = |n: &Node| matches!(n, Node::Quantity(..));
                if quantity(left) || matches!(left, Node::Add(v) if v.last().is_some_and(quantity)) {
                    // 5 feet 3 inches
                    return Ok(if min > SIGN { Plan::Stop } else { Plan::Operand(SIGN, Join::Add) });
                }
                // "5 dozen 3" is no product.
                if matches!(tokens[self.pos - 1].tok, Tok::Word(_)) {
                    return Err(self.expected("an operator between the numbers"));
                }
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Frac if IMPLIED >= min => {
                if SIGN >= min
                    && let Some(unit) = self.fraction_unit()
                {
                    *left = Node::Quantity(Box::new(take(left)), unit, false);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Fraction);
            }
            Tok::Under => {
                // (2112)_6
                let Some(digits) = self.base_digits(take(left)) else {
                    return Err(self.expected("a numeral before the base"));
                };
                self.pos += 1;
                *left = self.base(digits)?;
                return Ok(Plan::Extended);
            }
            Tok::Bar if self.bars == 0 && !self.builder && IMPLIED >= min => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            // [1, 2[
            Tok::Open(Delim::Bracket)
                if self.nested > 0
                    && matches!(
                        self.peek_at(1),
                        None | Some(Tok::Cup | Tok::Cap | Tok::Comma | Tok::And | Tok::Or)
                    ) =>
            {
                return Ok(Plan::Stop);
            }
            // 2112 (base 6)
            Tok::Open(Delim::Paren)
                if self.word_at(1).as_deref() == Some("base")
                    || (self.word_at(1).as_deref() == Some("in")
                        && self.word_at(2).as_deref() == Some("base")) =>
            {
                let digits = self.base_digits(take(left));
                let at = if self.word_at(1).as_deref() == Some("in") { 3 } else { 2 };
                let base = match self.peek_at(at) {
                    Some(Tok::Number(n)) => n.to_i64(),
                    Some(Tok::Word(w)) => words::number(&[&w.to_ascii_lowercase()])
                        .and_then(|(n, _)| n.is_integer().then(|| n.to_integer().try_into().ok())?),
                    _ => None,
                };
                let (Some(digits), Some(Tok::Close(Delim::Paren))) = (digits, self.peek_at(at + 1)) else {
                    return Err(self.expected("a base in the brackets"));
                };
                let Some(base) = base.filter(|b| (2..=36).contains(b)) else {
                    return Err(self.expected("a base from 2 to 36"));
                };
                self.pos += at + 2;
                *left = Node::Base(digits, base as u32);
                return Ok(Plan::Extended);
            }
            // 7 (since 3 + 4 = 7)
            Tok::Open(Delim::Paren) if matches!(self.peek_at(1), Some(Tok::Word(_))) => {
                return Ok(Plan::Stop);
            }
            // 1 · 2 · 3 ⋯ n
            Tok::Dots if IMPLIED >= min && matches!(left, Node::Mul(_)) => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            // ½ times a matrix
            Tok::Begin(env) if IMPLIED >= min && env.ends_with("matrix") => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Open(Delim::Paren | Delim::Bracket)
                if IMPLIED >= min && matches!(self.peek_at(1), Some(Tok::Begin(_))) =>
            {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Name(_)
            | Tok::Const(Constant::Pi | Constant::E | Constant::Infinity)
            | Tok::Func(_)
            | Tok::Sqrt
            | Tok::Root(_)
            | Tok::Binom
            | Tok::Sum
            | Tok::Product
            | Tok::Overline
            | Tok::Open(
                Delim::Paren | Delim::Group | Delim::Bracket | Delim::Abs | Delim::Floor | Delim::Ceil,
            ) if IMPLIED >= min => {
                if min <= SIGN
                    && let Some((unit, soft)) = self.soft_unit()
                {
                    *left = Node::Quantity(Box::new(take(left)), unit, soft);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            _ => return Ok(Plan::Stop),
        };
        self.pos += 1;
        Ok(plan)
    }

    /// A fraction after a value: a mixed number after an integer, a factor otherwise.
    #[inline(never)]
    fn fraction_after(&mut self, left: Node) -> Parsed {
        let after_integer = self.after_plain_integer();
        let fraction = self.expr(POSTFIX + 1)?;
        if after_integer && is_proper(&fraction) {
            // 128\frac{4}{7}^\circ
            if self.peek() == Some(&Tok::Caret) && self.eat_raised_degree() {
                return self.degrees(add(left, fraction));
            }
            if self.peek() != Some(&Tok::Caret) {
                return Ok(add(left, fraction));
            }
        }
        let factor = self.operators(fraction, IMPLIED + 1)?;
        Ok(multiply(left, factor))
    }

    /// `^\circ` or `^{\circ}`, consumed if it is there.
    fn eat_raised_degree(&mut self) -> bool {
        let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
        let there = self.peek_at(1 + usize::from(grouped)) == Some(&Tok::Degree)
            && (!grouped || self.peek_at(3) == Some(&Tok::Close(Delim::Group)));
        if there {
            self.pos += if grouped { 4 } else { 2 };
        }
        there
    }

    fn after_plain_integer(&self) -> bool {
        self.pos > 0
            && matches!(&self.tokens[self.pos - 1].tok, Tok::Number(n) if n.is_plain_integer())
            && (self.pos < 2
                || !matches!(self.tokens[self.pos - 2].tok, Tok::Caret | Tok::Slash | Tok::Under))
    }

    /// Whether a value starts at the `n`-th token from here, in figures or in words.
    pub(super) fn operand_at(&self, n: usize) -> bool {
        let word = |n| self.word_at(n).unwrap_or_default();
        self.peek_at(n).is_some_and(starts_value) || words::number(&[&word(n), &word(n + 1)]).is_some()
    }

    pub(super) fn exponent(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::Minus) => {
                self.pos += 1;
                Ok(Node::Neg(Box::new(self.expr(POWER - 1)?)))
            }
            Some(Tok::Plus) => {
                self.pos += 1;
                self.expr(POWER - 1)
            }
            // ^{\text{th}}, ^{*}
            Some(Tok::Word(_)) => Err(self.expected("an exponent")),
            _ => self.expr(POWER - 1),
        }
    }

    /// A chain of relations that starts with `first`.
    #[inline(never)]
    fn chain(&mut self, first: Node) -> Parsed {
        let mut terms = vec![first];
        let mut ops = Vec::new();
        loop {
            let op = match self.peek() {
                Some(Tok::Rel(r)) => *r,
                Some(Tok::In) => Relation::In,
                Some(Tok::NotIn) => Relation::NotIn,
                Some(Tok::Not) => match self.peek_at(1) {
                    Some(Tok::Rel(Relation::Eq)) => {
                        self.pos += 1;
                        Relation::Ne
                    }
                    Some(Tok::In) => {
                        self.pos += 1;
                        Relation::NotIn
                    }
                    _ => return Err(self.expected("a relation")),
                },
                Some(Tok::Word(w))
                    if matches!(w.to_ascii_lowercase().as_str(), "equals" | "is" | "equal")
                        && !terms.is_empty() =>
                {
                    Relation::Eq
                }
                _ => break,
            };
            self.pos += 1;
            if op == Relation::Arrow {
                if ops.is_empty() && terms.iter().any(|t| !t.variables().is_empty()) {
                    return Err(self.expected("a relation before the conclusion"));
                }
                // A conclusion: what follows it counts.
                terms.clear();
                ops.clear();
                terms.push(self.expr(RELATION + 1)?);
                continue;
            }
            // "x = 2, 3" keeps its list; "x in {1, 2}" its set.
            let mut term = self.expr(RELATION + 1)?;
            if matches!(self.peek(), Some(Tok::Word(_))) && !self.remark_starts() && !self.word_is_relation()
            {
                term = self.remark(term)?;
            }
            terms.push(term);
            ops.push(op);
            if terms.len() > 64 {
                return Err(self.expected("fewer relations"));
            }
        }
        if ops.is_empty() {
            terms.pop().ok_or_else(|| self.expected("a value"))
        } else {
            Ok(Node::Rel(terms, ops))
        }
    }
}

/// What the next token does to the value before it.
pub(super) enum Plan {
    Stop,
    /// The value has been extended in place.
    Extended,
    /// An operand of this tightness follows.
    Operand(u8, Join),
    Chain,
    Fraction,
}

/// Whether a node is a proper fraction of plain integers.
fn is_proper(node: &Node) -> bool {
    let Node::Div(p) = node else { return false };
    match (&p.0, &p.1) {
        (Node::Num(n), Node::Num(d)) => n.is_plain_integer() && d.is_plain_integer() && n.value < d.value,
        _ => false,
    }
}

fn starts_value(tok: &Tok) -> bool {
    matches!(
        tok,
        Tok::Number(_)
            | Tok::Name(_)
            | Tok::Const(_)
            | Tok::Func(_)
            | Tok::Frac
            | Tok::Sqrt
            | Tok::Open(_)
            | Tok::Minus
            | Tok::Vulgar(_)
            | Tok::Currency(_)
    )
}
