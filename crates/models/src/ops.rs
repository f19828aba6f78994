//! The tensor functions of the forward pass: those of `kernels`.

pub(crate) use kernels::{causal_attention, rms_norm, rotary, swiglu, token_log_probs};
