//! Truncation, and examples that teach nothing.

use serde::{Deserialize, Serialize};

use crate::{Error, Example};

/// What to do with an example that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Keep its start.
    #[default]
    KeepStart,
    /// Keep its end.
    KeepEnd,
    /// Leave it out and count it.
    Drop,
    /// Refuse.
    Error,
}

/// How examples are made ready.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareConfig {
    /// The most tokens an example may have; `None` for no limit.
    pub max_length: Option<usize>,
    /// What to do with longer ones.
    pub truncation: Truncation,
    /// Ids from this one on are refused; `None` does not look.
    pub vocabulary: Option<usize>,
}

/// Examples ready for [`batches`](crate::batches), and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The examples left, in order.
    pub examples: Vec<Example>,
    /// How many were cut.
    pub truncated: usize,
    /// How many were left out for their length.
    pub too_long: usize,
    /// The places of those left out because nothing in them was to be learned, after truncation.
    pub nothing_to_learn: Vec<usize>,
}

/// Truncates examples and leaves out those that teach nothing.
///
/// # Errors
/// When an example is too long and [`Truncation::Error`] is chosen, an id is outside the vocabulary, there are no
/// examples, or *none* of them teaches anything: then the first is in the error, to be shown.
pub fn prepare(examples: Vec<Example>, config: &PrepareConfig) -> Result<Prepared, Error> {
    if config.max_length.is_some_and(|limit| limit < 2) {
        return Err(Error::Config {
            key: "max_length",
            expected: "at least 2",
            found: config.max_length.unwrap_or(0).to_string(),
        });
    }
    if examples.is_empty() {
        return Err(Error::Empty);
    }
    let mut prepared = Prepared::default();
    let mut first_useless = None;
    for (index, mut example) in examples.into_iter().enumerate() {
        let outside = config.vocabulary.and_then(|size| {
            let token = example.tokens.iter().copied().find(|token| *token as usize >= size)?;
            Some(Error::Vocabulary { index, token, vocabulary: size })
        });
        if let Some(error) = outside {
            return Err(error);
        }
        if let Some(limit) = config.max_length.filter(|limit| example.len() > *limit) {
            let length = example.len();
            match config.truncation {
                Truncation::Error => return Err(Error::TooLong { index, length, limit }),
                Truncation::Drop => {
                    prepared.too_long += 1;
                    continue;
                }
                Truncation::KeepStart => {
                    example.tokens.truncate(limit);
                    example.learn.truncate(limit);
                }
                Truncation::KeepEnd => {
                    example.tokens.drain(..length - limit);
                    example.learn.drain(..length - limit);
                }
            }
            prepared.truncated += 1;
        }
        if example.targets() == 0 {
            prepared.nothing_to_learn.push(index);
            first_useless.get_or_insert(example.tokens);
            continue;
        }
        prepared.examples.push(example);
    }
    match (prepared.examples.is_empty(), first_useless) {
        (true, Some(tokens)) => Err(Error::NothingToLearn { index: prepared.nothing_to_learn[0], tokens }),
        (true, None) => Err(Error::Empty),
        (false, _) => Ok(prepared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: usize, completion: usize) -> Example {
        Example::prompt_completion(vec![1; prompt], vec![2; completion])
    }

    #[test]
    fn truncation_keeps_the_start_and_counts() {
        let config = PrepareConfig { max_length: Some(4), ..PrepareConfig::default() };
        let prepared = prepare(vec![example(2, 3), example(5, 1), example(1, 1)], &config).unwrap();
        assert_eq!(prepared.truncated, 2);
        assert_eq!(prepared.nothing_to_learn, [1]);
        assert_eq!(prepared.examples[0].tokens, [1, 1, 2, 2]);
        assert_eq!(prepared.examples.len(), 2);
        let config = PrepareConfig { truncation: Truncation::KeepEnd, ..config };
        let prepared = prepare(vec![example(5, 1)], &config).unwrap();
        assert_eq!(prepared.examples[0].tokens, [1, 1, 1, 2]);
        let config = PrepareConfig { truncation: Truncation::Drop, ..config };
        assert_eq!(prepare(vec![example(5, 1), example(1, 1)], &config).unwrap().too_long, 1);
        let config = PrepareConfig { truncation: Truncation::Error, ..config };
        assert!(matches!(
            prepare(vec![example(5, 1)], &config),
            Err(Error::TooLong { index: 0, length: 6, limit: 4 })
        ));
    }

    #[test]
    fn nothing_at_all_is_an_error_that_shows_the_example() {
        let error = prepare(vec![example(3, 0)], &PrepareConfig::default()).unwrap_err();
        assert!(error.to_string().contains("[1, 1, 1]"), "{error}");
        assert!(matches!(prepare(vec![], &PrepareConfig::default()), Err(Error::Empty)));
    }

    #[test]
    fn foreign_ids_are_refused() {
        let config = PrepareConfig { vocabulary: Some(2), ..PrepareConfig::default() };
        let error = prepare(vec![example(1, 1)], &config).unwrap_err();
        assert!(matches!(error, Error::Vocabulary { token: 2, .. }));
    }
}
