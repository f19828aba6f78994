//! Advantages, objectives, KL, aggregation, corrections and diagnostics for RL on language models, as pure functions.
#![forbid(unsafe_code)]

pub mod advantage;
mod aggregate;
mod bounds;
mod diagnostics;
mod error;
mod kl;
mod log_probs;
mod num;
pub mod objective;
mod rollout;

pub use aggregate::{Aggregation, EmptyRows, GlobalCounts, aggregate};
pub use bounds::Bounds;
pub use diagnostics::{Diagnostics, Summary};
pub use error::{Error, Result};
pub use kl::{Kl, KlEstimator, KlGradient, KlWeight, kl};
pub use log_probs::{TokenLogProbConfig, TokenLogProbs, token_log_probs};
pub use objective::{Objective, PerToken, objective};
pub use rollout::{Rollout, RolloutBatch};
