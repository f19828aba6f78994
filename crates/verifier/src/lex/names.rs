//! Names of letters, functions and number sets.

use crate::syntax::{Constant, Func};

pub(super) fn greek(c: char) -> Option<&'static str> {
    Some(match c {
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'ε' | 'ϵ' => "epsilon",
        'ζ' => "zeta",
        'η' => "eta",
        'θ' | 'ϑ' => "theta",
        'ι' => "iota",
        'κ' => "kappa",
        'λ' => "lambda",
        'μ' | 'µ' => "mu",
        'ν' => "nu",
        'ξ' => "xi",
        'ρ' => "rho",
        'σ' => "sigma",
        'τ' => "tau",
        'φ' | 'ϕ' => "phi",
        'χ' => "chi",
        'ψ' => "psi",
        'ω' => "omega",
        'Γ' => "Gamma",
        'Δ' => "Delta",
        'Θ' => "Theta",
        'Λ' => "Lambda",
        'Φ' => "Phi",
        'Ψ' => "Psi",
        'Ω' => "Omega",
        _ => return None,
    })
}

/// The plain letter of `𝑥`, `𝐀` and the like.
pub(super) fn styled_latin(c: char) -> Option<char> {
    match c {
        'ℎ' => Some('h'),
        'ⅈ' => Some('i'),
        '\u{1d400}'..='\u{1d6a3}' => {
            let k = ((c as u32 - 0x1d400) % 52) as u8;
            Some(char::from(if k < 26 { b'A' + k } else { b'a' + k - 26 }))
        }
        _ => None,
    }
}

/// The name of `𝛼`, `𝜋` and the like.
pub(super) fn styled_greek(c: char) -> Option<&'static str> {
    let '\u{1d6a8}'..='\u{1d7c9}' = c else { return None };
    let k = (c as u32 - 0x1d6a8) % 58;
    match k {
        0..=24 if k != 17 => greek(char::from_u32(0x391 + k)?),
        26..=50 if k == 41 => Some("pi"),
        26..=50 => greek(char::from_u32(0x3b1 + k - 26)?),
        52 => Some("epsilon"),
        53 => Some("theta"),
        55 => Some("phi"),
        _ => None,
    }
}

pub(super) const GREEK_NAMES: &[&str] = &[
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
    "Phi", "Psi", "Omega",
];

/// A function of that name.
pub fn function(name: &str) -> Option<Func> {
    Some(match name {
        "sin" => Func::Sin,
        "cos" => Func::Cos,
        "tan" | "tg" => Func::Tan,
        "cot" | "ctg" => Func::Cot,
        "sec" => Func::Sec,
        "csc" | "cosec" => Func::Csc,
        "arcsin" | "asin" => Func::Asin,
        "arccos" | "acos" => Func::Acos,
        "arctan" | "atan" | "arctg" => Func::Atan,
        "arccot" | "acot" => Func::Acot,
        "arcsec" | "asec" => Func::Asec,
        "arccsc" | "acsc" => Func::Acsc,
        "sinh" => Func::Sinh,
        "cosh" => Func::Cosh,
        "tanh" => Func::Tanh,
        "coth" => Func::Coth,
        "arcsinh" | "asinh" | "arsinh" => Func::Asinh,
        "arccosh" | "acosh" | "arcosh" => Func::Acosh,
        "arctanh" | "atanh" | "artanh" => Func::Atanh,
        "ln" => Func::Ln,
        "log" => Func::Log,
        "lg" => Func::Lg,
        "exp" => Func::Exp,
        "abs" | "Abs" => Func::Abs,
        "floor" => Func::Floor,
        "ceil" | "ceiling" => Func::Ceil,
        "max" | "Max" => Func::Max,
        "min" | "Min" => Func::Min,
        "gcd" => Func::Gcd,
        "lcm" => Func::Lcm,
        "sgn" | "sign" => Func::Sgn,
        "Re" => Func::Re,
        "Im" => Func::Im,
        "cis" => Func::Cis,
        "binomial" | "binom" => Func::Binom,
        "factorial" => Func::Factorial,
        "arg" | "Arg" => Func::Arg,
        _ => return None,
    })
}

pub(super) fn number_set(letter: u8) -> Option<Constant> {
    Some(match letter {
        b'R' => Constant::Reals,
        b'Z' => Constant::Integers,
        b'N' => Constant::Naturals,
        b'Q' => Constant::Rationals,
        b'C' => Constant::Complexes,
        _ => return None,
    })
}
