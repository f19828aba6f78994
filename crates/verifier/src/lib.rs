//! Extracts the final answer of a response and decides whether it equals the gold answer.
//!
//! ```
//! use verifier::{Gold, Response, Verdict, verify};
//!
//! let gold = Gold::parse(r"\frac{1}{2}");
//! let v = verify(&gold, &Response::new(r"Half of them, so the answer is $\boxed{0.5}$."));
//! assert_eq!(v.verdict, Verdict::Correct);
//! assert_eq!(v.extracted.as_deref(), Some("0.5"));
//! ```
#![forbid(unsafe_code)]

mod check;
pub mod compare;
pub mod extract;
pub mod lex;
pub mod limits;
pub mod number;
pub mod numeric;
pub mod parse;
mod policy;
pub mod region;
pub mod scalar;
pub mod syntax;
pub mod units;
pub mod value;
mod verdict;
pub mod words;

#[cfg(feature = "rayon")]
pub use check::verify_batch;
pub use check::{Check, Gold, MathCheck, Response, reward, verify, verify_with};
pub use policy::{Base, Boxes, Order, Percent, Policy, Separators, Units};
pub use verdict::{Reason, Verdict, Verification};
