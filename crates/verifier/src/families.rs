//! Families of solutions with an integer parameter, `x = π/6 + kπ, k ∈ Z`: equal if they are the same set of numbers.
//!
//! Every member of a family is an arithmetic progression, or two where the sign alternates as in `(-1)^k π/6 + kπ`. Two
//! families are compared modulo a common period, in both directions. What has no such form is left to others.

use num_integer::Integer;

use crate::{
    scalar::Scalar,
    syntax::{Constant, Node},
    value::{Answer, Value},
};

/// Most residues of one family.
const RESIDUES: usize = 128;
/// Most nodes of one formula.
const NODES: usize = 64;
/// Largest denominator of a quotient of two periods.
const DENOMINATOR: i64 = 24;

/// `offset + k · slope` for all integers `k`.
struct Progression {
    offset: Node,
    slope: Node,
}

/// Whether two families with integer parameters are the same set; none if one of them is no such family.
pub fn same(a: &Answer, b: &Answer) -> Option<bool> {
    let integers = |x: &Answer| matches!(x.parameter, Some((_, Some(Constant::Integers))));
    if !integers(a) && !integers(b) {
        return None;
    }
    let (a, name) = family(a)?;
    let (b, other) = family(b)?;
    if name.zip(other).is_some_and(|(n, m)| n != m) {
        return None;
    }
    let (period, scale) = common_period(a.iter().chain(&b))?;
    let residues = |family: &[Progression], scale: &[i64]| -> Vec<Node> {
        family.iter().zip(scale).flat_map(|(p, n)| (0..*n).map(|j| sum(&p.offset, j, &p.slope))).collect()
    };
    let (r, s) = (residues(&a, &scale[..a.len()]), residues(&b, &scale[a.len()..]));
    let within =
        |r: &[Node], s: &[Node]| r.iter().all(|x| s.iter().any(|y| differ_by_periods(x, y, &period)));
    Some(within(&r, &s) && within(&s, &r))
}

/// The progressions of an answer and the name of the unknown.
fn family(answer: &Answer) -> Option<(Vec<Progression>, Option<&String>)> {
    let parameter = match &answer.parameter {
        Some((name, Some(Constant::Integers))) => name.clone(),
        None => answer.value.integer_name()?,
        _ => return None,
    };
    let mut scalars = Vec::new();
    let name = collect(&answer.value, &mut scalars)?;
    let unit = &scalars.first()?.unit;
    let mut found = Vec::new();
    for scalar in &scalars {
        if scalar.node.is_costly() || scalar.unit != *unit || scalar.variables() != [parameter.clone()] {
            return None;
        }
        scalar.node.size_within(NODES)?;
        found.extend(progressions(&scalar.node, &parameter)?);
    }
    (found.len() <= 16).then_some((found, name))
}

/// The scalars of a value, and the name they are given.
fn collect<'a>(value: &'a Value, scalars: &mut Vec<&'a Scalar>) -> Option<Option<&'a String>> {
    match value {
        Value::Scalar(s) => scalars.push(s),
        Value::List(v) | Value::Set(v) if v.len() <= 8 => {
            // All items are of one name, or none has any.
            let mut names = Vec::with_capacity(v.len());
            for item in v {
                names.push(collect(item, scalars)?);
            }
            return names.iter().all(|n| *n == names[0]).then(|| names[0]);
        }
        Value::Assign { name, value, .. } => {
            collect(value, scalars)?;
            return Some(Some(name));
        }
        _ => return None,
    }
    Some(None)
}

/// One progression, or two for even and odd parameters.
fn progressions(node: &Node, parameter: &str) -> Option<Vec<Progression>> {
    if !is_simple(node, parameter) {
        return None;
    }
    let at = |k: i64| node.substitute(parameter, &Node::int(k));
    (1..=2).find_map(|stride: i64| {
        (0..stride)
            .map(|first| {
                let at = |j: i64| at(stride * j + first);
                let offset = at(0);
                let slope = sum(&at(1), -1, &offset);
                let linear = [2, 5, -3].iter().all(|j| is_zero(&sum(&sum(&at(*j), -1, &offset), -j, &slope)));
                (linear && !is_zero(&slope)).then_some(Progression { offset, slope })
            })
            .collect()
    })
}

/// Whether the parameter stands only in sums, products and powers of minus one, so that a few integers show the rule.
fn is_simple(node: &Node, parameter: &str) -> bool {
    if !node.variables().iter().any(|v| v == parameter) {
        return true;
    }
    match node {
        Node::Var(_) => true,
        Node::Neg(x) => is_simple(x, parameter),
        Node::Add(v) | Node::Mul(v) => v.iter().all(|x| is_simple(x, parameter)),
        Node::Div(p) => is_simple(&p.0, parameter) && p.1.variables().is_empty(),
        Node::Pow(p) => {
            matches!(&p.0, Node::Neg(one) if **one == Node::int(1))
                && match &p.1 {
                    Node::Var(_) => true,
                    Node::Add(v) => v.iter().all(|x| matches!(x, Node::Var(_) | Node::Num(_) | Node::Neg(_))),
                    _ => false,
                }
        }
        _ => false,
    }
}

/// A period that every progression's slope divides, and how often.
fn common_period<'a>(all: impl Iterator<Item = &'a Progression>) -> Option<(Node, Vec<i64>)> {
    let all: Vec<&Progression> = all.collect();
    // The smallest slope measures the others, whichever side it is on.
    let sizes: Vec<f64> = all.iter().map(|p| approximate(&p.slope).map(f64::abs)).collect::<Option<_>>()?;
    let smallest = sizes.iter().enumerate().min_by(|x, y| x.1.total_cmp(y.1))?.0;
    let first = &all[smallest].slope;
    let quotients: Vec<(i64, i64)> = all.iter().map(|p| quotient(&p.slope, first)).collect::<Option<_>>()?;
    // In units of first / d the slopes are integers; their least common multiple is a period.
    let d = quotients.iter().fold(1i64, |d, q| d.lcm(&q.1));
    let slopes: Vec<i64> = quotients.iter().map(|(n, m)| n * (d / m)).collect();
    let multiple = slopes.iter().fold(1i64, |l, n| l.lcm(n)).abs();
    let scale: Vec<i64> = slopes.iter().map(|n| (multiple / n).abs()).collect();
    let few = scale.iter().sum::<i64>() <= RESIDUES as i64;
    let period = Node::Mul(vec![Node::Div(Box::new((Node::int(multiple), Node::int(d)))), first.clone()]);
    few.then_some((period, scale))
}

/// `a / b` as a fraction of small integers, proven.
fn quotient(a: &Node, b: &Node) -> Option<(i64, i64)> {
    let ratio = approximate(a)? / approximate(b)?;
    (1..=DENOMINATOR).find_map(|m| {
        let n = (ratio * m as f64).round();
        let close = (ratio * m as f64 - n).abs() < 1e-9 && n != 0.0 && n.abs() < 1e6;
        let (n, difference) = (n as i64, |n: i64| sum(&product(m, a), -n, b));
        (close && is_zero(&difference(n))).then_some((n, m))
    })
}

fn differ_by_periods(x: &Node, y: &Node, period: &Node) -> bool {
    let difference = sum(x, -1, y);
    let Some(steps) = approximate(&difference).zip(approximate(period)).map(|(d, p)| d / p) else {
        return false;
    };
    let n = steps.round();
    (steps - n).abs() < 1e-9 && n.abs() < 1e9 && is_zero(&sum(&difference, -(n as i64), period))
}

fn product(n: i64, x: &Node) -> Node {
    Node::Mul(vec![Node::int(n), x.clone()])
}

/// `a + n b`
fn sum(a: &Node, n: i64, b: &Node) -> Node {
    Node::Add(vec![a.clone(), product(n, b)])
}

fn is_zero(node: &Node) -> bool {
    Scalar::new(node.clone()).is_zero()
}

fn approximate(node: &Node) -> Option<f64> {
    Scalar::new(node.clone()).enclosure::<2>().map(|ball| ball.mid.to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn check(a: &str, b: &str) -> Option<bool> {
        let read = |text: &str| Answer::read(text, &Policy::default()).unwrap();
        let (a, b) = (read(a), read(b));
        assert_eq!(same(&a, &b), same(&b, &a));
        same(&a, &b)
    }

    #[test]
    fn shifted_by_a_period_split_and_joined() {
        let z = r", k \in \mathbb{Z}";
        for (a, b) in [
            (r"-\frac{\pi}{6}+k\pi", r"\frac{5\pi}{6}+k\pi"),
            (r"k\pi", r"2k\pi, 2k\pi + \pi"),
            (r"\pm\frac{\pi}{3}+2k\pi", r"\frac{\pi}{3}+2k\pi, \frac{5\pi}{3}+2k\pi"),
            (r"(-1)^k\frac{\pi}{6}+k\pi", r"\frac{\pi}{6}+2k\pi, \frac{5\pi}{6}+2k\pi"),
            (r"\frac{\pi}{2}+2k\pi", r"\frac{(4k+1)\pi}{2}"),
            (r"3k+1", "3k-2"),
            (r"30^\circ+180^\circ k", r"210^\circ + 180^\circ k"),
            (r"\sqrt{2} + 3k", r"\sqrt{2} - 3k"),
            ("25k - 3, 2k, 2k + 1", "k + 1"),
        ] {
            assert_eq!(check(&format!("{a}{z}"), &format!("{b}{z}")), Some(true), "{a} and {b}");
        }
        for (a, b) in [
            (r"\frac{\pi}{6}+k\pi", r"\frac{5\pi}{6}+k\pi"),
            (r"k\pi", r"2k\pi"),
            (r"2k\pi, 2k\pi + \frac{\pi}{2}", r"k\pi"),
            ("3k+1", "3k+2"),
            ("3k+1", "6k+1"),
            ("25k", "k + 1"),
        ] {
            assert_eq!(check(&format!("{a}{z}"), &format!("{b}{z}")), Some(false), "{a} and {b}");
        }
    }

    #[test]
    fn what_is_no_family_of_progressions_is_left_to_others() {
        assert_eq!(check(r"k^2, k \in \mathbb{Z}", r"k^2, k \in \mathbb{Z}"), None);
        assert_eq!(check(r"2k+1, k \in \mathbb{N}", r"2k+3, k \in \mathbb{N}"), None);
        assert_eq!(check(r"\sin k, k \in \mathbb{Z}", r"k, k \in \mathbb{Z}"), None);
    }
}
