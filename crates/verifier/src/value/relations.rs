//! Relations: equations, inequalities, congruences, and the sets that solve them.

use num_traits::{One, Signed, Zero};

use super::{
    Value,
    convert::{convert, err, expand_signs, infinity, is_dots, is_plain_scalar},
    labels::{argument, at_number, combination, constant_part, label},
    lists::list,
    sets::to_region,
};
use crate::{
    lex::{Delim, SyntaxError},
    number::Number,
    policy::Policy,
    region::{Interval, Region},
    scalar::Scalar,
    syntax::{Func, Node, Relation, SetOp},
};

pub(super) fn relation(
    terms: &[Node],
    ops: &[Relation],
    policy: &Policy,
    depth: u32,
) -> Result<Value, SyntaxError> {
    // An approximation after an exact value says nothing new.
    if let Some(k) = ops.iter().position(|o| *o == Relation::Approx) {
        if k > 0 {
            return relation(&terms[..=k], &ops[..k], policy, depth);
        }
        if label(&terms[0]).is_none() && constant_part(&terms[0]) {
            return convert(&terms[0], policy, depth + 1);
        }
        let mut equal = ops.to_vec();
        equal[0] = Relation::Eq;
        return relation(terms, &equal, policy, depth);
    }
    if ops.is_empty() {
        return convert(&terms[0], policy, depth + 1);
    }
    if let ([name, set], [Relation::In]) = (terms, ops) {
        let _ = name;
        return convert(set, policy, depth + 1);
    }
    if let ([_, set], [Relation::NotIn]) = (terms, ops) {
        let set = convert(set, policy, depth + 1)?;
        return match to_region(&set).and_then(|r| Region::all().combine(SetOp::Difference, &r)) {
            Some(r) => Ok(Value::Region(r)),
            None => err("a set of numbers"),
        };
    }
    if let ([Node::Var(name), Node::Call(Func::Mod, v)], [Relation::Congruent | Relation::Eq]) = (terms, ops)
    {
        if let Some(parts) = expand_signs(&v[0]) {
            return Ok(Value::List(
                parts
                    .into_iter()
                    .map(|residue| Value::Congruence {
                        name: name.clone(),
                        residue: Box::new(Scalar::new(residue)),
                        modulus: Box::new(Scalar::new(v[1].clone())),
                    })
                    .collect(),
            ));
        }
        return Ok(Value::Congruence {
            name: name.clone(),
            residue: Box::new(Scalar::new(v[0].clone())),
            modulus: Box::new(Scalar::new(v[1].clone())),
        });
    }
    // f ≡ 0: equal everywhere.
    if ops.contains(&Relation::Congruent)
        && !terms.iter().any(|t| t.any(&mut |n| matches!(n, Node::Call(Func::Mod, _))))
    {
        let equal: Vec<Relation> =
            ops.iter().map(|o| if *o == Relation::Congruent { Relation::Eq } else { *o }).collect();
        return relation(terms, &equal, policy, depth);
    }
    if ops.iter().all(|o| *o == Relation::Eq) {
        let (first, last) = (&terms[0], &terms[terms.len() - 1]);
        let difference = || {
            let ok = is_plain_scalar(first) && is_plain_scalar(last);
            ok.then(|| Box::new(Scalar::new(first.clone()).minus(&Scalar::new(last.clone()))))
                .filter(|s| s.is_evaluable())
        };
        // x = y = z = 4 names three unknowns with one value.
        if let [names @ .., value] = terms
            && names.len() > 1
            && constant_part(value)
            && let Some(names) = names
                .iter()
                .map(|n| match n {
                    Node::Var(v) if v.chars().count() == 1 => Some(v.clone()),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>()
            && names.iter().enumerate().all(|(k, n)| !names[..k].contains(n))
        {
            let value = convert(value, policy, depth + 1)?;
            return Ok(Value::System(names.into_iter().map(|n| (n, value.clone())).collect()));
        }
        if let Some(name) = label(first) {
            let value = convert(last, policy, depth + 1)?;
            // f(x) = y = 3 names twice; the value is the last.
            return Ok(Value::Assign {
                name,
                argument: argument(first),
                value: Box::new(value),
                difference: difference(),
            });
        }
        // 5 = x
        if let (Node::Var(name), true) = (last, constant_part(first)) {
            let value = convert(first, policy, depth + 1)?;
            return Ok(Value::Assign {
                name: name.clone(),
                argument: None,
                value: Box::new(value),
                difference: difference(),
            });
        }
        if terms.iter().all(constant_part) {
            // 3 + 2 = 5
            return convert(last, policy, depth + 1);
        }
        // m + n = 5: what was asked for, and its value
        if constant_part(last)
            && is_plain_scalar(last)
            && let Some(name) = combination(first)
        {
            return Ok(Value::Assign {
                name,
                argument: None,
                value: Box::new(convert(last, policy, depth + 1)?),
                difference: difference(),
            });
        }
        // (x, y) = (1, 2)
        if let (
            Node::Group { open: Delim::Paren, items, .. },
            Node::Group { open: Delim::Paren, items: values, .. },
        ) = (first, last)
            && items.len() == values.len()
            && !values.iter().any(|v| is_dots(v) || v.any(&mut |n| matches!(n, Node::PlusMinus(..))))
        {
            let names = items.iter().map(|i| if let Node::Var(n) = i { Some(n.clone()) } else { None });
            if let Some(names) = names.collect::<Option<Vec<String>>>() {
                let values =
                    values.iter().map(|v| convert(v, policy, depth + 1)).collect::<Result<Vec<_>, _>>()?;
                return Ok(Value::System(names.into_iter().zip(values).collect()));
            }
        }
        if let (Node::Group { items, .. }, Node::Group { .. }) = (first, last)
            && items.iter().all(|i| matches!(i, Node::Var(_)))
        {
            return convert(last, policy, depth + 1);
        }
        if let Node::Group { open: Delim::Paren, items, .. } = first
            && items.iter().all(|i| matches!(i, Node::Var(_)))
        {
            return convert(last, policy, depth + 1);
        }
        if let Some(parts) = expand_signs(&Node::Rel(terms.to_vec(), ops.to_vec())) {
            let values =
                parts.iter().map(|p| convert(p, policy, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            return Ok(Value::List(values));
        }
        return match difference() {
            // A step of a calculation, true for every value: what stands last is the answer.
            Some(d) if d.is_zero() => convert(last, policy, depth + 1),
            Some(d) => Ok(Value::Equation(d)),
            // A^2 = a matrix, A \cap B = {4, 8}: the left side names what stands on the right.
            None if matches!(last, Node::Matrix(_) | Node::Group { .. })
                && (is_plain_scalar(first)
                    || matches!(first, Node::Set(_, v) if v.iter().all(is_plain_scalar))) =>
            {
                convert(last, policy, depth + 1)
            }
            None => err("an equation between expressions"),
        };
    }
    // P(0) < 0: the value at a number is an unknown.
    if terms.iter().any(|t| value_at_a_number(t).is_some()) {
        let terms: Vec<Node> =
            terms.iter().map(|t| value_at_a_number(t).map_or_else(|| t.clone(), Node::Var)).collect();
        return relation(&terms, ops, policy, depth + 1);
    }
    // Chains of order.
    if ops.iter().all(|o| o.is_order() || matches!(o, Relation::Ne | Relation::Eq)) {
        let open: Vec<usize> = (0..terms.len())
            .filter(|k| !constant_part(&terms[*k]) && infinity(&terms[*k]).is_none())
            .collect();
        if let [k] = open[..]
            && let Some(region) = solve_chain(terms, ops, k)
        {
            return Ok(Value::Region(region));
        }
        if let Some(region) = solve_absolute(terms, ops) {
            return Ok(Value::Region(region));
        }
        // 1 ≤ |x| ≤ 3
        if let ([low, term @ Node::Call(Func::Abs, _), high], [l, r]) = (terms, ops)
            && let Some(a) = solve_absolute(&[low.clone(), term.clone()], &[*l])
            && let Some(b) = solve_absolute(&[term.clone(), high.clone()], &[*r])
            && let Some(region) = a.combine(SetOp::Intersection, &b)
        {
            return Ok(Value::Region(region));
        }
        // x ≠ ±1
        if let ([term, bound], [Relation::Ne]) = (terms, ops)
            && let Some(parts) = expand_signs(bound)
        {
            let all: Vec<Node> =
                parts.into_iter().map(|p| Node::Rel(vec![term.clone(), p], vec![Relation::Ne])).collect();
            return list(&all, false, policy, depth);
        }
        if let ([a, b], [op]) = (terms, ops) {
            // One side is a name, the other has variables of its own: x > a.
            if let Node::Var(_) = a
                && is_plain_scalar(b)
                && op.is_order()
                && let Some(region) = Region::relation(*op, Scalar::new(b.clone()))
                && !b.variables().iter().any(|v| matches!(a, Node::Var(x) if x == v))
                && matches!(region, Region::Symbolic(_))
                && b.variables().len() == 1
                && matches!(a, Node::Var(x) if x.len() == 1 || x == "?")
                && a_is_unknown(a, b)
            {
                return Ok(Value::Region(region));
            }
            if !is_plain_scalar(a) || !is_plain_scalar(b) {
                return err("an inequality between expressions");
            }
            let (a, b) = (Scalar::new(a.clone()), Scalar::new(b.clone()));
            let (difference, strict) = match op {
                Relation::Gt => (a.minus(&b), true),
                Relation::Ge => (a.minus(&b), false),
                Relation::Lt => (b.minus(&a), true),
                Relation::Le => (b.minus(&a), false),
                _ => return err("an inequality"),
            };
            return Ok(Value::Inequality { difference: Box::new(difference), strict });
        }
        // a < x < b with letters.
        if let ([a, Node::Var(_), b], [l, r]) = (terms, ops)
            && l.is_order()
            && r.is_order()
            && is_plain_scalar(a)
            && is_plain_scalar(b)
        {
            let (low, high, lo, ro) = if matches!(l, Relation::Lt | Relation::Le) {
                (a, b, *l, *r)
            } else {
                (b, a, r.flip(), l.flip())
            };
            let low = Some((Scalar::new(low.clone()), lo == Relation::Le));
            let high = Some((Scalar::new(high.clone()), ro == Relation::Le));
            return Ok(Value::Region(Region::Symbolic(vec![Interval { low, high }])));
        }
    }
    err("a relation that can be compared")
}

/// Whether `x > a` reads as a bound on x rather than a relation of two variables.
fn a_is_unknown(a: &Node, b: &Node) -> bool {
    let Node::Var(x) = a else { return false };
    matches!(x.as_str(), "x" | "y" | "z" | "t" | "?")
        && !b.variables().iter().any(|v| matches!(v.as_str(), "x" | "y" | "z"))
}

/// Solves a chain of relations for the one term with variables, if that is linear in a single variable.
fn solve_chain(terms: &[Node], ops: &[Relation], k: usize) -> Option<Region> {
    let term = &terms[k];
    let names = term.variables();
    let [name] = &names[..] else { return None };
    let mut region = Region::all();
    // term = slope × x + offset
    let (slope, offset) = linear(term, name)?;
    for (j, other) in terms.iter().enumerate() {
        if j == k {
            continue;
        }
        // The relation between the term and this bound: all signs in between point one way.
        let (from, to) = if j < k { (j, k) } else { (k, j) };
        let between = &ops[from..to];
        let mut op = between[0];
        for o in &between[1..] {
            op = match (op, *o) {
                (a, Relation::Eq) => a,
                (Relation::Eq, b) => b,
                (Relation::Lt, Relation::Lt | Relation::Le) | (Relation::Le, Relation::Lt) => Relation::Lt,
                (Relation::Le, Relation::Le) => Relation::Le,
                (Relation::Gt, Relation::Gt | Relation::Ge) | (Relation::Ge, Relation::Gt) => Relation::Gt,
                (Relation::Ge, Relation::Ge) => Relation::Ge,
                _ => return None,
            };
        }
        if j < k {
            op = op.flip();
        }
        if let Some(sign) = infinity(other) {
            // x < ∞
            match (sign > 0, op) {
                (true, Relation::Lt | Relation::Le) | (false, Relation::Gt | Relation::Ge) => continue,
                _ => return None,
            }
        }
        let plain = matches!(term, Node::Var(_));
        let bound = if plain {
            Scalar::new(other.clone())
        } else {
            let moved = Node::Add(vec![
                other.clone(),
                Node::Neg(Box::new(Node::Num(Number::rational(offset.clone())))),
            ]);
            Scalar::new(Node::Div(Box::new((moved, Node::Num(Number::rational(slope.clone()))))))
        };
        if slope.is_negative() {
            op = op.flip();
        }
        region = region.combine(SetOp::Intersection, &Region::relation(op, bound)?)?;
    }
    Some(region)
}

/// Solves `|ax + b| < c` and its like.
fn solve_absolute(terms: &[Node], ops: &[Relation]) -> Option<Region> {
    let ([a, b], [op]) = (terms, ops) else { return None };
    let (inner, bound, op) = match (a, b) {
        (Node::Call(Func::Abs, v), c) if constant_part(c) => (&v[0], c, *op),
        (c, Node::Call(Func::Abs, v)) if constant_part(c) => (&v[0], c, op.flip()),
        _ => return None,
    };
    // A negative bound leaves nothing or everything; that is a trap, not an answer.
    if Scalar::new(bound.clone()).order(&Scalar::int(0)) != Some(std::cmp::Ordering::Greater) {
        return None;
    }
    let minus = Node::Neg(Box::new(bound.clone()));
    let chain = |op: Relation, to: &Node| {
        let terms = [inner.clone(), to.clone()];
        solve_chain(&terms, &[op], 0)
    };
    let (upper, lower) = (chain(op, bound)?, chain(op.flip(), &minus)?);
    let set = match op {
        Relation::Lt | Relation::Le => SetOp::Intersection,
        Relation::Gt | Relation::Ge => SetOp::Union,
        _ => return None,
    };
    upper.combine(set, &lower)
}

/// `P(0)` as a name, for the usual names of functions.
fn value_at_a_number(term: &Node) -> Option<String> {
    let (f, at) = at_number(term)?;
    matches!(f.as_str(), "f" | "g" | "h" | "F" | "G" | "P" | "p").then(|| format!("{f}({})", at.value))
}

/// Slope and offset of a term that is linear in a variable with rational coefficients.
pub fn linear(term: &Node, name: &str) -> Option<(num_rational::BigRational, num_rational::BigRational)> {
    if let Node::Var(v) = term {
        return (v == name).then(|| (num_rational::BigRational::one(), num_rational::BigRational::zero()));
    }
    use crate::numeric::{exact::Exact, program::LogReading, program::Program};
    let program = Program::compile(term, LogReading::Natural).ok()?;
    let at = |x: i64| {
        program.run(&mut Exact::default(), &[num_rational::BigRational::from_integer(x.into())]).ok()
    };
    let (f0, f1, f2, f7) = (at(0)?, at(1)?, at(2)?, at(-7)?);
    let slope = &f1 - &f0;
    let seven = num_rational::BigRational::from_integer(7.into());
    let linear = f2 - &f1 == slope && f0.clone() - f7 == &slope * seven;
    // Absolute values and roots are linear on rays only; the sampled points see both sides.
    (linear && !slope.is_zero() && !term.any(&mut |n| matches!(n, Node::Call(..) | Node::Big(..))))
        .then_some((slope, f0))
}
