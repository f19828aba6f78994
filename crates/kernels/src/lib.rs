//! Tensor operations for decoder language models, on every burn backend and data type.
//!
//! Every function takes and returns ordinary burn tensors, checks shapes, and runs the body of the same name in [`composed`],
//! which is made of burn's own operations. [`token_log_probs`] is a backend extension instead: it works through the vocabulary's
//! logits in chunks and computes them again in a hand-written backward pass, so that they never live whole.
//!
//! | function | replaces |
//! |---|---|
//! | [`token_log_probs`] | output head, log-softmax, gather, entropy |
//! | [`causal_attention`] | scores, mask, softmax, weighted sum |
//! | [`decode_attention`] | one step of attention against a key-value cache with a length per row |
//! | [`rms_norm`], [`rotary`], [`swiglu`] | three to eight element-wise operations each |
//! | [`log_softmax`] | the last step before sampling |
//! | [`adamw_step`] | ten element-wise operations per parameter |
//!
//! There are no bodies written for one backend yet: the functions are the place where they can be added without a
//! change for callers.
#![forbid(unsafe_code)]

mod adamw;
mod attention;
pub mod composed;
mod decode;
mod elementwise;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gemm;
#[cfg(feature = "flex")]
mod simd;
mod token_log_probs;

pub use adamw::{AdamWState, AdamWStep, adamw_step};
pub use attention::causal_attention;
pub use decode::{decode_attention, log_softmax};
pub use elementwise::{rms_norm, rotary, swiglu};
pub use token_log_probs::{TokenLogProbsOps, token_log_probs};
