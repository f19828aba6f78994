//! The crate's one error type.

use std::path::PathBuf;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A family or approach file is not valid.
    #[error("{place}: {message}")]
    Format {
        /// File name, or a description of where the text came from.
        place: String,
        /// What is wrong, with the offending value.
        message: String,
    },
    /// A line of a JSONL file is not valid.
    #[error("{path} line {line}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong, with the offending value.
        message: String,
    },
    /// The family has no approach with this id.
    #[error("unknown approach `{id}` in family `{family}`{}", suggest(.nearest))]
    UnknownApproach {
        /// The id that was asked for.
        id: String,
        /// The family that was searched.
        family: String,
        /// The closest id the family has, if one is close.
        nearest: Option<String>,
    },
    /// A template could not be compiled or rendered.
    #[error("template `{template}` of family `{family}`: {message}")]
    Template {
        /// Which template.
        template: String,
        /// The family it belongs to.
        family: String,
        /// What the template engine said.
        message: String,
    },
    /// A prompt does not fit its token budget, even without exemplars.
    #[error(
        "the prompt for approach `{approach}` needs {needed} tokens without exemplars, the budget is {budget}"
    )]
    OverBudget {
        /// The approach, or `(none)`.
        approach: String,
        /// Tokens of the shortest prompt.
        needed: usize,
        /// Tokens allowed.
        budget: usize,
    },
    /// A question cannot be used.
    #[error("question `{id}`: {message}")]
    Question {
        /// The question's id.
        id: String,
        /// What is wrong.
        message: String,
    },
    /// A configuration value is out of range.
    #[error("`{key}`: {message}")]
    Config {
        /// Name of the setting.
        key: &'static str,
        /// What is wrong, with the offending value.
        message: String,
    },
    /// A generator or judge broke its contract, for example by returning the wrong number of results.
    #[error("{who} {message}")]
    Contract {
        /// Which part.
        who: String,
        /// Expected and found.
        message: String,
    },
    /// A generator, judge or checker failed; its own error is the source.
    #[error("{who} failed: {source}")]
    Backend {
        /// Which part.
        who: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn suggest(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

impl Error {
    /// Wraps the error of a generator, judge or checker.
    pub fn backend(
        who: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Backend { who: who.into(), source: source.into() }
    }

    pub(crate) fn format(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Format { place: place.into(), message: message.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
