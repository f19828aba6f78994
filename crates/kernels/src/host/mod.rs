//! The pieces of one decoding step on slices, for an engine that keeps its rows on the CPU.
//!
//! A step of a batch of rows is many small operations; as tensor operations each of them allocates, packs its weight again and
//! joins its threads. Here weights are packed once ([`PackedWeight`]), rows keep their own caches ([`HeadCache`]), and whoever calls
//! cuts the batch into groups of rows and runs each through all layers on a thread of its own. A function runs on the
//! calling thread, but for the packing of a weight and a product that is told to share its outputs; a row's result has the same bits whatever other rows
//! and however many threads it is computed with.

mod attention;
mod rows;
#[cfg(feature = "flex")]
mod values;
mod weight;

pub use attention::{HeadCache, attend};
pub use rows::{Exponentials, add, rms_norm, rotate, swiglu};
#[cfg(feature = "flex")]
pub use values::Values;
pub use weight::{PackedWeight, Scratch};
