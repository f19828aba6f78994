#![doc = include_str!("../README.md")]
//!
//! # The layers
//!
//! 1. [`extract`] finds the one stretch of text that is the final answer.
//! 2. [`lex`] turns LaTeX, ASCII and Unicode into one alphabet of tokens.
//! 3. [`parse`] builds a [`syntax`] tree.
//! 4. [`value`] gives it a meaning: a [`scalar`], a [`region`] of the real line, a collection, a relation, words.
//! 5. [`compare`] decides, with the table of coercions between kinds; [`numeric`] evaluates.
//!
//! ```
//! use verifier::{Policy, extract, lex, parse, value::Answer, compare::compare};
//!
//! let policy = Policy::default();
//! let found = extract::extract(r"So x is either root: $\boxed{1 \pm \sqrt{2}}$", &policy).unwrap();
//! assert_eq!(found.text, r"1 \pm \sqrt{2}");
//! let tokens = lex::lex(&found.text, policy.separators).unwrap();
//! let _tree = parse::parse(&found.text, &tokens).unwrap();
//! let (gold, response) = (Answer::read(r"1-\sqrt2, 1+\sqrt2", &policy).unwrap(), Answer::read(&found.text, &policy).unwrap());
//! assert!(compare(&gold, &response, &policy).equal);
//! ```
//!
//! # Untrusted input
//!
//! Responses and gold answers may be anything. Every limit is a count ([`limits`]); a text beyond a limit is unreadable, never wrong or
//! right by accident, and never a panic.
//!
//! # A check of your own
//!
//! ```
//! use verifier::{Check, Reason, Verdict, Verification};
//!
//! /// The response must name the colour.
//! struct Colour;
//!
//! impl Check for Colour {
//!     type Task = str;
//!     fn check(&self, task: &str, response: &str) -> Verification {
//!         let hit = response.to_lowercase().contains(task);
//!         let verdict = if hit { Verdict::Correct } else { Verdict::Incorrect };
//!         Verification::new(verdict, if hit { Reason::EqualText } else { Reason::DifferentText })
//!     }
//! }
//!
//! assert!(Colour.check("red", "It is Red.").is_correct());
//! ```
#![forbid(unsafe_code)]

mod check;
pub mod compare;
pub mod extract;
mod families;
pub mod lex;
pub mod limits;
pub mod number;
pub mod numeric;
pub mod parse;
pub mod piecewise;
mod policy;
pub mod region;
pub mod scalar;
pub mod series;
mod stance;
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
