//! Scalar values and the decision whether two of them are equal.

use std::{cmp::Ordering, sync::OnceLock};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::{
    number::Decimal,
    numeric::{
        Fail,
        ball::{Ball, Complex},
        exact::Exact,
        float::Float,
        modular::{Modular, PRIMES, Residue},
        program::{LogReading, Program},
        real::Real,
    },
    syntax::{Constant, Func, Node},
    units::Unit,
    verdict::Reason,
};

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the two are equal.
    pub equal: bool,
    /// Why.
    pub reason: Reason,
}

impl Outcome {
    /// Equal.
    pub fn yes(reason: Reason) -> Self {
        Outcome { equal: true, reason }
    }

    /// Not equal.
    pub fn no(reason: Reason) -> Self {
        Outcome { equal: false, reason }
    }
}

/// A scalar expression, prepared for comparison.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The expression without its unit.
    pub node: Node,
    /// Compiled when first needed, with bare logarithms read as natural.
    program: OnceLock<Result<Program, Fail>>,
    /// Its exact rational value, if it has one.
    pub exact: Option<BigRational>,
    /// Its written decimal form, if it is one decimal.
    pub decimal: Option<Decimal>,
    /// Its unit.
    pub unit: Option<Unit>,
    /// Whether the unit may also be a variable.
    pub soft: bool,
    /// Whether it carries a percent sign.
    pub percent: bool,
    /// Digits and base, if it is a numeral in a base.
    pub base: Option<(String, u32)>,
}

/// How far two scalars' closeness is decided by rounding.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    /// Least number of significant digits of a rounded decimal.
    pub significant: u32,
    /// Relative tolerance against the first argument.
    pub relative: f64,
}

const CHECKS: usize = 8;
const CANDIDATES: u64 = 48;

impl Scalar {
    /// Prepares an expression.
    pub fn new(node: Node) -> Self {
        let (mut unit, mut soft) = (None, false);
        let mut node = node;
        loop {
            node = match node {
                Node::Noted(x, _) => *x,
                Node::Quantity(x, u, s) => {
                    if unit.is_none() {
                        (unit, soft) = (Some(u), s);
                    }
                    *x
                }
                Node::Neg(x) if matches!(*x, Node::Quantity(..) | Node::Noted(..)) => match *x {
                    Node::Quantity(y, u, s) => Node::Quantity(Box::new(Node::Neg(y)), u, s),
                    Node::Noted(y, w) => Node::Noted(Box::new(Node::Neg(y)), w),
                    other => Node::Neg(Box::new(other)),
                },
                Node::Degree(x) => {
                    unit = Some(Unit::new([("°", 1)]));
                    *x
                }
                Node::Neg(x) if matches!(*x, Node::Degree(..)) => match *x {
                    Node::Degree(y) => Node::Degree(Box::new(Node::Neg(y))),
                    other => Node::Neg(Box::new(other)),
                },
                other => {
                    node = other;
                    break;
                }
            };
        }
        if let Some((n, u)) = compound(&node) {
            (node, unit, soft) = (n, Some(u), false);
        }
        let percent = matches!(&node, Node::Percent(_))
            || matches!(&node, Node::Neg(x) if matches!(**x, Node::Percent(_)));
        let program = OnceLock::new();
        let exact = match &node {
            Node::Num(n) => Some(n.value.clone()),
            _ => match program.get_or_init(|| Program::compile(&node, LogReading::Natural)) {
                Ok(p) if p.is_constant() && !p.complex && !p.bare_log => {
                    p.run(&mut Exact::default(), &[]).ok()
                }
                _ => None,
            },
        };
        let decimal = decimal_form(&node);
        let base = if let Node::Base(d, b) = &node { Some((d.clone(), *b)) } else { None };
        Scalar { node, program, exact, decimal, unit, soft, percent, base }
    }

    /// An integer.
    pub fn int(n: i64) -> Self {
        Scalar::new(Node::int(n))
    }

    /// An exact rational.
    pub fn rational(q: BigRational) -> Self {
        Scalar::new(Node::Num(crate::number::Number::rational(q)))
    }

    fn program(&self) -> Result<&Program, Fail> {
        self.program
            .get_or_init(|| Program::compile(&self.node, LogReading::Natural))
            .as_ref()
            .map_err(|e| *e)
    }

    /// Whether it has no free variables and can be evaluated.
    pub fn is_constant(&self) -> bool {
        self.program().is_ok_and(Program::is_constant)
    }

    /// Whether it can be evaluated at all.
    pub fn is_evaluable(&self) -> bool {
        self.program().is_ok()
    }

    /// The free variables.
    pub fn variables(&self) -> &[String] {
        self.program().map_or(&[], |p| &p.variables)
    }

    /// A certified enclosure of a real constant.
    pub fn enclosure<const N: usize>(&self) -> Option<Ball<N>> {
        if let Some(q) = &self.exact {
            return Some(Ball::rational(q));
        }
        let p = self.program().ok().filter(|p| p.is_constant())?;
        let value = p.run(&mut Real::<N>::principal(), &[]).ok()?;
        match value.im {
            None => Some(value.re),
            Some(im) if im.contains_zero() && im.tiny() => Some(value.re),
            Some(_) => None,
        }
    }

    /// The order of two real constants, `Equal` only if they are equal.
    pub fn order(&self, other: &Scalar) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (&self.exact, &other.exact) {
            return Some(a.cmp(b));
        }
        if let Some(o) = self.enclosure::<2>()?.order(&other.enclosure::<2>()?) {
            return Some(o);
        }
        let (a, b) = (self.enclosure::<8>()?, other.enclosure::<8>()?);
        a.order(&b).or_else(|| (a.tight() && b.tight()).then_some(Ordering::Equal))
    }

    /// Whether the two expressions are equal, as constants or as functions of their variables. Units are not compared.
    pub fn compare(&self, other: &Scalar, rounding: Rounding) -> Outcome {
        let exact = self.equal_exactly(other);
        if exact.equal {
            return exact;
        }
        if rounding.relative > 0.0 && self.within(other, rounding.relative) {
            return Outcome::yes(Reason::EqualWithin);
        }
        for (d, v) in [(self, other), (other, self)] {
            if let Some(decimal) = d.decimal
                && decimal.significant >= rounding.significant
                && d.is_rounding_of(v, decimal)
            {
                return Outcome::yes(Reason::EqualRounded);
            }
        }
        exact
    }

    fn equal_exactly(&self, other: &Scalar) -> Outcome {
        if let (Some(a), Some(b)) = (&self.exact, &other.exact) {
            return if a == b {
                Outcome::yes(Reason::EqualExactly)
            } else {
                Outcome::no(Reason::DifferentValue)
            };
        }
        if self.node == other.node {
            return Outcome::yes(Reason::EqualExactly);
        }
        let (Ok(a), Ok(b)) = (self.program(), other.program()) else {
            return Outcome::no(Reason::DifferentValue);
        };
        // Terms on both sides cancel first: next to a huge common term a small difference would drown.
        if let Some((rest, other_rest)) = without_common_terms(&self.node, &other.node) {
            return rest.equal_exactly(&other_rest);
        }
        let natural = programs_equal(a, b, &self.node, &other.node, 0);
        if natural.equal || !(a.bare_log || b.bare_log) {
            return natural;
        }
        let (Ok(a), Ok(b)) = (
            Program::compile(&self.node, LogReading::Decimal),
            Program::compile(&other.node, LogReading::Decimal),
        ) else {
            return natural;
        };
        let decimal = programs_equal(&a, &b, &self.node, &other.node, 0);
        if decimal.equal { decimal } else { natural }
    }

    /// Whether `other` is within a relative distance of this value.
    fn within(&self, other: &Scalar, relative: f64) -> bool {
        let (Some(a), Some(b)) = (self.enclosure::<2>(), other.enclosure::<2>()) else { return false };
        let limit = match a.abs().mul(&Ball::exact(Float::from_f64(relative))) {
            Ok(l) => l,
            Err(_) => return false,
        };
        !limit.sub(&a.sub(&b).abs()).mid.is_negative()
    }

    /// Whether this decimal is the other value correctly rounded (or, with dots, cut off).
    fn is_rounding_of(&self, other: &Scalar, decimal: Decimal) -> bool {
        let Some(value) = &self.exact else { return false };
        let ten = BigRational::from_integer(BigInt::from(10));
        let mut unit = BigRational::one();
        if decimal.last.unsigned_abs() > 4096 {
            return false;
        }
        let power = num_traits::pow(ten, decimal.last.unsigned_abs() as usize);
        unit = if decimal.last < 0 { unit / power } else { unit * power };
        if self.percent {
            unit /= BigRational::from_integer(100.into());
        }
        let half = &unit / BigRational::from_integer(2.into());
        if let Some(v) = &other.exact {
            let d = v - value;
            return d.abs() <= half || (decimal.dots && d.signum() == value.signum() && d.abs() < unit);
        }
        let Some(v) = other.enclosure::<2>() else { return false };
        let d = v.sub(&Ball::rational(value));
        let fits = |limit: &BigRational| Ball::<2>::rational(limit).sub(&d.abs()).sign() == Ok(1);
        fits(&half) || (decimal.dots && d.mid.is_negative() == value.is_negative() && fits(&unit))
    }

    /// This expression minus another.
    pub fn minus(&self, other: &Scalar) -> Scalar {
        Scalar::new(Node::Add(vec![self.node.clone(), Node::Neg(Box::new(other.node.clone()))]))
    }

    /// Whether the expression vanishes identically (or is an exact zero).
    pub fn is_zero(&self) -> bool {
        if let Some(q) = &self.exact {
            return q.is_zero();
        }
        self.compare(&Scalar::int(0), Rounding { significant: u32::MAX, relative: 0.0 }).equal
    }

    /// Whether `self = c × other` for one constant `c`; with `positive`, only for `c > 0`. Both must not vanish.
    pub fn proportional(&self, other: &Scalar, positive: bool) -> Outcome {
        let (Ok(a), Ok(b)) = (self.program(), other.program()) else {
            return if self.node == other.node {
                Outcome::yes(Reason::EqualExactly)
            } else {
                Outcome::no(Reason::DifferentValue)
            };
        };
        let variables = union(&a.variables, &b.variables);
        if variables.is_empty() {
            return Outcome::no(Reason::DifferentValue);
        }
        if self.is_zero() || other.is_zero() {
            return Outcome::no(Reason::DifferentValue);
        }
        // Modulo primes: a(x) b(y) = a(y) b(x). The reason for a match is refined below if the sign matters.
        let mut modular = 0;
        for (k, &p) in PRIMES.iter().enumerate() {
            let at = |point: u64| {
                let mut d = Modular::new(p);
                let x = residues(&d, &variables, a, point);
                let y = residues(&d, &variables, b, point);
                let u = a.run(&mut d, &x).ok()?.r;
                let v = b.run(&mut d, &y).ok()?.r;
                Some((u, v))
            };
            let (Some((a1, b1)), Some((a2, b2))) = (at(2 * k as u64), at(2 * k as u64 + 1)) else { break };
            let p = u128::from(p);
            if u128::from(a1) * u128::from(b2) % p != u128::from(a2) * u128::from(b1) % p {
                return Outcome::no(Reason::DifferentValue);
            }
            modular += 1;
        }
        // Over the reals: the ratio is the same at every common point.
        let complex = a.complex || b.complex;
        let integral = a.integral || b.integral;
        let mut ratio: Option<Complex<2>> = None;
        // The point of that ratio, and the number of points where a term or the sharpness stayed lost: where they are many, agreement elsewhere,
        // perhaps because that term vanishes there, says nothing.
        let (mut first, mut lost) = (None, 0);
        let mut agreed = 0;
        let mut seen = Distinct::default();
        for k in 0..CANDIDATES {
            let Some(point) = at_point::<2>(a, b, &variables, k, complex, integral) else { continue };
            let (u, v) = match (point.a, point.b) {
                (Ok(u), Ok(v)) => (u, v),
                (Err(Fail::Budget), _) | (_, Err(Fail::Budget)) => return Outcome::no(Reason::Undecided),
                _ => continue,
            };
            let zero = |z: &Complex<2>| z.re.contains_zero() && z.im.is_none_or(|x| x.contains_zero());
            match (zero(&u), zero(&v)) {
                (true, true) => continue,
                (true, false) | (false, true) => return Outcome::no(Reason::DifferentValue),
                _ => {}
            }
            let Ok(q) = u.div(&v) else { continue };
            match &ratio {
                None => ratio = Some(q),
                Some(r) if r.disjoint(&q) => return Outcome::no(Reason::DifferentValue),
                Some(_) => {}
            }
            // Where a term is lost beside a larger one or the quotient is not sharp, at full precision against the first point.
            if point.drowned || !q.sharp() {
                let full = |k| {
                    let point = at_point::<8>(a, b, &variables, k, complex, integral)?;
                    let q = point.a.ok()?.div(&point.b.ok()?).ok()?;
                    Some((q, point.drowned || !q.sharp()))
                };
                let first = *first.get_or_insert(k);
                match (full(first), full(k)) {
                    (Some((p, _)), Some((q, _))) if p.disjoint(&q) => {
                        return Outcome::no(Reason::DifferentValue);
                    }
                    (Some((_, false)), Some((_, false))) => {}
                    _ => {
                        lost += 1;
                        continue;
                    }
                }
            }
            first.get_or_insert(k);
            if !seen.insert(&variables, k, integral) {
                continue;
            }
            agreed += 1;
            if agreed >= CHECKS || (modular == PRIMES.len() && agreed >= 1) {
                break;
            }
        }
        match ratio {
            Some(q) if agreed >= 4.max(lost + 1) || (modular == PRIMES.len() && agreed >= 1) => {
                if positive && (q.im.is_some() || q.re.mid.is_negative()) {
                    return Outcome::no(Reason::DifferentValue);
                }
                Outcome::yes(if modular == PRIMES.len() {
                    Reason::EqualModular
                } else {
                    Reason::EqualNumerically
                })
            }
            _ => Outcome::no(Reason::Undecided),
        }
    }
}

/// `5 feet 3 inches`: one quantity in the unit of its first part.
fn compound(node: &Node) -> Option<(Node, Unit)> {
    let Node::Add(parts) = node else { return None };
    let Some(Node::Quantity(_, first, _)) = parts.first() else { return None };
    let (dimension, scale) = first.measure();
    let mut sum = Vec::with_capacity(parts.len());
    for part in parts {
        let (negative, part) = if let Node::Neg(x) = part { (true, &**x) } else { (false, part) };
        let Node::Quantity(x, unit, _) = part else { return None };
        let (d, s) = unit.measure();
        if d != dimension {
            return None;
        }
        let value = if s == scale {
            (**x).clone()
        } else {
            Node::Mul(vec![(**x).clone(), Node::Num(crate::number::Number::rational(s / &scale))])
        };
        sum.push(if negative { Node::Neg(Box::new(value)) } else { value });
    }
    Some((Node::Add(sum), first.clone()))
}

/// The decimal form of `-1.5`, `15.2%` and `1.6 × 10^{-19}`.
fn decimal_form(node: &Node) -> Option<Decimal> {
    match node {
        Node::Num(n) => n.decimal,
        Node::Neg(x) | Node::Percent(x) => decimal_form(x),
        Node::Mul(v) => match &v[..] {
            [Node::Num(n), Node::Pow(p)] => {
                let (Node::Num(base), Some(mut d)) = (&p.0, n.decimal) else { return None };
                let e = match &p.1 {
                    Node::Num(e) => e.to_i64()?,
                    Node::Neg(e) => match &**e {
                        Node::Num(e) => -e.to_i64()?,
                        _ => return None,
                    },
                    _ => return None,
                };
                if base.to_i64() != Some(10) || e.abs() > 4096 {
                    return None;
                }
                d.last = d.last.checked_add(e as i32)?;
                Some(d)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Both sides without the terms they share; none if they share none.
fn without_common_terms(a: &Node, b: &Node) -> Option<(Scalar, Scalar)> {
    fn terms(node: &Node, negative: bool, out: &mut Vec<(bool, Node)>) {
        match node {
            Node::Add(v) => v.iter().for_each(|x| terms(x, negative, out)),
            Node::Neg(x) => terms(x, !negative, out),
            // e^x and exp(x) are one.
            Node::Pow(p) if p.0 == Node::Const(Constant::E) => {
                out.push((negative, Node::Call(Func::Exp, vec![p.1.clone()])));
            }
            other => out.push((negative, other.clone())),
        }
    }
    if !matches!(a, Node::Add(_)) && !matches!(b, Node::Add(_)) {
        return None;
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    terms(a, false, &mut left);
    terms(b, false, &mut right);
    if left.len() > 64 || right.len() > 64 {
        return None;
    }
    let before = left.len();
    left.retain(|t| match right.iter().position(|u| u == t) {
        Some(k) => {
            right.swap_remove(k);
            false
        }
        None => true,
    });
    if left.len() == before {
        return None;
    }
    let sum = |v: Vec<(bool, Node)>| {
        let mut nodes: Vec<Node> =
            v.into_iter().map(|(neg, n)| if neg { Node::Neg(Box::new(n)) } else { n }).collect();
        Scalar::new(match nodes.len() {
            0 => Node::int(0),
            1 => nodes.remove(0),
            _ => Node::Add(nodes),
        })
    };
    Some((sum(left), sum(right)))
}

fn union(a: &[String], b: &[String]) -> Vec<String> {
    let mut out = a.to_vec();
    out.extend(b.iter().filter(|v| !a.contains(v)).cloned());
    // The order picks the test points: it must not depend on which side is which.
    out.sort_unstable();
    out
}

/// A fixed pseudo-random sequence: the same on every machine.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn name_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn residues(domain: &Modular, _all: &[String], program: &Program, point: u64) -> Vec<Residue> {
    program.variables.iter().map(|v| domain.point(mix(name_seed(v) ^ mix(point)))).collect()
}

/// The value of the `j`-th variable at test point `k`. The first points run through all signs of the first variables;
/// sizes range from hundredths to hundreds, and every fifth point is an integer.
fn sample(name: &str, j: usize, k: u64, integers_only: bool) -> f64 {
    let h = mix(name_seed(name) ^ mix(k ^ 0x5eed));
    let unit = (h >> 44) as f64 / (1u64 << 20) as f64;
    if integers_only {
        const RANGES: [(i64, i64); 6] = [(2, 9), (1, 6), (5, 14), (3, 20), (0, 5), (10, 26)];
        let (lo, hi) = RANGES[(k % 6) as usize];
        return (lo + (h % (hi - lo + 1) as u64) as i64) as f64;
    }
    const RANGES: [(f64, f64); 6] =
        [(0.5, 2.5), (2.0, 6.0), (0.05, 0.7), (6.0, 25.0), (0.1, 0.95), (20.0, 150.0)];
    let negative = if k < 16 { (k >> (j % 4)) & 1 == 1 } else { (h >> 20) & 1 == 1 };
    let (lo, hi) = RANGES[((k / 2 + (h >> 8) % 2) % 6) as usize];
    let size = if k % 5 == 4 { (h % 12) as f64 } else { lo + unit * (hi - lo) };
    if negative { -size } else { size }
}

fn is_integer_name(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'j' | b'k' | b'l' | b'm' | b'n' | b'N' | b'M' | b'K'))
        && (name.len() == 1 || name.as_bytes()[1] == b'_')
}

/// The value of the `j`-th variable at test point `k`. With factorials and floors, names of integers take integers only, other
/// names every second time.
fn coordinate(name: &str, j: usize, k: u64, integral: bool) -> f64 {
    sample(name, j, k, integral && (is_integer_name(name) || k.is_multiple_of(2)))
}

/// The test points at which two functions agreed, each counted once: agreement at the one point where both can be evaluated
/// says little, however often it is drawn.
#[derive(Default)]
struct Distinct(Vec<Vec<u64>>);

impl Distinct {
    fn insert(&mut self, variables: &[String], k: u64, integral: bool) -> bool {
        let point: Vec<u64> =
            variables.iter().enumerate().map(|(j, v)| coordinate(v, j, k, integral).to_bits()).collect();
        let new = !self.0.contains(&point);
        if new {
            self.0.push(point);
        }
        new
    }
}

type Value<const N: usize> = Result<Complex<N>, Fail>;

/// Both values at a test point.
struct AtPoint<const N: usize> {
    a: Value<N>,
    b: Value<N>,
    /// Whether a term vanished in the error beside a larger one, so that agreement says nothing of it.
    drowned: bool,
}

fn at_point<const N: usize>(
    a: &Program,
    b: &Program,
    variables: &[String],
    k: u64,
    complex: bool,
    integral: bool,
) -> Option<AtPoint<N>> {
    let value = |j: usize, name: &str| {
        Complex::real(Ball::exact(Float::<N>::from_f64(coordinate(name, j, k, integral))))
    };
    let values: Vec<(&String, Complex<N>)> =
        variables.iter().enumerate().map(|(j, v)| (v, value(j, v))).collect();
    let pick = |p: &Program| -> Vec<Complex<N>> {
        p.variables.iter().filter_map(|v| values.iter().find(|(n, _)| *n == v).map(|(_, x)| *x)).collect()
    };
    let domain = || if complex { Real::<N>::principal() } else { Real::<N>::reals() };
    let (mut left, mut right) = (domain(), domain());
    let x = a.run(&mut left, &pick(a));
    if matches!(x, Err(Fail::Kind)) {
        return None;
    }
    let y = b.run(&mut right, &pick(b));
    // Too much work on both sides: no further points. On one side: the caller decides nothing.
    if matches!(y, Err(Fail::Kind))
        || matches!((&x, &y), (Err(Fail::Budget), Err(_)) | (Err(_), Err(Fail::Budget)))
    {
        return None;
    }
    Some(AtPoint { a: x, b: y, drowned: left.drowned || right.drowned })
}

fn programs_equal(a: &Program, b: &Program, node_a: &Node, node_b: &Node, depth: u32) -> Outcome {
    let variables = union(&a.variables, &b.variables);
    // Fingerprints modulo primes.
    let mut agreed = 0;
    let mut points = 0u64;
    while agreed < PRIMES.len() && points < 8 {
        let p = PRIMES[agreed];
        let run = |program: &Program| {
            let mut d = Modular::new(p);
            let x = residues(&d, &variables, program, points);
            program.run(&mut d, &x)
        };
        match (run(a), run(b)) {
            (Ok(x), Ok(y)) if x.r != y.r => return Outcome::no(Reason::DifferentValue),
            (Ok(_), Ok(_)) => agreed += 1,
            (Err(Fail::Domain), _) | (_, Err(Fail::Domain)) => {}
            _ => break,
        }
        points += 1;
    }
    if agreed == PRIMES.len() {
        return Outcome::yes(Reason::EqualModular);
    }
    if variables.is_empty() {
        return constants_equal(a, b, node_a, node_b, depth);
    }
    let complex = a.complex || b.complex;
    let integral = a.integral || b.integral;
    let mut agreed = 0;
    // The number of points where a term stayed lost beside a larger one: where they are many, agreement elsewhere, perhaps because
    // that term vanishes there, says nothing.
    let mut lost = 0;
    let mut seen = Distinct::default();
    for k in 0..CANDIDATES {
        let Some(point) = at_point::<2>(a, b, &variables, k, complex, integral) else { break };
        let (x, y) = match (point.a, point.b) {
            (Ok(x), Ok(y)) => (x, y),
            // n!! and n!!! agree wherever the latter is small.
            (Err(Fail::Budget), _) | (_, Err(Fail::Budget)) => return Outcome::no(Reason::Undecided),
            _ => continue,
        };
        if x.disjoint(&y) {
            return Outcome::no(Reason::DifferentValue);
        }
        if !(x.tight() && y.tight()) {
            continue;
        }
        if agreed == 0 || point.drowned {
            // Once at full precision, and wherever a term is lost at the lower one.
            let Some(full) = at_point::<8>(a, b, &variables, k, complex, integral) else { break };
            match (full.a, full.b) {
                (Ok(x), Ok(y)) if x.disjoint(&y) => return Outcome::no(Reason::DifferentValue),
                (Ok(x), Ok(y)) if x.tight() && y.tight() && !full.drowned => {}
                _ => {
                    lost += usize::from(full.drowned);
                    continue;
                }
            }
        }
        if !seen.insert(&variables, k, integral) {
            continue;
        }
        agreed += 1;
        if agreed >= CHECKS {
            break;
        }
    }
    if agreed >= 3.max(lost + 1) {
        Outcome::yes(Reason::EqualNumerically)
    } else {
        Outcome::no(Reason::Undecided)
    }
}

fn constants_equal(a: &Program, b: &Program, node_a: &Node, node_b: &Node, depth: u32) -> Outcome {
    let run = |p: &Program| p.run(&mut Real::<2>::principal(), &[]);
    match (run(a), run(b)) {
        (Ok(x), Ok(y)) => {
            if x.disjoint(&y) {
                return Outcome::no(Reason::DifferentValue);
            }
            let mut domains = (Real::<8>::principal(), Real::<8>::principal());
            let (x, y) = (a.run(&mut domains.0, &[]), b.run(&mut domains.1, &[]));
            // Where a term is lost in the error, agreement says nothing of it.
            let drowned = domains.0.drowned || domains.1.drowned;
            match (x, y) {
                (Ok(x), Ok(y)) if x.disjoint(&y) => Outcome::no(Reason::DifferentValue),
                (Ok(x), Ok(y)) if !drowned && x.tight() && y.tight() => {
                    Outcome::yes(Reason::EqualNumerically)
                }
                _ => Outcome::no(Reason::Undecided),
            }
        }
        // One is too large to represent and the other is not.
        (Err(Fail::Overflow), Ok(_)) | (Ok(_), Err(Fail::Overflow)) => Outcome::no(Reason::DifferentValue),
        (Err(Fail::Overflow | Fail::Budget), Err(Fail::Overflow | Fail::Budget)) if depth < 3 => {
            // Both are huge or tiny: compare their logarithms.
            let (Some((sign_a, log_a)), Some((sign_b, log_b))) = (logarithm(node_a, 0), logarithm(node_b, 0))
            else {
                return Outcome::no(Reason::Undecided);
            };
            if sign_a != sign_b {
                return Outcome::no(Reason::DifferentValue);
            }
            let compile = |n: &Node| Program::compile(n, LogReading::Natural);
            match (compile(&log_a), compile(&log_b)) {
                (Ok(p), Ok(q)) => programs_equal(&p, &q, &log_a, &log_b, depth + 1),
                _ => Outcome::no(Reason::Undecided),
            }
        }
        _ => Outcome::no(Reason::Undecided),
    }
}

/// The sign and the logarithm of the absolute value, for products and powers of numbers.
fn logarithm(node: &Node, depth: u32) -> Option<(i32, Node)> {
    if depth > 40 {
        return None;
    }
    let ln = |n: Node| Node::Call(Func::Ln, vec![n]);
    match node {
        Node::Num(n) if n.value.is_zero() => None,
        Node::Num(n) => {
            let sign = if n.value.is_negative() { -1 } else { 1 };
            Some((sign, ln(Node::Num(crate::number::Number::rational(n.value.abs())))))
        }
        Node::Const(Constant::Pi) => Some((1, ln(node.clone()))),
        Node::Const(Constant::E) => Some((1, Node::int(1))),
        Node::Neg(x) => logarithm(x, depth + 1).map(|(s, l)| (-s, l)),
        Node::Mul(v) => {
            let mut sign = 1;
            let mut parts = Vec::new();
            for x in v {
                let (s, l) = logarithm(x, depth + 1)?;
                sign *= s;
                parts.push(l);
            }
            Some((sign, Node::Add(parts)))
        }
        Node::Div(p) => {
            let (s, a) = logarithm(&p.0, depth + 1)?;
            let (t, b) = logarithm(&p.1, depth + 1)?;
            Some((s * t, Node::Add(vec![a, Node::Neg(Box::new(b))])))
        }
        Node::Pow(p) => {
            let (s, a) = logarithm(&p.0, depth + 1)?;
            (s > 0).then(|| (1, Node::Mul(vec![p.1.clone(), a])))
        }
        Node::Call(Func::Exp, v) => Some((1, v[0].clone())),
        Node::Call(Func::Sqrt, v) => {
            let (s, a) = logarithm(&v[0], depth + 1)?;
            (s > 0).then(|| (1, Node::Div(Box::new((a, Node::int(2))))))
        }
        _ => None,
    }
}
