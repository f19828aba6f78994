//! The syntax tree: what was written, before it is decided what it means.

use num_traits::ToPrimitive;

use crate::{lex::Delim, number::Number, units::Unit};

/// A function of one or more arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Func {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Acot,
    Asec,
    Acsc,
    Sinh,
    Cosh,
    Tanh,
    Coth,
    Asinh,
    Acosh,
    Atanh,
    Ln,
    /// A bare `log`, natural or decimal (one reading for both sides of a comparison).
    Log,
    /// The decimal logarithm.
    Lg,
    /// `log_b(x)`: arguments `b`, `x`.
    LogBase,
    Exp,
    Sqrt,
    /// The `n`-th root: arguments `n`, `x`.
    Root,
    Abs,
    Floor,
    Ceil,
    Max,
    Min,
    Gcd,
    Lcm,
    Sgn,
    Re,
    Im,
    Arg,
    Cis,
    Binom,
    Factorial,
    DoubleFactorial,
    /// `a mod b`.
    Mod,
}

/// A named constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Constant {
    Pi,
    E,
    Infinity,
    Empty,
    Reals,
    Integers,
    Naturals,
    Rationals,
    Complexes,
}

/// A relation sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Approx,
    Congruent,
    Arrow,
    In,
    NotIn,
}

impl Relation {
    /// The same relation with its sides swapped.
    pub fn flip(self) -> Self {
        match self {
            Relation::Lt => Relation::Gt,
            Relation::Le => Relation::Ge,
            Relation::Gt => Relation::Lt,
            Relation::Ge => Relation::Le,
            other => other,
        }
    }

    /// Whether this is `<`, `≤`, `>` or `≥`.
    pub fn is_order(self) -> bool {
        matches!(self, Relation::Lt | Relation::Le | Relation::Gt | Relation::Ge)
    }
}

/// A set operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SetOp {
    Union,
    Intersection,
    Difference,
}

/// A repeated operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Big {
    Sum,
    Product,
}

/// A node of the syntax tree. Sums and products are flat, so the depth of a tree is the nesting of the text.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Node {
    Num(Number),
    Var(String),
    Const(Constant),
    Add(Vec<Node>),
    Mul(Vec<Node>),
    Neg(Box<Node>),
    /// `±x`, or `∓x` when the flag is set.
    PlusMinus(Box<Node>, bool),
    Div(Box<(Node, Node)>),
    Pow(Box<(Node, Node)>),
    Call(Func, Vec<Node>),
    Percent(Box<Node>),
    Degree(Box<Node>),
    /// Items between delimiters: tuples, intervals, sets.
    Group {
        open: Delim,
        close: Delim,
        items: Vec<Node>,
    },
    /// A bare list.
    List(Vec<Node>),
    /// A bare list joined by "or".
    Or(Vec<Node>),
    /// A chain of relations, one more term than signs.
    Rel(Vec<Node>, Vec<Relation>),
    Set(SetOp, Vec<Node>),
    Ratio(Vec<Node>),
    Matrix(Vec<Vec<Node>>),
    /// Rows of value and condition.
    Cases(Vec<Vec<Node>>),
    /// A numeral in a base: its digits and the base.
    Base(String, u32),
    Big(Big, Box<BigParts>),
    Dots,
    /// A value with a unit. Soft units (one letter after a space) may also be variables.
    Quantity(Box<Node>, Unit, bool),
    /// A value followed by words that are no unit.
    Noted(Box<Node>, String),
    /// `{x | condition}`.
    Builder(Box<(Node, Node)>),
}

/// The parts of a sum or product sign.
#[derive(Clone, Debug, PartialEq)]
pub struct BigParts {
    /// The bound variable.
    pub var: String,
    /// First value.
    pub from: Node,
    /// Last value.
    pub to: Node,
    /// What is added or multiplied.
    pub body: Node,
}

impl Node {
    /// An integer.
    pub fn int(n: i64) -> Node {
        Node::Num(Number::integer(n))
    }

    /// The direct children.
    pub fn children(&self) -> Vec<&Node> {
        match self {
            Node::Num(_) | Node::Var(_) | Node::Const(_) | Node::Base(..) | Node::Dots => Vec::new(),
            Node::Add(v)
            | Node::Mul(v)
            | Node::List(v)
            | Node::Or(v)
            | Node::Rel(v, _)
            | Node::Set(_, v)
            | Node::Ratio(v)
            | Node::Call(_, v) => v.iter().collect(),
            Node::Group { items, .. } => items.iter().collect(),
            Node::Neg(x)
            | Node::PlusMinus(x, _)
            | Node::Percent(x)
            | Node::Degree(x)
            | Node::Quantity(x, ..)
            | Node::Noted(x, _) => {
                vec![x]
            }
            Node::Div(p) | Node::Pow(p) | Node::Builder(p) => vec![&p.0, &p.1],
            Node::Matrix(r) | Node::Cases(r) => r.iter().flatten().collect(),
            Node::Big(_, p) => vec![&p.from, &p.to, &p.body],
        }
    }

    /// The same node with every child replaced.
    pub fn map_children(&self, f: &mut impl FnMut(&Node) -> Node) -> Node {
        let all = |v: &[Node], f: &mut dyn FnMut(&Node) -> Node| v.iter().map(f).collect::<Vec<_>>();
        match self {
            Node::Num(_) | Node::Var(_) | Node::Const(_) | Node::Base(..) | Node::Dots => self.clone(),
            Node::Add(v) => Node::Add(all(v, f)),
            Node::Mul(v) => Node::Mul(all(v, f)),
            Node::List(v) => Node::List(all(v, f)),
            Node::Or(v) => Node::Or(all(v, f)),
            Node::Rel(v, ops) => Node::Rel(all(v, f), ops.clone()),
            Node::Set(op, v) => Node::Set(*op, all(v, f)),
            Node::Ratio(v) => Node::Ratio(all(v, f)),
            Node::Call(func, v) => Node::Call(*func, all(v, f)),
            Node::Group { open, close, items } => {
                Node::Group { open: *open, close: *close, items: all(items, f) }
            }
            Node::Neg(x) => Node::Neg(Box::new(f(x))),
            Node::PlusMinus(x, m) => Node::PlusMinus(Box::new(f(x)), *m),
            Node::Percent(x) => Node::Percent(Box::new(f(x))),
            Node::Degree(x) => Node::Degree(Box::new(f(x))),
            Node::Quantity(x, u, soft) => Node::Quantity(Box::new(f(x)), u.clone(), *soft),
            Node::Noted(x, w) => Node::Noted(Box::new(f(x)), w.clone()),
            Node::Div(p) => Node::Div(Box::new((f(&p.0), f(&p.1)))),
            Node::Pow(p) => Node::Pow(Box::new((f(&p.0), f(&p.1)))),
            Node::Builder(p) => Node::Builder(Box::new((f(&p.0), f(&p.1)))),
            Node::Matrix(r) => Node::Matrix(r.iter().map(|row| all(row, f)).collect()),
            Node::Cases(r) => Node::Cases(r.iter().map(|row| all(row, f)).collect()),
            Node::Big(kind, p) => Node::Big(
                *kind,
                Box::new(BigParts { var: p.var.clone(), from: f(&p.from), to: f(&p.to), body: f(&p.body) }),
            ),
        }
    }

    /// The same expression with a free variable replaced.
    pub fn substitute(&self, name: &str, by: &Node) -> Node {
        match self {
            Node::Var(v) if v == name => by.clone(),
            Node::Big(kind, p) if p.var == name => Node::Big(
                *kind,
                Box::new(BigParts {
                    var: p.var.clone(),
                    from: p.from.substitute(name, by),
                    to: p.to.substitute(name, by),
                    body: p.body.clone(),
                }),
            ),
            _ => self.map_children(&mut |c| c.substitute(name, by)),
        }
    }

    /// The number of nodes, counted up to a limit; none beyond it.
    pub fn size_within(&self, limit: usize) -> Option<usize> {
        let mut n = 0;
        let beyond = self.any(&mut |_| {
            n += 1;
            n > limit
        });
        (!beyond).then_some(n)
    }

    /// Whether it takes many steps to evaluate for its size.
    pub fn is_costly(&self) -> bool {
        self.any(&mut |n| {
            matches!(n, Node::Big(..) | Node::Call(Func::Factorial | Func::DoubleFactorial | Func::Binom, _))
        })
    }

    /// How many products its factorials and binomial coefficients ask for: the sum of the numerals in them.
    pub fn factorial_weight(&self) -> u64 {
        let mut weight = 0u64;
        self.any(&mut |n| {
            if let Node::Call(Func::Factorial | Func::DoubleFactorial | Func::Binom, arguments) = n {
                for argument in arguments {
                    argument.any(&mut |n| {
                        if let Node::Num(n) = n {
                            weight = weight.saturating_add(n.value.to_integer().to_u64().unwrap_or(u64::MAX));
                        }
                        false
                    });
                }
            }
            false
        });
        weight
    }

    /// Whether some node of the tree satisfies the test.
    pub fn any(&self, test: &mut impl FnMut(&Node) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|c| c.any(test))
    }

    /// The free variables, in order of first appearance; `i` is the imaginary unit and not among them.
    pub fn variables(&self) -> Vec<String> {
        fn walk(node: &Node, bound: &mut Vec<String>, out: &mut Vec<String>) {
            match node {
                Node::Var(v) => {
                    if v != "i" && !bound.contains(v) && !out.contains(v) && out.len() < 64 {
                        out.push(v.clone());
                    }
                }
                Node::Big(_, p) => {
                    walk(&p.from, bound, out);
                    walk(&p.to, bound, out);
                    bound.push(p.var.clone());
                    walk(&p.body, bound, out);
                    bound.pop();
                }
                _ => {
                    for c in node.children() {
                        walk(c, bound, out);
                    }
                }
            }
        }
        let mut out = Vec::new();
        walk(self, &mut Vec::new(), &mut out);
        out
    }
}
