#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod advantage;
mod aggregate;
mod batch;
mod bounds;
mod diagnostics;
mod error;
mod filter;
mod kl;
mod log_probs;
mod num;
pub mod objective;
pub mod preset;
mod recipe;
pub mod reward;
mod rollout;
mod value;

pub use aggregate::{Aggregation, EmptyRows, GlobalCounts, aggregate};
pub use batch::{Rollout, RolloutBatch};
pub use bounds::Bounds;
pub use diagnostics::{Diagnostics, Summary};
pub use error::{Error, Result};
pub use filter::{
    GroupFilter, LengthStatistics, RewardStatistics, drop_rows, high_entropy, keep_groups, length_statistics,
    reward_statistics,
};
pub use kl::{Kl, KlEstimator, KlGradient, KlWeight, kl};
pub use log_probs::{TokenLogProbConfig, TokenLogProbs, token_log_probs, token_log_probs_from_logits};
pub use objective::{Objective, PerToken, objective};
pub use recipe::{Advantage, KlTerm, Loss, Recipe, Tokens};
pub use rollout::{
    Measure, Normalise, Reject, Rejected, RolloutCorrected, RolloutCorrection, RolloutDiagnostics,
    RolloutWeight, Span, When, geometric_mean_weights, rollout_correction,
};
pub use value::{ValueClip, ValueLoss, explained_variance, value_loss};
