//! Which examples, or pieces of them, stand in which row of which batch.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::{Error, Example, pack};

/// How rows are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// One example per row, rows padded to the longest of their batch.
    #[default]
    None,
    /// One example per row, and only examples of equal length in a batch: no padding at all.
    EqualLength,
    /// Several whole examples per row of at most `row_length`, best-fit decreasing
    /// ([Ding et al. 2024](https://arxiv.org/abs/2404.10830)). Longer examples are errors.
    BestFit,
    /// The same, after splitting longer examples into pieces.
    Split,
    /// All examples end to end, cut every `row_length` tokens.
    Wrapped,
}

/// In which order examples come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Shuffled anew every epoch.
    #[default]
    Shuffled,
    /// Shuffled, then sorted by length within windows of 64 batches, and the batches shuffled: less padding.
    ByLength,
    /// As given.
    Given,
}

/// How examples become batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchPlan {
    /// The most rows of a batch.
    pub rows: usize,
    /// The most tokens of a batch, padding included: rows x longest row. `None` for no limit. A single row may
    /// exceed it.
    pub max_tokens: Option<usize>,
    /// How rows are made.
    pub packing: Packing,
    /// The length of a packed row, in tokens fed to the model.
    pub row_length: usize,
    /// In which order examples come.
    pub order: Order,
}

impl Default for BatchPlan {
    fn default() -> Self {
        Self { rows: 8, max_tokens: None, packing: Packing::None, row_length: 2048, order: Order::Shuffled }
    }
}

/// Part of an example: its tokens `start..end`. Its targets are `start + 1..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The example's place in the list.
    pub example: usize,
    /// First token, fed but not learned.
    pub start: usize,
    /// One past the last token, learned but not fed.
    pub end: usize,
}

impl Piece {
    /// Tokens fed to the model.
    pub fn fed(&self) -> usize {
        self.end - self.start - 1
    }
}

/// What stands in one row, one piece after the other.
pub type Row = Vec<Piece>;

/// Makes the batches of one epoch: the same for the same examples, plan, seed and epoch.
///
/// A piece is fed up to the token before its last target, so a packed row loses no target at a cut: the next piece
/// begins with the token the last one ended with.
///
/// # Errors
/// When the plan is out of range, there are no examples, an example teaches nothing (see
/// [`prepare`](crate::prepare)), or one is longer than a row that may not split it.
pub fn batches(
    examples: &[Example],
    plan: &BatchPlan,
    seed: u64,
    epoch: u64,
) -> Result<Vec<Vec<Row>>, Error> {
    let config = |key, expected, found: usize| Error::Config { key, expected, found: found.to_string() };
    if plan.rows == 0 {
        return Err(config("rows", "at least 1", 0));
    }
    if plan.row_length == 0 {
        return Err(config("row_length", "at least 1", 0));
    }
    if examples.is_empty() {
        return Err(Error::Empty);
    }
    if let Some(index) = examples.iter().position(|example| example.targets() == 0) {
        return Err(Error::NothingToLearn { index, tokens: examples[index].tokens.clone() });
    }
    let mut random = stream(seed, epoch);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    if plan.order != Order::Given {
        order.shuffle(&mut random);
    }
    let whole = |index: usize| Piece { example: index, start: 0, end: examples[index].last_target() + 1 };
    let pieces = order.into_iter().map(whole).collect::<Vec<_>>();
    Ok(match plan.packing {
        Packing::None => {
            let mut rows: Vec<Row> = pieces.into_iter().map(|piece| vec![piece]).collect();
            if plan.order == Order::ByLength {
                for window in rows.chunks_mut(plan.rows.saturating_mul(64)) {
                    window.sort_by_key(|row| row[0].fed());
                }
            }
            let mut batches = cut(rows, plan);
            if plan.order == Order::ByLength {
                batches.shuffle(&mut random);
            }
            batches
        }
        Packing::EqualLength => {
            let mut groups = std::collections::BTreeMap::<usize, Vec<Row>>::new();
            for piece in pieces {
                groups.entry(piece.fed()).or_default().push(vec![piece]);
            }
            let mut batches: Vec<_> = groups.into_values().flat_map(|rows| cut(rows, plan)).collect();
            if plan.order != Order::Given {
                batches.shuffle(&mut random);
            }
            batches
        }
        Packing::BestFit | Packing::Split | Packing::Wrapped => {
            let mut rows = match plan.packing {
                Packing::BestFit => pack::best_fit(pieces, plan.row_length)?,
                Packing::Split => pack::best_fit(pack::split(pieces, plan.row_length), plan.row_length)?,
                _ => pack::wrap(pieces, plan.row_length),
            };
            // A row of only unlearned pieces can come from a long prompt that was split.
            rows.retain(|row| row.iter().any(|piece| learned(examples, piece)));
            if plan.order != Order::Given {
                rows.shuffle(&mut random);
            }
            cut(rows, plan)
        }
    })
}

fn learned(examples: &[Example], piece: &Piece) -> bool {
    examples[piece.example].learn[piece.start + 1..piece.end].contains(&true)
}

/// Cuts rows into batches of at most `rows` rows and `max_tokens` tokens.
fn cut(rows: Vec<Row>, plan: &BatchPlan) -> Vec<Vec<Row>> {
    let mut batches: Vec<Vec<Row>> = Vec::new();
    let mut longest = 0;
    for row in rows {
        let length: usize = row.iter().map(Piece::fed).sum();
        let fits = batches.last().is_some_and(|batch| {
            batch.len() < plan.rows
                && plan.max_tokens.is_none_or(|limit| (batch.len() + 1) * longest.max(length) <= limit)
        });
        match batches.last_mut() {
            Some(batch) if fits => {
                batch.push(row);
                longest = longest.max(length);
            }
            _ => {
                batches.push(vec![row]);
                longest = length;
            }
        }
    }
    batches
}

fn stream(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..].copy_from_slice(b"sft batch order.");
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn examples(lengths: &[usize]) -> Vec<Example> {
        lengths.iter().map(|length| Example::all((0..*length as u32).collect())).collect()
    }

    #[test]
    fn same_seed_same_batches_and_epochs_differ() {
        let examples = examples(&[5; 40]);
        let plan = BatchPlan { rows: 4, ..BatchPlan::default() };
        let first = batches(&examples, &plan, 1, 0).unwrap();
        assert_eq!(first, batches(&examples, &plan, 1, 0).unwrap());
        assert_ne!(first, batches(&examples, &plan, 1, 1).unwrap());
        assert_ne!(first, batches(&examples, &plan, 2, 0).unwrap());
    }

    #[test]
    fn nothing_to_learn_is_refused() {
        let mut examples = examples(&[5, 5]);
        examples[1].learn = vec![true, false, false, false, false];
        let error = batches(&examples, &BatchPlan::default(), 0, 0).unwrap_err();
        assert!(matches!(error, Error::NothingToLearn { index: 1, .. }));
    }

    proptest! {
        /// Whatever the plan, every target is learned exactly once and no batch exceeds its limits.
        #[test]
        fn every_target_once(
            lengths in prop::collection::vec(2usize..40, 1..60),
            packing in prop::sample::select(vec![
                Packing::None, Packing::EqualLength, Packing::BestFit, Packing::Split, Packing::Wrapped,
            ]),
            order in prop::sample::select(vec![Order::Shuffled, Order::ByLength, Order::Given]),
            rows in 1usize..6,
            max_tokens in prop::option::of(20usize..200),
        ) {
            let examples = examples(&lengths);
            let row_length = if packing == Packing::BestFit { 40 } else { 13 };
            let plan = BatchPlan { rows, max_tokens, packing, row_length, order };
            let batches = batches(&examples, &plan, 7, 3).unwrap();
            let mut seen: Vec<Vec<usize>> = lengths.iter().map(|length| vec![0; *length]).collect();
            for batch in &batches {
                prop_assert!(batch.len() <= rows);
                let fed: Vec<usize> = batch.iter().map(|row| row.iter().map(Piece::fed).sum()).collect();
                let longest = fed.iter().copied().max().unwrap();
                if let Some(limit) = max_tokens {
                    prop_assert!(batch.len() == 1 || longest * batch.len() <= limit);
                }
                if packing == Packing::EqualLength {
                    prop_assert!(fed.iter().all(|length| *length == longest));
                }
                if !matches!(packing, Packing::None | Packing::EqualLength) {
                    prop_assert!(longest <= row_length);
                }
                for piece in batch.iter().flatten() {
                    for count in &mut seen[piece.example][piece.start + 1..piece.end] {
                        *count += 1;
                    }
                }
            }
            for counts in seen {
                prop_assert_eq!(counts[0], 0);
                prop_assert!(counts[1..].iter().all(|count| *count == 1));
            }
        }
    }
}
