//! Arithmetic modulo a prime near 2^61: a fingerprint of rational functions (Schwartz-Zippel). Unequal values refute an
//! identity for certain; equal values at several points and primes leave a chance below 2^-100 of error.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::{
    Fail,
    program::{Domain, Op},
};
use crate::{limits, syntax::Func};

/// Primes of about 61 bits.
pub const PRIMES: [u64; 3] = [(1 << 61) - 1, (1 << 61) - 31, (1 << 61) - 229];

/// A residue, with its value where it is a known small integer.
#[derive(Clone, Copy, Debug)]
pub struct Residue {
    /// The residue.
    pub r: u64,
    /// The integer it stands for, if known and small.
    pub exact: Option<i64>,
}

/// Arithmetic modulo one prime.
#[derive(Debug)]
pub struct Modular {
    p: u64,
    steps: u64,
}

impl Modular {
    /// Modulo one of [`PRIMES`].
    pub fn new(prime: u64) -> Self {
        Modular { p: prime, steps: limits::STEPS }
    }

    /// A variable's value at a random point.
    pub fn point(&self, random: u64) -> Residue {
        Residue { r: random % self.p, exact: None }
    }

    fn product(&self, a: u64, b: u64) -> u64 {
        (u128::from(a) * u128::from(b) % u128::from(self.p)) as u64
    }

    fn power(&self, mut a: u64, mut n: u64) -> u64 {
        let mut out = 1;
        while n > 0 {
            if n & 1 == 1 {
                out = self.product(out, a);
            }
            a = self.product(a, a);
            n >>= 1;
        }
        out
    }

    fn residue(&self, n: &BigInt) -> u64 {
        n.mod_floor(&BigInt::from(self.p)).to_u64().unwrap_or(0)
    }

    fn signed_power(&self, a: u64, n: &BigInt) -> Result<u64, Fail> {
        if a == 0 {
            return if n.is_positive() { Ok(0) } else { Err(Fail::Domain) };
        }
        // Fermat: exponents count modulo p - 1.
        let e = n.mod_floor(&BigInt::from(self.p - 1)).to_u64().unwrap_or(0);
        Ok(self.power(a, e))
    }

    fn exact(&self, n: i64) -> Residue {
        Residue { r: n.rem_euclid(self.p as i64) as u64, exact: Some(n) }
    }
}

impl Domain for Modular {
    type Value = Residue;

    fn number(&mut self, q: &BigRational) -> Result<Residue, Fail> {
        if q.is_integer() {
            if let Some(n) = q.numer().to_i64().filter(|n| n.unsigned_abs() < 1 << 60) {
                return Ok(self.exact(n));
            }
            return Ok(Residue { r: self.residue(q.numer()), exact: None });
        }
        let d = self.residue(q.denom());
        if d == 0 {
            return Err(Fail::Domain);
        }
        Ok(Residue { r: self.product(self.residue(q.numer()), self.power(d, self.p - 2)), exact: None })
    }

    fn pi(&mut self) -> Result<Residue, Fail> {
        Err(Fail::Inexact)
    }

    fn e(&mut self) -> Result<Residue, Fail> {
        Err(Fail::Inexact)
    }

    fn i(&mut self) -> Result<Residue, Fail> {
        Err(Fail::Inexact)
    }

    fn add(&mut self, a: &Residue, b: &Residue) -> Result<Residue, Fail> {
        let exact =
            a.exact.zip(b.exact).and_then(|(a, b)| a.checked_add(b)).filter(|n| n.unsigned_abs() < 1 << 60);
        Ok(Residue { r: (a.r + b.r) % self.p, exact })
    }

    fn mul(&mut self, a: &Residue, b: &Residue) -> Result<Residue, Fail> {
        let exact =
            a.exact.zip(b.exact).and_then(|(a, b)| a.checked_mul(b)).filter(|n| n.unsigned_abs() < 1 << 60);
        Ok(Residue { r: self.product(a.r, b.r), exact })
    }

    fn neg(&mut self, a: &Residue) -> Result<Residue, Fail> {
        Ok(Residue { r: (self.p - a.r) % self.p, exact: a.exact.map(|n| -n) })
    }

    fn div(&mut self, a: &Residue, b: &Residue) -> Result<Residue, Fail> {
        if b.r == 0 {
            return Err(Fail::Domain);
        }
        let exact = a.exact.zip(b.exact).filter(|(a, b)| *b != 0 && a % b == 0).map(|(a, b)| a / b);
        Ok(Residue { r: self.product(a.r, self.power(b.r, self.p - 2)), exact })
    }

    fn pow(&mut self, a: &Residue, b: &Residue) -> Result<Residue, Fail> {
        let n = b.exact.ok_or(Fail::Inexact)?;
        self.pow_q(a, &BigRational::from_integer(n.into()))
    }

    fn pow_q(&mut self, a: &Residue, q: &BigRational) -> Result<Residue, Fail> {
        if !q.is_integer() {
            return Err(Fail::Inexact);
        }
        let r = self.signed_power(a.r, q.numer())?;
        let exact = a
            .exact
            .zip(q.numer().to_u32().filter(|n| *n <= 64))
            .and_then(|(a, n)| a.checked_pow(n))
            .filter(|n| n.unsigned_abs() < 1 << 60);
        Ok(Residue { r, exact })
    }

    fn call(&mut self, f: Func, args: &[Residue]) -> Result<Residue, Fail> {
        let int = |i: usize| args.get(i).and_then(|a| a.exact).ok_or(Fail::Inexact);
        match f {
            Func::Factorial => {
                let n = int(0)?;
                if n < 0 {
                    return Err(Fail::Domain);
                }
                self.spend(n as u64)?;
                let r = (2..=n as u64).fold(1, |acc, k| self.product(acc, k));
                Ok(Residue { r, exact: if n <= 19 { Some((1..=n).product()) } else { None } })
            }
            Func::DoubleFactorial => {
                let n = int(0)?;
                if n < 0 {
                    return Err(Fail::Domain);
                }
                self.spend(n as u64)?;
                let (mut r, mut k) = (1, n as u64);
                while k > 1 {
                    r = self.product(r, k);
                    k -= 2;
                }
                Ok(Residue { r, exact: None })
            }
            Func::Binom => {
                let (n, k) = (int(0)?, int(1)?);
                if k < 0 || (n >= 0 && k > n) {
                    return Ok(self.exact(0));
                }
                let k = if n >= 0 { k.min(n - k) } else { k };
                self.spend(2 * k as u64)?;
                let (mut top, mut bottom) = (1, 1);
                for j in 0..k {
                    top = self.product(top, (n - j).rem_euclid(self.p as i64) as u64);
                    bottom = self.product(bottom, (j + 1) as u64);
                }
                let r = self.product(top, self.power(bottom, self.p - 2));
                let exact = if n.unsigned_abs() <= 60 {
                    super::exact::binomial(n, k).and_then(|b| b.to_i64())
                } else {
                    None
                };
                Ok(Residue { r, exact: exact.filter(|n| n.unsigned_abs() < 1 << 60) })
            }
            Func::Abs => Ok(self.exact(int(0)?.abs())),
            Func::Floor | Func::Ceil | Func::Re => Ok(self.exact(int(0)?)),
            Func::Sgn => Ok(self.exact(int(0)?.signum())),
            Func::Gcd => Ok(self.exact(int(0)?.gcd(&int(1)?))),
            Func::Mod => {
                let (a, b) = (int(0)?, int(1)?);
                if b == 0 {
                    return Err(Fail::Domain);
                }
                Ok(self.exact(a.mod_floor(&b)))
            }
            _ => Err(Fail::Inexact),
        }
    }

    fn integer(&self, a: &Residue) -> Option<i64> {
        a.exact
    }

    fn spend(&mut self, steps: u64) -> Result<(), Fail> {
        self.steps = self.steps.checked_sub(steps).ok_or(Fail::Budget)?;
        Ok(())
    }

    fn cost(&self, _: &Op) -> u64 {
        4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moduli_are_prime() {
        // Miller-Rabin with the first twelve primes as bases is certain below 2^64.
        for p in PRIMES {
            let m = Modular::new(p);
            let (mut d, mut r) = (p - 1, 0);
            while d % 2 == 0 {
                d /= 2;
                r += 1;
            }
            for a in [2u64, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37] {
                let mut x = m.power(a, d);
                if x == 1 || x == p - 1 {
                    continue;
                }
                let composite = (1..r).all(|_| {
                    x = m.product(x, x);
                    x != p - 1
                });
                assert!(!composite, "{p} is composite");
            }
        }
    }
}
