//! Evaluation over real and complex balls.

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::{
    Fail,
    ball::{Ball, Complex},
    float::Float,
    program::{Domain, Op},
};
use crate::{limits, syntax::Func};

/// Ball arithmetic at `64 N` bits. In the real mode everything that is not real fails with [`Fail::Domain`].
#[derive(Debug)]
pub struct Real<const N: usize> {
    real: bool,
    steps: u64,
    /// Whether a term of a sum vanished in the rounding error beside a larger one.
    pub drowned: bool,
}

impl<const N: usize> Real<N> {
    /// Only real values count, as for functions of real variables.
    pub fn reals() -> Self {
        Real { real: true, steps: limits::STEPS, drowned: false }
    }

    /// Principal complex values are allowed, as for constants.
    pub fn principal() -> Self {
        Real { real: false, steps: limits::STEPS, drowned: false }
    }

    fn keep(&self, x: Complex<N>) -> Result<Complex<N>, Fail> {
        if self.real && x.im.is_some() { Err(Fail::Domain) } else { Ok(x) }
    }

    fn root(&mut self, x: &Complex<N>, n: u64) -> Result<Complex<N>, Fail> {
        if n == 0 {
            return Err(Fail::Domain);
        }
        if n == 1 {
            return Ok(*x);
        }
        if n == 2 {
            return x.sqrt(self.real);
        }
        if x.im.is_none() {
            let sign = x.re.sign()?;
            if sign == 0 {
                let e = x.re.rad.exponent().max(x.re.mid.exponent());
                let rad = if x.re.is_zero() {
                    super::ball::Bound::ZERO
                } else {
                    super::ball::Bound::power(e / n as i64 + 1)
                };
                return Ok(Complex::real(Ball { mid: Float::ZERO, rad }));
            }
            if sign > 0 || n.is_odd() {
                // The real root, also of negative numbers for odd n.
                let r = x.re.abs().ln()?.div(&Ball::int(n as i64))?.exp()?;
                return Ok(Complex::real(if sign < 0 { r.neg() } else { r }));
            }
        }
        if self.real {
            return Err(Fail::Domain);
        }
        let log = x.ln(false)?;
        log.div(&Complex::real(Ball::int(n as i64)))?.exp()
    }

    fn trig(&mut self, x: &Complex<N>) -> Result<(Complex<N>, Complex<N>), Fail> {
        match &x.im {
            None => {
                let (s, c) = x.re.sin_cos()?;
                Ok((Complex::real(s), Complex::real(c)))
            }
            Some(im) => {
                // sin(a+bi) = sin a cosh b + i cos a sinh b
                let (s, c) = x.re.sin_cos()?;
                let up = im.exp()?;
                let down = Ball::int(1).div(&up)?;
                let half = Ball::exact(Float::from_f64(0.5));
                let cosh = up.add(&down).mul(&half)?;
                let sinh = up.sub(&down).mul(&half)?;
                Ok((
                    Complex::new(s.mul(&cosh)?, c.mul(&sinh)?),
                    Complex::new(c.mul(&cosh)?, s.mul(&sinh)?.neg()),
                ))
            }
        }
    }

    fn only_real(x: &Complex<N>) -> Result<Ball<N>, Fail> {
        match &x.im {
            None => Ok(x.re),
            // i times i may leave an imaginary part that is zero to within rounding
            Some(im) if im.contains_zero() && im.tiny() => Ok(x.re),
            Some(_) => Err(Fail::Domain),
        }
    }

    fn asin(x: &Ball<N>) -> Result<Ball<N>, Fail> {
        // atan(x / sqrt(1 - x²))
        let one = Ball::int(1);
        let rest = one.sub(&x.mul(x)?);
        match rest.sign()? {
            -1 => Err(Fail::Domain),
            0 => {
                let pi = Ball::<N>::pi();
                let half = Ball { mid: pi.mid.scale(-1), rad: pi.rad.add(rest.sqrt()?.rad) };
                Ok(if x.mid.is_negative() { half.neg() } else { half })
            }
            _ => Ok(x.div(&rest.sqrt()?)?.atan()),
        }
    }
}

impl<const N: usize> Domain for Real<N> {
    type Value = Complex<N>;

    fn number(&mut self, q: &BigRational) -> Result<Complex<N>, Fail> {
        Ok(Complex::real(Ball::rational(q)))
    }

    fn pi(&mut self) -> Result<Complex<N>, Fail> {
        Ok(Complex::real(Ball::pi()))
    }

    fn e(&mut self) -> Result<Complex<N>, Fail> {
        Ok(Complex::real(Ball::int(1).exp()?))
    }

    fn i(&mut self) -> Result<Complex<N>, Fail> {
        Ok(Complex::new(Ball::int(0), Ball::int(1)))
    }

    fn add(&mut self, a: &Complex<N>, b: &Complex<N>) -> Result<Complex<N>, Fail> {
        let sum = a.add(b);
        let size = |z: &Complex<N>| z.re.mid.exponent().max(z.im.map_or(i64::MIN, |x| x.mid.exponent()));
        let error = sum.re.rad.exponent().max(sum.im.map_or(i64::MIN, |x| x.rad.exponent()));
        let zero = |z: &Complex<N>| z.re.contains_zero() && z.im.is_none_or(|x| x.contains_zero());
        self.drowned |= [a, b].iter().any(|z| !zero(z) && size(z) < error + 16);
        Ok(sum)
    }

    fn mul(&mut self, a: &Complex<N>, b: &Complex<N>) -> Result<Complex<N>, Fail> {
        a.mul(b)
    }

    fn neg(&mut self, a: &Complex<N>) -> Result<Complex<N>, Fail> {
        Ok(a.neg())
    }

    fn div(&mut self, a: &Complex<N>, b: &Complex<N>) -> Result<Complex<N>, Fail> {
        a.div(b)
    }

    fn pow(&mut self, a: &Complex<N>, b: &Complex<N>) -> Result<Complex<N>, Fail> {
        if b.im.is_none()
            && let Some(n) = b.re.integer()
        {
            return self.pow_q(a, &BigRational::from_integer(n.into()));
        }
        if a.im.is_none() {
            match a.re.sign()? {
                1 => return b.mul(&Complex::real(a.re.ln()?))?.exp(),
                0 => {
                    return if b.im.is_none() && b.re.sign()? > 0 {
                        Ok(Complex::real(Ball::int(0)))
                    } else {
                        Err(Fail::Domain)
                    };
                }
                _ => {}
            }
        }
        if self.real {
            return Err(Fail::Domain);
        }
        let log = a.ln(false)?;
        self.keep(b.mul(&log)?.exp()?)
    }

    fn pow_q(&mut self, a: &Complex<N>, q: &BigRational) -> Result<Complex<N>, Fail> {
        let (negative, d) = (q.is_negative(), q.denom().to_u64().ok_or(Fail::Overflow)?);
        let magnitude = q.numer().magnitude();
        if q.numer().sign() == num_bigint::Sign::NoSign {
            return Ok(Complex::real(Ball::int(1)));
        }
        let Some(n) = magnitude.to_u64().filter(|n| *n < 1 << 40) else {
            // Too many squarings lose all bits; a positive base goes through the logarithm.
            let size = a.abs()?;
            let e = Ball::rational(&BigRational::new(q.numer().clone(), q.denom().clone()));
            let odd = magnitude.is_odd();
            let out = e.mul(&size.ln()?)?.exp()?;
            return match (a.im.is_some(), a.re.sign()?) {
                (false, 1) => Ok(Complex::real(out)),
                (false, -1) if d == 1 => Ok(Complex::real(if odd { out.neg() } else { out })),
                _ => Err(Fail::Overflow),
            };
        };
        self.spend(64 * (64 - n.leading_zeros() as u64) / 8)?;
        let root = self.root(a, d)?;
        let power = match &root.im {
            None => Complex::real(root.re.powi(n)?),
            Some(_) => {
                let (mut base, mut out, mut k) = (root, Complex::real(Ball::int(1)), n);
                while k > 0 {
                    if k & 1 == 1 {
                        out = out.mul(&base)?;
                    }
                    k >>= 1;
                    if k > 0 {
                        base = base.mul(&base)?;
                    }
                }
                out
            }
        };
        if negative { Complex::real(Ball::int(1)).div(&power) } else { Ok(power) }
    }

    fn call(&mut self, f: Func, args: &[Complex<N>]) -> Result<Complex<N>, Fail> {
        let x = args.first().ok_or(Fail::Kind)?;
        let one = Complex::real(Ball::<N>::int(1));
        let half = Ball::<N>::exact(Float::from_f64(0.5));
        let real = |b: Ball<N>| Ok(Complex::real(b));
        let half_pi = || {
            let pi = Ball::<N>::pi();
            Ball { mid: pi.mid.scale(-1), rad: pi.rad }
        };
        match f {
            Func::Sin => Ok(self.trig(x)?.0),
            Func::Cos => Ok(self.trig(x)?.1),
            Func::Tan => {
                let (s, c) = self.trig(x)?;
                s.div(&c)
            }
            Func::Cot => {
                let (s, c) = self.trig(x)?;
                c.div(&s)
            }
            Func::Sec => one.div(&self.trig(x)?.1),
            Func::Csc => one.div(&self.trig(x)?.0),
            Func::Asin => real(Self::asin(&Self::only_real(x)?)?),
            Func::Acos => real(half_pi().sub(&Self::asin(&Self::only_real(x)?)?)),
            Func::Atan | Func::Acot => {
                let x = Self::only_real(x)?;
                // Beyond this size the angle cannot be told from a right one.
                self.drowned |= x.mid.exponent() > Float::<N>::BITS - 32;
                real(if f == Func::Atan { x.atan() } else { half_pi().sub(&x.atan()) })
            }
            Func::Asec | Func::Acsc => {
                let a = Self::asin(&Ball::int(1).div(&Self::only_real(x)?)?)?;
                real(if f == Func::Acsc { a } else { half_pi().sub(&a) })
            }
            Func::Sinh | Func::Cosh | Func::Tanh | Func::Coth => {
                let up = x.exp()?;
                let down = one.div(&up)?;
                // Through the domain's sum, which notices when one of them vanishes.
                let sinh = self.add(&up, &down.neg())?;
                let cosh = self.add(&up, &down)?;
                match f {
                    Func::Sinh => sinh.mul(&Complex::real(half)),
                    Func::Cosh => cosh.mul(&Complex::real(half)),
                    Func::Tanh => sinh.div(&cosh),
                    _ => cosh.div(&sinh),
                }
            }
            Func::Asinh => {
                let x = Self::only_real(x)?;
                let size = x.abs().add(&x.mul(&x)?.add(&Ball::int(1)).sqrt()?).ln()?;
                real(if x.mid.is_negative() { size.neg() } else { size })
            }
            Func::Acosh => {
                let x = Self::only_real(x)?;
                real(x.add(&x.mul(&x)?.sub(&Ball::int(1)).sqrt()?).ln()?)
            }
            Func::Atanh => {
                let x = Self::only_real(x)?;
                let q = Ball::int(1).add(&x).div(&Ball::int(1).sub(&x))?;
                real(q.ln()?.mul(&half)?)
            }
            Func::Ln | Func::Log => x.ln(self.real),
            Func::Lg => x.ln(self.real)?.div(&Complex::real(Ball::int(10).ln()?)),
            Func::LogBase => {
                let base = x.ln(self.real)?;
                let log = args.get(1).ok_or(Fail::Kind)?.ln(self.real)?;
                log.div(&base)
            }
            Func::Exp => x.exp(),
            Func::Sqrt => x.sqrt(self.real),
            Func::Root => {
                let n = x.re.integer().and_then(|n| u64::try_from(n).ok()).ok_or(Fail::Domain)?;
                self.root(args.get(1).ok_or(Fail::Kind)?, n)
            }
            Func::Abs => real(x.abs()?),
            Func::Floor => real(Ball::int(Self::only_real(x)?.floor()?)),
            Func::Ceil => real(Ball::int(-Self::only_real(x)?.neg().floor()?)),
            Func::Sgn => real(Ball::int(i64::from(Self::only_real(x)?.sign()?))),
            Func::Re => real(x.re),
            Func::Im => real(x.imaginary()),
            Func::Arg => real(x.arg()?),
            Func::Cis => {
                let (s, c) = self.trig(x)?;
                Ok(Complex::new(Self::only_real(&c)?, Self::only_real(&s)?))
            }
            Func::Max | Func::Min => {
                let mut best = Self::only_real(x)?;
                for other in &args[1..] {
                    let other = Self::only_real(other)?;
                    match (best.order(&other), f) {
                        (Some(std::cmp::Ordering::Less), Func::Max)
                        | (Some(std::cmp::Ordering::Greater), Func::Min) => best = other,
                        (None, _) if !best.tight() => return Err(Fail::Precision),
                        _ => {}
                    }
                }
                real(best)
            }
            Func::Gcd | Func::Lcm => {
                let mut acc = Self::only_real(x)?.integer().ok_or(Fail::Domain)?;
                for other in &args[1..] {
                    let n = Self::only_real(other)?.integer().ok_or(Fail::Domain)?;
                    acc = if f == Func::Gcd {
                        acc.gcd(&n)
                    } else {
                        let g = acc.gcd(&n);
                        if g == 0 { 0 } else { (acc / g).checked_mul(n).ok_or(Fail::Overflow)?.abs() }
                    };
                }
                real(Ball::int(acc))
            }
            Func::Mod => {
                let a = Self::only_real(x)?.integer().ok_or(Fail::Domain)?;
                let b = Self::only_real(args.get(1).ok_or(Fail::Kind)?)?
                    .integer()
                    .filter(|b| *b != 0)
                    .ok_or(Fail::Domain)?;
                real(Ball::int(a.mod_floor(&b)))
            }
            Func::Factorial | Func::DoubleFactorial => {
                let n = Self::only_real(x)?.integer().filter(|n| *n >= 0).ok_or(Fail::Domain)?;
                // A product of balls costs more than a step, and eight or more points ask for it again.
                self.spend((n as u64).saturating_mul(80))?;
                let step = if f == Func::Factorial { 1 } else { 2 };
                let mut out = Ball::int(1);
                let mut k = n;
                while k > 1 {
                    out = out.mul(&Ball::int(k))?;
                    k -= step;
                }
                real(out)
            }
            Func::Binom => {
                let n = Self::only_real(x)?.integer().ok_or(Fail::Domain)?;
                let k = Self::only_real(args.get(1).ok_or(Fail::Kind)?)?.integer().ok_or(Fail::Domain)?;
                if k < 0 || (n >= 0 && k > n) {
                    return real(Ball::int(0));
                }
                let k = if n >= 0 { k.min(n - k) } else { k };
                self.spend((k as u64).saturating_mul(400))?;
                let mut out = Ball::int(1);
                for j in 0..k {
                    out = out.mul(&Ball::int(n - j))?.div(&Ball::int(j + 1))?;
                }
                real(out)
            }
        }
    }

    fn integer(&self, a: &Complex<N>) -> Option<i64> {
        if a.im.is_some() { None } else { a.re.integer() }
    }

    fn spend(&mut self, steps: u64) -> Result<(), Fail> {
        self.steps = self.steps.checked_sub(steps).ok_or(Fail::Budget)?;
        Ok(())
    }

    fn cost(&self, op: &Op) -> u64 {
        let unit = if N <= 2 { 1 } else { 8 };
        match op {
            Op::Call(..) | Op::Pow | Op::PowQ(_) | Op::E => 100 * unit,
            Op::Add(n) | Op::Mul(n) => u64::from(*n) * unit,
            Op::Div => 6 * unit,
            _ => 1,
        }
    }
}
