//! What every objective starts from.

use burn::prelude::*;
use burn::tensor::DType;

use super::{PerToken, RatioLevel};
use crate::bounds::Bounds;
use crate::diagnostics::Observed;
use crate::error::{Result, same_shape};
use crate::num::{attach, constant, expand, inner_mask, lengths, row_mean, working, zero_outside};

/// Checked inputs: constants without a graph, zero outside the mask, and the one tensor gradients flow into.
pub(crate) struct Frame {
    pub shape: [usize; 2],
    pub dtype: DType,
    pub mask: Tensor<2, Bool>,
    /// `logp` with its graph.
    pub carrier: Tensor<2>,
    pub logp: Tensor<2>,
    pub old_logp: Tensor<2>,
    pub advantages: Tensor<2>,
    /// `logp - old_logp` of every token.
    pub log_ratio: Tensor<2>,
}

/// A log-ratio at some level, and the tensor whose gradient it passes on; both `[batch, time]`.
pub(crate) struct Leveled {
    pub log_ratio: Tensor<2>,
    pub carrier: Tensor<2>,
}

impl Frame {
    pub(crate) fn new(
        logp: Tensor<2>,
        old_logp: Tensor<2>,
        advantages: Tensor<2>,
        mask: Tensor<2, Bool>,
    ) -> Result<Self> {
        let shape = logp.dims();
        same_shape("old_logp", old_logp.dims(), shape)?;
        same_shape("mask", mask.dims(), shape)?;
        let advantages = expand("advantages", advantages, shape)?;
        let dtype = working(logp.dtype());
        let mask = inner_mask(mask);
        let carrier = zero_outside(logp, &mask);
        let logp = constant(carrier.clone(), &mask, dtype);
        let old_logp = constant(old_logp, &mask, dtype);
        let advantages = constant(advantages, &mask, dtype);
        let log_ratio = logp.clone() - old_logp.clone();
        Ok(Self { shape, dtype, mask, carrier, logp, old_logp, advantages, log_ratio })
    }

    pub(crate) fn leveled(&self, level: RatioLevel) -> Leveled {
        let lengths = || lengths(&self.mask, self.dtype);
        let spread = |rows: Tensor<2>| zero_outside(rows.expand(self.shape), &self.mask);
        match level {
            RatioLevel::Token => Leveled { log_ratio: self.log_ratio.clone(), carrier: self.carrier.clone() },
            RatioLevel::SequenceMean => Leveled {
                log_ratio: spread(row_mean(self.log_ratio.clone(), &lengths())),
                carrier: row_mean(self.carrier.clone(), &lengths()).expand(self.shape),
            },
            RatioLevel::SequenceMeanToken => Leveled {
                log_ratio: spread(row_mean(self.log_ratio.clone(), &lengths())),
                carrier: self.carrier.clone(),
            },
            RatioLevel::SequenceSum => Leveled {
                log_ratio: spread(self.log_ratio.clone().sum_dim(1)),
                carrier: self.carrier.clone().sum_dim(1).expand(self.shape),
            },
        }
    }

    /// Sign of the advantage.
    pub(crate) fn positive(&self) -> Tensor<2, Bool> {
        self.advantages.clone().greater_elem(0.0)
    }

    pub(crate) fn negative(&self) -> Tensor<2, Bool> {
        self.advantages.clone().lower_elem(0.0)
    }

    /// `exp` of a log-ratio within bounds.
    pub(crate) fn ratio(log_ratio: &Tensor<2>, bounds: &Bounds) -> Tensor<2> {
        bounds.clamp(log_ratio.clone()).exp()
    }

    /// Puts value and slope together. Where the advantage is zero nothing is learned, whatever the ratio was.
    pub(crate) fn finish(
        &self,
        value: Tensor<2>,
        slope: Tensor<2>,
        carrier: &Tensor<2>,
        observed: Observed,
    ) -> Result<PerToken> {
        let loss = zero_outside(attach(value, slope, carrier), &self.mask);
        Ok(PerToken::new(loss, observed.read()?, self.mask.clone()))
    }

    /// Diagnostics of an objective that clips nothing.
    pub(crate) fn observe(&self, log_ratio: Tensor<2>) -> Observed {
        Observed {
            mask: self.mask.clone(),
            log_ratio,
            clipped_low: None,
            clipped_high: None,
            capped: None,
            bounded: None,
        }
    }
}
