//! Sets of real numbers: unions of intervals and points.

use std::cmp::Ordering;

use crate::{
    scalar::{Rounding, Scalar},
    syntax::{Relation, SetOp},
};

/// One interval; a missing end is infinite.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The lower end and whether it belongs to the interval.
    pub low: Option<(Scalar, bool)>,
    /// The upper end and whether it belongs to the interval.
    pub high: Option<(Scalar, bool)>,
}

/// A set of real numbers.
#[derive(Clone, Debug)]
pub enum Region {
    /// Sorted breakpoints, and membership of: the ray below, then each point and the gap above it.
    Sorted {
        /// The breakpoints.
        points: Vec<Scalar>,
        /// `2 n + 1` flags.
        inside: Vec<bool>,
    },
    /// Intervals whose ends have variables and cannot be sorted.
    Symbolic(Vec<Interval>),
}

/// Most breakpoints of one region.
const POINTS: usize = 64;

const EXACT: Rounding = Rounding { significant: u32::MAX, relative: 0.0 };

impl Region {
    /// The empty set.
    pub fn empty() -> Self {
        Region::Sorted { points: Vec::new(), inside: vec![false] }
    }

    /// All real numbers.
    pub fn all() -> Self {
        Region::Sorted { points: Vec::new(), inside: vec![true] }
    }

    /// Whether this is the empty set.
    pub fn is_empty(&self) -> bool {
        match self {
            Region::Sorted { inside, .. } => !inside.contains(&true),
            Region::Symbolic(v) => v.is_empty(),
        }
    }

    /// An interval.
    pub fn interval(interval: Interval) -> Self {
        let sortable =
            |end: &Option<(Scalar, bool)>| end.as_ref().is_none_or(|(s, _)| s.enclosure::<2>().is_some());
        if !sortable(&interval.low) || !sortable(&interval.high) {
            return Region::Symbolic(vec![interval]);
        }
        match (interval.low, interval.high) {
            (None, None) => Region::all(),
            (Some((a, closed)), None) => {
                Region::Sorted { points: vec![a], inside: vec![false, closed, true] }
            }
            (None, Some((b, closed))) => {
                Region::Sorted { points: vec![b], inside: vec![true, closed, false] }
            }
            (Some((a, ca)), Some((b, cb))) => match a.order(&b) {
                Some(Ordering::Less) => {
                    Region::Sorted { points: vec![a, b], inside: vec![false, ca, true, cb, false] }
                }
                Some(Ordering::Equal) if ca && cb => Region::point(a),
                Some(_) => Region::empty(),
                None => Region::Symbolic(vec![Interval { low: Some((a, ca)), high: Some((b, cb)) }]),
            },
        }
    }

    /// One point.
    pub fn point(x: Scalar) -> Self {
        if x.enclosure::<2>().is_none() {
            return Region::Symbolic(vec![Interval { low: Some((x.clone(), true)), high: Some((x, true)) }]);
        }
        Region::Sorted { points: vec![x], inside: vec![false, true, false] }
    }

    /// The numbers that stand in a relation to a bound: `x > 2`.
    pub fn relation(op: Relation, bound: Scalar) -> Option<Self> {
        let end = |closed| Some((bound.clone(), closed));
        Some(match op {
            Relation::Lt => Region::interval(Interval { low: None, high: end(false) }),
            Relation::Le => Region::interval(Interval { low: None, high: end(true) }),
            Relation::Gt => Region::interval(Interval { low: end(false), high: None }),
            Relation::Ge => Region::interval(Interval { low: end(true), high: None }),
            Relation::Eq => Region::point(bound),
            Relation::Ne => {
                bound.enclosure::<2>()?;
                Region::Sorted { points: vec![bound], inside: vec![true, false, true] }
            }
            _ => return None,
        })
    }

    /// Union, intersection or difference.
    pub fn combine(&self, op: SetOp, other: &Region) -> Option<Region> {
        let (Region::Sorted { points: pa, inside: ia }, Region::Sorted { points: pb, inside: ib }) =
            (self, other)
        else {
            return match (self, other, op) {
                (a, b, SetOp::Union) => {
                    let mut v = a.intervals()?;
                    v.extend(b.intervals()?);
                    Some(Region::Symbolic(v))
                }
                // lower bound and upper bound: a < x and x < b
                (Region::Symbolic(a), Region::Symbolic(b), SetOp::Intersection)
                    if a.len() == 1 && b.len() == 1 =>
                {
                    let low = a[0].low.clone().xor(b[0].low.clone());
                    let high = a[0].high.clone().xor(b[0].high.clone());
                    (low.is_some() && high.is_some()).then(|| Region::Symbolic(vec![Interval { low, high }]))
                }
                (Region::Symbolic(s), r @ Region::Sorted { .. }, SetOp::Intersection)
                | (r @ Region::Sorted { .. }, Region::Symbolic(s), SetOp::Intersection) => {
                    let r = r.intervals()?;
                    let ([s], [r]) = (&s[..], &r[..]) else { return None };
                    let low = s.low.clone().xor(r.low.clone());
                    let high = s.high.clone().xor(r.high.clone());
                    (low.is_some() && high.is_some()).then(|| Region::Symbolic(vec![Interval { low, high }]))
                }
                _ => None,
            };
        };
        let apply = |a: bool, b: bool| match op {
            SetOp::Union => a || b,
            SetOp::Intersection => a && b,
            SetOp::Difference => a && !b,
        };
        let mut points = Vec::with_capacity(pa.len() + pb.len());
        let mut inside = vec![apply(ia[0], ib[0])];
        let (mut i, mut j) = (0, 0);
        while i < pa.len() || j < pb.len() {
            let order = match (pa.get(i), pb.get(j)) {
                (Some(a), Some(b)) => a.order(b)?,
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let take_a = order != Ordering::Greater;
            let take_b = order != Ordering::Less;
            points.push(if take_a { pa[i].clone() } else { pb[j].clone() });
            let a_here = if take_a { ia[2 * i + 1] } else { ia[2 * i] };
            let b_here = if take_b { ib[2 * j + 1] } else { ib[2 * j] };
            i += usize::from(take_a);
            j += usize::from(take_b);
            inside.push(apply(a_here, b_here));
            inside.push(apply(ia[2 * i], ib[2 * j]));
            if points.len() > POINTS {
                return None;
            }
        }
        Some(Region::Sorted { points, inside }.simplified())
    }

    fn simplified(self) -> Self {
        let Region::Sorted { points, inside } = self else { return self };
        let mut p = Vec::new();
        let mut f = vec![inside[0]];
        for (k, point) in points.into_iter().enumerate() {
            let (here, above) = (inside[2 * k + 1], inside[2 * k + 2]);
            let below = f[f.len() - 1];
            if below == here && here == above {
                continue;
            }
            p.push(point);
            f.push(here);
            f.push(above);
        }
        Region::Sorted { points: p, inside: f }
    }

    /// The set as intervals and points, from below.
    pub fn intervals(&self) -> Option<Vec<Interval>> {
        match self {
            Region::Symbolic(v) => Some(v.clone()),
            Region::Sorted { points, inside } => {
                let mut out = Vec::new();
                let mut current: Option<Interval> = inside[0].then_some(Interval { low: None, high: None });
                for (k, p) in points.iter().enumerate() {
                    let (here, above) = (inside[2 * k + 1], inside[2 * k + 2]);
                    match (current.take(), here, above) {
                        (Some(c), true, true) => current = Some(c),
                        (Some(mut c), here, above) => {
                            c.high = Some((p.clone(), here));
                            out.push(c);
                            if above {
                                current = Some(Interval { low: Some((p.clone(), false)), high: None });
                            }
                        }
                        (None, here, true) => {
                            current = Some(Interval { low: Some((p.clone(), here)), high: None })
                        }
                        (None, true, false) => {
                            out.push(Interval {
                                low: Some((p.clone(), true)),
                                high: Some((p.clone(), true)),
                            });
                        }
                        (None, false, false) => {}
                    }
                }
                out.extend(current);
                Some(out)
            }
        }
    }

    /// Whether a constant belongs to the set; none if its place cannot be decided.
    pub fn contains(&self, x: &Scalar) -> Option<bool> {
        let Region::Sorted { points, inside } = self else { return None };
        for (k, p) in points.iter().enumerate() {
            match x.order(p)? {
                Ordering::Less => return Some(inside[2 * k]),
                Ordering::Equal => return Some(inside[2 * k + 1]),
                Ordering::Greater => {}
            }
        }
        inside.last().copied()
    }

    /// The points, if the set is finite.
    pub fn finite(&self) -> Option<Vec<Scalar>> {
        let Region::Sorted { points, inside } = self else { return None };
        if inside.iter().step_by(2).any(|x| *x) {
            return None;
        }
        Some(points.iter().enumerate().filter(|(k, _)| inside[2 * k + 1]).map(|(_, p)| p.clone()).collect())
    }

    /// Whether two sets are the same; ends may be rounded decimals if `rounding` says so.
    pub fn same(&self, other: &Region, rounding: Rounding) -> bool {
        match (self, other) {
            (Region::Sorted { points: pa, inside: ia }, Region::Sorted { points: pb, inside: ib }) => {
                ia == ib && pa.iter().zip(pb).all(|(a, b)| a.compare(b, rounding).equal)
            }
            _ => {
                let (Some(a), Some(b)) = (self.intervals(), other.intervals()) else { return false };
                if a.len() != b.len() || a.len() > 16 {
                    return false;
                }
                let same_end = |a: &Option<(Scalar, bool)>, b: &Option<(Scalar, bool)>| match (a, b) {
                    (None, None) => true,
                    (Some((a, ca)), Some((b, cb))) => ca == cb && a.compare(b, EXACT).equal,
                    _ => false,
                };
                let mut used = vec![false; b.len()];
                a.iter().all(|x| {
                    let hit = b
                        .iter()
                        .enumerate()
                        .find(|(k, y)| !used[*k] && same_end(&x.low, &y.low) && same_end(&x.high, &y.high));
                    hit.map(|(k, _)| used[k] = true).is_some()
                })
            }
        }
    }
}
