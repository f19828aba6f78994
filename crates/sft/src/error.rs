//! The crate's error.

/// What can be wrong with examples and plans.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range.
    #[error("`{key}` must be {expected}, found {found}")]
    Config {
        /// The option.
        key: &'static str,
        /// The permitted range.
        expected: &'static str,
        /// The value given.
        found: String,
    },
    /// An example teaches nothing: no token after its first is a target.
    #[error("example {index} has no token to learn; its {} tokens begin {:?}", tokens.len(), &tokens[..tokens.len().min(16)])]
    NothingToLearn {
        /// Its place in the list.
        index: usize,
        /// Its tokens, to be shown with the tokenizer at hand.
        tokens: Vec<u32>,
    },
    /// An example is longer than a row may be.
    #[error(
        "example {index} has {length} tokens and a row holds {limit}: truncate it, or let packing split it"
    )]
    TooLong {
        /// Its place in the list.
        index: usize,
        /// Its length in tokens.
        length: usize,
        /// The longest permitted.
        limit: usize,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "example {index}: token id {token} is outside the vocabulary of {vocabulary}: was it encoded with another tokenizer?"
    )]
    Vocabulary {
        /// Its place in the list.
        index: usize,
        /// The id.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// Two tensors do not fit.
    #[error("expected {expected:?}, found {found:?} for `{argument}`")]
    Shape {
        /// The argument.
        argument: &'static str,
        /// What fits the others.
        expected: [usize; 2],
        /// What was given.
        found: [usize; 2],
    },
    /// There is nothing to train on.
    #[error("there are no examples")]
    Empty,
    /// A record cannot be turned into an example.
    #[error("{reason}")]
    Record {
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer or chat template failed.
    #[error("could not encode the record: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}
