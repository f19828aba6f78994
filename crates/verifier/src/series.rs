//! Dots: what `1 + 2 + ... + n` adds up to, and when two lists with dots are the same list.
//!
//! The terms shown must fix a rule: an arithmetic or geometric step, the last term as a formula in its variable, or the numbers
//! of the terms each running in steps of their own (`1/(1·2) + 1/(2·3) + ... + 1/(99·100)`). Without a rule nothing is claimed.

use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::{
    limits,
    number::Number,
    scalar::{Rounding, Scalar},
    syntax::{Big, BigParts, Constant, Node},
    value::is_dots,
};

const EXACT: Rounding = Rounding { significant: u32::MAX, relative: 0.0 };
const INDEX: &str = "dotted k";
/// Most items a list with dots stands for.
const ITEMS: i64 = 2000;

fn same(a: &Node, b: &Node) -> bool {
    Scalar::new(a.clone()).compare(&Scalar::new(b.clone()), EXACT).equal
}

/// Whether terms are few and simple enough to be compared many times over.
fn is_small(terms: &[Node]) -> bool {
    let mut left = limits::REPEATED_NODES;
    terms.iter().all(|t| match t.size_within(left) {
        Some(n) => {
            left -= n;
            !t.any(&mut |n| matches!(n, Node::Big(..))) && t.factorial_weight() <= limits::REPEATED_FACTORIALS
        }
        None => false,
    })
}

fn rational(q: BigRational) -> Node {
    Node::Num(Number::rational(q))
}

fn exact(node: &Node) -> Option<BigRational> {
    Scalar::new(node.clone()).exact
}

fn big(kind: Big, from: i64, to: Node, body: Node) -> Node {
    Node::Big(kind, Box::new(BigParts { var: INDEX.into(), from: Node::int(from), to, body }))
}

/// A sum or product with dots as one expression, if its terms fix a rule.
pub fn dotted(terms: &[Node], kind: Big) -> Option<Node> {
    let at = terms.iter().position(is_dots)?;
    let (prefix, suffix) = (&terms[..at], &terms[at + 1..]);
    if suffix.is_empty() && kind == Big::Sum && (3..=32).contains(&prefix.len()) && is_small(prefix) {
        let terms: Vec<_> = prefix.iter().map(exact).collect::<Option<_>>()?;
        return geometric_sum(&terms).map(rational);
    }
    if prefix.len() < 2
        || suffix.is_empty()
        || suffix.iter().any(is_dots)
        || terms.len() > 32
        || !is_small(terms)
    {
        return None;
    }
    if let Some(node) = by_powers(prefix, suffix, kind) {
        return Some(node);
    }
    let last = &suffix[suffix.len() - 1];
    if let Some(node) = by_formula(prefix, last, kind).or_else(|| by_descent(prefix, suffix, kind)) {
        return Some(node);
    }
    // 1 · 3 ⋯ (2n - 1) written as several factors after the dots
    if kind == Big::Product
        && suffix.len() > 1
        && let Some(node) = by_formula(prefix, &Node::Mul(suffix.to_vec()), kind)
    {
        return Some(node);
    }
    if !last.variables().is_empty() {
        return None;
    }
    // What is written shows the rule, not what it adds up to: 1·2 + 2·3 + ... + 9·10 has no equal steps of 4.
    let literal = |n: &Node| match n {
        Node::Neg(x) => matches!(&**x, Node::Num(_) | Node::Div(_)),
        n => matches!(n, Node::Num(_) | Node::Div(_)),
    };
    if terms.iter().all(|n| literal(n) || is_dots(n)) {
        return by_progression(prefix, suffix, kind).or_else(|| by_numbers(prefix, last, kind));
    }
    by_numbers(prefix, last, kind)
        .or_else(|| by_progression(prefix, suffix, kind).filter(|_| prefix.len() >= 3))
}

/// `1 + x + x^2 + ... + x^5`: powers of one name whose exponents run up in equal steps.
fn by_powers(prefix: &[Node], suffix: &[Node], kind: Big) -> Option<Node> {
    let [last] = suffix else { return None };
    let Node::Pow(p) = last else { return None };
    let (Node::Var(name), Some(end)) = (&p.0, exact(&p.1)) else { return None };
    if kind != Big::Sum || prefix.len() < 3 {
        return None;
    }
    let exponent = |n: &Node| match n {
        Node::Num(one) if one.value.is_one() => Some(BigRational::zero()),
        Node::Var(v) if v == name => Some(BigRational::one()),
        Node::Pow(p) if matches!(&p.0, Node::Var(v) if v == name) => exact(&p.1),
        _ => None,
    };
    let exponents: Vec<_> = prefix.iter().map(exponent).collect::<Option<_>>()?;
    let step = &exponents[1] - &exponents[0];
    let steps = (&end - &exponents[0]) / (!step.is_zero()).then_some(&step)?;
    let regular = exponents.windows(2).all(|w| &w[1] - &w[0] == step);
    if !regular || !steps.is_integer() || steps <= BigRational::from_integer(2.into()) {
        return None;
    }
    let index = Node::Mul(vec![rational(step), Node::Var(INDEX.into())]);
    let power = Node::Add(vec![rational(exponents[0].clone()), index]);
    Some(big(kind, 0, rational(steps), Node::Pow(Box::new((p.0.clone(), power)))))
}

/// `n + (n-1) + ... + 1`: the first term is a formula whose variable goes down by one, and the last its value at a small number.
fn by_descent(prefix: &[Node], suffix: &[Node], kind: Big) -> Option<Node> {
    let first = &prefix[0];
    for name in first.variables().iter().take(3) {
        let lower = |k: usize| {
            let by = Node::Add(vec![Node::Var(name.clone()), Node::int(-(k as i64))]);
            first.substitute(name, &by)
        };
        if !prefix.iter().enumerate().skip(1).all(|(k, term)| same(term, &lower(k))) {
            continue;
        }
        for from in [1i64, 0, 2, 3] {
            let fits = suffix
                .iter()
                .rev()
                .enumerate()
                .all(|(k, term)| same(term, &first.substitute(name, &Node::int(from + k as i64))));
            if fits {
                let body = first.substitute(name, &Node::Var(INDEX.into()));
                return Some(big(kind, from, Node::Var(name.clone()), body));
            }
        }
    }
    None
}

/// The expression with the sums and products with dots inside it added up, if it has any and each has a rule.
pub fn inner_dots(node: &Node) -> Option<Node> {
    if !node.any(&mut is_dots) {
        return None;
    }
    fn replace(node: &Node, failed: &mut bool) -> Node {
        let inner = node.map_children(&mut |c| replace(c, failed));
        match &inner {
            Node::Add(v) | Node::Mul(v) if v.iter().any(is_dots) => {
                let kind = if matches!(inner, Node::Add(_)) { Big::Sum } else { Big::Product };
                dotted(v, kind).unwrap_or_else(|| {
                    *failed = true;
                    inner.clone()
                })
            }
            _ => inner,
        }
    }
    let mut failed = false;
    let new = replace(node, &mut failed);
    (!failed).then_some(new)
}

/// The last term is a formula in its variable that gives the first terms too.
fn by_formula(prefix: &[Node], last: &Node, kind: Big) -> Option<Node> {
    for name in last.variables().iter().take(3) {
        for offset in [1i64, 0, 2, 3] {
            let fits = prefix
                .iter()
                .enumerate()
                .all(|(i, term)| same(term, &last.substitute(name, &Node::int(offset + i as i64))));
            if fits {
                let body = last.substitute(name, &Node::Var(INDEX.into()));
                return Some(big(kind, offset, Node::Var(name.clone()), body));
            }
        }
    }
    None
}

/// Numbers with an arithmetic or geometric rule shown by at least two steps or by the last term.
fn by_progression(prefix: &[Node], suffix: &[Node], kind: Big) -> Option<Node> {
    let terms: Vec<_> = prefix.iter().map(exact).collect::<Option<_>>()?;
    let end = exact(&suffix[suffix.len() - 1])?;
    let step = &terms[1] - &terms[0];
    let arithmetic = terms.windows(2).all(|w| &w[1] - &w[0] == step) && !step.is_zero();
    if arithmetic && (terms.len() >= 3 || suffix.len() <= 2) {
        let steps = (&end - &terms[0]) / &step;
        if !steps.is_integer() || steps <= BigRational::one() {
            return None;
        }
        let two = BigRational::from_integer(2.into());
        return Some(match kind {
            Big::Sum => rational((&steps + BigRational::one()) * (&terms[0] + &end) / two),
            Big::Product => {
                let body = Node::Add(vec![
                    rational(terms[0].clone()),
                    Node::Mul(vec![rational(step), Node::Var(INDEX.into())]),
                ]);
                big(kind, 0, rational(steps), body)
            }
        });
    }
    if terms.len() < 3 || terms[0].is_zero() || kind == Big::Product {
        return None;
    }
    let ratio = &terms[1] / &terms[0];
    if !terms.windows(2).all(|w| w[1] == &w[0] * &ratio) {
        return None;
    }
    let mut sum: BigRational = terms.iter().sum();
    let mut x = terms[terms.len() - 1].clone();
    for _ in 0..500 {
        x *= &ratio;
        sum += &x;
        if x == end {
            return Some(rational(sum));
        }
        if (ratio.abs() > BigRational::one()) == (x.abs() > end.abs()) {
            return None; // past the end
        }
    }
    None
}

/// The same expression with numbers that each run from the first to the last term in equal steps.
fn by_numbers(prefix: &[Node], last: &Node, kind: Big) -> Option<Node> {
    let mut steps = None;
    let body = unify(&prefix[0], &prefix[1], last, &mut steps, 0)?;
    let steps: BigRational = steps?;
    if steps > BigRational::from_integer(ITEMS.into()) {
        return None;
    }
    let fits = prefix
        .iter()
        .enumerate()
        .skip(2)
        .all(|(i, t)| same(t, &body.substitute(INDEX, &Node::int(i as i64))));
    fits.then(|| big(kind, 0, rational(steps), body))
}

fn unify(a: &Node, b: &Node, last: &Node, steps: &mut Option<BigRational>, depth: u32) -> Option<Node> {
    if depth > 24 {
        return None;
    }
    if let (Node::Num(x), Node::Num(y), Node::Num(z)) = (a, b, last) {
        if x.value == y.value {
            return (y.value == z.value).then(|| a.clone());
        }
        let step = &y.value - &x.value;
        let n = (&z.value - &x.value) / &step;
        if !n.is_integer() || n <= BigRational::one() || steps.as_ref().is_some_and(|s| *s != n) {
            return None;
        }
        *steps = Some(n);
        return Some(Node::Add(vec![a.clone(), Node::Mul(vec![rational(step), Node::Var(INDEX.into())])]));
    }
    // 1 + 1/2 + 1/3: the first term is 1/1.
    if let (Node::Num(_), Node::Div(_), Node::Div(_)) = (a, b, last) {
        return unify(&Node::Div(Box::new((a.clone(), Node::int(1)))), b, last, steps, depth + 1);
    }
    // 1 + 2^2 + 3^2: the first term is 1^2.
    if let (Node::Num(one), Node::Pow(p), Node::Pow(_)) = (a, b, last)
        && one.value.is_one()
    {
        let power = Node::Pow(Box::new((a.clone(), p.1.clone())));
        return unify(&power, b, last, steps, depth + 1);
    }
    let shape = |n: &Node| n.map_children(&mut |_| Node::Dots);
    let (x, y, z) = (a.children(), b.children(), last.children());
    if x.is_empty()
        || x.len() != y.len()
        || x.len() != z.len()
        || shape(a) != shape(b)
        || shape(b) != shape(last)
    {
        return (a == b && b == last).then(|| a.clone());
    }
    let mut parts = Vec::with_capacity(x.len());
    for k in 0..x.len() {
        parts.push(unify(x[k], y[k], z[k], steps, depth + 1)?);
    }
    let mut parts = parts.into_iter();
    Some(a.map_children(&mut |_| parts.next().unwrap_or(Node::Dots)))
}

/// The sum of the infinite series that three or more terms in one ratio begin, if it converges.
fn geometric_sum(terms: &[BigRational]) -> Option<BigRational> {
    let first = terms.first().filter(|t| !t.is_zero())?;
    let ratio = terms.get(1)? / first;
    let geometric = terms.len() >= 3 && terms.windows(2).all(|w| w[1] == &w[0] * &ratio);
    (geometric && ratio.abs() < BigRational::one()).then(|| first / (BigRational::one() - ratio))
}

/// The expression with its infinite geometric series `\sum_{n=a}^{\infty} c q^n` of rational numbers summed, if it has any.
pub fn geometric_series(node: &Node) -> Option<Node> {
    const TERMS: i64 = 8;
    let endless = |n: &Node| matches!(n, Node::Big(Big::Sum, p) if p.to == Node::Const(Constant::Infinity));
    let mut found = 0;
    node.any(&mut |n| {
        found += usize::from(endless(n));
        false
    });
    if found == 0 || found > 4 {
        return None;
    }
    fn sum(p: &BigParts) -> Option<Node> {
        let from = exact(&p.from)?.to_integer().to_i64().filter(|k| (-1000..=1000).contains(k))?;
        // Powers, products and quotients only: no rule that the first terms could hide.
        let simple = |n: &Node| {
            matches!(
                n,
                Node::Num(_)
                    | Node::Var(_)
                    | Node::Neg(_)
                    | Node::Mul(_)
                    | Node::Div(_)
                    | Node::Pow(_)
                    | Node::Add(_)
            )
        };
        if p.body.size_within(64).is_none() || p.body.any(&mut |n| !simple(n)) {
            return None;
        }
        let terms = (from..from + TERMS)
            .map(|k| exact(&p.body.substitute(&p.var, &Node::int(k))))
            .collect::<Option<Vec<_>>>()?;
        geometric_sum(&terms).map(rational)
    }
    fn replace(node: &Node) -> Node {
        match node {
            Node::Big(Big::Sum, p) if p.to == Node::Const(Constant::Infinity) => {
                sum(p).unwrap_or_else(|| node.clone())
            }
            _ => node.map_children(&mut replace),
        }
    }
    Some(replace(node))
}

/// A list with dots, cut at them.
#[derive(Debug)]
pub struct Dotted {
    prefix: Vec<Node>,
    suffix: Vec<Node>,
}

impl Dotted {
    /// From items, of which exactly one is the dots.
    pub fn new(items: &[Option<&Node>]) -> Option<Self> {
        let at = items.iter().position(Option::is_none)?;
        let nodes = |v: &[Option<&Node>]| v.iter().map(|n| n.cloned()).collect::<Option<Vec<Node>>>();
        if items.len() > 64 {
            return None;
        }
        let list = Dotted { prefix: nodes(&items[..at])?, suffix: nodes(&items[at + 1..])? };
        (is_small(&list.prefix) && is_small(&list.suffix)).then_some(list)
    }

    /// Whether both show the same list: one rule gives the shown items of both.
    pub fn same(&self, other: &Dotted) -> bool {
        let (short, long) =
            if self.prefix.len() <= other.prefix.len() { (self, other) } else { (other, self) };
        match (short.suffix.last(), long.suffix.last()) {
            (None, None) => {
                // Without an end three items show the rule.
                short.prefix.len() >= 3
                    && (short.arithmetic(None) || short.geometric())
                    && short.prefix.iter().zip(&long.prefix).all(|(a, b)| same(a, b))
                    && match short.arithmetic(None) {
                        true => long.arithmetic(None),
                        false => long.geometric(),
                    }
            }
            (Some(a), Some(b)) => {
                short.prefix.len() >= 2
                    && same(a, b)
                    && same(&short.prefix[0], &long.prefix[0])
                    && (short.arithmetic(Some(a)) && long.arithmetic(Some(a))
                        || short.formula(a) && long.formula(a)
                        || short.prefix.len() >= 3 && short.geometric() && long.geometric())
            }
            _ => false,
        }
    }

    /// The items, if they are numbers in equal steps that are few enough.
    pub fn items(&self) -> Option<Vec<Node>> {
        let last = self.suffix.last()?;
        if self.prefix.len() < 2 || !self.arithmetic(Some(last)) {
            return None;
        }
        let (first, second, last) = (exact(&self.prefix[0])?, exact(&self.prefix[1])?, exact(last)?);
        let step = second - &first;
        let steps = (last - &first) / &step;
        if steps > BigRational::from_integer(ITEMS.into()) {
            return None;
        }
        let n: i64 = steps.to_integer().try_into().ok()?;
        Some((0..=n).map(|k| rational(&first + &step * BigRational::from_integer(k.into()))).collect())
    }

    fn arithmetic(&self, last: Option<&Node>) -> bool {
        let minus = |a: &Node, b: &Node| Node::Add(vec![a.clone(), Node::Neg(Box::new(b.clone()))]);
        let Some(first) = self.prefix.first() else { return false };
        let Some(second) = self.prefix.get(1) else { return false };
        let step = minus(second, first);
        if same(&step, &Node::int(0)) {
            return false;
        }
        let steady = |v: &[Node]| v.windows(2).all(|w| same(&minus(&w[1], &w[0]), &step));
        if !steady(&self.prefix) || !steady(&self.suffix) {
            return false;
        }
        let Some(last) = last else { return true };
        match exact(&Node::Div(Box::new((minus(last, first), step)))) {
            Some(n) => n.is_integer() && n > BigRational::one(),
            // A symbolic end must be one step after another of the rule's form: a + k d with k an expression.
            None => !last.variables().is_empty() && self.formula_or_linear(last),
        }
    }

    /// Whether the last term is linear with the step as its slope, so that `1, 3, ..., 2n - 1` fits and `1, 3, ..., 2^n` does not.
    fn formula_or_linear(&self, last: &Node) -> bool {
        self.formula(last)
            || last.variables().iter().any(|name| {
                let at = |k: i64| last.substitute(name, &Node::int(k));
                let minus = |a: Node, b: Node| Node::Add(vec![a, Node::Neg(Box::new(b))]);
                let step = minus(self.prefix[1].clone(), self.prefix[0].clone());
                (2..5).all(|k| same(&minus(at(k + 1), at(k)), &step))
            })
    }

    fn formula(&self, last: &Node) -> bool {
        last.variables().iter().take(3).any(|name| {
            let one_less = |k: i64| Node::Add(vec![Node::Var(name.clone()), Node::int(-k)]);
            let tail = self
                .suffix
                .iter()
                .rev()
                .enumerate()
                .all(|(k, n)| same(n, &last.substitute(name, &one_less(k as i64))));
            tail && [1i64, 0, 2, 3].iter().any(|offset| {
                self.prefix
                    .iter()
                    .enumerate()
                    .all(|(i, n)| same(n, &last.substitute(name, &Node::int(offset + i as i64))))
            })
        })
    }

    fn geometric(&self) -> bool {
        let Some(v) = self.prefix.iter().map(exact).collect::<Option<Vec<_>>>() else { return false };
        v.len() >= 3 && !v.iter().any(Zero::is_zero) && v.windows(2).all(|w| &w[1] * &v[0] == &w[0] * &v[1])
    }
}

#[cfg(test)]
mod tests {
    use crate::{Gold, Response, verify};

    fn equal(a: &str, b: &str) -> bool {
        verify(&Gold::parse(a), &Response::answer_only(b)).is_correct()
    }

    #[test]
    fn sums_and_products() {
        assert!(equal("1+2+\\cdots+n", "\\frac{n(n+1)}{2}"));
        assert!(equal("1\\cdot3\\cdot5\\cdots(2n-1)", "\\frac{(2n)!}{2^n n!}"));
        assert!(equal(
            "\\frac{1}{1\\cdot2}+\\frac{1}{2\\cdot3}+\\cdots+\\frac{1}{99\\cdot100}",
            "\\frac{99}{100}"
        ));
        assert!(equal("1+\\frac12+\\frac13+\\cdots+\\frac1{10}", "\\frac{7381}{2520}"));
        assert!(!equal("1+\\frac12+\\frac14+\\cdots+\\frac1{10}", "\\frac{7381}{2520}"));
        assert!(!equal("1+2+\\cdots+n", "\\frac{n(n-1)}{2}"));
    }

    #[test]
    fn lists() {
        assert!(equal("1,2,\\ldots,n", "1,2,3,\\ldots,n"));
        assert!(equal("1,2,\\ldots,n", "1,2,\\ldots,n-1,n"));
        assert!(equal("2,4,\\ldots,10", "2,4,6,8,10"));
        assert!(!equal("1,2,\\ldots,n", "1,3,5,\\ldots,2n-1"));
        // Two terms of a list show equal steps, not a ratio.
        assert!(!equal("1,2,\\ldots,64", "1,2,4,\\ldots,64"));
        assert!(!equal("1,2,\\ldots,2^n", "1,2,3,\\ldots,2^n"));
    }
}
