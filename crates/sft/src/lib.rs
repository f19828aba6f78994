//! Supervised fine-tuning, from records to a loss, for models written with burn.
//!
//! ```text
//! records --ChatEncode--> Example --prepare--> batches --> Batch --your model--> hidden --> cross_entropy
//! ```
//!
//! * [`Example`]: tokens, and which of them are learned. [`encode`] makes one from a chat or a prompt and its
//!   completion, through the small trait [`ChatEncode`] that a tokenizer implements.
//! * [`prepare`]: truncation; examples with nothing to learn are left out and counted.
//! * [`batches`]: deterministic order from a seed and an epoch; by length, or packed in three ways.
//! * [`Batch`]: padded on the right, or packed with positions that restart and segments that keep documents apart.
//! * [`cross_entropy`]: a sum and a count, from hidden states and the output head; label smoothing and DFT.
//! * [`neftune`]: noise on embeddings.
//!
//! Losses are sums, so that micro-batches and workers add up to the full batch exactly: divide by the count over
//! all of them.
//!
//! # Limits
//!
//! The crate sees tensors, never a model: forbidding attention across [`Batch::segments`] is the model's part.
//!
//! # Untrusted input
//!
//! Records and token ids come from outside. Nothing here panics on them; an id outside the vocabulary must be
//! refused by the tokenizer or [`prepare`] (see [`PrepareConfig::vocabulary`]), since an embedding's lookup cannot.
#![forbid(unsafe_code)]

mod batch;
mod chat;
mod error;
mod example;
mod loss;
mod metrics;
mod neftune;
mod pack;
mod plan;
mod prepare;
mod show;

pub use batch::Batch;
pub use chat::{ChatEncode, ChatTokens, Labels, Message, Record, encode};
pub use error::Error;
pub use example::Example;
pub use loss::{LossConfig, LossSum, Weighting, cross_entropy};
pub use metrics::TokenMetrics;
pub use neftune::neftune;
pub use plan::{BatchPlan, Order, Packing, Piece, Row, batches};
pub use prepare::{PrepareConfig, Prepared, Truncation, prepare};
pub use show::show;
