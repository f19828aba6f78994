//! Binary floating point with a fixed mantissa of `64 N` bits and a 64-bit exponent. No allocation.
//!
//! Operations truncate: results are within one unit in the last place. Elementary functions lose a few bits more
//! (see [`Float::SLACK`]); [`super::ball`] accounts for it.

use std::{cmp::Ordering, sync::OnceLock};

use num_bigint::{BigInt, Sign};

/// Scratch space for a product of the largest mantissas.
const SCRATCH: usize = 18;

/// `±m × 2^(exp - 64 N)` with the top bit of `m` set; zero has `m = 0`.
#[derive(Clone, Copy, Debug)]
pub struct Float<const N: usize> {
    neg: bool,
    exp: i64,
    m: [u64; N],
}

/// π and ln 2.
struct Constants {
    pi: Float<8>,
    ln2: Float<8>,
}

fn constants() -> &'static Constants {
    static CONSTANTS: OnceLock<Constants> = OnceLock::new();
    CONSTANTS.get_or_init(|| {
        type F = Float<8>;
        // Machin: π = 16 atan 1/5 - 4 atan 1/239; ln 2 = 18 atanh 1/26 - 2 atanh 1/4801 + 8 atanh 1/8749.
        let series = |q: u64, alternate: bool| {
            let mut power = F::from_u64(1).div_small(q);
            let mut sum = power;
            let mut k = 1u64;
            loop {
                power = power.div_small(q).div_small(q);
                k += 2;
                let term = power.div_small(k);
                if term.is_zero() || term.exp < sum.exp - 520 {
                    return sum;
                }
                sum = if alternate && k % 4 == 3 { sum.sub(&term) } else { sum.add(&term) };
            }
        };
        let times = |n: u64, x: F| F::from_u64(n).mul(&x);
        Constants {
            pi: times(16, series(5, true)).sub(&times(4, series(239, true))),
            ln2: times(18, series(26, false))
                .sub(&times(2, series(4801, false)))
                .add(&times(8, series(8749, false))),
        }
    })
}

impl<const N: usize> Float<N> {
    /// Zero.
    pub const ZERO: Self = Float { neg: false, exp: 0, m: [0; N] };
    /// Bits of the mantissa.
    pub const BITS: i64 = 64 * N as i64;
    /// Bits that an elementary function may lose.
    pub const SLACK: i64 = if N <= 2 { 16 } else { 26 };

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        self.m[N - 1] == 0
    }

    /// Whether this is below zero.
    pub fn is_negative(&self) -> bool {
        self.neg && !self.is_zero()
    }

    /// The exponent: the absolute value is in `[2^(exp-1), 2^exp)`. The smallest number for zero.
    pub fn exponent(&self) -> i64 {
        if self.is_zero() { i64::MIN / 4 } else { self.exp }
    }

    /// A small integer.
    pub fn from_u64(n: u64) -> Self {
        let mut m = [0; N];
        m[N - 1] = n;
        Float { neg: false, exp: 64, m }.normalised()
    }

    /// A small integer.
    pub fn from_i64(n: i64) -> Self {
        let mut x = Self::from_u64(n.unsigned_abs());
        x.neg = n < 0;
        x
    }

    /// A finite double.
    pub fn from_f64(x: f64) -> Self {
        if x == 0.0 || !x.is_finite() {
            return Self::ZERO;
        }
        let bits = x.to_bits();
        let e = ((bits >> 52) & 0x7ff) as i64;
        let f = bits & ((1 << 52) - 1);
        let (f, e) = if e == 0 { (f, -1074) } else { (f | 1 << 52, e - 1075) };
        let mut out = Self::from_u64(f);
        out.exp += e;
        out.neg = x < 0.0;
        out
    }

    /// The nearest double, roughly; infinite or zero outside its range.
    pub fn to_f64(&self) -> f64 {
        if self.is_zero() {
            return 0.0;
        }
        let f = self.m[N - 1] as f64;
        let e = self.exp - 64;
        let x = if e > 1000 {
            f64::INFINITY
        } else if e < -1200 {
            0.0
        } else {
            f * 2f64.powi((e / 2) as i32) * 2f64.powi((e - e / 2) as i32)
        };
        if self.neg { -x } else { x }
    }

    /// An integer, truncated to the mantissa; the flag says whether it is exact.
    pub fn from_bigint(n: &BigInt) -> (Self, bool) {
        let digits = n.iter_u64_digits();
        let len = digits.len();
        let mut m = [0u64; N];
        let mut exact = true;
        let mut extra = 0;
        for (i, d) in digits.enumerate() {
            // Limb i of len goes to the top; one extra limb below keeps the bits that normalisation shifts in.
            if i + N >= len {
                m[i + N - len] = d;
            } else if i + N + 1 == len {
                extra = d;
                exact &= d == 0;
            } else {
                exact &= d == 0;
            }
        }
        let mut x = Float { neg: n.sign() == Sign::Minus, exp: 64 * len as i64, m };
        if len == 0 {
            return (Self::ZERO, true);
        }
        let shift = x.m[N - 1].leading_zeros();
        if shift > 0 {
            for i in (0..N).rev() {
                let low = if i > 0 { x.m[i - 1] } else { extra };
                x.m[i] = (x.m[i] << shift) | (low >> (64 - shift));
            }
            x.exp -= i64::from(shift);
        }
        (x, exact)
    }

    /// The value as an integer if it is one and fits.
    pub fn to_i64(&self) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        if self.exp < 1 || self.exp > 62 {
            return None;
        }
        let top = self.m[N - 1];
        let n = top >> (64 - self.exp);
        let back = n << (64 - self.exp);
        if back != top || self.m[..N - 1].iter().any(|d| *d != 0) {
            return None;
        }
        Some(if self.neg { -(n as i64) } else { n as i64 })
    }

    fn normalised(mut self) -> Self {
        if self.m.iter().all(|d| *d == 0) {
            return Self::ZERO;
        }
        let mut limbs = 0;
        while self.m[N - 1 - limbs] == 0 {
            limbs += 1;
        }
        if limbs > 0 {
            for i in (0..N).rev() {
                self.m[i] = if i >= limbs { self.m[i - limbs] } else { 0 };
            }
            self.exp -= 64 * limbs as i64;
        }
        let shift = self.m[N - 1].leading_zeros();
        if shift > 0 {
            for i in (0..N).rev() {
                let low = if i > 0 { self.m[i - 1] >> (64 - shift) } else { 0 };
                self.m[i] = (self.m[i] << shift) | low;
            }
            self.exp -= i64::from(shift);
        }
        self
    }

    fn shifted_right(m: &[u64; N], by: i64) -> [u64; N] {
        let mut out = [0; N];
        if by >= Self::BITS {
            return out;
        }
        let (limbs, bits) = ((by / 64) as usize, (by % 64) as u32);
        for (i, slot) in out.iter_mut().enumerate().take(N - limbs) {
            let low = m[i + limbs];
            let high = if i + limbs + 1 < N { m[i + limbs + 1] } else { 0 };
            *slot = if bits == 0 { low } else { (low >> bits) | (high << (64 - bits)) };
        }
        out
    }

    /// The order of the absolute values.
    pub fn cmp_abs(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => self.exp.cmp(&other.exp).then_with(|| self.m.iter().rev().cmp(other.m.iter().rev())),
        }
    }

    /// The order of the values.
    pub fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative(), other.is_negative()) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.cmp_abs(other),
            (true, true) => other.cmp_abs(self),
        }
    }

    /// The negative.
    pub fn neg(mut self) -> Self {
        self.neg = !self.neg && !self.is_zero();
        self
    }

    /// The absolute value.
    pub fn abs(mut self) -> Self {
        self.neg = false;
        self
    }

    /// Times a power of two.
    pub fn scale(mut self, by: i64) -> Self {
        if !self.is_zero() {
            self.exp += by;
        }
        self
    }

    /// The sum.
    pub fn add(&self, other: &Self) -> Self {
        if self.is_zero() {
            return *other;
        }
        if other.is_zero() {
            return *self;
        }
        let (a, b) = if self.cmp_abs(other) == Ordering::Less { (other, self) } else { (self, other) };
        let low = Self::shifted_right(&b.m, a.exp - b.exp);
        let mut out = *a;
        if a.neg == b.neg {
            let mut carry = 0u64;
            for i in 0..N {
                let t = u128::from(a.m[i]) + u128::from(low[i]) + u128::from(carry);
                out.m[i] = t as u64;
                carry = (t >> 64) as u64;
            }
            if carry > 0 {
                out.m = Self::shifted_right(&out.m, 1);
                out.m[N - 1] |= 1 << 63;
                out.exp += 1;
            }
            out
        } else {
            let mut borrow = 0u64;
            for i in 0..N {
                let (t, b1) = a.m[i].overflowing_sub(low[i]);
                let (t, b2) = t.overflowing_sub(borrow);
                out.m[i] = t;
                borrow = u64::from(b1 || b2);
            }
            out.normalised()
        }
    }

    /// The difference.
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// The product.
    pub fn mul(&self, other: &Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return Self::ZERO;
        }
        let mut t = [0u64; SCRATCH];
        for i in 0..N {
            let mut carry = 0u64;
            for j in 0..N {
                let p =
                    u128::from(self.m[i]) * u128::from(other.m[j]) + u128::from(t[i + j]) + u128::from(carry);
                t[i + j] = p as u64;
                carry = (p >> 64) as u64;
            }
            t[i + N] = carry;
        }
        let mut m = [0u64; N];
        m.copy_from_slice(&t[N..2 * N]);
        let mut exp = self.exp.saturating_add(other.exp);
        if m[N - 1] >> 63 == 0 {
            for i in (0..N).rev() {
                let low = if i > 0 { m[i - 1] } else { t[N - 1] };
                m[i] = (m[i] << 1) | (low >> 63);
            }
            exp -= 1;
        }
        Float { neg: self.neg != other.neg, exp, m }
    }

    /// Divided by a small integer.
    pub fn div_small(&self, d: u64) -> Self {
        let mut out = *self;
        let mut rem = 0u64;
        for i in (0..N).rev() {
            let t = (u128::from(rem) << 64) | u128::from(self.m[i]);
            out.m[i] = (t / u128::from(d)) as u64;
            rem = (t % u128::from(d)) as u64;
        }
        // The bits that normalisation shifts in come from one more limb of the quotient.
        let extra = ((u128::from(rem) << 64) / u128::from(d)) as u64;
        if out.m.iter().all(|x| *x == 0) {
            return Self::ZERO;
        }
        let mut guard = 0;
        while out.m[N - 1] == 0 && guard < N {
            out.m.copy_within(0..N - 1, 1);
            out.m[0] = if guard == 0 { extra } else { 0 };
            out.exp -= 64;
            guard += 1;
        }
        let shift = out.m[N - 1].leading_zeros();
        if shift > 0 {
            let fill = if guard == 0 { extra } else { 0 };
            for i in (0..N).rev() {
                let low = if i > 0 { out.m[i - 1] } else { fill };
                out.m[i] = (out.m[i] << shift) | (low >> (64 - shift));
            }
            out.exp -= i64::from(shift);
        }
        out
    }

    /// `1 / self` by Newton's method; the caller has checked that it is not zero.
    fn reciprocal(&self) -> Self {
        let top = self.m[N - 1] as f64 / 2f64.powi(64); // in [1/2, 1)
        let x = Float { neg: false, exp: 0, m: self.m };
        let mut y = Self::from_f64(1.0 / top);
        let one = Self::from_u64(1);
        let mut bits = 50;
        while bits < Self::BITS + 8 {
            // y += y (1 - x y)
            let e = one.sub(&x.mul(&y));
            y = y.add(&y.mul(&e));
            bits *= 2;
        }
        y.exp -= self.exp;
        y.neg = self.neg;
        y
    }

    /// The quotient, within four units in the last place; the divisor is not zero.
    pub fn div(&self, other: &Self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        self.mul(&other.reciprocal())
    }

    /// The square root of a non-negative number, within four units in the last place.
    pub fn sqrt(&self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        let odd = self.exp.rem_euclid(2);
        let x = Float { neg: false, exp: odd, m: self.m }; // in [1/2, 2)
        let mut y = Self::from_f64(1.0 / x.to_f64().sqrt());
        let three = Self::from_u64(3);
        let mut bits = 50;
        while bits < Self::BITS + 8 {
            // y = y (3 - x y²) / 2
            let e = three.sub(&x.mul(&y).mul(&y));
            y = y.mul(&e).scale(-1);
            bits *= 2;
        }
        x.mul(&y).scale((self.exp - odd) / 2)
    }

    fn constant(x: &Float<8>) -> Self {
        let mut m = [0; N];
        m.copy_from_slice(&x.m[8 - N..]);
        Float { neg: x.neg, exp: x.exp, m }
    }

    /// π.
    pub fn pi() -> Self {
        Self::constant(&constants().pi)
    }

    /// ln 2.
    pub fn ln2() -> Self {
        Self::constant(&constants().ln2)
    }

    /// The nearest integer, if it is below 2^62 in size.
    pub fn round(&self) -> Option<i64> {
        if self.exponent() < 0 {
            return Some(0);
        }
        if self.exp > 61 {
            return None;
        }
        let half = Self::from_u64(1).scale(-1);
        let t = self.abs().add(&half);
        let n = if t.exp < 1 { 0 } else { (t.m[N - 1] >> (64 - t.exp)) as i64 };
        Some(if self.neg { -n } else { n })
    }

    /// The largest integer not above, if it is below 2^61 in size.
    pub fn floor(&self) -> Option<i64> {
        let n = self.round()?;
        let back = Self::from_i64(n);
        Some(if back.cmp(self) == Ordering::Greater { n - 1 } else { n })
    }

    /// `e^self`, or none when the exponent would leave the range.
    pub fn exp(&self) -> Option<Self> {
        if self.is_zero() {
            return Some(Self::from_u64(1));
        }
        if self.exponent() > 44 {
            return None;
        }
        let k = self.div(&Self::ln2()).round()?;
        let halvings: i64 = if N <= 2 { 8 } else { 14 };
        let r = self.sub(&Self::from_i64(k).mul(&Self::ln2())).scale(-halvings);
        // Taylor for e^r - 1, which keeps its precision through the squarings.
        let mut term = r;
        let mut sum = r;
        let mut n = 2;
        while !term.is_zero() && term.exp > sum.exp - Self::BITS - 2 && n < 200 {
            term = term.mul(&r).div_small(n);
            sum = sum.add(&term);
            n += 1;
        }
        for _ in 0..halvings {
            // (1 + s)² - 1 = s (2 + s)
            sum = sum.mul(&sum.add(&Self::from_u64(2)));
        }
        Some(sum.add(&Self::from_u64(1)).scale(k))
    }

    /// The natural logarithm of a positive number.
    pub fn ln(&self) -> Self {
        let x = Float { neg: false, exp: 0, m: self.m }; // in [1/2, 1)
        let (x, e) = if x.to_f64() < 0.7 { (x.scale(1), self.exp - 1) } else { (x, self.exp) };
        let y0 = Self::from_f64(x.to_f64().ln());
        let e0 = y0.exp().unwrap_or(Self::from_u64(1));
        // ln x = y0 + 2 atanh((x - e0) / (x + e0))
        let z = x.sub(&e0).div(&x.add(&e0));
        let z2 = z.mul(&z);
        let mut power = z;
        let mut sum = z;
        let mut n = 3;
        while !power.is_zero() && power.exp > -Self::BITS - 80 && n < 41 {
            power = power.mul(&z2);
            sum = sum.add(&power.div_small(n));
            n += 2;
        }
        let ln_x = y0.add(&sum.scale(1));
        ln_x.add(&Self::from_i64(e).mul(&Self::ln2()))
    }

    /// Sine and cosine, or none when the argument is too large to reduce.
    pub fn sin_cos(&self) -> Option<(Self, Self)> {
        if self.exponent() > 60 {
            return None;
        }
        let half_pi = Self::pi().scale(-1);
        let k = self.div(&half_pi).round()?;
        let doublings: i64 = if N <= 2 { 4 } else { 8 };
        let r = self.sub(&Self::from_i64(k).mul(&half_pi)).scale(-doublings);
        let r2 = r.mul(&r);
        let (mut term, mut sin, mut n) = (r, r, 2u64);
        while !term.is_zero() && term.exp > -Self::BITS - 4 && n < 300 {
            term = term.mul(&r2).div_small(n * (n + 1)).neg();
            sin = sin.add(&term);
            n += 2;
        }
        // 1 - cos r
        let (mut term, mut versin, mut n) = (r2.scale(-1), r2.scale(-1), 3u64);
        while !term.is_zero() && term.exp > -Self::BITS - 4 && n < 300 {
            term = term.mul(&r2).div_small(n * (n + 1)).neg();
            versin = versin.add(&term);
            n += 2;
        }
        let one = Self::from_u64(1);
        for _ in 0..doublings {
            // sin 2r = 2 sin r cos r; 1 - cos 2r = 2 sin² r
            let cos = one.sub(&versin);
            versin = sin.mul(&sin).scale(1);
            sin = sin.mul(&cos).scale(1);
        }
        let cos = one.sub(&versin);
        Some(match k.rem_euclid(4) {
            0 => (sin, cos),
            1 => (cos, sin.neg()),
            2 => (sin.neg(), cos.neg()),
            _ => (cos.neg(), sin),
        })
    }

    /// The arctangent.
    pub fn atan(&self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        let one = Self::from_u64(1);
        if self.exponent() > 0 && self.cmp_abs(&one) == Ordering::Greater {
            let half_pi = Self::pi().scale(-1);
            let inner = one.div(&self.abs()).atan();
            let out = half_pi.sub(&inner);
            return if self.neg { out.neg() } else { out };
        }
        let y0 = Self::from_f64(self.to_f64().atan());
        let Some((s, c)) = y0.sin_cos() else { return Self::ZERO };
        // tan of the difference
        let d = self.mul(&c).sub(&s).div(&c.add(&self.mul(&s)));
        let d2 = d.mul(&d);
        let (mut power, mut sum, mut n) = (d, d, 3u64);
        while !power.is_zero() && power.exp > -Self::BITS - 80 && n < 41 {
            power = power.mul(&d2).neg();
            sum = sum.add(&power.div_small(n));
            n += 2;
        }
        y0.add(&sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type F = Float<2>;
    type G = Float<8>;

    fn close<const N: usize>(a: &Float<N>, b: &Float<N>, lost: i64) -> bool {
        a.sub(b).exponent() <= a.exponent().max(1) - Float::<N>::BITS + lost
    }

    #[test]
    fn constants_match_their_digits() {
        // π and ln 2 to 60 digits, as integers over a power of ten.
        let digits: [(&str, F, G); 2] = [
            ("3141592653589793238462643383279502884197169399375105820974944", F::pi(), G::pi()),
            ("693147180559945309417232121458176568075500134360255254120680", F::ln2(), G::ln2()),
        ];
        for (text, f, g) in digits {
            let n: BigInt = text.parse().unwrap();
            let d = BigInt::from(10).pow(60);
            let (a, _) = F::from_bigint(&n);
            let (b, _) = F::from_bigint(&d);
            assert!(close(&f, &a.div(&b), 4));
            let (a, _) = G::from_bigint(&n);
            let (b, _) = G::from_bigint(&d);
            assert!(g.sub(&a.div(&b)).exponent() < -195);
        }
    }

    #[test]
    fn functions_invert_each_other() {
        for x in [0.001, 0.3, 0.69, 1.0, 2.5, 17.25, 300.0] {
            let f = F::from_f64(x);
            assert!(close(&f.ln().exp().unwrap(), &f, F::SLACK), "{x}");
            assert!(close(&f.sqrt().mul(&f.sqrt()), &f, 4), "{x}");
            assert!(close(&f.mul(&F::from_u64(1).div(&f)), &F::from_u64(1), 4), "{x}");
            let g = G::from_f64(x);
            assert!(close(&g.ln().exp().unwrap(), &g, G::SLACK), "{x}");
            let (s, c) = g.sin_cos().unwrap();
            assert!(close(&s.mul(&s).add(&c.mul(&c)), &G::from_u64(1), G::SLACK), "{x}");
            let (s, c) = g.atan().sin_cos().unwrap();
            assert!(close(&s.div(&c), &g, G::SLACK + 12), "{x}");
        }
    }

    #[test]
    fn known_values() {
        let x = F::from_u64(1).div(&F::from_u64(3));
        assert!((x.to_f64() - 1.0 / 3.0).abs() < 1e-16);
        assert!((F::from_f64(2.0).exp().unwrap().to_f64() - 2f64.exp()).abs() < 1e-14);
        let (s, c) = F::from_f64(10.0).sin_cos().unwrap();
        assert!((s.to_f64() - 10f64.sin()).abs() < 1e-15 && (c.to_f64() - 10f64.cos()).abs() < 1e-15);
        assert_eq!(F::from_f64(-2.5).floor(), Some(-3));
        assert_eq!(F::from_f64(2.5).floor(), Some(2));
        assert_eq!(F::from_i64(-7).to_i64(), Some(-7));
        let (x, exact) = F::from_bigint(&BigInt::from(10).pow(60));
        assert!(!exact && (x.to_f64() - 1e60).abs() < 1e45);
    }
}
