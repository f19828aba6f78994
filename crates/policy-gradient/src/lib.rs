//! Advantages, objectives, KL, aggregation, corrections and diagnostics for RL on language models, as pure functions.
#![forbid(unsafe_code)]
