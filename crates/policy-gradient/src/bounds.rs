//! A range with optional ends.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A closed range whose ends may be missing.
///
/// ```
/// use policy_gradient::Bounds;
/// assert_eq!(Bounds::symmetric(20.0), Bounds::between(-20.0, 20.0));
/// assert_eq!(Bounds::at_most(2.0), Bounds { low: None, high: Some(2.0) });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// The lower end, inclusive.
    pub low: Option<f64>,
    /// The upper end, inclusive.
    pub high: Option<f64>,
}

impl Bounds {
    /// No limits.
    pub const NONE: Self = Self { low: None, high: None };

    /// From `low` to `high`.
    pub fn between(low: f64, high: f64) -> Self {
        Self { low: Some(low), high: Some(high) }
    }

    /// From `-bound` to `bound`.
    pub fn symmetric(bound: f64) -> Self {
        Self::between(-bound, bound)
    }

    /// No lower limit.
    pub fn at_most(high: f64) -> Self {
        Self { low: None, high: Some(high) }
    }

    /// No upper limit.
    pub fn at_least(low: f64) -> Self {
        Self { low: Some(low), high: None }
    }

    pub(crate) fn check(&self, argument: &'static str) -> Result<()> {
        for end in [self.low, self.high].into_iter().flatten() {
            if end.is_nan() {
                return Err(Error::Value { argument, expected: "bounds that are numbers", found: end });
            }
        }
        match (self.low, self.high) {
            (Some(low), Some(high)) if low > high => {
                Err(Error::Value { argument, expected: "a lower bound not above the upper one", found: low })
            }
            _ => Ok(()),
        }
    }

    /// Cuts one number to the range; NaN stays NaN.
    pub(crate) fn clamp_f64(&self, value: f64) -> f64 {
        let value = self.low.map_or(value, |low| if value < low { low } else { value });
        self.high.map_or(value, |high| if value > high { high } else { value })
    }

    /// Whether a number lies in the range, ends included; NaN never does.
    pub(crate) fn contains(&self, value: f64) -> bool {
        !value.is_nan()
            && self.low.is_none_or(|low| value >= low)
            && self.high.is_none_or(|high| value <= high)
    }

    /// Cuts the values to the range.
    pub(crate) fn clamp(&self, values: Tensor<2>) -> Tensor<2> {
        let values = match self.low {
            Some(low) => values.clamp_min(low),
            None => values,
        };
        match self.high {
            Some(high) => values.clamp_max(high),
            None => values,
        }
    }

    /// True where a value lies outside the range.
    pub(crate) fn outside(&self, values: &Tensor<2>) -> Option<Tensor<2, Bool>> {
        let below = self.low.map(|low| values.clone().lower_elem(low));
        let above = self.high.map(|high| values.clone().greater_elem(high));
        match (below, above) {
            (Some(a), Some(b)) => Some(a.bool_or(b)),
            (a, b) => a.or(b),
        }
    }

    /// The values with zero wherever `of` lies outside the range.
    pub(crate) fn zero_outside(&self, values: Tensor<2>, of: &Tensor<2>) -> Tensor<2> {
        match self.outside(of) {
            Some(outside) => values.mask_fill(outside, 0.0),
            None => values,
        }
    }
}
