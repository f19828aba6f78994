//! The built-in world: "box chains", small arithmetic puzzles that four of Polya's approaches solve.
//!
//! A **part** is a start, three operations and an end, with one number hidden in a box, written `?`:
//!
//! | kind | example | the approach that solves it |
//! |---|---|---|
//! | the end is hidden | `16 +8 +2 +4 = ?` | `step`: carry out the plan step by step |
//! | the start is hidden | `? +4 -5 -4 = 12` | `back`: work backward |
//! | an operand is hidden | `4 *4 -? +7 = 18` | `meet`: from both ends to the gap, an auxiliary element |
//! | start and operand are the same hidden number | `? +3 +? -2 = 15` | `equation`: set up an equation |
//!
//! Later parts of a problem use `ans`, the result of the part before. Each approach can be written for each kind of part
//! (almost always), but off its own kind it has to guess the box in one leap and can then only check it.
//! [`layout`] writes a problem in three ways: plain, as code, and as a short story.

pub mod approach;
pub mod check;
pub mod documents;
pub mod layout;
pub mod numbers;
pub mod problem;
pub mod vocabulary;

pub use approach::Approach;
pub use check::{WorldCheck, approaches_used};
pub use layout::Layout;
pub use problem::{Kind, Problem};
