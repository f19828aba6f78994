//! Words that calculate: operators in words, numbers in words, "square root of".

use num_rational::BigRational;
use num_traits::One;

use super::{
    IMPLIED, POWER, PRODUCT, Parsed, Parser, RATIO, RELATION, SIGN, SUM,
    join::{Join, multiply},
    operators::Plan,
};
use crate::{
    lex::{Delim, SyntaxError, Tok},
    number::Number,
    syntax::{Func, Node},
    words,
};

impl Parser<'_> {
    pub(super) fn word_is_relation(&self) -> bool {
        matches!(self.word_at(0).as_deref(), Some("equals" | "is"))
    }

    /// A word after an operand: an operation in words or a unit. A remark is left to the caller.
    #[inline(never)]
    pub(super) fn after_word(&mut self, left: &mut Node, min: u8) -> Result<Plan, SyntaxError> {
        let word = self.word_at(0).unwrap_or_default();
        let take = |left: &mut Node| std::mem::replace(left, Node::Dots);
        let mut used = 1;
        let node = match word.as_str() {
            "percent" | "percents" | "pct" if PRODUCT >= min => Node::Percent(Box::new(take(left))),
            "per" if PRODUCT >= min && self.word_at(1).as_deref() == Some("cent") => {
                used = 2;
                Node::Percent(Box::new(take(left)))
            }
            "squared" => Node::Pow(Box::new((take(left), Node::int(2)))),
            "cubed" => Node::Pow(Box::new((take(left), Node::int(3)))),
            "factorial" => Node::Call(Func::Factorial, vec![take(left)]),
            // 2 thirds; quarters may be coins, and 12 third graders are no 4
            part if let Node::Num(n) = &*left
                && n.is_plain_integer()
                && !part.starts_with("quarter")
                && part != "half"
                && (part.ends_with('s') || n.value.is_one())
                && let Some(d) = words::part(part) =>
            {
                Node::Div(Box::new((take(left), Node::int(d as i64))))
            }
            "hundred" | "thousand" | "million" | "billion" | "trillion" | "dozen"
                if matches!(left, Node::Num(_)) =>
            {
                let scale = match word.as_str() {
                    "hundred" => 100,
                    "thousand" => 1000,
                    "million" => 1_000_000,
                    "billion" => 1_000_000_000,
                    "trillion" => 1_000_000_000_000,
                    _ => 12,
                };
                multiply(take(left), Node::int(scale))
            }
            "times" if PRODUCT >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED, Join::Multiply));
            }
            "over" if PRODUCT >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            // 5 out of 8
            "out" if self.word_at(1).as_deref() == Some("of") && PRODUCT >= min && self.operand_at(2) => {
                self.pos += 2;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            "divided" if self.word_at(1).as_deref() == Some("by") && PRODUCT >= min => {
                self.pos += 2;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            "minus" | "plus" if SUM >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(SUM + 1, if word == "minus" { Join::Subtract } else { Join::Add }));
            }
            "base" | "in"
                if (matches!(self.peek_at(usize::from(word == "in") + 1), Some(Tok::Number(_)))
                    || self
                        .word_at(usize::from(word == "in") + 1)
                        .is_some_and(|w| words::number(&[&w]).is_some()))
                    && (word == "base" || self.word_at(1).as_deref() == Some("base")) =>
            {
                self.pos += usize::from(word == "in");
                let Some(digits) = self.base_digits(take(left)) else {
                    return Err(self.expected("a numeral before the base"));
                };
                *left = self.base(digits)?;
                return Ok(Plan::Extended);
            }
            // 2 to the power of 4
            "to" | "raised"
                if POWER >= min && {
                    let at = 1 + usize::from(word == "raised");
                    self.word_at(at).as_deref() == Some("the")
                        && self.word_at(at + 1).as_deref() == Some("power")
                } =>
            {
                self.pos += 3 + usize::from(word == "raised");
                self.pos += usize::from(self.word_at(0).as_deref() == Some("of"));
                return Ok(Plan::Operand(POWER - 1, Join::Power));
            }
            // a quarter of a million
            "of" if PRODUCT >= min
                && self.operand_at(1)
                && matches!(left, Node::Num(n) if !n.value.is_integer() && n.decimal.is_none()) =>
            {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED, Join::Multiply));
            }
            // 3 to 4
            "to" if RATIO >= min && self.operand_at(1) && self.nested == 0 => {
                self.pos += 1;
                return Ok(Plan::Operand(RATIO + 1, Join::Ratio));
            }
            "equals" | "is" if RELATION >= min && self.operand_at(1) => return Ok(Plan::Chain),
            _ if SIGN >= min => {
                if let Some(unit) = self.unit() {
                    // 45 degrees 30 minutes
                    if unit.factors == [("°", 1)] && self.arc(1) {
                        *left = self.degrees(take(left))?;
                        return Ok(Plan::Extended);
                    }
                    *left = Node::Quantity(Box::new(take(left)), unit, false);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Stop);
            }
            _ => return Ok(Plan::Stop),
        };
        self.pos += used;
        *left = node;
        Ok(Plan::Extended)
    }

    /// A value in words: a number word, "negative five", "square root of 2".
    #[inline(never)]
    pub(super) fn words(&mut self) -> Parsed {
        let mut list: Vec<String> = Vec::new();
        let mut consumed: Vec<usize> = Vec::new();
        let mut n = 0;
        while list.len() < 24 {
            match self.peek_at(n) {
                Some(Tok::Word(w)) => {
                    consumed.push(n + 1);
                    list.push(w.to_ascii_lowercase());
                }
                Some(Tok::And) if !list.is_empty() => {
                    consumed.push(n + 1);
                    list.push("and".into());
                }
                Some(Tok::Minus) if !list.is_empty() && matches!(self.peek_at(n + 1), Some(Tok::Word(_))) => {
                }
                // one thousand, two hundred
                Some(Tok::Comma)
                    if matches!(
                        list.last().map(String::as_str),
                        Some("thousand" | "million" | "billion")
                    ) && self.word_at(n + 1).is_some_and(|w| {
                        words::number(&[&w]).is_some_and(|(v, _)| v < BigRational::from_integer(100.into()))
                    }) => {}
                _ => break,
            }
            n += 1;
        }
        let refs: Vec<&str> = list.iter().map(String::as_str).collect();
        match refs.first() {
            Some(&("minus" | "negative")) => {
                self.pos += 1;
                return Ok(Node::Neg(Box::new(self.expr(SIGN)?)));
            }
            Some(&power @ ("square" | "cube")) if refs.get(1) == Some(&"root") => {
                self.pos += 2 + usize::from(refs.get(2) == Some(&"of"));
                let x = self.expr(PRODUCT)?;
                return Ok(match power {
                    "square" => Node::Call(Func::Sqrt, vec![x]),
                    _ => Node::Call(Func::Root, vec![Node::int(3), x]),
                });
            }
            Some(&times @ ("twice" | "double" | "triple" | "thrice")) => {
                self.pos += 1;
                let factor = if matches!(times, "twice" | "double") { 2 } else { 3 };
                return Ok(multiply(Node::int(factor), self.expr(PRODUCT)?));
            }
            _ => {}
        }
        match words::number(&refs) {
            Some((value, used)) => {
                self.pos += consumed[used - 1];
                // two (2)
                if let (Some(Tok::Open(Delim::Paren)), Some(Tok::Number(n)), Some(Tok::Close(Delim::Paren))) =
                    (self.peek(), self.peek_at(1), self.peek_at(2))
                {
                    if n.value != value {
                        return Err(self.expected("the same number in the brackets"));
                    }
                    self.pos += 3;
                }
                Ok(Node::Num(Number::rational(value)))
            }
            None => Err(self.expected("a value")),
        }
    }
}
