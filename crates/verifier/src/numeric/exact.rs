//! Exact rational arithmetic with a bit limit.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::{
    Fail,
    program::{Domain, Op},
};
use crate::{
    limits,
    number::{bits, exact_factorial, exact_power, exact_root},
    syntax::Func,
};

/// The exact arithmetic. Irrational results fail with [`Fail::Inexact`].
#[derive(Debug)]
pub struct Exact {
    steps: u64,
}

impl Default for Exact {
    fn default() -> Self {
        Exact { steps: limits::STEPS }
    }
}

fn check(q: BigRational) -> Result<BigRational, Fail> {
    if bits(&q) > 4 * limits::EXACT_BITS { Err(Fail::Overflow) } else { Ok(q) }
}

fn integer(q: &BigRational) -> Result<BigInt, Fail> {
    if q.is_integer() { Ok(q.to_integer()) } else { Err(Fail::Domain) }
}

/// A binomial coefficient for any integer `n` and small non-negative `k`.
pub fn binomial(n: i64, k: i64) -> Option<BigInt> {
    if k < 0 || (n >= 0 && k > n) {
        return Some(BigInt::zero());
    }
    let k = if n >= 0 { k.min(n - k) } else { k };
    if k > 1200 {
        return None;
    }
    let mut out = BigInt::one();
    for j in 0..k {
        out = out * (n - j) / (j + 1);
    }
    Some(out)
}

impl Domain for Exact {
    type Value = BigRational;

    fn number(&mut self, q: &BigRational) -> Result<BigRational, Fail> {
        Ok(q.clone())
    }

    fn pi(&mut self) -> Result<BigRational, Fail> {
        Err(Fail::Inexact)
    }

    fn e(&mut self) -> Result<BigRational, Fail> {
        Err(Fail::Inexact)
    }

    fn i(&mut self) -> Result<BigRational, Fail> {
        Err(Fail::Inexact)
    }

    fn add(&mut self, a: &BigRational, b: &BigRational) -> Result<BigRational, Fail> {
        self.spend((bits(a) + bits(b)) / 512)?;
        // Ratios are reduced by a binary gcd, which takes many steps even against 1.
        if a.is_integer() && b.is_integer() {
            return check(BigRational::from_integer(a.numer() + b.numer()));
        }
        check(a + b)
    }

    fn mul(&mut self, a: &BigRational, b: &BigRational) -> Result<BigRational, Fail> {
        self.spend((bits(a) + bits(b)) / 128)?;
        if a.is_integer() && b.is_integer() {
            return check(BigRational::from_integer(a.numer() * b.numer()));
        }
        check(a * b)
    }

    fn neg(&mut self, a: &BigRational) -> Result<BigRational, Fail> {
        Ok(-a)
    }

    fn div(&mut self, a: &BigRational, b: &BigRational) -> Result<BigRational, Fail> {
        if b.is_zero() {
            return Err(Fail::Domain);
        }
        self.spend((bits(a) + bits(b)) / 128)?;
        check(a / b)
    }

    fn pow(&mut self, a: &BigRational, b: &BigRational) -> Result<BigRational, Fail> {
        self.pow_q(a, b)
    }

    fn pow_q(&mut self, a: &BigRational, q: &BigRational) -> Result<BigRational, Fail> {
        self.spend(10 + bits(a) / 64)?;
        if q.is_integer() {
            if a.is_zero() && q.is_negative() {
                return Err(Fail::Domain);
            }
            return exact_power(a, &q.to_integer()).ok_or(Fail::Overflow);
        }
        let (n, d) = (q.numer(), q.denom().to_u32().ok_or(Fail::Inexact)?);
        if a.is_negative() && d.is_even() {
            return Err(Fail::Inexact);
        }
        let root = exact_root(a, d).ok_or(Fail::Inexact)?;
        if root.is_zero() && n.is_negative() {
            return Err(Fail::Domain);
        }
        exact_power(&root, n).ok_or(Fail::Overflow)
    }

    fn call(&mut self, f: Func, args: &[BigRational]) -> Result<BigRational, Fail> {
        let a = args.first().ok_or(Fail::Kind)?;
        let two = |f: fn(&BigInt, &BigInt) -> BigInt| -> Result<BigRational, Fail> {
            let mut acc = integer(a)?;
            for b in &args[1..] {
                acc = f(&acc, &integer(b)?);
            }
            Ok(BigRational::from_integer(acc))
        };
        match f {
            Func::Sqrt => {
                self.spend(20)?;
                exact_root(a, 2).ok_or(Fail::Inexact)
            }
            Func::Root => {
                self.spend(20)?;
                let n = a.is_integer().then(|| a.to_integer().to_u32()).flatten().ok_or(Fail::Inexact)?;
                exact_root(args.get(1).ok_or(Fail::Kind)?, n).ok_or(Fail::Inexact)
            }
            Func::Abs => Ok(a.abs()),
            Func::Floor => Ok(a.floor()),
            Func::Ceil => Ok(a.ceil()),
            Func::Sgn => Ok(a.signum()),
            Func::Re => Ok(a.clone()),
            Func::Im => Ok(BigRational::zero()),
            Func::Max => args.iter().max().cloned().ok_or(Fail::Kind),
            Func::Min => args.iter().min().cloned().ok_or(Fail::Kind),
            Func::Gcd => two(|a, b| a.gcd(b)),
            Func::Lcm => two(|a, b| a.lcm(b)),
            Func::Mod => {
                let b = args.get(1).ok_or(Fail::Kind)?;
                if b.is_zero() {
                    return Err(Fail::Domain);
                }
                two(|a, b| a.mod_floor(b))
            }
            Func::Factorial => {
                let n = integer(a)?.to_u64().ok_or(Fail::Domain)?;
                self.spend(n / 4)?;
                exact_factorial(n).map(BigRational::from_integer).ok_or(Fail::Overflow)
            }
            Func::DoubleFactorial => {
                let n = integer(a)?.to_u64().filter(|n| *n < 2000).ok_or(Fail::Overflow)?;
                self.spend(n / 2)?;
                let mut out = BigInt::one();
                let mut k = n;
                while k > 1 {
                    out *= k;
                    k -= 2;
                }
                Ok(BigRational::from_integer(out))
            }
            Func::Binom => {
                let n = integer(a)?.to_i64().filter(|n| n.abs() < 1 << 40).ok_or(Fail::Overflow)?;
                let k = integer(args.get(1).ok_or(Fail::Kind)?)?.to_i64().ok_or(Fail::Overflow)?;
                self.spend(k.unsigned_abs().min(1200))?;
                binomial(n, k).map(BigRational::from_integer).ok_or(Fail::Overflow)
            }
            Func::Exp | Func::Cos | Func::Cosh if a.is_zero() => Ok(BigRational::one()),
            Func::Sin
            | Func::Tan
            | Func::Asin
            | Func::Atan
            | Func::Sinh
            | Func::Tanh
            | Func::Asinh
            | Func::Atanh
                if a.is_zero() =>
            {
                Ok(BigRational::zero())
            }
            Func::Ln | Func::Lg if a.is_one() => Ok(BigRational::zero()),
            _ => Err(Fail::Inexact),
        }
    }

    fn integer(&self, a: &BigRational) -> Option<i64> {
        a.is_integer().then(|| a.to_integer().to_i64()).flatten()
    }

    fn spend(&mut self, steps: u64) -> Result<(), Fail> {
        self.steps = self.steps.checked_sub(steps).ok_or(Fail::Budget)?;
        Ok(())
    }

    fn cost(&self, _: &Op) -> u64 {
        16
    }
}
