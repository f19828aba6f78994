//! Sets: unions, intervals, `{x | condition}`.

use super::{
    Value,
    convert::{convert, err, scalar},
    read::subject,
};
use crate::{
    lex::{Delim, SyntaxError},
    policy::Policy,
    region::{Interval, Region},
    scalar::Scalar,
    syntax::{Constant, Node, Relation, SetOp},
};

/// Unions and intersections of named sets, in one order.
pub(super) fn named_sets(op: SetOp, v: &[Node]) -> Option<String> {
    let mut names = v
        .iter()
        .map(|n| match n {
            Node::Var(name) => Some(name.clone()),
            Node::Set(op, v) => named_sets(*op, v).map(|s| format!("({s})")),
            _ => None,
        })
        .collect::<Option<Vec<String>>>()?;
    let sign = match op {
        SetOp::Union => " ∪ ",
        SetOp::Intersection => " ∩ ",
        SetOp::Difference => return Some(names.join(" ∖ ")),
    };
    names.sort();
    names.dedup();
    Some(names.join(sign))
}

pub(super) fn finite_sets(op: SetOp, first: Value, rest: Vec<Value>) -> Result<Value, SyntaxError> {
    // Unions of finite sets of anything.
    let (Value::Set(mut items), SetOp::Union) = (first, op) else { return err("a set of numbers") };
    for v in rest {
        let Value::Set(more) = v else { return err("a set") };
        items.extend(more);
    }
    Ok(Value::Set(items))
}

/// An interval from two bracketed values.
pub fn interval(open: Delim, close: Delim, items: &[Value]) -> Option<Region> {
    let [a, b] = items else { return None };
    let closed = |d| match d {
        Delim::Bracket => Some(true),
        Delim::Paren => Some(false),
        _ => None,
    };
    let (low_closed, high_closed) = (closed(open)?, closed(close)?);
    let low = match a {
        Value::Infinity(s) if *s < 0 => None,
        Value::Scalar(s) => Some(((**s).clone(), low_closed)),
        _ => return None,
    };
    let high = match b {
        Value::Infinity(s) if *s > 0 => None,
        Value::Scalar(s) => Some(((**s).clone(), high_closed)),
        _ => return None,
    };
    // Ends in the wrong order, or one point that does not belong: a pair, no interval.
    if let (Some((x, low_closed)), Some((y, high_closed))) = (&low, &high) {
        match x.order(y) {
            Some(std::cmp::Ordering::Greater) => return None,
            Some(std::cmp::Ordering::Equal) if !(*low_closed && *high_closed) => return None,
            _ => {}
        }
    }
    Some(Region::interval(Interval { low, high }))
}

/// A value as a set of real numbers, if it is one.
pub fn to_region(value: &Value) -> Option<Region> {
    match value {
        Value::Region(r) => Some(r.clone()),
        Value::Tuple { open, close, items } => interval(*open, *close, items),
        Value::Set(items) => {
            let mut acc = Region::empty();
            for item in items.iter().take(64) {
                let Value::Scalar(s) = item else { return None };
                acc = acc.combine(SetOp::Union, &Region::point((**s).clone()))?;
            }
            (items.len() <= 64).then_some(acc)
        }
        Value::List(items)
            if items.len() > 1
                && items.iter().all(|i| matches!(i, Value::Tuple { .. } | Value::Region(_))) =>
        {
            let mut acc = Region::empty();
            for item in items.iter().take(16) {
                acc = acc.combine(SetOp::Union, &to_region(item)?)?;
            }
            Some(acc)
        }
        Value::Builder(..) => None,
        _ => None,
    }
}

pub(super) fn builder(p: &(Node, Node), policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let (head, condition) = p;
    // {x | x > 2}, {x ∈ R | x ≠ 0}
    let conditions: Vec<&Node> = match condition {
        Node::List(v) => v.iter().filter(|n| !matches!(n, Node::Rel(t, o) if o.first() == Some(&Relation::In) && matches!(t.last(), Some(Node::Const(Constant::Reals))))).collect(),
        other => vec![other],
    };
    let simple_head = matches!(head, Node::Var(_))
        || matches!(head, Node::Rel(t, o) if o[..] == [Relation::In] && matches!(t[..], [Node::Var(_), Node::Const(Constant::Reals)]));
    if simple_head {
        let node = match conditions.len() {
            1 => conditions[0].clone(),
            _ => Node::List(conditions.into_iter().cloned().collect()),
        };
        let value = convert(&node, policy, depth + 1)?;
        return Ok(match value {
            Value::Assign { value, .. } => match *value {
                Value::Scalar(s) => Value::Set(vec![Value::Scalar(s)]),
                other => other,
            },
            other => other,
        });
    }
    if let Some(items) = enumerated(head, condition, policy, depth) {
        return Ok(Value::Set(items));
    }
    let value = convert(head, policy, depth + 1)?;
    let condition = convert(condition, policy, depth + 1).unwrap_or(Value::Undefined);
    Ok(Value::Builder(Box::new(value), Box::new(condition)))
}

/// `{x ∈ Z | 1 ≤ x ≤ 3}` and `{2k | k = 1, 2, 3}` as the list of their items, if there are few.
fn enumerated(head: &Node, condition: &Node, policy: &Policy, depth: u32) -> Option<Vec<Value>> {
    // The conditions that say in which set the name lies, and the others.
    let conditions: Vec<&Node> = match condition {
        Node::List(v) => v.iter().collect(),
        one => vec![one],
    };
    let integers = |n: &Node| match n {
        Node::Rel(t, o) if o[..] == [Relation::In] => match (&t[0], &t[1]) {
            (Node::Var(name), Node::Const(Constant::Integers)) => Some((name.clone(), false)),
            (Node::Var(name), Node::Const(Constant::Naturals)) => Some((name.clone(), true)),
            _ => None,
        },
        _ => None,
    };
    let (name, natural, item) = match integers(head) {
        Some((name, natural)) => (name.clone(), natural, Node::Var(name)),
        None => match conditions.iter().find_map(|c| integers(c)) {
            Some((name, natural)) => (name, natural, head.clone()),
            None => {
                // k = 1, 2, 3
                let names = head.variables();
                let [name] = &names[..] else { return None };
                let Value::List(values) = convert(condition, policy, depth + 1).ok()? else { return None };
                let bound = conditions.first().is_some_and(
                    |c| matches!(c, Node::Rel(t, o) if o[..] == [Relation::Eq] && t[0] == Node::Var(name.clone())),
                );
                return (bound && values.len() <= 1000).then_some(()).and_then(|()| {
                    values
                        .iter()
                        .map(|v| match v {
                            Value::Scalar(s) => Some(scalar(&head.substitute(name, &s.node), policy)),
                            _ => None,
                        })
                        .collect()
                });
            }
        },
    };
    let rest: Vec<Node> = conditions.into_iter().filter(|c| integers(c).is_none()).cloned().collect();
    let node = match rest.len() {
        0 => return None,
        1 => rest[0].clone(),
        _ => Node::List(rest),
    };
    if subject(&node).as_ref() != Some(&name) {
        return None;
    }
    let mut region = to_region(&convert(&node, policy, depth + 1).ok()?)?;
    if natural {
        region = region.combine(SetOp::Intersection, &Region::relation(Relation::Gt, Scalar::int(0))?)?;
    }
    let Region::Sorted { points, inside } = &region else { return None };
    if inside[0] || *inside.last()? {
        return None;
    }
    let at = |s: &Scalar| s.enclosure::<2>().and_then(|b| b.mid.floor());
    let (low, high) = (at(points.first()?)?, at(points.last()?)?.checked_add(1)?);
    if high.checked_sub(low)? > 1000 || item.size_within(32).is_none() {
        return None;
    }
    let mut items = Vec::new();
    for k in low..=high {
        if region.contains(&Scalar::int(k))? {
            items.push(scalar(&item.substitute(&name, &Node::int(k)), policy));
        }
    }
    Some(items)
}
