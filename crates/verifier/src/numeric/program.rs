//! Scalar expressions compiled to a postfix program, and the machine that runs it over any arithmetic.
//!
//! The machine keeps its own stack, so evaluation uses no more of the thread's stack for deep expressions.

use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::{Fail, exact::Exact};
use crate::{
    limits,
    syntax::{Big, Constant, Func, Node},
};

/// How a bare `log` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogReading {
    /// Natural.
    Natural,
    /// Decimal.
    Decimal,
}

/// One instruction.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Op {
    Num(u32),
    Var(u32),
    Pi,
    E,
    I,
    Add(u32),
    Mul(u32),
    Neg,
    Div,
    Pow,
    /// A constant rational power.
    PowQ(u32),
    Call(Func, u32),
    /// Takes the bounds from the stack and runs the next `len` instructions for each value of the slot.
    Big {
        kind: Big,
        slot: u32,
        len: u32,
    },
}

/// A compiled expression.
#[derive(Clone, Debug, Default)]
pub struct Program {
    ops: Vec<Op>,
    numbers: Vec<BigRational>,
    /// Names of the free variables, in slots `0..`; bound variables follow.
    pub variables: Vec<String>,
    slots: usize,
    /// Whether the imaginary unit occurs.
    pub complex: bool,
    /// Whether a bare `log` occurs.
    pub bare_log: bool,
    /// Whether something occurs that wants integer arguments (factorials, binomials, floors, sums to a variable).
    pub integral: bool,
}

/// An arithmetic.
pub trait Domain {
    /// Its values.
    type Value: Clone;
    /// A rational constant.
    fn number(&mut self, q: &BigRational) -> Result<Self::Value, Fail>;
    /// π.
    fn pi(&mut self) -> Result<Self::Value, Fail>;
    /// e.
    fn e(&mut self) -> Result<Self::Value, Fail>;
    /// i.
    fn i(&mut self) -> Result<Self::Value, Fail>;
    /// The sum.
    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Fail>;
    /// The product.
    fn mul(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Fail>;
    /// The negative.
    fn neg(&mut self, a: &Self::Value) -> Result<Self::Value, Fail>;
    /// The quotient.
    fn div(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Fail>;
    /// A power.
    fn pow(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Fail>;
    /// A power with a constant rational exponent.
    fn pow_q(&mut self, a: &Self::Value, q: &BigRational) -> Result<Self::Value, Fail>;
    /// A function.
    fn call(&mut self, f: Func, args: &[Self::Value]) -> Result<Self::Value, Fail>;
    /// The value as a machine integer, if it is one.
    fn integer(&self, a: &Self::Value) -> Option<i64>;
    /// Counts work; fails when the budget is used up.
    fn spend(&mut self, steps: u64) -> Result<(), Fail>;
    /// Cost of one operation.
    fn cost(&self, op: &Op) -> u64;
}

impl Program {
    /// Compiles a scalar expression. Fails with [`Fail::Kind`] on anything else.
    pub fn compile(node: &Node, log: LogReading) -> Result<Program, Fail> {
        let mut program = Program { variables: node.variables(), ..Program::default() };
        program.slots = program.variables.len();
        let mut bound = Vec::new();
        program.emit(node, log, &mut bound)?;
        Ok(program)
    }

    /// Whether the expression has no free variables.
    pub fn is_constant(&self) -> bool {
        self.variables.is_empty()
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether the program is empty (it never is after [`Program::compile`]).
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    fn push(&mut self, op: Op) -> Result<(), Fail> {
        if self.ops.len() >= limits::NODES {
            return Err(Fail::Budget);
        }
        self.ops.push(op);
        Ok(())
    }

    fn number(&mut self, q: BigRational) -> Result<(), Fail> {
        let index = self.numbers.len() as u32;
        self.numbers.push(q);
        self.push(Op::Num(index))
    }

    fn small(&mut self, n: i64) -> Result<(), Fail> {
        self.number(BigRational::from_integer(n.into()))
    }

    fn emit(&mut self, node: &Node, log: LogReading, bound: &mut Vec<(String, u32)>) -> Result<(), Fail> {
        match node {
            Node::Num(n) => self.number(n.value.clone()),
            Node::Var(v) => {
                if let Some((_, slot)) = bound.iter().rev().find(|(b, _)| b == v) {
                    let slot = *slot;
                    return self.push(Op::Var(slot));
                }
                if v == "i" {
                    self.complex = true;
                    return self.push(Op::I);
                }
                let slot = self.variables.iter().position(|x| x == v).ok_or(Fail::Kind)?;
                self.push(Op::Var(slot as u32))
            }
            Node::Const(Constant::Pi) => self.push(Op::Pi),
            Node::Const(Constant::E) => self.push(Op::E),
            Node::Add(v) => self.many(v, log, bound, Op::Add),
            Node::Mul(v) => self.many(v, log, bound, Op::Mul),
            Node::Neg(x) => {
                self.emit(x, log, bound)?;
                self.push(Op::Neg)
            }
            Node::Div(p) => {
                self.emit(&p.0, log, bound)?;
                self.emit(&p.1, log, bound)?;
                self.push(Op::Div)
            }
            Node::Pow(p) => self.power(&p.0, &p.1, log, bound),
            Node::Percent(x) => {
                self.emit(x, log, bound)?;
                self.small(100)?;
                self.push(Op::Div)
            }
            Node::Degree(x) => {
                self.emit(x, log, bound)?;
                self.push(Op::Pi)?;
                self.push(Op::Mul(2))?;
                self.small(180)?;
                self.push(Op::Div)
            }
            Node::Base(digits, base) => {
                let n = base_value(digits, *base).ok_or(Fail::Kind)?;
                self.number(BigRational::from_integer(n))
            }
            Node::Noted(x, _) | Node::Quantity(x, ..) => self.emit(x, log, bound),
            Node::Ratio(v) if v.len() == 2 => {
                self.emit(&v[0], log, bound)?;
                self.emit(&v[1], log, bound)?;
                self.push(Op::Div)
            }
            Node::Call(f, args) => self.call(*f, args, log, bound),
            Node::Big(kind, p) => {
                self.emit(&p.from, log, bound)?;
                self.emit(&p.to, log, bound)?;
                self.integral |= !p.to.variables().is_empty() || !p.from.variables().is_empty();
                let slot = self.slots as u32;
                self.slots += 1;
                let at = self.ops.len();
                self.push(Op::Big { kind: *kind, slot, len: 0 })?;
                bound.push((p.var.clone(), slot));
                self.emit(&p.body, log, bound)?;
                bound.pop();
                let len = (self.ops.len() - at - 1) as u32;
                self.ops[at] = Op::Big { kind: *kind, slot, len };
                Ok(())
            }
            _ => Err(Fail::Kind),
        }
    }

    fn many(
        &mut self,
        v: &[Node],
        log: LogReading,
        bound: &mut Vec<(String, u32)>,
        op: fn(u32) -> Op,
    ) -> Result<(), Fail> {
        for x in v {
            self.emit(x, log, bound)?;
        }
        self.push(op(v.len() as u32))
    }

    fn power(
        &mut self,
        base: &Node,
        exponent: &Node,
        log: LogReading,
        bound: &mut Vec<(String, u32)>,
    ) -> Result<(), Fail> {
        self.emit(base, log, bound)?;
        let at = self.ops.len();
        self.emit(exponent, log, bound)?;
        // A constant rational exponent becomes part of the instruction.
        let constant = !self.ops[at..].iter().any(|op| matches!(op, Op::Var(_) | Op::I));
        if constant && let Ok(q) = self.segment(&mut Exact::default(), &mut Vec::new(), at, self.ops.len(), 0)
        {
            self.ops.truncate(at);
            let index = self.numbers.len() as u32;
            self.numbers.push(q);
            return self.push(Op::PowQ(index));
        }
        self.push(Op::Pow)
    }

    fn call(
        &mut self,
        f: Func,
        args: &[Node],
        log: LogReading,
        bound: &mut Vec<(String, u32)>,
    ) -> Result<(), Fail> {
        for a in args {
            self.emit(a, log, bound)?;
        }
        if matches!(
            f,
            Func::Factorial
                | Func::DoubleFactorial
                | Func::Binom
                | Func::Floor
                | Func::Ceil
                | Func::Gcd
                | Func::Lcm
                | Func::Mod
        ) {
            self.integral = true;
        }
        let f = match f {
            Func::Log => {
                self.bare_log = true;
                if log == LogReading::Natural { Func::Ln } else { Func::Lg }
            }
            f => f,
        };
        self.push(Op::Call(f, args.len() as u32))
    }

    /// Runs the program; `values` are those of the free variables.
    pub fn run<D: Domain>(&self, domain: &mut D, values: &[D::Value]) -> Result<D::Value, Fail> {
        let mut slots: Vec<Option<D::Value>> = values.iter().cloned().map(Some).collect();
        slots.resize(self.slots, None);
        self.segment(domain, &mut slots, 0, self.ops.len(), 0)
    }

    fn segment<D: Domain>(
        &self,
        domain: &mut D,
        slots: &mut Vec<Option<D::Value>>,
        start: usize,
        end: usize,
        nested: u32,
    ) -> Result<D::Value, Fail> {
        let mut stack: Vec<D::Value> = Vec::with_capacity(8);
        let mut at = start;
        while at < end {
            let op = &self.ops[at];
            at += 1;
            domain.spend(domain.cost(op))?;
            let value = match op {
                Op::Num(i) => domain.number(&self.numbers[*i as usize])?,
                Op::Var(i) => slots[*i as usize].clone().ok_or(Fail::Kind)?,
                Op::Pi => domain.pi()?,
                Op::E => domain.e()?,
                Op::I => domain.i()?,
                Op::Add(n) | Op::Mul(n) => {
                    let tail = stack.split_off(stack.len() - *n as usize);
                    let mut tail = tail.into_iter();
                    let mut acc = tail.next().ok_or(Fail::Kind)?;
                    for x in tail {
                        acc = if matches!(op, Op::Add(_)) {
                            domain.add(&acc, &x)?
                        } else {
                            domain.mul(&acc, &x)?
                        };
                    }
                    acc
                }
                Op::Neg => {
                    let a = stack.pop().ok_or(Fail::Kind)?;
                    domain.neg(&a)?
                }
                Op::Div | Op::Pow => {
                    let b = stack.pop().ok_or(Fail::Kind)?;
                    let a = stack.pop().ok_or(Fail::Kind)?;
                    if matches!(op, Op::Div) { domain.div(&a, &b)? } else { domain.pow(&a, &b)? }
                }
                Op::PowQ(i) => {
                    let a = stack.pop().ok_or(Fail::Kind)?;
                    domain.pow_q(&a, &self.numbers[*i as usize])?
                }
                Op::Call(f, n) => {
                    let args = stack.split_off(stack.len() - *n as usize);
                    domain.call(*f, &args)?
                }
                Op::Big { kind, slot, len } => {
                    if nested >= 3 {
                        return Err(Fail::Budget);
                    }
                    let to = stack.pop().ok_or(Fail::Kind)?;
                    let from = stack.pop().ok_or(Fail::Kind)?;
                    let from = domain.integer(&from).ok_or(Fail::Domain)?;
                    let to = domain.integer(&to).ok_or(Fail::Domain)?;
                    if to.saturating_sub(from) > limits::TERMS {
                        return Err(Fail::Budget);
                    }
                    let unit = if *kind == Big::Sum { 0 } else { 1 };
                    let mut acc = domain.number(&BigRational::from_integer(unit.into()))?;
                    let mut k = from;
                    let body = at + *len as usize;
                    while k <= to {
                        let value = domain.number(&BigRational::from_integer(k.into()))?;
                        if slots.len() <= *slot as usize {
                            slots.resize(*slot as usize + 1, None);
                        }
                        slots[*slot as usize] = Some(value);
                        let term = self.segment(domain, slots, at, body, nested + 1)?;
                        acc = if *kind == Big::Sum {
                            domain.add(&acc, &term)?
                        } else {
                            domain.mul(&acc, &term)?
                        };
                        k += 1;
                    }
                    at = body;
                    acc
                }
            };
            stack.push(value);
        }
        stack.pop().ok_or(Fail::Kind)
    }
}

/// The value of digits in a base; letters are digits above nine.
pub fn base_value(digits: &str, base: u32) -> Option<num_bigint::BigInt> {
    let valid = digits.chars().all(|c| c.to_digit(36).is_some_and(|d| d < base));
    if !valid || digits.is_empty() || digits.len() > 1024 {
        return None;
    }
    num_bigint::BigInt::parse_bytes(digits.as_bytes(), base)
}

/// A rational exponent as a pair of machine integers.
pub fn small_fraction(q: &BigRational) -> Option<(i64, i64)> {
    Some((q.numer().to_i64()?, q.denom().to_i64()?))
}
