//! The crate's error type.

use std::path::PathBuf;

/// What can go wrong while reading benchmarks, measuring diversity or running code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line of a data file is not what the reader expects.
    #[error("{} line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// A file holds no record at all.
    #[error("{}: no questions in this file", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A benchmark's name is not in the registry.
    #[error("unknown benchmark `{name}`; known are {known}")]
    UnknownBenchmark {
        /// The name asked for.
        name: String,
        /// The names there are, joined by commas.
        known: String,
    },
    /// An embedding is unusable: wrong length, all zero, or not finite.
    #[error("embedding {index}: {problem}")]
    Embedding {
        /// Which embedding, counted from zero.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
