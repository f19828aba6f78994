//! The limits that bound the work on untrusted text. All are counts; none depends on time or on the machine.

/// Longest answer (after extraction) that is lexed, in bytes.
pub const ANSWER_BYTES: usize = 1 << 16;
/// Most tokens of one answer.
pub const TOKENS: usize = 1 << 15;
/// Deepest nesting of expressions; a bracket takes one or two levels, a fraction in a denominator three.
pub const DEPTH: u32 = 56;
/// Most operators that wrap one value without brackets, such as postfix signs.
pub const WRAPS: usize = 4;
/// Most digits of one numeral.
pub const DIGITS: usize = 4096;
/// Largest exponent of a numeral in scientific notation that is expanded.
pub const EXPONENT: i32 = 4096;
/// Most bits of an exact rational; larger powers and factorials stay symbolic.
pub const EXACT_BITS: u64 = 1 << 15;
/// Most nodes of one expression that is evaluated.
pub const NODES: usize = 1 << 13;
/// Most elementary steps (operations, weighted by their cost) of one comparison.
pub const STEPS: u64 = 200_000;
/// Most terms of a sum or product sign.
pub const TERMS: i64 = 1 << 14;
/// Most pairs compared when collections are matched without an order.
pub const PAIRS: u64 = 1 << 12;
/// Most nodes of formulas that are compared many times over (functions by cases, lists and sums with dots).
pub const REPEATED_NODES: usize = 400;
/// Most products that the factorials in one such formula ask for.
pub const REPEATED_FACTORIALS: u64 = 1023;
/// Most readings of plus-minus signs in one answer.
pub const SIGNS: usize = 16;
