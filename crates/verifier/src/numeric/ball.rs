//! Real and complex balls: a midpoint and a radius that bounds the error.

use std::cmp::Ordering;

use num_rational::BigRational;

use super::{Fail, float::Float};

/// An upper bound `m × 2^e`.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    m: f64,
    e: i64,
}

impl Bound {
    /// Zero.
    pub const ZERO: Self = Bound { m: 0.0, e: 0 };

    /// A power of two.
    pub fn power(e: i64) -> Self {
        Bound { m: 1.0, e }
    }

    fn normalised(mut self) -> Self {
        if self.m == 0.0 {
            return Self::ZERO;
        }
        // A little up, for the rounding of doubles.
        self.m *= 1.0 + 1e-12;
        while self.m >= 2.0 {
            self.m /= 2.0;
            self.e += 1;
        }
        while self.m < 1.0 {
            self.m *= 2.0;
            self.e -= 1;
        }
        self
    }

    /// Whether the bound is zero.
    pub fn is_zero(&self) -> bool {
        self.m == 0.0
    }

    /// The sum.
    pub fn add(self, other: Self) -> Self {
        if self.m == 0.0 {
            return other;
        }
        if other.m == 0.0 {
            return self;
        }
        let (a, b) = if self.e >= other.e { (self, other) } else { (other, self) };
        let d = (a.e - b.e).min(100) as i32;
        Bound { m: a.m + b.m * 2f64.powi(-d), e: a.e }.normalised()
    }

    /// The product.
    pub fn mul(self, other: Self) -> Self {
        if self.m == 0.0 || other.m == 0.0 {
            return Self::ZERO;
        }
        Bound { m: self.m * other.m, e: self.e.saturating_add(other.e) }.normalised()
    }

    /// A power of two not below: the bound is less than `2^e`.
    pub fn exponent(&self) -> i64 {
        if self.m == 0.0 { i64::MIN / 4 } else { self.e + 1 }
    }

    /// Times a power of two.
    pub fn scale(mut self, by: i64) -> Self {
        self.e = self.e.saturating_add(by);
        self
    }
}

/// A real number known to lie within `rad` of `mid`.
#[derive(Clone, Copy, Debug)]
pub struct Ball<const N: usize> {
    /// The midpoint.
    pub mid: Float<N>,
    /// The radius.
    pub rad: Bound,
}

/// Exponents beyond this are an overflow.
const RANGE: i64 = 1 << 46;

impl<const N: usize> Ball<N> {
    /// An exact value.
    pub fn exact(mid: Float<N>) -> Self {
        Ball { mid, rad: Bound::ZERO }
    }

    /// A small integer.
    pub fn int(n: i64) -> Self {
        Self::exact(Float::from_i64(n))
    }

    /// A rational.
    pub fn rational(q: &BigRational) -> Self {
        let (n, exact_n) = Float::from_bigint(q.numer());
        let n = Ball { mid: n, rad: if exact_n { Bound::ZERO } else { Self::ulp(&n) } };
        if *q.denom() == 1.into() {
            return n;
        }
        let (d, exact_d) = Float::from_bigint(q.denom());
        let d = Ball { mid: d, rad: if exact_d { Bound::ZERO } else { Self::ulp(&d) } };
        n.div(&d).unwrap_or(n)
    }

    fn ulp(x: &Float<N>) -> Bound {
        if x.is_zero() { Bound::ZERO } else { Bound::power(x.exponent() - Float::<N>::BITS + 1) }
    }

    fn size(x: &Float<N>) -> Bound {
        if x.is_zero() { Bound::ZERO } else { Bound::power(x.exponent()) }
    }

    fn checked(self) -> Result<Self, Fail> {
        if !self.mid.is_zero() && self.mid.exponent().abs() > RANGE || self.rad.exponent() > RANGE {
            return Err(Fail::Overflow);
        }
        Ok(self)
    }

    /// The sum.
    pub fn add(&self, o: &Self) -> Self {
        let mid = self.mid.add(&o.mid);
        // Truncation happens at the scale of the larger operand.
        let e = self.mid.exponent().max(o.mid.exponent());
        let exact = self.mid.is_zero() || o.mid.is_zero();
        let err = if exact { Bound::ZERO } else { Bound::power(e - Float::<N>::BITS + 1) };
        // Small integers add exactly.
        let err = if self.small() && o.small() { Bound::ZERO } else { err };
        Ball { mid, rad: self.rad.add(o.rad).add(err) }
    }

    fn small(&self) -> bool {
        self.mid.to_i64().is_some_and(|n| n.unsigned_abs() < 1 << 60)
    }

    /// The negative.
    pub fn neg(&self) -> Self {
        Ball { mid: self.mid.neg(), rad: self.rad }
    }

    /// The difference.
    pub fn sub(&self, o: &Self) -> Self {
        self.add(&o.neg())
    }

    /// The product.
    pub fn mul(&self, o: &Self) -> Result<Self, Fail> {
        let mid = self.mid.mul(&o.mid);
        let err = match (self.mid.to_i64(), o.mid.to_i64()) {
            (Some(a), Some(b))
                if a.unsigned_abs().leading_zeros() + b.unsigned_abs().leading_zeros() >= 66 =>
            {
                Bound::ZERO
            }
            _ => Self::ulp(&mid),
        };
        let rad = Self::size(&self.mid)
            .mul(o.rad)
            .add(Self::size(&o.mid).mul(self.rad))
            .add(self.rad.mul(o.rad))
            .add(err);
        Ball { mid, rad }.checked()
    }

    /// Whether zero is in the ball.
    pub fn contains_zero(&self) -> bool {
        self.mid.is_zero() || (!self.rad.is_zero() && self.mid.exponent() <= self.rad.exponent())
    }

    /// Whether this is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.mid.is_zero() && self.rad.is_zero()
    }

    /// The quotient.
    pub fn div(&self, o: &Self) -> Result<Self, Fail> {
        if o.contains_zero() {
            return Err(if o.tiny() { Fail::Domain } else { Fail::Precision });
        }
        let mid = self.mid.div(&o.mid);
        // |a/b - mid| <= (ra + |mid| rb) / (|b| - rb), and |b| - rb >= |b| / 4 unless the ball is wide.
        if o.rad.exponent() > o.mid.exponent() - 2 {
            return Err(Fail::Precision);
        }
        let inverse = Bound::power(2 - o.mid.exponent() + 1);
        let rad = self.rad.add(Self::size(&mid).mul(o.rad)).mul(inverse).add(Self::ulp(&mid).scale(3));
        Ball { mid, rad }.checked()
    }

    /// Whether the ball lies within a hair of zero: taken as zero where a function needs a decision.
    pub fn tiny(&self) -> bool {
        let limit = -(Float::<N>::BITS * 5 / 8);
        self.mid.exponent() < limit && self.rad.exponent() < limit
    }

    /// The sign, if it is certain; a ball within a hair of zero has sign 0.
    pub fn sign(&self) -> Result<i32, Fail> {
        if self.is_zero() || (self.contains_zero() && self.tiny()) {
            return Ok(0);
        }
        if self.contains_zero() {
            return Err(Fail::Precision);
        }
        Ok(if self.mid.is_negative() { -1 } else { 1 })
    }

    fn slack(x: &Float<N>) -> Bound {
        if x.is_zero() {
            Bound::power(-Float::<N>::BITS)
        } else {
            Bound::power(x.exponent() - Float::<N>::BITS + Float::<N>::SLACK)
        }
    }

    /// The square root of a ball that is not negative.
    pub fn sqrt(&self) -> Result<Self, Fail> {
        match self.sign()? {
            0 => Ok(Ball {
                mid: Float::ZERO,
                rad: if self.is_zero() {
                    Bound::ZERO
                } else {
                    Bound::power((self.rad.exponent().max(self.mid.exponent()) + 2) / 2 + 1)
                },
            }),
            1 => {
                let mid = self.mid.sqrt();
                let rad = self.rad.mul(Bound::power(1 - mid.exponent())).add(Self::ulp(&mid).scale(3));
                Ok(Ball { mid, rad })
            }
            _ => Err(Fail::Domain),
        }
    }

    /// The exponential.
    pub fn exp(&self) -> Result<Self, Fail> {
        if self.rad.exponent() > 0 {
            return Err(if self.mid.exponent() > 40 { Fail::Overflow } else { Fail::Precision });
        }
        let mid = self.mid.exp().ok_or(Fail::Overflow)?;
        let reduction =
            Bound::power(mid.exponent() + self.mid.exponent().max(0) - Float::<N>::BITS + Float::<N>::SLACK);
        let rad = Self::size(&mid).mul(self.rad).scale(1).add(reduction);
        Ball { mid, rad }.checked()
    }

    /// The natural logarithm of a positive ball.
    pub fn ln(&self) -> Result<Self, Fail> {
        if self.sign()? <= 0 {
            return Err(Fail::Domain);
        }
        if self.rad.exponent() > self.mid.exponent() - 2 {
            return Err(Fail::Precision);
        }
        let mid = self.mid.ln();
        let absolute = Bound::power(mid.exponent().max(1) - Float::<N>::BITS + Float::<N>::SLACK);
        Ok(Ball { mid, rad: self.rad.mul(Bound::power(2 - self.mid.exponent() + 1)).add(absolute) })
    }

    /// Sine and cosine.
    pub fn sin_cos(&self) -> Result<(Self, Self), Fail> {
        if self.is_zero() {
            return Ok((Ball::int(0), Ball::int(1)));
        }
        let (s, c) = self.mid.sin_cos().ok_or(Fail::Precision)?;
        let e = self.mid.exponent().max(0);
        let rad = self.rad.add(Bound::power(e - Float::<N>::BITS + Float::<N>::SLACK));
        Ok((Ball { mid: s, rad }, Ball { mid: c, rad }))
    }

    /// The arctangent.
    pub fn atan(&self) -> Self {
        let mid = self.mid.atan();
        if self.is_zero() {
            return Ball::int(0);
        }
        Ball {
            mid,
            rad: self.rad.add(Bound::power(1 - Float::<N>::BITS + Float::<N>::SLACK)).add(Self::slack(&mid)),
        }
    }

    /// π.
    pub fn pi() -> Self {
        let mid = Float::pi();
        Ball { mid, rad: Self::ulp(&mid).scale(if N >= 8 { 8 } else { 1 }) }
    }

    /// The absolute value.
    pub fn abs(&self) -> Self {
        Ball { mid: self.mid.abs(), rad: self.rad }
    }

    /// An integer power by repeated squaring.
    pub fn powi(&self, mut n: u64) -> Result<Self, Fail> {
        let (mut base, mut out) = (*self, Ball::int(1));
        while n > 0 {
            if n & 1 == 1 {
                out = out.mul(&base)?;
            }
            n >>= 1;
            if n > 0 {
                base = base.mul(&base)?;
            }
        }
        Ok(out)
    }

    /// The integer in the ball, if it is exact or only a hair wide.
    pub fn integer(&self) -> Option<i64> {
        if self.rad.is_zero() {
            return self.mid.to_i64();
        }
        let n = self.mid.round()?;
        let d = self.sub(&Ball::int(n));
        (d.contains_zero() && d.tiny()).then_some(n)
    }

    /// The floor; a ball a hair around an integer is that integer.
    pub fn floor(&self) -> Result<i64, Fail> {
        if let Some(n) = self.integer() {
            return Ok(n);
        }
        let n = self.mid.floor().ok_or(Fail::Precision)?;
        let low = self.sub(&Ball::int(n));
        let high = Ball::<N>::int(n + 1).sub(self);
        if low.contains_zero() || high.contains_zero() { Err(Fail::Precision) } else { Ok(n) }
    }

    /// Whether the balls have no point in common.
    pub fn disjoint(&self, o: &Self) -> bool {
        !self.sub(o).contains_zero()
    }

    /// Whether the radius is small enough for an overlap to count as equality.
    pub fn tight(&self) -> bool {
        let bits = if N >= 8 { 400 } else { 84 };
        self.rad.exponent() < self.mid.exponent().max(0) - bits
    }

    /// The order, if it is certain.
    pub fn order(&self, o: &Self) -> Option<Ordering> {
        let d = self.sub(o);
        if d.contains_zero() {
            return None;
        }
        Some(if d.mid.is_negative() { Ordering::Less } else { Ordering::Greater })
    }
}

/// A complex ball. Without imaginary part it is exactly real.
#[derive(Clone, Copy, Debug)]
pub struct Complex<const N: usize> {
    /// The real part.
    pub re: Ball<N>,
    /// The imaginary part.
    pub im: Option<Ball<N>>,
}

impl<const N: usize> Complex<N> {
    /// A real number.
    pub fn real(re: Ball<N>) -> Self {
        Complex { re, im: None }
    }

    /// A complex number; an imaginary part of exactly zero is dropped.
    pub fn new(re: Ball<N>, im: Ball<N>) -> Self {
        Complex { re, im: if im.is_zero() { None } else { Some(im) } }
    }

    fn parts(&self) -> (Ball<N>, Ball<N>) {
        (self.re, self.im.unwrap_or(Ball::int(0)))
    }

    /// The imaginary part.
    pub fn imaginary(&self) -> Ball<N> {
        self.im.unwrap_or(Ball::int(0))
    }

    /// The sum.
    pub fn add(&self, o: &Self) -> Self {
        match (&self.im, &o.im) {
            (None, None) => Self::real(self.re.add(&o.re)),
            _ => Self::new(self.re.add(&o.re), self.imaginary().add(&o.imaginary())),
        }
    }

    /// The negative.
    pub fn neg(&self) -> Self {
        Complex { re: self.re.neg(), im: self.im.map(|x| x.neg()) }
    }

    /// The product.
    pub fn mul(&self, o: &Self) -> Result<Self, Fail> {
        match (&self.im, &o.im) {
            (None, None) => Ok(Self::real(self.re.mul(&o.re)?)),
            (None, Some(b)) => Ok(Self::new(self.re.mul(&o.re)?, self.re.mul(b)?)),
            (Some(a), None) => Ok(Self::new(self.re.mul(&o.re)?, a.mul(&o.re)?)),
            (Some(a), Some(b)) => {
                Ok(Self::new(self.re.mul(&o.re)?.sub(&a.mul(b)?), self.re.mul(b)?.add(&a.mul(&o.re)?)))
            }
        }
    }

    /// The quotient.
    pub fn div(&self, o: &Self) -> Result<Self, Fail> {
        let Some(b) = &o.im else {
            let re = self.re.div(&o.re)?;
            return Ok(match &self.im {
                None => Self::real(re),
                Some(a) => Self::new(re, a.div(&o.re)?),
            });
        };
        let norm = o.re.mul(&o.re)?.add(&b.mul(b)?);
        let top = self.mul(&Complex { re: o.re, im: Some(b.neg()) })?;
        let (re, im) = top.parts();
        Ok(Self::new(re.div(&norm)?, im.div(&norm)?))
    }

    /// The absolute value.
    pub fn abs(&self) -> Result<Ball<N>, Fail> {
        match &self.im {
            None => Ok(self.re.abs()),
            Some(im) => self.re.mul(&self.re)?.add(&im.mul(im)?).sqrt(),
        }
    }

    /// The principal argument.
    pub fn arg(&self) -> Result<Ball<N>, Fail> {
        let (re, im) = self.parts();
        let (r, i) = (re.sign()?, im.sign()?);
        let pi = Ball::pi();
        let half = Ball { mid: pi.mid.scale(-1), rad: pi.rad };
        match (r, i) {
            (0, 0) => Err(Fail::Domain),
            (1, 0) => Ok(Ball::int(0)),
            (-1, 0) => Ok(pi),
            (0, 1) => Ok(half),
            (0, _) => Ok(half.neg()),
            (1, _) => Ok(im.div(&re)?.atan()),
            (_, 1) => Ok(im.div(&re)?.atan().add(&pi)),
            _ => Ok(im.div(&re)?.atan().sub(&pi)),
        }
    }

    /// The exponential.
    pub fn exp(&self) -> Result<Self, Fail> {
        let size = self.re.exp()?;
        match &self.im {
            None => Ok(Self::real(size)),
            Some(im) => {
                let (s, c) = im.sin_cos()?;
                Ok(Self::new(size.mul(&c)?, size.mul(&s)?))
            }
        }
    }

    /// The principal logarithm; real only when `real` says so.
    pub fn ln(&self, real: bool) -> Result<Self, Fail> {
        match (&self.im, self.re.sign()) {
            (None, Ok(1)) => Ok(Self::real(self.re.ln()?)),
            (None, Ok(0)) => Err(Fail::Domain),
            (None, Err(e)) => Err(e),
            _ if real => Err(Fail::Domain),
            _ => Ok(Self::new(self.abs()?.ln()?, self.arg()?)),
        }
    }

    /// The principal square root.
    pub fn sqrt(&self, real: bool) -> Result<Self, Fail> {
        if self.im.is_none() {
            return match self.re.sign()? {
                -1 if real => Err(Fail::Domain),
                -1 => Ok(Complex { re: Ball::int(0), im: Some(self.re.neg().sqrt()?) }),
                _ => Ok(Self::real(self.re.sqrt()?)),
            };
        }
        if real {
            return Err(Fail::Domain);
        }
        let half = self.arg()?.mul(&Ball::exact(Float::from_f64(0.5)))?;
        let size = self.abs()?.sqrt()?;
        let (s, c) = half.sin_cos()?;
        Ok(Self::new(size.mul(&c)?, size.mul(&s)?))
    }

    /// Whether the balls have no point in common.
    pub fn disjoint(&self, o: &Self) -> bool {
        self.re.disjoint(&o.re)
            || match (&self.im, &o.im) {
                (None, None) => false,
                _ => self.imaginary().disjoint(&o.imaginary()),
            }
    }

    /// Whether the radii are small beside the value, however small that is: unlike [`Complex::tight`] this does not depend on
    /// the scale, so a quotient is sharp exactly if its inverse is.
    pub fn sharp(&self) -> bool {
        let bits = if N >= 8 { 400 } else { 84 };
        let (re, im) = self.parts();
        re.rad.exponent().max(im.rad.exponent()) < re.mid.exponent().max(im.mid.exponent()) - bits
    }

    /// Whether both radii are small.
    pub fn tight(&self) -> bool {
        self.re.tight() && self.im.is_none_or(|x| x.tight())
    }
}
