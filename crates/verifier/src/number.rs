//! Numerals: exact values that remember how they were written.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// A numeral of the text with its exact value.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The exact value of the digits as written.
    pub value: BigRational,
    /// How it was written, if as a decimal.
    pub decimal: Option<Decimal>,
}

/// The written form of a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Significant digits, from the first that is not zero.
    pub significant: u32,
    /// Power of ten of the last digit: -2 for `0.25`.
    pub last: i32,
    /// Whether it ends in dots without a visible period: `1.414...`.
    pub dots: bool,
}

impl Number {
    /// An integer.
    pub fn integer(value: impl Into<BigInt>) -> Self {
        Number { value: BigRational::from_integer(value.into()), decimal: None }
    }

    /// A rational number that was not written as a decimal.
    pub fn rational(value: BigRational) -> Self {
        Number { value, decimal: None }
    }

    /// A decimal from its digits before and after the point and a power of ten; plain integers have `fraction` none.
    pub fn from_digits(whole: &str, fraction: Option<&str>, exponent: i32) -> Option<Self> {
        let digits: String = whole.chars().chain(fraction.unwrap_or("").chars()).collect();
        if digits.is_empty() || digits.len() > crate::limits::DIGITS {
            return None;
        }
        let n: BigInt = digits.parse().ok()?;
        let last = exponent.checked_sub(i32::try_from(fraction.map_or(0, str::len)).ok()?)?;
        let value = if last >= 0 {
            BigRational::from_integer(n * BigInt::from(10).pow(last as u32))
        } else {
            BigRational::new(n, BigInt::from(10).pow(last.unsigned_abs()))
        };
        let significant = digits.trim_start_matches('0').len() as u32;
        let decimal =
            (fraction.is_some() || exponent != 0).then_some(Decimal { significant, last, dots: false });
        Some(Number { value, decimal })
    }

    /// A decimal with a repeating block: `whole.fraction(block)`.
    pub fn repeating(whole: &str, fraction: &str, block: &str) -> Option<Self> {
        if block.is_empty() || whole.len() + fraction.len() + block.len() > crate::limits::DIGITS {
            return None;
        }
        let ten = BigInt::from(10);
        let all: BigInt = format!("0{whole}{fraction}{block}").parse().ok()?;
        let head: BigInt = format!("0{whole}{fraction}").parse().ok()?;
        let denominator = ten.pow(fraction.len() as u32) * (ten.pow(block.len() as u32) - BigInt::one());
        Some(Number::rational(BigRational::new(all - head, denominator)))
    }

    /// A decimal that ends in dots: the repeating number if a period shows at least twice, or once for three equal digits.
    pub fn with_dots(whole: &str, fraction: &str) -> Option<Self> {
        let f = fraction.as_bytes();
        for period in 1..=f.len() / 2 {
            let need = if period == 1 { 3.min(f.len()).max(2) } else { 2 * period };
            if f.len() < need {
                continue;
            }
            let block = &f[f.len() - period..];
            let repeats = f.rchunks_exact(period).take_while(|c| *c == block).count();
            if repeats * period >= need && repeats >= 2 {
                let cut = f.len() - repeats * period;
                return Number::repeating(whole, &fraction[..cut], std::str::from_utf8(block).ok()?);
            }
        }
        let mut number = Number::from_digits(whole, Some(fraction), 0)?;
        if let Some(d) = &mut number.decimal {
            d.dots = true;
        }
        Some(number)
    }

    /// The value if it is an integer that fits.
    pub fn to_i64(&self) -> Option<i64> {
        self.value.is_integer().then(|| self.value.to_integer().to_i64()).flatten()
    }

    /// Whether it was written as a plain non-negative integer.
    pub fn is_plain_integer(&self) -> bool {
        self.decimal.is_none() && self.value.is_integer() && !self.value.is_negative()
    }
}

/// The bits of a rational's numerator and denominator together.
pub fn bits(value: &BigRational) -> u64 {
    value.numer().bits() + value.denom().bits()
}

/// The exact `n`-th root of a rational, if there is one; the real root for negative values and odd `n`.
pub fn exact_root(value: &BigRational, n: u32) -> Option<BigRational> {
    if n == 0 || (value.is_negative() && n.is_even()) || bits(value) > 1 << 14 {
        return None;
    }
    let root = |v: &BigInt| {
        let r = v.nth_root(n);
        (r.pow(n) == *v).then_some(r)
    };
    Some(BigRational::new(root(value.numer())?, root(value.denom())?))
}

/// `base` to an integer power, if the result stays within the bit limit.
pub fn exact_power(base: &BigRational, exponent: &BigInt) -> Option<BigRational> {
    if base.is_zero() {
        return match exponent.sign() {
            num_bigint::Sign::Plus => Some(BigRational::zero()),
            _ => None,
        };
    }
    if base.is_one() || exponent.is_zero() {
        return Some(BigRational::one());
    }
    if *base == -BigRational::one() {
        return Some(if exponent.is_even() { BigRational::one() } else { base.clone() });
    }
    let e = exponent.to_i32()?;
    let bits = bits(base).saturating_mul(e.unsigned_abs() as u64);
    if bits > crate::limits::EXACT_BITS {
        return None;
    }
    let (n, d) = (base.numer().pow(e.unsigned_abs()), base.denom().pow(e.unsigned_abs()));
    Some(if e < 0 { BigRational::new(d, n) } else { BigRational::new(n, d) })
}

/// `n!` if it stays within the bit limit.
pub fn exact_factorial(n: u64) -> Option<BigInt> {
    if n > 3000 {
        return None;
    }
    let mut product = BigInt::one();
    let mut chunk: u64 = 1;
    for k in 2..=n {
        match chunk.checked_mul(k) {
            Some(c) => chunk = c,
            None => {
                product *= chunk;
                chunk = k;
            }
        }
    }
    Some(product * chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(n: i64, d: i64) -> BigRational {
        BigRational::new(n.into(), d.into())
    }

    #[test]
    fn repeating_decimals() {
        assert_eq!(Number::repeating("0", "", "3").unwrap().value, q(1, 3));
        assert_eq!(Number::repeating("0", "1", "6").unwrap().value, q(1, 6));
        assert_eq!(Number::with_dots("0", "1666").unwrap().value, q(1, 6));
        assert_eq!(Number::with_dots("0", "142857142857").unwrap().value, q(1, 7));
        assert!(Number::with_dots("3", "14159").unwrap().decimal.unwrap().dots);
    }

    #[test]
    fn powers_and_roots_are_bounded() {
        assert_eq!(exact_power(&q(2, 3), &BigInt::from(-2)), Some(q(9, 4)));
        assert_eq!(exact_power(&q(9, 1), &BigInt::from(387_420_489)), None);
        assert_eq!(exact_root(&q(-8, 27), 3), Some(q(-2, 3)));
        assert_eq!(exact_root(&q(2, 1), 2), None);
        assert_eq!(exact_factorial(20), Some(BigInt::from(2_432_902_008_176_640_000u64)));
    }
}
