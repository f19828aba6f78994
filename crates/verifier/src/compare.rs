//! Whether two answers are equal.
//!
//! Coercions between kinds, all of them symmetric under the default policy:
//!
//! | one side | other side | equal when |
//! |---|---|---|
//! | `x = v` | `v` | the values are equal |
//! | `m + n = v` | `v` | the values are equal (`x + y = v` is an equation) |
//! | `x = v` | `y = w` | the names and values are equal, or the equations are multiples of each other |
//! | list | list | the same items in any order, counted |
//! | list | set | the same items in any order |
//! | one-item set | the item | the items are equal |
//! | pair `(a, b)` | inequality, interval | read as an interval |
//! | pair, tuple | row or column matrix | the same entries in order |
//! | list of pairs | union of intervals | the same set |
//! | finite set | solved inequality | the same set |
//! | system `x = 1, y = 2` | tuple `(1, 2)` | the values in order |
//! | `f(x) = v` | `f(t) = w` | equal after renaming the variable |
//! | bound on `x` | bound on `y` | never: the names differ |
//! | `ai + bj + ck` with bold unit vectors | tuple, column | the same components |
//! | function by cases | expression, cases | equal at points of every piece |
//! | list with dots | list with dots, or written out | one rule gives the items shown |
//! | letters `A, C` | `AC` | the same choices |
//! | `a : b` | `a / b` | the same quotient |
//! | numeral in a base | number | the same number |
//! | choice with content `(C) 12` | choice | the letters are equal |
//! | choice with content `(C) 12` | `12` | the contents are equal |
//! | `x = a + kb, k ∈ Z` | another such family | the same set of numbers |
//! | `x + 2 = 0` | `-2` | the equation is a multiple of `x = -2` |
//! | `x = y = 4` | `4` | every value is equal |
//! | `June 20` | `20` | the day of the month alone |
//! | `x \equiv 3 \pmod 7` | `3 \pmod 7` | the same class |
//! | `12:00` between times | ratio | times with times, ratios with ratios |

use num_traits::{Signed, Zero};

use crate::{
    families,
    lex::Delim,
    limits, piecewise,
    policy::{Base, Order, Percent, Policy, Units},
    scalar::{Outcome, Rounding, Scalar},
    series::Dotted,
    syntax::{Constant, Func, Node},
    units,
    value::{Answer, Time, Value, interval, linear, to_region},
    verdict::Reason,
};

/// Compares two answers under a policy.
pub fn compare(gold: &Answer, response: &Answer, policy: &Policy) -> Outcome {
    // What is left out of the clean text can make words of one side and mathematics of the other.
    let words = |v: &Value| matches!(v, Value::Text(_));
    let undefined = |v: &Value| matches!(v, Value::Undefined);
    if gold.clean == response.clean
        && !undefined(&gold.value)
        && !undefined(&response.value)
        && words(&gold.value) == words(&response.value)
    {
        return Outcome::yes(Reason::SameText);
    }
    if let (Some(a), Some(b)) = (&gold.subject, &response.subject)
        && a != b
    {
        return no(Reason::DifferentValue);
    }
    if let (Some((_, Some(a))), Some((_, Some(b)))) = (&gold.parameter, &response.parameter)
        && a != b
    {
        return no(Reason::DifferentValue);
    }
    // n ≡ 2 (mod 5) and n = 5k + 2, k ∈ Z
    for (a, b) in [(gold, response), (response, gold)] {
        // The class may stand without the name that the other side gives it.
        let class = match &a.value {
            Value::Congruence { name, residue, modulus } => {
                Some((Some(name), residue.exact.clone(), modulus.exact.clone()))
            }
            Value::Scalar(s) => match &s.node {
                Node::Call(Func::Mod, v) if s.unit.is_none() => {
                    Some((None, Scalar::new(v[0].clone()).exact, Scalar::new(v[1].clone()).exact))
                }
                _ => None,
            },
            _ => None,
        };
        let (name, value) = match &b.value {
            Value::Assign { name, value, .. } => (Some(name), &**value),
            value => (None, value),
        };
        if let Some((n, Some(r), Some(m))) = class
            && !m.is_zero()
            && let (Value::Scalar(s), Some((k, Some(Constant::Integers)))) = (value, &b.parameter)
        {
            let same = (n.is_none() || name.is_none() || n == name)
                && s.variables().len() == 1
                && linear(&s.node, k).is_some_and(|(slope, offset)| {
                    slope.abs() == m.abs() && ((offset - &r) / &m).is_integer()
                });
            return if same { Outcome::yes(Reason::EqualExactly) } else { no(Reason::DifferentValue) };
        }
    }
    if families::same(gold, response) == Some(true) {
        return Outcome::yes(Reason::EqualExactly);
    }
    // The parameter of a family of solutions may have any name.
    if let Some((from, to)) = parameters(gold, response) {
        let renamed = Answer {
            clean: response.clean.clone(),
            value: response.value.substitute(&from, &Node::Var(to)),
            subject: None,
            parameter: None,
        };
        return compare(&Answer { parameter: None, ..gold.clone() }, &renamed, policy);
    }
    let rounding = Rounding { significant: policy.significant_digits, relative: policy.relative_tolerance };
    let mut work = Work { policy, rounding, pairs: limits::PAIRS };
    work.values(&gold.value, &response.value, 0)
}

/// The names of the parameters of two families of solutions, if they differ: the response's and the gold answer's.
fn parameters(gold: &Answer, response: &Answer) -> Option<(String, String)> {
    // Where one side names a real parameter the other has to name its own; integers are known by their letters.
    let real = |a: &Answer| matches!(a.parameter, Some((_, Some(Constant::Reals | Constant::Rationals))));
    let real = real(gold) || real(response);
    let name = |a: &Answer| match &a.parameter {
        Some((name, _)) => Some(name.clone()),
        None if real => None,
        None => a.value.integer_name(),
    };
    if gold.parameter.is_none() && response.parameter.is_none() {
        return None;
    }
    let (to, from) = (name(gold)?, name(response)?);
    (to != from && !response.value.mentions(&to)).then_some((from, to))
}

struct Work<'a> {
    policy: &'a Policy,
    rounding: Rounding,
    pairs: u64,
}

fn no(reason: Reason) -> Outcome {
    Outcome::no(reason)
}

impl Work<'_> {
    fn values(&mut self, a: &Value, b: &Value, depth: u32) -> Outcome {
        if depth > limits::DEPTH || self.pairs == 0 {
            return no(Reason::Undecided);
        }
        self.pairs -= 1;
        let d = depth + 1;
        match (a, b) {
            (Value::Scalar(x), Value::Scalar(y)) => self.scalars(x, y),
            (Value::Infinity(x), Value::Infinity(y)) => {
                if x == y {
                    Outcome::yes(Reason::EqualExactly)
                } else {
                    no(Reason::DifferentValue)
                }
            }
            (Value::Choice(x, _), Value::Choice(y, _)) => {
                if x == y {
                    Outcome::yes(Reason::EqualText)
                } else {
                    no(Reason::DifferentText)
                }
            }
            (Value::Choice(c, None), Value::Scalar(s)) | (Value::Scalar(s), Value::Choice(c, None)) => {
                let same =
                    matches!(&s.node, Node::Var(v) if v.len() == 1 && v.eq_ignore_ascii_case(&c.to_string()));
                if same { Outcome::yes(Reason::EqualText) } else { no(Reason::DifferentKind) }
            }
            (Value::Choice(_, Some(x)), y) => self.values(x, y, d),
            (x, Value::Choice(_, Some(y))) => self.values(x, y, d),
            (Value::Choice(c, None), Value::Text(t)) | (Value::Text(t), Value::Choice(c, None)) => {
                let same = t.eq_ignore_ascii_case(&c.to_string());
                if same { Outcome::yes(Reason::EqualText) } else { no(Reason::DifferentText) }
            }
            (Value::Text(x), Value::Text(y)) => {
                if x == y {
                    Outcome::yes(Reason::EqualText)
                } else {
                    no(Reason::DifferentText)
                }
            }
            (Value::Undefined, Value::Undefined) => Outcome::yes(Reason::EqualText),
            (Value::Numbers(x), Value::Numbers(y)) => {
                if x == y {
                    Outcome::yes(Reason::EqualExactly)
                } else {
                    no(Reason::DifferentValue)
                }
            }
            (Value::Time(x, rx), Value::Time(y, ry)) => self.times(x, rx.as_deref(), y, ry.as_deref()),
            (Value::Time(t, ratio), other) | (other, Value::Time(t, ratio)) => match (ratio, other) {
                (Some(r), Value::Ratio(s)) => self.ratios(r, s),
                (Some(r), Value::Scalar(s)) if !t.marked && r.len() == 2 => self.quotient(r, s),
                (_, Value::Scalar(s)) if t.bare_hour.is_some() => {
                    let hour = Scalar::int(i64::from(t.bare_hour.unwrap_or(0)));
                    if s.unit.is_none() { hour.compare(s, self.rounding) } else { no(Reason::DifferentUnit) }
                }
                _ => no(Reason::DifferentKind),
            },
            (Value::Date { month, day, year }, Value::Date { month: m, day: d, year: y }) => {
                if (month, day, year) == (m, d, y) {
                    Outcome::yes(Reason::EqualExactly)
                } else {
                    no(Reason::DifferentValue)
                }
            }
            (Value::Date { day, .. }, Value::Scalar(s)) | (Value::Scalar(s), Value::Date { day, .. }) => {
                if s.unit.is_none() {
                    Scalar::int(i64::from(*day)).compare(s, self.rounding)
                } else {
                    no(Reason::DifferentKind)
                }
            }
            (Value::Ratio(x), Value::Ratio(y)) => self.ratios(x, y),
            (Value::Ratio(r), Value::Scalar(s)) | (Value::Scalar(s), Value::Ratio(r)) if r.len() == 2 => {
                self.quotient(r, s)
            }
            (Value::Assign { .. }, _) | (_, Value::Assign { .. }) => self.assignments(a, b, d),
            (Value::Equation(x), Value::Equation(y)) => x.proportional(y, false),
            // x + 2 = 0 says x = -2, and that is -2.
            (Value::Equation(x), Value::Scalar(s)) | (Value::Scalar(s), Value::Equation(x))
                if self.policy.drop_assignment
                    && x.variables().len() == 1
                    && s.is_constant()
                    && s.unit.is_none() =>
            {
                let root = Node::Neg(Box::new(s.node.clone()));
                let line = Scalar::new(Node::Add(vec![Node::Var(x.variables()[0].clone()), root]));
                x.proportional(&line, false)
            }
            (
                Value::Inequality { difference: x, strict: s },
                Value::Inequality { difference: y, strict: t },
            ) => {
                if s != t {
                    no(Reason::DifferentValue)
                } else {
                    x.proportional(y, true)
                }
            }
            (
                Value::Congruence { name: n, residue: r, modulus: m },
                Value::Congruence { name: n2, residue: r2, modulus: m2 },
            ) => {
                if n == n2 {
                    self.classes((r, m), (r2, m2))
                } else {
                    no(Reason::DifferentValue)
                }
            }
            // x ≡ 3 (mod 7) and the class 3 (mod 7) alone
            (Value::Congruence { residue: r, modulus: m, .. }, Value::Scalar(s))
            | (Value::Scalar(s), Value::Congruence { residue: r, modulus: m, .. }) => match &s.node {
                Node::Call(Func::Mod, v) if s.unit.is_none() => {
                    self.classes((r, m), (&Scalar::new(v[0].clone()), &Scalar::new(v[1].clone())))
                }
                _ => no(Reason::DifferentKind),
            },
            (Value::System(x), Value::System(y)) => {
                if x.len() != y.len() {
                    return no(Reason::DifferentLength);
                }
                for (name, value) in x {
                    let Some((_, other)) = y.iter().find(|(n, _)| n == name) else {
                        return no(Reason::DifferentValue);
                    };
                    let o = self.values(value, other, d);
                    if !o.equal {
                        return o;
                    }
                }
                Outcome::yes(Reason::EqualExactly)
            }
            // x = y = 4 and 4
            (Value::System(x), other @ Value::Scalar(_)) | (other @ Value::Scalar(_), Value::System(x)) => {
                let mut last = no(Reason::DifferentKind);
                for (_, value) in x {
                    last = self.values(value, other, d);
                    if !last.equal {
                        break;
                    }
                }
                last
            }
            (Value::System(x), Value::Tuple { items, .. }) => self.system(x, items, d),
            (Value::Tuple { items, .. }, Value::System(x)) => self.system(x, items, d),
            (Value::System(x), Value::List(items) | Value::Set(items))
            | (Value::List(items) | Value::Set(items), Value::System(x)) => {
                let values: Vec<Value> = x.iter().map(|(_, v)| v.clone()).collect();
                self.unordered(&values, items, true, d)
            }
            (Value::Matrix(x), Value::Matrix(y)) => {
                if x.len() != y.len() || x.iter().zip(y).any(|(r, s)| r.len() != s.len()) {
                    return no(Reason::DifferentLength);
                }
                let mut last = Outcome::yes(Reason::EqualExactly);
                for (r, s) in x.iter().zip(y) {
                    last = self.ordered(r, s, d);
                    if !last.equal {
                        return last;
                    }
                }
                last
            }
            (Value::System(x), Value::Matrix(m)) | (Value::Matrix(m), Value::System(x)) => {
                if m.iter().any(|r| r.len() != 1) && m.len() != 1 {
                    return no(Reason::DifferentKind);
                }
                let items: Vec<Value> = m.iter().flatten().cloned().collect();
                self.system(x, &items, d)
            }
            (Value::Matrix(m), Value::Tuple { items, .. })
            | (Value::Tuple { items, .. }, Value::Matrix(m)) => {
                let flat: Vec<Value> = if m.len() == 1 || m.iter().all(|r| r.len() == 1) {
                    m.iter().flatten().cloned().collect()
                } else {
                    return no(Reason::DifferentKind);
                };
                self.ordered(&flat, items, d)
            }
            (Value::Matrix(m), other) | (other, Value::Matrix(m)) if m.len() == 1 && m[0].len() == 1 => {
                let inner = m[0][0].clone();
                self.values(&inner, other, d)
            }
            (Value::Cases(x), Value::Cases(y)) => {
                let rows = self.cases(x, y, d);
                if rows.equal { rows } else { piecewise::compare(a, b).unwrap_or(rows) }
            }
            (Value::Cases(_), Value::Scalar(_)) | (Value::Scalar(_), Value::Cases(_)) => {
                piecewise::compare(a, b).unwrap_or(no(Reason::DifferentKind))
            }
            (Value::Sequence(x), Value::Sequence(y)) => {
                let item = |w: &mut Self, i: &Option<Value>, j: &Option<Value>| match (i, j) {
                    (None, None) => true,
                    (Some(i), Some(j)) => w.values(i, j, d).equal,
                    _ => false,
                };
                if x.len() == y.len() && x.iter().zip(y).all(|(i, j)| item(self, i, j)) {
                    return Outcome::yes(Reason::EqualExactly);
                }
                match (dotted(x), dotted(y)) {
                    (Some(p), Some(q)) if p.same(&q) => Outcome::yes(Reason::EqualExactly),
                    _ => no(Reason::DifferentValue),
                }
            }
            (Value::Sequence(x), other @ (Value::List(_) | Value::Set(_) | Value::Tuple { .. }))
            | (other @ (Value::List(_) | Value::Set(_) | Value::Tuple { .. }), Value::Sequence(x)) => {
                let Some(items) = dotted(x).and_then(|s| s.items()) else { return no(Reason::DifferentKind) };
                let items = items.into_iter().map(|n| Value::Scalar(Box::new(Scalar::new(n)))).collect();
                self.values(&Value::List(items), other, d)
            }
            // a i + b j + c k
            (Value::Scalar(s), Value::Tuple { items, .. })
            | (Value::Tuple { items, .. }, Value::Scalar(s))
                if matches!(items.len(), 2 | 3) && s.variables().iter().any(|v| v.starts_with("vector ")) =>
            {
                let mut sum = Vec::new();
                for (item, name) in items.iter().zip(["vector i", "vector j", "vector k"]) {
                    let Value::Scalar(x) = item else { return no(Reason::DifferentKind) };
                    sum.push(Node::Mul(vec![x.node.clone(), Node::Var(name.into())]));
                }
                s.compare(&Scalar::new(Node::Add(sum)), self.rounding)
            }
            (Value::Scalar(s), Value::Matrix(m)) | (Value::Matrix(m), Value::Scalar(s))
                if m.iter().all(|r| r.len() == 1)
                    && s.variables().iter().any(|v| v.starts_with("vector ")) =>
            {
                let items = m.iter().flatten().cloned().collect();
                let tuple = Value::Tuple { open: Delim::Paren, close: Delim::Paren, items };
                self.values(&Value::Scalar(s.clone()), &tuple, d)
            }
            // A, C and AC
            (Value::List(x), Value::Scalar(s)) | (Value::Scalar(s), Value::List(x))
                if x.iter().all(|v| matches!(v, Value::Choice(_, None))) =>
            {
                let Node::Mul(letters) = &s.node else { return no(Reason::DifferentLength) };
                let letters = letters.iter().map(|n| Value::Scalar(Box::new(Scalar::new(n.clone()))));
                self.unordered(x, &letters.collect::<Vec<_>>(), true, d)
            }
            (Value::Builder(x, c), Value::Builder(y, e)) => {
                let head = self.values(x, y, d);
                if !head.equal {
                    return head;
                }
                match (&**c, &**e) {
                    (Value::Undefined, Value::Undefined) => no(Reason::Undecided),
                    (c, e) => self.values(c, e, d),
                }
            }
            (
                Value::Tuple { open: o1, close: c1, items: x },
                Value::Tuple { open: o2, close: c2, items: y },
            ) => {
                // Brackets tell intervals from one another; for other lengths they are a matter of taste.
                let brackets = |d: &Delim| matches!(d, Delim::Bracket);
                let differ = brackets(o1) != brackets(o2) || brackets(c1) != brackets(c2);
                if differ
                    && x.len() == 2
                    && (interval(*o1, *c1, x).is_some() || interval(*o2, *c2, y).is_some())
                {
                    return no(Reason::DifferentKind);
                }
                self.ordered(x, y, d)
            }
            (Value::List(x), Value::List(y)) => {
                let outcome = match self.policy.order {
                    Order::Ordered => self.ordered(x, y, d),
                    _ => self.unordered(x, y, true, d),
                };
                if outcome.equal {
                    return outcome;
                }
                // Pairs in round brackets are points unless an interval stands among them.
                let intervals = |v: &[Value]| {
                    v.iter()
                        .any(|i| matches!(i, Value::Region(_) | Value::Tuple { open: Delim::Bracket, .. }))
                };
                if !intervals(x) || !intervals(y) {
                    return outcome;
                }
                match (to_region(a), to_region(b)) {
                    (Some(r), Some(s)) if r.same(&s, self.rounding) => Outcome::yes(Reason::EqualExactly),
                    _ => outcome,
                }
            }
            (Value::Set(x), Value::Set(y)) => self.unordered(x, y, false, d),
            (Value::List(x), Value::Set(y)) | (Value::Set(y), Value::List(x)) => {
                // {(1, 2)} or {1, 2} against the bare list.
                if let [one] = &y[..]
                    && x.len() > 1
                {
                    let _ = one;
                    return no(Reason::DifferentLength);
                }
                self.unordered(x, y, false, d)
            }
            (Value::Region(_), _) | (_, Value::Region(_)) => self.regions(a, b, d),
            (Value::Set(x), Value::Tuple { open: Delim::Paren, .. })
            | (Value::Tuple { open: Delim::Paren, .. }, Value::Set(x))
                if x.len() > 1 =>
            {
                no(Reason::DifferentKind)
            }
            (Value::Set(x) | Value::List(x), other) | (other, Value::Set(x) | Value::List(x))
                if x.len() == 1 =>
            {
                let one = x[0].clone();
                self.values(&one, other, d)
            }
            (Value::List(x), Value::Tuple { open, close, items })
            | (Value::Tuple { open, close, items }, Value::List(x)) => {
                if *open == Delim::Bracket && *close == Delim::Bracket && items.len() != 2 {
                    return self.unordered(x, items, true, d);
                }
                if self.policy.order == Order::Either {
                    return self.ordered(x, items, d);
                }
                no(Reason::DifferentKind)
            }
            (Value::Set(x), Value::Tuple { open: Delim::Bracket, close: Delim::Bracket, items })
            | (Value::Tuple { open: Delim::Bracket, close: Delim::Bracket, items }, Value::Set(x))
                if items.len() != 2 =>
            {
                self.unordered(x, items, false, d)
            }
            _ => no(Reason::DifferentKind),
        }
    }

    fn scalars(&mut self, x: &Scalar, y: &Scalar) -> Outcome {
        // A pair with factorials that are multiplied out counts for as many as their products.
        if x.exact.is_none() && y.exact.is_none() {
            let products = x.node.factorial_weight().saturating_add(y.node.factorial_weight());
            self.pairs = self.pairs.saturating_sub(products);
        }
        // 5 (mod 12) and 5 (mod 11) are different classes, though both remainders are 5.
        if let (Node::Call(Func::Mod, v), Node::Call(Func::Mod, w)) = (&x.node, &y.node)
            && let (Some(m), Some(n)) = (Scalar::new(v[1].clone()).exact, Scalar::new(w[1].clone()).exact)
            && m != n
        {
            return no(Reason::DifferentValue);
        }
        // A soft unit is a variable if the other side has that variable.
        if let Some(outcome) = self.soft(x, y) {
            return outcome;
        }
        let mut scale = None;
        match self.policy.units {
            Units::Ignore => {}
            units => match (
                x.unit.as_ref().filter(|u| !u.is_generic()),
                y.unit.as_ref().filter(|u| !u.is_generic()),
            ) {
                (None, None) => {}
                (Some(u), None) | (None, Some(u)) => {
                    if units == Units::Required && !u.is_currency() {
                        return no(Reason::MissingUnit);
                    }
                    if units == Units::Convert && u.measure().0 == ANGLE {
                        // A degree against a bare number: either the same number of degrees or the radians.
                        let plain = x.compare(y, self.rounding);
                        if plain.equal {
                            return plain;
                        }
                        let (deg, rad) = if x.unit.is_some() { (x, y) } else { (y, x) };
                        return Scalar::new(Node::Mul(vec![deg.node.clone(), degree()]))
                            .compare(rad, self.rounding);
                    }
                }
                (Some(u), Some(v))
                    if u == v
                        || (u.is_currency() && v.is_currency())
                        || u.is_sterling() && v.is_sterling() => {}
                (Some(u), Some(v)) => {
                    let ((du, fu), (dv, fv)) = (u.measure(), v.measure());
                    if units != Units::Convert
                        || du != dv
                        || u.is_currency() != v.is_currency() && units::is_money("$") && du[7] == 0
                    {
                        return no(Reason::DifferentUnit);
                    }
                    scale = Some(fv / fu);
                }
            },
        }
        if let Some(scale) = scale {
            let converted = if y.unit.as_ref().is_some_and(|u| u.measure().0 == ANGLE) {
                // degrees carry a factor π that the table cannot hold
                let to_rad = |s: &Scalar| {
                    let degrees = s.unit.as_ref().is_some_and(|u| u.factors[0].0 == "°");
                    if degrees {
                        Scalar::new(Node::Mul(vec![s.node.clone(), degree()]))
                    } else {
                        Scalar::new(s.node.clone())
                    }
                };
                return to_rad(x).compare(&to_rad(y), self.rounding);
            } else {
                Node::Mul(vec![y.node.clone(), Node::Num(crate::number::Number::rational(scale))])
            };
            return x.compare(&Scalar::new(converted), self.rounding);
        }
        if !self.policy.unreduced && reducible(&y.node) && !reducible(&x.node) {
            return no(Reason::Form);
        }
        let outcome = x.compare(y, self.rounding);
        if outcome.equal {
            return outcome;
        }
        if self.policy.percent == Percent::Either && x.percent != y.percent {
            let strip = |s: &Scalar| match &s.node {
                Node::Percent(x) => Scalar::new((**x).clone()),
                Node::Neg(x) => match &**x {
                    Node::Percent(y) => Scalar::new(Node::Neg(y.clone())),
                    _ => s.clone(),
                },
                _ => s.clone(),
            };
            let either = strip(x).compare(&strip(y), self.rounding);
            if either.equal {
                return either;
            }
        }
        if let (Some((_, b)), None, other) | (None, Some((_, b)), other) =
            (&x.base, &y.base, if x.base.is_some() { y } else { x })
        {
            let digits = if x.base.is_some() { &x.base } else { &y.base };
            let _ = b;
            if self.policy.base == Base::Optional
                && let (Some((d, _)), Node::Num(n)) = (digits, &other.node)
                && n.is_plain_integer()
                && n.value.to_integer().to_string() == *d
            {
                return Outcome::yes(Reason::EqualText);
            }
            return no(Reason::DifferentBase);
        }
        if let (Some((_, b)), Some((_, c))) = (&x.base, &y.base)
            && b != c
        {
            return no(Reason::DifferentBase);
        }
        outcome
    }

    /// Residue classes: the same modulus, and residues that differ by a multiple of it.
    fn classes(&mut self, (r, m): (&Scalar, &Scalar), (r2, m2): (&Scalar, &Scalar)) -> Outcome {
        let steps = Scalar::new(Node::Div(Box::new((r.minus(r2).node, m.node.clone()))));
        if m.compare(m2, self.rounding).equal && steps.exact.is_some_and(|q| q.is_integer()) {
            Outcome::yes(Reason::EqualExactly)
        } else {
            no(Reason::DifferentValue)
        }
    }

    /// `5 m` against an expression in `m`.
    fn soft(&mut self, x: &Scalar, y: &Scalar) -> Option<Outcome> {
        let as_product = |s: &Scalar| -> Scalar {
            let mut parts = vec![s.node.clone()];
            for (name, power) in s.unit.iter().flat_map(|u| &u.factors) {
                let var = Node::Var((*name).to_string());
                parts.push(if *power == 1 {
                    var
                } else {
                    Node::Pow(Box::new((var, Node::int(i64::from(*power)))))
                });
            }
            Scalar::new(Node::Mul(parts))
        };
        let names = |s: &Scalar, other: &Scalar| {
            s.soft
                && s.unit
                    .iter()
                    .flat_map(|u| &u.factors)
                    .any(|(n, _)| other.variables().iter().any(|v| v == n))
        };
        // On both sides, or the answer would depend on which side is which.
        let product = |s: &Scalar| if s.soft { as_product(s) } else { s.clone() };
        if names(x, y) || names(y, x) {
            return Some(product(x).compare(&product(y), self.rounding));
        }
        None
    }

    fn ordered(&mut self, x: &[Value], y: &[Value], depth: u32) -> Outcome {
        if x.len() != y.len() {
            return no(Reason::DifferentLength);
        }
        let mut last = Outcome::yes(Reason::EqualExactly);
        for (a, b) in x.iter().zip(y) {
            last = self.values(a, b, depth);
            if !last.equal {
                return last;
            }
        }
        last
    }

    /// Items in any order. Counted items need a perfect matching; equality is nearly transitive, so a greedy matching
    /// with augmenting paths stays small.
    fn unordered(&mut self, x: &[Value], y: &[Value], counted: bool, depth: u32) -> Outcome {
        if counted && x.len() != y.len() {
            return no(Reason::DifferentLength);
        }
        // Numbers only: sort.
        fn rationals(v: &[Value]) -> Option<Vec<&num_rational::BigRational>> {
            v.iter()
                .map(|v| match v {
                    Value::Scalar(s) if s.unit.is_none() && s.decimal.is_none() => s.exact.as_ref(),
                    _ => None,
                })
                .collect()
        }
        if let (Some(mut p), Some(mut q)) = (rationals(x), rationals(y)) {
            p.sort_unstable();
            q.sort_unstable();
            if !counted {
                p.dedup();
                q.dedup();
            }
            return if p == q { Outcome::yes(Reason::EqualExactly) } else { no(Reason::DifferentValue) };
        }
        if !counted {
            for (p, q) in [(x, y), (y, x)] {
                for a in p {
                    if !q.iter().any(|b| self.values(a, b, depth).equal) {
                        return no(if self.pairs == 0 { Reason::Undecided } else { Reason::DifferentValue });
                    }
                }
            }
            return Outcome::yes(Reason::EqualExactly);
        }
        if x.len() > 512 {
            return no(Reason::Undecided);
        }
        let mut partner: Vec<Option<usize>> = vec![None; y.len()];
        let mut known: std::collections::HashMap<(usize, usize), bool> = std::collections::HashMap::new();
        for i in 0..x.len() {
            let mut seen = vec![false; y.len()];
            // Augment from i, breadth first.
            let mut queue = vec![i];
            let mut from: Vec<Option<usize>> = vec![None; y.len()];
            let mut found = None;
            let mut head = 0;
            'search: while head < queue.len() {
                let u = queue[head];
                head += 1;
                for j in 0..y.len() {
                    if seen[j] {
                        continue;
                    }
                    let equal = match known.get(&(u, j)) {
                        Some(e) => *e,
                        None => {
                            let e = self.values(&x[u], &y[j], depth).equal;
                            known.insert((u, j), e);
                            e
                        }
                    };
                    if !equal {
                        continue;
                    }
                    seen[j] = true;
                    from[j] = Some(u);
                    match partner[j] {
                        None => {
                            found = Some(j);
                            break 'search;
                        }
                        Some(w) => queue.push(w),
                    }
                }
            }
            let Some(mut j) = found else {
                return no(if self.pairs == 0 { Reason::Undecided } else { Reason::DifferentValue });
            };
            while let Some(u) = from[j] {
                let previous = (0..y.len()).find(|k| partner[*k] == Some(u) && *k != j);
                partner[j] = Some(u);
                match previous {
                    Some(k) => {
                        partner[k] = None;
                        j = k;
                    }
                    None => break,
                }
            }
        }
        Outcome::yes(Reason::EqualExactly)
    }

    fn ratios(&mut self, x: &[Scalar], y: &[Scalar]) -> Outcome {
        if x.len() != y.len() {
            return no(Reason::DifferentLength);
        }
        // a : b = c : d exactly when a d = b c, against the first entry that is not zero.
        let product = |a: &Scalar, b: &Scalar| Scalar::new(Node::Mul(vec![a.node.clone(), b.node.clone()]));
        let zeros = |v: &[Scalar]| v.iter().map(Scalar::is_zero).collect::<Vec<_>>();
        let (zero, other) = (zeros(x), zeros(y));
        let Some(k) = zero.iter().position(|z| !z).filter(|_| zero == other) else {
            return no(Reason::DifferentValue);
        };
        for i in 0..x.len() {
            let o = product(&x[i], &y[k])
                .compare(&product(&y[i], &x[k]), Rounding { significant: u32::MAX, relative: 0.0 });
            if !o.equal {
                return o;
            }
        }
        Outcome::yes(Reason::EqualExactly)
    }

    fn quotient(&mut self, ratio: &[Scalar], s: &Scalar) -> Outcome {
        let q = Scalar::new(Node::Div(Box::new((ratio[0].node.clone(), ratio[1].node.clone()))));
        q.compare(s, self.rounding)
    }

    fn times(&mut self, x: &Time, rx: Option<&[Scalar]>, y: &Time, ry: Option<&[Scalar]>) -> Outcome {
        // 5:12:13 may be a ratio of three.
        if !x.marked
            && !y.marked
            && let (Some(p @ [_, _, _]), Some(q @ [_, _, _])) = (rx, ry)
            && self.ratios(p, q).equal
        {
            return Outcome::yes(Reason::EqualExactly);
        }
        if x.seconds % 86_400 == y.seconds % 86_400 {
            Outcome::yes(Reason::EqualExactly)
        } else {
            no(Reason::DifferentValue)
        }
    }

    fn system(&mut self, system: &[(String, Value)], items: &[Value], depth: u32) -> Outcome {
        let written: Vec<Value> = system.iter().map(|(_, v)| v.clone()).collect();
        let first = self.ordered(&written, items, depth);
        if first.equal {
            return first;
        }
        let mut sorted: Vec<&(String, Value)> = system.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let sorted: Vec<Value> = sorted.into_iter().map(|(_, v)| v.clone()).collect();
        self.ordered(&sorted, items, depth)
    }

    fn assignments(&mut self, a: &Value, b: &Value, depth: u32) -> Outcome {
        match (a, b) {
            (
                Value::Assign { name: n, argument: x, value: v, difference: dv },
                Value::Assign { name: m, argument: y, value: w, difference: dw },
            ) => {
                let bare = |s: &str| s.trim_end_matches("()").to_string();
                // y' and f'(x): a function's name and the number of its primes
                let stem = |s: &str| {
                    let s = bare(s);
                    let stem = s.trim_end_matches('\'').to_string();
                    let primes = s.len() - stem.len();
                    (stem, primes)
                };
                let ((p, i), (q, j)) = (stem(n), stem(m));
                let function = |s: &str, stem: &str| stem == "y" || s.ends_with("()");
                if bare(n) == bare(m)
                    || (i == j && function(n, &p) && function(m, &q) && (p == "y" || q == "y"))
                    || n == "?"
                    || m == "?"
                {
                    // f(x) = 2x and f(t) = 2t are one function; f(x) = ax and f(t) = ax are not.
                    let with = |value: &Value, name: &str| match value {
                        Value::Scalar(s) => {
                            let node = s.node.substitute(name, &Node::Var("argument".into()));
                            Some(Value::Scalar(Box::new(Scalar::new(node))))
                        }
                        _ => None,
                    };
                    let renamed = match (x, y) {
                        (Some(x), Some(y)) if x != y => with(v, x).zip(with(w, y)),
                        _ => None,
                    };
                    let o = match &renamed {
                        Some((v, w)) => self.values(v, w, depth),
                        None => self.values(v, w, depth),
                    };
                    if o.equal {
                        return o;
                    }
                }
                match (dv, dw) {
                    (Some(p), Some(q)) if !n.ends_with("()") && !m.ends_with("()") => {
                        p.proportional(q, false)
                    }
                    _ => no(Reason::DifferentValue),
                }
            }
            (Value::Assign { difference: Some(p), name, .. }, Value::Equation(q))
            | (Value::Equation(q), Value::Assign { difference: Some(p), name, .. }) => {
                // ay = bx is an equation, though a(y) = bx might be meant.
                if name.len() > 3 && name.ends_with("()") {
                    no(Reason::DifferentKind)
                } else {
                    p.proportional(q, false)
                }
            }
            (Value::Assign { value, .. }, other) | (other, Value::Assign { value, .. }) => {
                if matches!(other, Value::Equation(_) | Value::Inequality { .. })
                    || !self.policy.drop_assignment
                {
                    return no(Reason::DifferentKind);
                }
                self.values(value, other, depth)
            }
            _ => no(Reason::DifferentKind),
        }
    }

    fn cases(&mut self, x: &[(Value, Value)], y: &[(Value, Value)], depth: u32) -> Outcome {
        if x.len() != y.len() {
            return no(Reason::DifferentLength);
        }
        let mut used = vec![false; y.len()];
        for (v, c) in x {
            let hit = (0..y.len()).find(|k| {
                !used[*k] && self.values(c, &y[*k].1, depth).equal && self.values(v, &y[*k].0, depth).equal
            });
            match hit {
                Some(k) => used[k] = true,
                None => return no(Reason::DifferentValue),
            }
        }
        Outcome::yes(Reason::EqualExactly)
    }

    fn regions(&mut self, a: &Value, b: &Value, depth: u32) -> Outcome {
        let pair = |v: &Value| matches!(v, Value::Tuple { .. } | Value::List(_));
        if !self.policy.interval_is_inequality && (pair(a) || pair(b)) {
            return no(Reason::DifferentKind);
        }
        match (to_region(a), to_region(b)) {
            (Some(x), Some(y)) => {
                if x.same(&y, self.rounding) {
                    Outcome::yes(Reason::EqualExactly)
                } else {
                    no(Reason::DifferentValue)
                }
            }
            (Some(r), None) | (None, Some(r)) => {
                // A finite set against a list or a single value.
                let other = if to_region(a).is_some() { b } else { a };
                let Some(points) = r.finite().filter(|p| !p.is_empty()) else {
                    return no(Reason::DifferentKind);
                };
                let items: Vec<Value> = points.into_iter().map(|p| Value::Scalar(Box::new(p))).collect();
                match other {
                    Value::List(v) => self.unordered(&items, v, false, depth),
                    Value::Scalar(_) if items.len() == 1 => self.values(&items[0], other, depth),
                    _ => no(Reason::DifferentKind),
                }
            }
            _ => no(Reason::DifferentKind),
        }
    }
}

/// A list with dots, if its items are plain expressions.
fn dotted(items: &[Option<Value>]) -> Option<Dotted> {
    let nodes = items.iter().map(|i| match i {
        None => Some(None),
        Some(Value::Scalar(s)) if s.unit.is_none() => Some(Some(&s.node)),
        _ => None,
    });
    Dotted::new(&nodes.collect::<Option<Vec<_>>>()?)
}

const ANGLE: units::Dimension = [0, 0, 0, 0, 0, 0, 1, 0];

/// One degree in radians.
fn degree() -> Node {
    Node::Div(Box::new((Node::Const(Constant::Pi), Node::int(180))))
}

/// Whether a fraction of integers can be reduced, or could be an integer.
fn reducible(node: &Node) -> bool {
    node.any(&mut |n| {
        let Node::Div(p) = n else { return false };
        match (&p.0, &p.1) {
            (Node::Num(a), Node::Num(b)) if a.is_plain_integer() && b.is_plain_integer() => {
                use num_integer::Integer;
                a.value.to_integer().gcd(&b.value.to_integer()) != 1.into()
            }
            _ => false,
        }
    })
}
