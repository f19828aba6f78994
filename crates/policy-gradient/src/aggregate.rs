//! From one loss per token to one number: who divides by what.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require, same_shape};
use crate::num::{inner_mask, lengths, row_mean, working, zero_outside};

/// What the *whole* batch holds, over all micro-batches and all processes.
///
/// It is a required argument of [`aggregate`], so that the losses of micro-batches and ranks add up to the loss of the
/// full batch by construction. Counts of parts are added with `+` or [`Iterator::sum`].
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::GlobalCounts;
///
/// let device = Device::flex();
/// let mask = Tensor::<2, Bool>::from_data([[true, true, false], [false, false, false]], &device);
/// let counts = GlobalCounts::of(&mask)?;
/// assert_eq!(counts, GlobalCounts { tokens: 2, sequences: 2, empty_sequences: 1 });
/// assert_eq!((counts + counts).tokens, 4);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalCounts {
    /// Tokens whose mask is true.
    pub tokens: u64,
    /// Rows, whether or not any of their tokens count.
    pub sequences: u64,
    /// Rows without a single token that counts.
    pub empty_sequences: u64,
}

impl GlobalCounts {
    /// Counts one mask, `[batch, time]`. Reads the mask from its device.
    ///
    /// # Errors
    /// [`Error::Read`] when the device cannot hand out its data.
    pub fn of(mask: &Tensor<2, Bool>) -> Result<Self> {
        let [batch, time] = mask.dims();
        if time == 0 {
            return Ok(Self { tokens: 0, sequences: batch as u64, empty_sequences: batch as u64 });
        }
        let rows: Vec<i64> = mask
            .clone()
            .without_autodiff()
            .int()
            .sum_dim(1)
            .try_into_vec_as()
            .map_err(|error| Error::Read { argument: "mask", reason: error.to_string() })?;
        Ok(Self {
            tokens: rows.iter().map(|&n| n as u64).sum(),
            sequences: batch as u64,
            empty_sequences: rows.iter().filter(|&&n| n == 0).count() as u64,
        })
    }

    /// The number of sequences a mean over sequences divides by; at least one, so that an empty batch gives zero.
    ///
    /// ```
    /// use policy_gradient::{EmptyRows, GlobalCounts};
    /// let counts = GlobalCounts { tokens: 7, sequences: 3, empty_sequences: 1 };
    /// assert_eq!((counts.denominator(EmptyRows::Excluded), counts.denominator(EmptyRows::Counted)), (2.0, 3.0));
    /// assert_eq!(GlobalCounts::default().denominator(EmptyRows::Excluded), 1.0);
    /// ```
    pub fn denominator(&self, empty: EmptyRows) -> f64 {
        let rows = match empty {
            EmptyRows::Excluded => self.sequences.saturating_sub(self.empty_sequences),
            EmptyRows::Counted => self.sequences,
        };
        rows.max(1) as f64
    }
}

impl std::ops::Add for GlobalCounts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            sequences: self.sequences + other.sequences,
            empty_sequences: self.empty_sequences + other.empty_sequences,
        }
    }
}

impl std::iter::Sum for GlobalCounts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| a + b)
    }
}

/// Whether a row without any counted token enters the number of sequences.
///
/// verl and OpenRLHF leave it out, TRL counts it; it adds nothing to the sum either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyRows {
    /// Not counted.
    #[default]
    Excluded,
    /// Counted.
    Counted,
}

/// How losses per token become one loss.
///
/// With `l[b, t]` the loss of a token, `n_b` the counted tokens of a row, `N` all counted tokens and `B` the sequences
/// of the global batch:
///
/// | variant | formula | used by |
/// |---|---|---|
/// | [`TokenMean`](Self::TokenMean) | `sum l / N` | DAPO [arXiv:2503.14476], eq. 8 |
/// | [`TokenSum`](Self::TokenSum) | `sum l` | when the caller divides |
/// | [`SequenceMeanTokenMean`](Self::SequenceMeanTokenMean) | `1/B sum_b 1/n_b sum_t l` | GRPO [arXiv:2402.03300], eq. 3 |
/// | [`SequenceMeanTokenSum`](Self::SequenceMeanTokenSum) | `1/B sum_b sum_t l` | REINFORCE, RLOO |
/// | [`SequenceMeanTokenSumOver`](Self::SequenceMeanTokenSumOver) | `1/(B c) sum_b sum_t l` | Dr. GRPO [arXiv:2503.20783] |
/// | [`Constant`](Self::Constant) | `sum l / c` | open-instruct's constant denominator |
///
/// The mean per sequence gives every token of a long response less weight than one of a short response, so that long
/// wrong answers are punished less: the length bias that Dr. GRPO removes (sections 3.1 and 3.2 of its paper).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Aggregation {
    /// Every token weighs the same.
    #[default]
    TokenMean,
    /// The sum over tokens.
    TokenSum,
    /// Every sequence weighs the same, and within it every token.
    SequenceMeanTokenMean {
        /// Whether rows without counted tokens are part of `B`.
        empty_rows: EmptyRows,
    },
    /// The mean over sequences of their token sums.
    SequenceMeanTokenSum {
        /// Whether rows without counted tokens are part of `B`.
        empty_rows: EmptyRows,
    },
    /// The mean over sequences of token sums divided by a constant, usually the longest completion allowed.
    SequenceMeanTokenSumOver {
        /// The constant, in tokens.
        length: f64,
        /// Whether rows without counted tokens are part of `B`.
        empty_rows: EmptyRows,
    },
    /// The sum divided by a constant.
    Constant {
        /// The denominator, in tokens.
        denominator: f64,
    },
}

/// Reduces losses per token to one loss whose parts add up over micro-batches and ranks.
///
/// `values` `[batch, time]` (nats, or whatever unit the loss has), `mask` `[batch, time]` (true = counts), `counts` of
/// the whole global batch. Returns `[1]` with a graph. Values outside the mask are never read: NaN there does not leak.
/// An empty mask gives zero with a graph. See [`Aggregation`] for the formulas.
///
/// # Errors
/// [`Error::Shape`] when the mask's shape differs, [`Error::Value`] when a constant is not positive.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{Aggregation, EmptyRows, GlobalCounts, aggregate};
///
/// let device = Device::flex();
/// let loss = Tensor::<2>::from_data([[1.0, 3.0, f32::NAN], [5.0, f32::NAN, f32::NAN]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true, false], [true, false, false]], &device);
/// let counts = GlobalCounts::of(&mask)?;
/// let by = |how| aggregate(loss.clone(), mask.clone(), how, &counts).map(|l| l.into_scalar::<f32>());
/// assert_eq!(by(Aggregation::TokenMean)?, 3.0); // (1 + 3 + 5) / 3
/// assert_eq!(by(Aggregation::SequenceMeanTokenMean { empty_rows: EmptyRows::Excluded })?, 3.5); // (2 + 5) / 2
/// assert_eq!(by(Aggregation::SequenceMeanTokenSum { empty_rows: EmptyRows::Excluded })?, 4.5); // (4 + 5) / 2
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn aggregate(
    values: Tensor<2>,
    mask: Tensor<2, Bool>,
    aggregation: Aggregation,
    counts: &GlobalCounts,
) -> Result<Tensor<1>> {
    same_shape("mask", mask.dims(), values.dims())?;
    let dtype = working(values.dtype());
    let values = if values.dtype() == dtype { values } else { values.cast(dtype) };
    let mask = inner_mask(mask);
    let kept = zero_outside(values, &mask);
    Ok(match aggregation {
        Aggregation::TokenMean => kept.sum().div_scalar(counts.tokens.max(1) as f64),
        Aggregation::TokenSum => kept.sum(),
        Aggregation::SequenceMeanTokenMean { empty_rows } => {
            row_mean(kept, &lengths(&mask, dtype)).sum().div_scalar(counts.denominator(empty_rows))
        }
        Aggregation::SequenceMeanTokenSum { empty_rows } => {
            kept.sum().div_scalar(counts.denominator(empty_rows))
        }
        Aggregation::SequenceMeanTokenSumOver { length, empty_rows } => {
            require("length", length, "a positive number of tokens", |v| v > 0.0 && v.is_finite())?;
            kept.sum().div_scalar(counts.denominator(empty_rows) * length)
        }
        Aggregation::Constant { denominator } => {
            require("denominator", denominator, "a positive number", |v| v > 0.0 && v.is_finite())?;
            kept.sum().div_scalar(denominator)
        }
    })
}
