//! Bare lists, sequences with dots, and the conditions of cases.

use super::{
    Value,
    convert::{convert, expand_signs, infinity, is_dots, is_plain_scalar},
    labels::{at_number, constant_part},
    sets::to_region,
};
use crate::{
    lex::SyntaxError,
    number::Number,
    policy::Policy,
    region::Region,
    scalar::Rounding,
    syntax::{Constant, Node, Relation, SetOp},
};

pub(super) fn sequence(items: &[Node], policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let items =
        items.iter().map(|n| if is_dots(n) { Ok(None) } else { convert(n, policy, depth + 1).map(Some) });
    Ok(Value::Sequence(items.collect::<Result<_, _>>()?))
}

/// The condition of a case: a set of numbers, or words such as "n even".
pub(super) fn condition(node: &Node, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let word = |n: &Node| match n {
        Node::Var(w) if w.len() > 1 && w != "otherwise" => Some(w.clone()),
        _ => None,
    };
    match node {
        Node::Noted(x, w) => match &**x {
            Node::Var(name) => Ok(Value::Text(format!("{name} {w}"))),
            other => convert(other, policy, depth),
        },
        Node::Rel(terms, ops) if ops[..] == [Relation::Eq] => match (&terms[0], word(&terms[1])) {
            (Node::Var(name), Some(w)) => Ok(Value::Text(format!("{name} {w}"))),
            _ => convert(node, policy, depth),
        },
        _ => convert(node, policy, depth),
    }
}

pub(super) fn is_integer_condition(node: &Node) -> bool {
    matches!(node, Node::Rel(terms, ops)
        if ops.first() == Some(&Relation::In)
            && matches!(terms.last(), Some(Node::Const(Constant::Integers | Constant::Naturals | Constant::Reals))))
}

pub(super) fn list(items: &[Node], or: bool, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    if items.iter().any(is_dots) {
        return sequence(items, policy, depth);
    }
    // Conditions are no items; in "a x + b, a, b ∈ R" the name before a condition belongs to it.
    let mut kept: Vec<&Node> = Vec::new();
    let mut condition = false;
    for (k, node) in items.iter().enumerate().rev() {
        condition = is_integer_condition(node) || condition && k > 0 && matches!(node, Node::Var(_));
        if !condition {
            kept.push(node);
        }
    }
    kept.reverse();
    let kept: Vec<&Node> = if kept.is_empty() { items.iter().collect() } else { kept };
    // x ≠ 1, -1
    if let [Node::Rel(terms, ops), rest @ ..] = &kept[..]
        && let ([term @ Node::Var(_), _], [Relation::Ne]) = (&terms[..], &ops[..])
        && !rest.is_empty()
        && rest.len() < 32
    {
        let points: Vec<Node> =
            rest.iter().flat_map(|n| expand_signs(n).unwrap_or_else(|| vec![(*n).clone()])).collect();
        if points.iter().all(|n| is_plain_scalar(n) && constant_part(n) && infinity(n).is_none()) {
            let mut all = vec![kept[0].clone()];
            all.extend(points.into_iter().map(|n| Node::Rel(vec![term.clone(), n], vec![Relation::Ne])));
            return list(&all, false, policy, depth + 1);
        }
    }
    // d(6) = 1/3, d(16) = 1: one function's values at different numbers.
    fn value_at(n: &Node) -> Option<(&String, &Number, &Node)> {
        match n {
            Node::Rel(terms, ops) if ops[..] == [Relation::Eq] => {
                at_number(&terms[0]).map(|(f, at)| (f, at, &terms[1]))
            }
            _ => None,
        }
    }
    let at: Option<Vec<_>> = kept.iter().map(|n| value_at(n)).collect();
    let kept = match at {
        Some(at)
            if at.len() > 1
                && at.iter().enumerate().all(|(k, (f, x, _))| {
                    *f == at[0].0 && at[..k].iter().all(|(_, other, _)| other.value != x.value)
                }) =>
        {
            at.into_iter().map(|(_, _, value)| value).collect()
        }
        _ => kept,
    };
    let mut values = Vec::new();
    for node in &kept {
        match expand_signs(node) {
            Some(parts) => {
                for p in &parts {
                    values.push(convert(p, policy, depth + 1)?);
                }
            }
            None => values.push(convert(node, policy, depth + 1)?),
        }
    }
    if values.len() == 1 {
        return Ok(values.remove(0));
    }
    // "3/8 or 37.5%" is one value twice.
    if or && values.len() <= 4 {
        let exact = Rounding { significant: u32::MAX, relative: 0.0 };
        let same = |a: &Value, b: &Value| match (a, b) {
            (Value::Scalar(x), Value::Scalar(y)) => x.unit == y.unit && x.compare(y, exact).equal,
            _ => false,
        };
        if values[1..].iter().all(|v| same(&values[0], v)) {
            return Ok(values.remove(0));
        }
    }
    // Inequalities joined by commas, "and", "or".
    let inequality =
        |n: &Node| matches!(n, Node::Rel(_, ops) if ops.iter().any(|o| o.is_order() || *o == Relation::Ne));
    if kept.iter().any(|n| inequality(n))
        && values.iter().all(|v| matches!(v, Value::Region(_) | Value::Assign { .. }))
    {
        let regions: Option<Vec<Region>> = values
            .iter()
            .map(|v| match v {
                Value::Assign { value, .. } => match &**value {
                    Value::Scalar(s) => Some(Region::point((**s).clone())),
                    other => to_region(other),
                },
                other => to_region(other),
            })
            .collect();
        // Bounds on different variables are no set of numbers.
        let names: Vec<String> = kept.iter().flat_map(|n| relation_names(n)).collect();
        let one_name = names.iter().all(|n| *n == names[0]);
        if let Some(regions) = regions.filter(|_| one_name) {
            let fold = |op| {
                let mut all = regions.iter().cloned();
                let first = all.next()?;
                all.try_fold(first, |acc: Region, r| acc.combine(op, &r))
            };
            let both = if or { None } else { fold(SetOp::Intersection).filter(|r| !r.is_empty()) };
            if let Some(region) = both.or_else(|| fold(SetOp::Union)) {
                return Ok(Value::Region(region));
            }
        }
    }
    // Assignments: a system, or the values of one name.
    let names: Vec<Option<&String>> =
        values.iter().map(|v| if let Value::Assign { name, .. } = v { Some(name) } else { None }).collect();
    if values.len() > 1 && names.iter().all(Option::is_some) {
        let mut distinct: Vec<&String> = names.iter().flatten().copied().collect();
        distinct.sort();
        distinct.dedup();
        // x = 1, y = 3 or x = 3, y = 1: the names come round.
        let period = distinct.len();
        let round = period > 1
            && values.len().is_multiple_of(period)
            && names.iter().enumerate().all(|(k, name)| *name == names[k % period]);
        if period == values.len() || round {
            let pairs: Vec<(String, Value)> = values
                .into_iter()
                .filter_map(|v| {
                    if let Value::Assign { name, value, .. } = v { Some((name, *value)) } else { None }
                })
                .collect();
            let mut systems: Vec<Value> =
                pairs.chunks(period).map(|system| Value::System(system.to_vec())).collect();
            return Ok(if systems.len() == 1 { systems.remove(0) } else { Value::List(systems) });
        }
    }
    // x = 1, 2: the name stands for all. x = 1, x = 2 as well.
    let any_name = names.iter().any(Option::is_some);
    if any_name && names.first().is_some_and(Option::is_some) {
        let first = names[0];
        if names.iter().all(|n| n.is_none() || *n == first) {
            let values = values
                .into_iter()
                .flat_map(|v| match v {
                    Value::Assign { value, .. } => match *value {
                        Value::List(items) => items,
                        one => vec![one],
                    },
                    other => vec![other],
                })
                .collect();
            return Ok(Value::List(values));
        }
    }
    Ok(Value::List(values))
}

fn relation_names(node: &Node) -> Vec<String> {
    match node {
        Node::Rel(terms, _) => {
            let mut names: Vec<String> = terms
                .iter()
                .filter_map(|t| if let Node::Var(v) = t { Some(v.clone()) } else { None })
                .collect();
            names.truncate(1);
            names
        }
        _ => Vec::new(),
    }
}
