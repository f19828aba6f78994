//! Benchmarks, pass@k, intervals, composition of approaches, and diversity measures.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod composition;
pub mod datasets;
mod diversity;
mod error;
pub mod figures;
mod intervals;
#[cfg(feature = "models")]
pub mod local;
mod pass_at_k;
pub mod registry;
pub mod theory;

pub use composition::{Composition, SankeyData, SankeyLink, SankeyNode, Share, Signs, Solution};
pub use diversity::{
    Diversity, distinct_n, edit_distance, mean_edit_distance, self_bleu, vendi_score, vendi_score_embeddings,
    vendi_score_sampled, words,
};
pub use error::{Error, Result};
pub use intervals::{
    Fit, Interval, PairedBootstrap, PairedT, RESAMPLES, bootstrap_mean, bootstrap_ratio, linear_fit,
    paired_bootstrap, paired_t, paired_t_at, spearman, t_interval,
};
pub use pass_at_k::{Tally, pass_at_k, pass_at_k_per_question, pass_curve, usual_ks};
