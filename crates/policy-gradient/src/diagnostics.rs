//! What happened in a loss: detached sums that add up over micro-batches and ranks.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::num::to_host;

/// Sums over the counted tokens of one call, without a graph. Add those of micro-batches and ranks with [`merge`], then
/// take the [`summary`].
///
/// [`merge`]: Self::merge
/// [`summary`]: Self::summary
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Counted tokens.
    pub tokens: f64,
    /// Sum of `old_logp - logp` (nats): k1 of KL(old || new).
    pub k1: f64,
    /// Sum of `r - 1 - log r` (nats): k3 of KL(old || new), never negative.
    pub k3: f64,
    /// Tokens whose gradient was cut because the ratio was too low and the advantage negative.
    pub clipped_low: f64,
    /// Tokens whose gradient was cut because the ratio was too high and the advantage positive.
    pub clipped_high: f64,
    /// Tokens stopped by another limit: dual clip, a cap on the ratio, a covariance cut.
    pub capped: f64,
    /// Tokens whose log-ratio lay outside the range in which it is trusted at all.
    pub bounded: f64,
    /// Sum of the ratios.
    pub ratio: f64,
    /// Sum of the squared ratios.
    pub ratio_squared: f64,
    /// The largest ratio.
    pub ratio_max: f64,
    /// Sum of the entropies (nats), where they were given.
    pub entropy: f64,
    /// Tokens whose entropy was given.
    pub entropy_tokens: f64,
}

/// Means over tokens, from [`Diagnostics`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Counted tokens.
    pub tokens: f64,
    /// Mean of `old_logp - logp`, nats.
    pub approx_kl_k1: f64,
    /// Mean of `r - 1 - log r`, nats.
    pub approx_kl_k3: f64,
    /// Share of tokens clipped from below.
    pub clip_fraction_low: f64,
    /// Share of tokens clipped from above.
    pub clip_fraction_high: f64,
    /// Share of tokens stopped by another limit.
    pub capped_fraction: f64,
    /// Share of tokens whose log-ratio lay outside the range in which it is trusted.
    pub bounded_fraction: f64,
    /// Mean ratio.
    pub ratio_mean: f64,
    /// Largest ratio.
    pub ratio_max: f64,
    /// `(sum r)² / (n sum r²)`, between 0 and 1: the share of the tokens that effectively counts.
    pub effective_sample_size: f64,
    /// Mean entropy, nats, where it was given.
    pub entropy: Option<f64>,
}

impl Diagnostics {
    /// Adds another part's sums, and takes the larger of the largest ratios.
    ///
    /// ```
    /// use policy_gradient::Diagnostics;
    /// let mut all = Diagnostics { tokens: 3.0, clipped_high: 1.0, ratio_max: 1.5, ..Default::default() };
    /// all.merge(&Diagnostics { tokens: 1.0, clipped_high: 1.0, ratio_max: 1.25, ..Default::default() });
    /// assert_eq!((all.summary().clip_fraction_high, all.ratio_max), (0.5, 1.5)); // 2 of 4
    /// ```
    pub fn merge(&mut self, other: &Self) {
        let mut other = *other;
        for (sum, part) in self.sums().into_iter().zip(other.sums()) {
            *sum += *part;
        }
        self.ratio_max = self.ratio_max.max(other.ratio_max);
    }

    /// Everything that adds up over micro-batches and ranks: all but [`ratio_max`](Self::ratio_max).
    pub fn sums(&mut self) -> [&mut f64; 11] {
        [
            &mut self.tokens,
            &mut self.k1,
            &mut self.k3,
            &mut self.clipped_low,
            &mut self.clipped_high,
            &mut self.capped,
            &mut self.bounded,
            &mut self.ratio,
            &mut self.ratio_squared,
            &mut self.entropy,
            &mut self.entropy_tokens,
        ]
    }

    /// Means over the tokens; zeros for an empty mask.
    ///
    /// ```
    /// use policy_gradient::Diagnostics;
    /// let part = Diagnostics { tokens: 4.0, clipped_high: 1.0, ratio: 4.0, ratio_squared: 8.0, ..Default::default() };
    /// let summary = part.summary();
    /// assert_eq!(summary.clip_fraction_high, 0.25);
    /// assert_eq!(summary.effective_sample_size, 0.5); // 16 / (4 * 8)
    /// assert_eq!(summary.entropy, None);
    /// ```
    pub fn summary(&self) -> Summary {
        let per_token = |sum: f64| if self.tokens > 0.0 { sum / self.tokens } else { 0.0 };
        Summary {
            tokens: self.tokens,
            approx_kl_k1: per_token(self.k1),
            approx_kl_k3: per_token(self.k3),
            clip_fraction_low: per_token(self.clipped_low),
            clip_fraction_high: per_token(self.clipped_high),
            capped_fraction: per_token(self.capped),
            bounded_fraction: per_token(self.bounded),
            ratio_mean: per_token(self.ratio),
            ratio_max: self.ratio_max,
            effective_sample_size: if self.ratio_squared > 0.0 {
                self.ratio * self.ratio / (self.tokens * self.ratio_squared)
            } else {
                0.0
            },
            entropy: (self.entropy_tokens > 0.0).then(|| self.entropy / self.entropy_tokens),
        }
    }
}

/// The tensors a [`Diagnostics`] is summed from, all `[batch, time]`, zero or false outside the mask.
pub(crate) struct Observed {
    pub mask: Tensor<2, Bool>,
    pub log_ratio: Tensor<2>,
    pub clipped_low: Option<Tensor<2, Bool>>,
    pub clipped_high: Option<Tensor<2, Bool>>,
    pub capped: Option<Tensor<2, Bool>>,
    pub bounded: Option<Tensor<2, Bool>>,
}

impl Observed {
    /// One transfer from the device for all sums.
    pub(crate) fn read(self) -> Result<Diagnostics> {
        if self.mask.shape().num_elements() == 0 {
            return Ok(Diagnostics::default());
        }
        let mask = self.mask.clone();
        let count = |flags: Option<Tensor<2, Bool>>| match flags {
            Some(flags) => flags.bool_and(mask.clone()).int().sum().float().cast(self.log_ratio.dtype()),
            None => self.log_ratio.clone().slice([0..1, 0..1]).reshape([1]).zeros_like(),
        };
        let ratio = self.log_ratio.clone().exp();
        let outside = self.mask.clone().bool_not();
        let kept = ratio.clone().mask_fill(outside, 0.0);
        let k3 = ratio.sub_scalar(1.0) - self.log_ratio.clone();
        let values = Tensor::cat(
            vec![
                count(Some(self.mask)),
                self.log_ratio.clone().neg().sum(),
                k3.sum(),
                count(self.clipped_low),
                count(self.clipped_high),
                count(self.capped),
                count(self.bounded),
                kept.clone().sum(),
                kept.clone().square().sum(),
                kept.max(),
            ],
            0,
        );
        let v = to_host("diagnostics", values)?;
        Ok(Diagnostics {
            tokens: v[0],
            k1: v[1],
            k3: v[2].max(0.0),
            clipped_low: v[3],
            clipped_high: v[4],
            capped: v[5],
            bounded: v[6],
            ratio: v[7],
            ratio_squared: v[8],
            ratio_max: v[9],
            entropy: 0.0,
            entropy_tokens: 0.0,
        })
    }
}
