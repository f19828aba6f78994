//! Evaluation of scalar expressions: exactly, modulo primes, and with certified error bounds.

// Methods named like operators take references and return errors; limb loops read two arrays at once.
#![allow(clippy::should_implement_trait, clippy::needless_range_loop)]

pub mod ball;
pub mod exact;
pub mod float;
pub mod modular;
pub mod program;
pub mod real;

/// Why an expression has no value in some arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fail {
    /// Not defined there, or not real where only reals count.
    Domain,
    /// This arithmetic cannot express it.
    Inexact,
    /// The error bound became too large to decide.
    Precision,
    /// Too large or too small to represent.
    Overflow,
    /// The step budget is used up.
    Budget,
    /// Not a scalar expression at all.
    Kind,
}
