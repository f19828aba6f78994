//! Learning rates as functions of the step.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How the learning rate moves after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Stays at the peak.
    Constant,
    /// Falls to the floor in a straight line.
    Linear,
    /// Falls to the floor along half a cosine.
    #[default]
    Cosine,
    /// Warm-up, stable, decay: stays at the peak and falls to the floor in a straight line over the last
    /// `decay` steps ([MiniCPM](https://arxiv.org/abs/2404.06395)).
    Wsd {
        /// Length of the last phase, in steps.
        decay: u64,
    },
}

/// A learning rate for every step.
///
/// Steps count from 0. During warm-up the rate is `peak * step / warmup`, so step 0 of a run with warm-up moves nothing:
/// PyTorch with the schedules of transformers does the same, and the values are equal to theirs.
/// After the last step the rate stays at the floor.
///
/// ```
/// use training::Schedule;
/// let schedule = Schedule::linear(1.0, 2, 6);
/// let rates: Vec<f64> = (0..7).map(|step| schedule.at(step)).collect();
/// assert_eq!(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of linear warm-up from 0.
    #[serde(default)]
    pub warmup: u64,
    /// Steps in all, warm-up included.
    pub total: u64,
    /// What follows the warm-up.
    #[serde(default)]
    pub shape: Shape,
    /// The floor, as a share of the peak.
    #[serde(default)]
    pub floor: f64,
}

impl Schedule {
    /// The peak from the first step to the last.
    pub fn constant(peak: f64) -> Self {
        Self { peak, warmup: 0, total: u64::MAX, shape: Shape::Constant, floor: 0.0 }
    }

    /// Warm-up, then a straight line to 0 at `total`.
    pub fn linear(peak: f64, warmup: u64, total: u64) -> Self {
        Self { peak, warmup, total, shape: Shape::Linear, floor: 0.0 }
    }

    /// Warm-up, then half a cosine to 0 at `total`.
    pub fn cosine(peak: f64, warmup: u64, total: u64) -> Self {
        Self { peak, warmup, total, shape: Shape::Cosine, floor: 0.0 }
    }

    /// Warm-up, the peak, then a straight line to 0 over the last `decay` steps.
    pub fn wsd(peak: f64, warmup: u64, decay: u64, total: u64) -> Self {
        Self { peak, warmup, total, shape: Shape::Wsd { decay }, floor: 0.0 }
    }

    /// The same with a warm-up of so many steps.
    #[must_use]
    pub fn with_warmup(self, warmup: u64) -> Self {
        Self { warmup, ..self }
    }

    /// The same with a floor, given as a share of the peak.
    #[must_use]
    pub fn with_floor(self, floor: f64) -> Self {
        Self { floor, ..self }
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// When a value is out of range, naming it.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |key, expected, found: String| Err(Error::Config { key, expected, found });
        if !(self.peak >= 0.0 && self.peak.is_finite()) {
            return fail("peak", "finite and at least 0", self.peak.to_string());
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return fail("floor", "in [0, 1]", self.floor.to_string());
        }
        if self.warmup > self.total {
            return fail("warmup", "at most the number of steps", self.warmup.to_string());
        }
        match self.shape {
            Shape::Wsd { decay } if decay > self.total - self.warmup => {
                fail("decay", "at most the steps after warm-up", decay.to_string())
            }
            _ => Ok(()),
        }
    }

    /// The learning rate of a step.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let fall = |begin: u64| {
            let length = self.total.saturating_sub(begin).max(1) as f64;
            (step.saturating_sub(begin) as f64 / length).min(1.0)
        };
        let share = match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => 1.0 - fall(self.warmup),
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * fall(self.warmup)).cos()),
            Shape::Wsd { decay } => 1.0 - fall(self.total.saturating_sub(decay)),
        };
        self.peak * (self.floor + (1.0 - self.floor) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of transformers 5.23's `get_cosine_schedule_with_warmup(warmup 3, total 10)` and
    /// `get_wsd_schedule(warmup 2, decay 4, total 10, decay_type "linear")`, peak 1.
    #[test]
    fn equal_to_transformers() {
        let cosine = Schedule::cosine(1.0, 3, 10);
        let expected = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 0.95048443, 0.81174490, 0.61126047, 0.38873953];
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((cosine.at(step as u64) - expected).abs() < 1e-7, "step {step}");
        }
        let wsd = Schedule::wsd(1.0, 2, 4, 10);
        let expected = [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0];
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((wsd.at(step as u64) - expected).abs() < 1e-12, "step {step}");
        }
    }

    #[test]
    fn floor_and_end() {
        let schedule = Schedule::cosine(2.0, 0, 4).with_floor(0.1);
        assert_eq!(schedule.at(0), 2.0);
        assert!((schedule.at(4) - 0.2).abs() < 1e-12);
        assert!((schedule.at(400) - 0.2).abs() < 1e-12);
        assert_eq!(Schedule::constant(3.0).at(u64::MAX - 1), 3.0);
        assert!(Schedule::wsd(1.0, 5, 6, 10).check().is_err());
    }
}
