//! From a syntax tree to a value; numbers and matrices are read here.

use num_traits::Zero;

use super::{
    Value,
    labels::constant_part,
    lists::{condition, list, sequence},
    relations::relation,
    sets::{builder, finite_sets, interval, named_sets, to_region},
};
use crate::{
    lex::{Delim, SyntaxError},
    limits,
    policy::{Percent, Policy},
    region::Region,
    scalar::Scalar,
    series::{self, dotted},
    syntax::{Big, Constant, Node, SetOp},
};

fn is_literal_zero(node: &Node) -> bool {
    matches!(node, Node::Num(n) if n.value.is_zero())
}

/// All readings of the plus-minus signs. Independent, unless a minus-plus ties them together.
pub(super) fn expand_signs(node: &Node) -> Option<Vec<Node>> {
    let (mut count, mut zeros, mut tied) = (0usize, 0usize, false);
    node.any(&mut |n| {
        match n {
            Node::PlusMinus(x, _) if is_literal_zero(x) => zeros += 1,
            Node::PlusMinus(_, minus) => {
                count += 1;
                tied |= *minus;
            }
            _ => {}
        }
        false
    });
    if count + zeros == 0 {
        return None;
    }
    let readings: usize = if tied && count > 0 { 2 } else { 1 << count.min(8) };
    if readings > limits::SIGNS {
        return None;
    }
    fn replace(node: &Node, signs: usize, next: &mut usize, tied: bool) -> Node {
        if let Node::PlusMinus(x, minus) = node {
            // 7 ± 0 is 7, once.
            if is_literal_zero(x) {
                return (**x).clone();
            }
            let bit = if tied { signs & 1 } else { (signs >> *next) & 1 };
            *next += 1;
            let x = replace(x, signs, next, tied);
            return if (bit == 1) != *minus { Node::Neg(Box::new(x)) } else { x };
        }
        node.map_children(&mut |c| replace(c, signs, next, tied))
    }
    Some((0..readings).map(|signs| replace(node, signs, &mut 0, tied)).collect())
}

pub(super) fn scalar(node: &Node, policy: &Policy) -> Value {
    let node = match node {
        Node::Percent(x) if policy.percent == Percent::Ignore => (**x).clone(),
        n => n.clone(),
    };
    let node = series::inner_dots(&node).unwrap_or(node);
    let node = series::geometric_series(&node).unwrap_or(node);
    Value::Scalar(Box::new(Scalar::new(node)))
}

pub(super) fn infinity(node: &Node) -> Option<i8> {
    match node {
        Node::Const(Constant::Infinity) => Some(1),
        Node::Neg(x) => infinity(x).map(|s| -s),
        Node::PlusMinus(x, _) => infinity(x).map(|_| 0),
        _ => None,
    }
}

pub(super) fn err<T>(expected: &'static str) -> Result<T, SyntaxError> {
    Err(SyntaxError::Expected { expected, at: 0 })
}

/// Gives a syntax tree its meaning.
pub fn convert(node: &Node, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    if depth > limits::DEPTH {
        return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
    }
    if let Some(sign) = infinity(node) {
        return Ok(Value::Infinity(sign));
    }
    let each = |v: &[Node]| v.iter().map(|n| convert(n, policy, depth + 1)).collect::<Result<Vec<_>, _>>();
    match node {
        Node::Const(Constant::Empty) => Ok(Value::Region(Region::empty())),
        Node::Const(Constant::Reals) => Ok(Value::Region(Region::all())),
        Node::Const(
            c @ (Constant::Integers | Constant::Naturals | Constant::Rationals | Constant::Complexes),
        ) => Ok(Value::Numbers(*c)),
        Node::List(items) | Node::Or(items) => list(items, matches!(node, Node::Or(_)), policy, depth),
        Node::Noted(x, _) => convert(x, policy, depth + 1),
        Node::Quantity(x, unit, soft) if !is_plain_scalar(x) => match &**x {
            // units on a whole collection: (3, 4) cm
            Node::Group { open, close, items } => {
                let items =
                    items.iter().map(|i| Node::Quantity(Box::new(i.clone()), unit.clone(), *soft)).collect();
                convert(&Node::Group { open: *open, close: *close, items }, policy, depth + 1)
            }
            Node::PlusMinus(..) => {
                let parts = expand_signs(node).unwrap_or_default();
                Ok(Value::List(each(&parts)?))
            }
            _ => Ok(scalar(node, policy)),
        },
        Node::Group { open: Delim::Brace, items, .. } => {
            if items.iter().any(|n| matches!(n, Node::Dots)) {
                return sequence(items, policy, depth);
            }
            let mut out = Vec::new();
            for item in items {
                match expand_signs(item) {
                    Some(parts) => out.extend(each(&parts)?),
                    None => out.push(convert(item, policy, depth + 1)?),
                }
            }
            Ok(Value::Set(out))
        }
        Node::Group { open, close, items } => {
            if items.is_empty() {
                return if *open == Delim::Bracket {
                    Ok(Value::Region(Region::empty()))
                } else {
                    err("items in the brackets")
                };
            }
            if items.iter().any(|n| matches!(n, Node::Dots)) {
                return sequence(items, policy, depth);
            }
            if let Some(parts) = expand_signs(node) {
                return Ok(Value::List(each(&parts)?));
            }
            let values = each(items)?;
            if values.len() == 2 && (open != close || values.iter().any(|v| matches!(v, Value::Infinity(_))))
            {
                return match interval(*open, *close, &values) {
                    Some(region) => Ok(Value::Region(region)),
                    None => err("an interval"),
                };
            }
            if open != close {
                return err("the matching bracket");
            }
            // [[1, 2], [3, 4]]
            if *open == Delim::Bracket
                && values.len() > 1
                && values.iter().all(|v| matches!(v, Value::Tuple { open: Delim::Bracket, .. }))
            {
                let rows: Vec<Vec<Value>> = values
                    .into_iter()
                    .map(|v| if let Value::Tuple { items, .. } = v { items } else { Vec::new() })
                    .collect();
                return Ok(Value::Matrix(rows));
            }
            Ok(Value::Tuple { open: *open, close: *close, items: values })
        }
        Node::Matrix(rows) => Ok(Value::Matrix(rows.iter().map(|r| each(r)).collect::<Result<_, _>>()?)),
        Node::Cases(rows) => {
            let rows = rows
                .iter()
                .map(|r| Ok((convert(&r[0], policy, depth + 1)?, condition(&r[1], policy, depth + 1)?)));
            Ok(Value::Cases(rows.collect::<Result<_, SyntaxError>>()?))
        }
        Node::Ratio(v) => {
            if v.iter().all(is_plain_scalar) {
                Ok(Value::Ratio(v.iter().cloned().map(Scalar::new).collect()))
            } else {
                err("numbers in the ratio")
            }
        }
        Node::Set(op, v) => {
            let mut parts = each(v)?.into_iter();
            let Some(first) = parts.next() else { return err("sets") };
            if let Some(text) = named_sets(*op, v) {
                return Ok(Value::Text(text));
            }
            let Some(mut acc) = to_region(&first) else { return finite_sets(*op, first, parts.collect()) };
            for p in parts {
                let Some(r) = to_region(&p) else { return err("a set of numbers") };
                let Some(combined) = acc.combine(*op, &r) else { return err("comparable bounds") };
                acc = combined;
            }
            Ok(Value::Region(acc))
        }
        Node::Builder(p) => builder(p, policy, depth),
        Node::Rel(terms, ops) => relation(terms, ops, policy, depth),
        Node::Dots => err("a value"),
        Node::Add(v) | Node::Mul(v) if v.iter().any(is_dots) => {
            let kind = if matches!(node, Node::Add(_)) { Big::Sum } else { Big::Product };
            match dotted(v, kind) {
                Some(node) => Ok(scalar(&node, policy)),
                // Without a rule only the same items are equal, joined by the same sign.
                None => match sequence(v, policy, depth)? {
                    Value::Sequence(mut items) => {
                        let sign = if kind == Big::Sum { "sum" } else { "product" };
                        items.insert(0, Some(Value::Text(sign.into())));
                        Ok(Value::Sequence(items))
                    }
                    other => Ok(other),
                },
            }
        }
        // R - {2}
        Node::Add(v) if matches!(v[0], Node::Const(Constant::Reals)) => {
            let mut parts = vec![v[0].clone()];
            for n in &v[1..] {
                let Node::Neg(x) = n else { return err("a difference of sets") };
                parts.push((**x).clone());
            }
            convert(&Node::Set(SetOp::Difference, parts), policy, depth + 1)
        }
        Node::Mul(v) if v.iter().any(|n| matches!(n, Node::Matrix(_))) => match scaled_matrix(v) {
            Some(matrix) => convert(&matrix, policy, depth + 1),
            None => err("a number times a matrix"),
        },
        Node::Div(p) if matches!(p.0, Node::Matrix(_)) => {
            let inverse = Node::Div(Box::new((Node::int(1), p.1.clone())));
            match scaled_matrix(&[inverse, p.0.clone()]) {
                Some(matrix) => convert(&matrix, policy, depth + 1),
                None => err("a matrix over a number"),
            }
        }
        Node::Neg(x) if matches!(&**x, Node::Mul(v) if v.iter().any(|n| matches!(n, Node::Matrix(_)))) => {
            let Node::Mul(v) = &**x else { return err("a product") };
            let mut parts = vec![Node::int(-1)];
            parts.extend(v.iter().cloned());
            convert(&Node::Mul(parts), policy, depth + 1)
        }
        Node::Neg(x) if matches!(**x, Node::Matrix(_)) => {
            match scaled_matrix(&[Node::int(-1), (**x).clone()]) {
                Some(matrix) => convert(&matrix, policy, depth + 1),
                None => err("a matrix"),
            }
        }
        // 1/3 (1, 2, 2): a number times a vector.
        Node::Mul(v)
            if matches!(v.last(), Some(Node::Group { open: Delim::Paren, close: Delim::Paren, items })
                if items.len() >= 2 && items.iter().all(is_plain_scalar) && !items.iter().any(is_dots))
                && v[..v.len() - 1]
                    .iter()
                    .all(|n| is_plain_scalar(n) && constant_part(n) && infinity(n).is_none())
                && !node.any(&mut |n| matches!(n, Node::Var(_) | Node::PlusMinus(..))) =>
        {
            let Some((Node::Group { items, .. }, scale)) = v.split_last() else { return err("a vector") };
            let items = items
                .iter()
                .map(|x| {
                    let mut parts = scale.to_vec();
                    parts.push(x.clone());
                    Node::Mul(parts)
                })
                .collect();
            convert(&Node::Group { open: Delim::Paren, close: Delim::Paren, items }, policy, depth + 1)
        }
        // P(3, 4): a named point.
        Node::Mul(v)
            if matches!(&v[..], [Node::Var(name), Node::Group { open: Delim::Paren, close: Delim::Paren, items }]
                if items.len() >= 2 && name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.trim_end_matches('\'').split('_').next().is_some_and(|n| n.len() == 1)) =>
        {
            convert(&v[1], policy, depth + 1)
        }
        _ => {
            if let Some(parts) = expand_signs(node) {
                return Ok(Value::List(each(&parts)?));
            }
            let value = scalar(node, policy);
            // 1/0 and its like mean nothing.
            Ok(value)
        }
    }
}

/// The product of numbers with exactly one matrix.
fn scaled_matrix(factors: &[Node]) -> Option<Node> {
    let at = factors.iter().position(|n| matches!(n, Node::Matrix(_)))?;
    let Node::Matrix(rows) = &factors[at] else { return None };
    let mut scale = factors.to_vec();
    scale.remove(at);
    if !scale.iter().all(is_plain_scalar) {
        return None;
    }
    let entry = |x: &Node| {
        let mut parts = scale.clone();
        parts.push(x.clone());
        Node::Mul(parts)
    };
    Some(Node::Matrix(rows.iter().map(|r| r.iter().map(entry).collect()).collect()))
}

/// Whether a node is the dots of a list or sum.
pub fn is_dots(node: &Node) -> bool {
    matches!(node, Node::Dots) || matches!(node, Node::Neg(x) if matches!(**x, Node::Dots))
}

pub(super) fn is_plain_scalar(node: &Node) -> bool {
    !matches!(
        node,
        Node::Group { .. }
            | Node::List(_)
            | Node::Or(_)
            | Node::Rel(..)
            | Node::Set(..)
            | Node::Matrix(_)
            | Node::Cases(_)
            | Node::Dots
            | Node::Builder(_)
            | Node::PlusMinus(..)
    )
}
