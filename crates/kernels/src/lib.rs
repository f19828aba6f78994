//! Fused tensor operations for decoder language models, as burn backend extensions.
//!
//! Every function takes and returns ordinary burn tensors and works on every backend and data type. On the CPU backend
//! `flex` in `f32` it runs a fused body: one pass over memory, vectorised at run time for the processor at hand
//! (AVX2 and FMA through [`pulp`], no unsafe code), threaded with `rayon`, with a hand-written backward pass. Everywhere else
//! (other backends, `f16`, `bf16`) it runs the body of the same name in [`composed`], which is made of burn's own operations.
//!
//! | function | replaces |
//! |---|---|
//! | [`token_log_probs`] | output head, log-softmax, gather, entropy; logits never live whole |
//! | [`causal_attention`] | scores, mask, softmax, weighted sum; scores never live whole |
//! | [`decode_attention`] | one step of attention against a key-value cache with a length per row |
//! | [`rms_norm`], [`rotary`], [`swiglu`] | three to eight element-wise operations each |
//! | [`log_softmax`] | the last step before sampling |
//! | [`adamw_step`] | ten element-wise operations per parameter |
//!
//! Results are bit-identical whatever the number of threads: work is cut into pieces that depend on shapes alone, and
//! sums over pieces are taken in order.
#![forbid(unsafe_code)]

mod adamw;
mod attention;
pub mod composed;
mod decode;
mod elementwise;
mod token_log_probs;

pub use adamw::{AdamWState, AdamWStep, adamw_step};
pub use attention::causal_attention;
pub use decode::{decode_attention, log_softmax};
pub use elementwise::{rms_norm, rotary, swiglu};
pub use token_log_probs::{TokenLogProbsOps, token_log_probs};
