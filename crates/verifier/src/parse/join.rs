//! How an operand joins the value before it: flat sums and products.

use num_traits::Zero;

use crate::syntax::{Func, Node, SetOp};

/// How an operand joins the value before it.
#[derive(Clone, Copy)]
pub(super) enum Join {
    Add,
    Subtract,
    PlusMinus(bool),
    Multiply,
    Divide,
    Power,
    PowerOfNegative,
    Mod,
    Choose,
    Ratio,
    Set(SetOp),
}

impl Join {
    /// Whether joining to `left` makes the tree no deeper than its parts.
    pub(super) fn is_flat(self, left: &Node) -> bool {
        match self {
            Join::Add | Join::Subtract | Join::PlusMinus(_) => matches!(left, Node::Add(_)),
            Join::Multiply | Join::Divide => matches!(left, Node::Mul(_)),
            Join::Ratio => matches!(left, Node::Ratio(_)),
            Join::Set(op) => matches!(left, Node::Set(o, _) if *o == op),
            Join::Power | Join::PowerOfNegative | Join::Mod | Join::Choose => false,
        }
    }
}

#[inline(never)]
pub(super) fn joined(a: Node, b: Node, join: Join) -> Node {
    match join {
        Join::Add => add(a, b),
        Join::Subtract => add(a, Node::Neg(Box::new(b))),
        Join::PlusMinus(minus) => add(a, Node::PlusMinus(Box::new(b), minus)),
        Join::Multiply => multiply(a, b),
        // A chain of divisions stays flat: a/b/c is a/b times 1/c.
        Join::Divide if matches!(a, Node::Mul(_) | Node::Div(_)) => {
            multiply(a, Node::Div(Box::new((Node::int(1), b))))
        }
        Join::Divide => Node::Div(Box::new((a, b))),
        // (1, 2)^T: a column is compared like a row
        Join::Power
            if matches!(&b, Node::Var(t) if matches!(t.as_str(), "T" | "top" | "intercal"))
                && matches!(&a, Node::Matrix(_) | Node::Group { .. }) =>
        {
            match a {
                Node::Matrix(rows) if rows.iter().all(|r| r.len() == rows[0].len()) => Node::Matrix(
                    (0..rows[0].len()).map(|j| rows.iter().map(|r| r[j].clone()).collect()).collect(),
                ),
                a => a,
            }
        }
        Join::Power => Node::Pow(Box::new((a, b))),
        Join::PowerOfNegative => Node::Pow(Box::new((a, Node::Neg(Box::new(b))))),
        Join::Mod => Node::Call(Func::Mod, vec![a, b]),
        Join::Choose => Node::Call(Func::Binom, vec![a, b]),
        Join::Ratio => match a {
            Node::Ratio(mut v) => {
                v.push(b);
                Node::Ratio(v)
            }
            a => Node::Ratio(vec![a, b]),
        },
        Join::Set(op) => match a {
            Node::Set(o, mut v) if o == op => {
                v.push(b);
                Node::Set(op, v)
            }
            a => Node::Set(op, vec![a, b]),
        },
    }
}

/// A flat sum.
pub fn add(a: Node, b: Node) -> Node {
    match a {
        Node::Add(mut v) => {
            v.push(b);
            Node::Add(v)
        }
        a => Node::Add(vec![a, b]),
    }
}

/// A flat product.
pub fn multiply(a: Node, b: Node) -> Node {
    match a {
        Node::Mul(mut v) => {
            v.push(b);
            Node::Mul(v)
        }
        Node::Num(ref n) if n.value.is_zero() && n.decimal.is_none() => Node::Mul(vec![a, b]),
        a => Node::Mul(vec![a, b]),
    }
}
