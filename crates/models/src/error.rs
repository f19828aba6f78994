//! What can go wrong with a folder, a request or a file, in words that name the place.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything this crate refuses, with the place and the offending value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name promises: malformed JSON, a broken header, an oversized file.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of a configuration has a value that cannot be used.
    #[error("config key `{key}`: expected {expected}, found {found}")]
    Config {
        /// The key.
        key: String,
        /// What would have been accepted.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The architecture is not one of those implemented here.
    #[error("unknown architecture `{found}`; known are {known}")]
    Architecture {
        /// The name in the configuration.
        found: String,
        /// The names that are known.
        known: String,
    },
    /// A tensor that the configuration promises is not in the files.
    #[error("{}: tensor `{tensor}` of shape {expected:?} is missing", path.display())]
    MissingTensor {
        /// The file or folder that should hold it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The shape the configuration implies.
        expected: Vec<usize>,
    },
    /// A file holds a tensor that the configuration has no place for.
    #[error("{}: tensor `{tensor}` has no place in this architecture", path.display())]
    SurplusTensor {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("{}: tensor `{tensor}`: expected shape {expected:?}, found {found:?}", path.display())]
    Shape {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The shape the configuration implies.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type that is not read here.
    #[error("{}: tensor `{tensor}`: expected F32, F16 or BF16, found {found}", path.display())]
    Dtype {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// Neither a folder, nor a repository that could be had.
    #[error("{id}: {reason}")]
    Hub {
        /// What was asked for.
        id: String,
        /// Why there is no folder.
        reason: String,
    },
    /// The tokenizer refused a file or a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A chat template is malformed or refused its messages.
    #[error("chat template: {0}")]
    Template(String),
    /// A request for sampling or scoring makes no sense for this model.
    #[error("request: {0}")]
    Request(String),
    /// A watcher of [`generate`](crate::generate) wished to end it.
    #[error("sampling was abandoned")]
    Abandoned,
    /// The model produced NaN or infinity where a distribution was needed.
    #[error("the model's logits are not finite (request {request}, token {position})")]
    NotFinite {
        /// Index of the request.
        request: usize,
        /// How many tokens had been sampled.
        position: usize,
    },
}

impl Error {
    /// The same error about a configuration, with the file that holds it.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::Config { .. } | Self::Architecture { .. } => {
                Self::Malformed { path: path.into(), reason: self.to_string() }
            }
            other => other,
        }
    }
}
