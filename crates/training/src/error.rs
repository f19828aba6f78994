//! The crate's error: what was wrong, where, and with which value.

use std::path::{Path, PathBuf};

/// What can go wrong around a training loop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A run folder is already there, and neither resuming nor overwriting was asked for.
    #[error("the run folder {} already exists: resume it, overwrite it, or name another", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is not a run folder was to be resumed or overwritten.
    #[error("{} is not a run folder (it holds no config.toml): name another folder", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works in the run folder.
    #[error("the run folder {} is in use by another process: wait for it, or name another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A run was resumed with another configuration than it was started with.
    #[error("`{key}` was {was} when the run in {} started and is {now} now: use the first value, or start a new run", path.display())]
    ConfigDiffers {
        /// The run folder.
        path: PathBuf,
        /// The dotted key.
        key: String,
        /// Its value in `config.toml`.
        was: String,
        /// Its value in this process.
        now: String,
    },
    /// A file's content is not what its format says.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file or checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Checkpoints are there, but none of them is whole.
    #[error("no checkpoint in {} is whole: {}", path.display(), reasons.join("; "))]
    NoWholeCheckpoint {
        /// The checkpoint folder.
        path: PathBuf,
        /// What is wrong with each.
        reasons: Vec<String>,
    },
    /// A folder that a run may not write its result to.
    #[error("the output {} {reason}", path.display())]
    Output {
        /// The folder.
        path: PathBuf,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// Saved tensors do not fit the module they are loaded into.
    #[error("{} does not fit the model: {reason}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The first difference.
        reason: String,
    },
    /// A line of a JSONL file is not what it should be.
    #[error("{} line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A device cannot be used.
    #[error("device `{name}` cannot be used: {reason}")]
    Device {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A configuration value is out of range.
    #[error("`{key}` must be {expected}, found {found}")]
    Config {
        /// The option.
        key: &'static str,
        /// The permitted range.
        expected: &'static str,
        /// The value given.
        found: String,
    },
    /// Processes that should work together cannot.
    #[error("this process cannot work with the others: {reason}")]
    Workers {
        /// Why.
        reason: String,
    },
    /// Loss or gradient were not finite more often than the policy permits.
    #[error(
        "step {step}: {what} is not finite ({skipped} steps skipped before): lower the learning rate, or look at the saved batch"
    )]
    NonFinite {
        /// The step.
        step: u64,
        /// "the loss" or "the gradient".
        what: &'static str,
        /// How many steps had been skipped.
        skipped: u64,
    },
    /// A writer given by the caller failed.
    #[error("could not write the checkpoint of step {step}: {source}")]
    Writer {
        /// The step.
        step: u64,
        /// The writer's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The same error, with options under the names that a program's users know them by: pairs of a key here and theirs.
    ///
    /// ```
    /// use training::Schedule;
    /// let error = Schedule::constant(-1.0).check().unwrap_err().renamed(&[("peak", "lr")]);
    /// assert_eq!(error.to_string(), "`lr` must be finite and at least 0, found -1");
    /// ```
    #[must_use]
    pub fn renamed(mut self, names: &[(&str, &'static str)]) -> Self {
        if let Self::Config { key, .. } = &mut self
            && let Some((_, own)) = names.iter().find(|(from, _)| from == key)
        {
            *key = own;
        }
        self
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::Damaged { path: path.as_ref().to_owned(), reason: reason.to_string() }
    }
}

/// An error and its causes as one sentence, joined by colons. A cause that the text before it ends with already is not said twice.
///
/// ```
/// let cause = std::io::Error::other("the disk is full");
/// let error = training::read_json::<u8>("/no/such/file.json").unwrap_err();
/// let said = training::sentence(&error);
/// assert_eq!(said.matches("No such file").count(), 1, "{said}");
/// assert_eq!(training::sentence(&cause), "the disk is full");
/// ```
pub fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.ends_with(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
