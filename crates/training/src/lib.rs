//! What every training loop shares, as small parts that a visible loop calls.
//!
//! Nothing here owns the loop. A binary writes it, top to bottom, from these parts:
//!
//! | part | what it does |
//! |---|---|
//! | [`Gradients`] | adds up the gradients of micro-batches, divides by the global count, clips by global norm |
//! | [`AdamW`] | one update with PyTorch's meaning of every parameter; its moments can be saved and loaded |
//! | [`Schedule`] | constant, linear, cosine and warm-up-stable-decay learning rates, with warm-up |
//! | [`NonFinite`] | skips or stops on a loss or gradient that is not finite |
//! | [`GradientReducer`], [`workers`] | sums gradients over workers: one, threads of a process, or processes |
//! | [`RunFolder`] | resolved configuration, metrics, checkpoints; create, resume or overwrite; atomic writes |
//! | [`Interrupt`], [`Progress`] | Ctrl-C that finishes the step first; rate and remaining time |
//! | [`resolve`], [`device`] | configuration from defaults, file and flags; devices by name |
//! | [`read_jsonl`], [`read_lines`], [`Appended`] | JSONL in, all of it checked; JSONL out, to be gone on with |
//! | [`sentence`] | an error and its causes, said once |
//! | [`stream`] | a random stream per (seed, purpose, step, example, sample) |
//!
//! All of it works on any burn [`Module`](burn::module::Module): parameters are identified by the order in which
//! the module visits them, which is the same in every process, unlike burn's parameter ids.
//!
//! # Limits
//!
//! Model parallelism is not here: one device must hold the model, its gradients and two moments per parameter.
//!
//! # Untrusted input
//!
//! Checkpoints and configuration are checked when read: every file of a checkpoint has its length and checksum
//! in a manifest that is written last, so a torn or altered checkpoint is an error with a name, never a
//! silent difference.
#![forbid(unsafe_code)]

mod adamw;
mod average;
mod checkpoint;
mod config;
mod device;
mod error;
mod files;
mod gradients;
mod guard;
mod interrupt;
mod output;
mod parameters;
#[cfg(feature = "mpi")]
mod processes;
mod progress;
mod records;
mod reduce;
mod run;
mod schedule;
mod stream;
mod tensors;

pub use adamw::{AdamW, AdamWConfig, Decay, OptimizerState};
pub use average::WeightAverage;
pub use checkpoint::{Checkpoint, Keep};
pub use config::resolve;
pub use device::device;
pub use error::{Error, sentence};
pub use files::{check_not_input, check_output, read_json, write_atomic, write_folder, write_json};
pub use gradients::Gradients;
pub use guard::{EarlyStop, NonFinite, NonFinitePolicy, Step};
pub use interrupt::Interrupt;
pub use output::Appended;
pub use parameters::{ParameterInfo, load_parameters, parameters, save_parameters};
#[cfg(feature = "mpi")]
pub use processes::Processes;
pub use progress::Progress;
pub use records::{Line, MAX_LINE_BYTES, read_jsonl, read_lines};
pub use reduce::{GradientReducer, Single, Threads, agree, broadcast_parameters, launch, shard, workers};
pub use run::{CheckpointTimes, Environment, Existing, RunFolder};
pub use schedule::{Schedule, Shape};
pub use stream::stream;
