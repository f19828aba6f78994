//! Tensor operations for decoder language models, on every burn backend and data type.
//!
//! Every function takes and returns ordinary burn tensors and checks shapes. On the CPU backend `flex` in `f32`,
//! [`causal_attention`], [`token_log_probs`], [`logit_log_probs`], [`rms_norm`], [`rotary`], [`swiglu`] and [`adamw_step`] run a fused body with a
//! hand-written backward pass, threaded with `rayon` and vectorised through `pulp`; the bits do not depend on the number of
//! threads. Elsewhere the body of the same name in [`composed`] runs, which is made of burn's own operations.
//! [`token_log_probs`] works through the vocabulary's logits in pieces on every backend and computes them again backward. The fused
//! body goes by tiles of at most 96 rows by 960 words per thread; backward it holds the gradients of 960 words' logits, for at most
//! 8,192 rows.
//!
//! | function | replaces |
//! |---|---|
//! | [`token_log_probs`] | output head, log-softmax, gather, entropy |
//! | [`logit_log_probs`] | the same, from logits that exist: log-softmax, gather, entropy |
//! | [`causal_attention`] | scores, mask, softmax, weighted sum |
//! | [`decode_attention`] | one step of attention against a key-value cache with a length per row |
//! | [`rms_norm`], [`rotary`], [`swiglu`] | three to eight element-wise operations each |
//! | [`log_softmax`] | the last step before sampling |
//! | [`adamw_step`] | ten element-wise operations per parameter |
//!
//! [`host`] has the pieces of a decoding step on slices instead of tensors.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod adamw;
mod attention;
pub mod composed;
#[cfg(feature = "cube")]
mod cube;
mod decode;
mod elementwise;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gemm;
pub mod host;
mod logits;
mod pieces;
mod simd;
mod token_log_probs;

pub use adamw::{AdamWState, AdamWStep, adamw_step};
pub use attention::causal_attention;
pub use decode::{decode_attention, log_softmax};
pub use elementwise::{rms_norm, rotary, swiglu};
pub use logits::{LogitLogProbsOps, logit_log_probs};
pub use token_log_probs::{TokenLogProbsOps, token_log_probs};
