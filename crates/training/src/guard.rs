//! What a loop does when numbers stop being numbers, or stop getting better.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What to do with a step whose loss or gradient is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinitePolicy {
    /// End the run with an error.
    Stop,
    /// Leave the step out and count it; end the run when more than so many were left out.
    Skip {
        /// The most steps that may be left out over the whole run.
        at_most: u64,
    },
}

impl Default for NonFinitePolicy {
    fn default() -> Self {
        Self::Skip { at_most: 10 }
    }
}

impl NonFinitePolicy {
    /// Leaves out so many steps at most; with 0, stops.
    pub fn skipping(at_most: u64) -> Self {
        if at_most == 0 { Self::Stop } else { Self::Skip { at_most } }
    }
}

/// What [`NonFinite::check`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The numbers are fine: update.
    Take,
    /// Leave the update out; save the batch for a look.
    Skip,
}

/// Checks each step's loss and gradient norm; its count belongs into the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonFinite {
    /// The policy.
    pub policy: NonFinitePolicy,
    /// Steps left out so far.
    pub skipped: u64,
}

impl NonFinite {
    /// Nothing skipped yet.
    pub fn new(policy: NonFinitePolicy) -> Self {
        Self { policy, skipped: 0 }
    }

    /// Decides about one step.
    ///
    /// # Errors
    /// When the policy says stop.
    pub fn check(&mut self, step: u64, loss: f64, gradient_norm: f64) -> Result<Step, Error> {
        let what = match (loss.is_finite(), gradient_norm.is_finite()) {
            (true, true) => return Ok(Step::Take),
            (false, _) => "the loss",
            (true, false) => "the gradient",
        };
        let error = Error::NonFinite { step, what, skipped: self.skipped };
        match self.policy {
            NonFinitePolicy::Skip { at_most } if self.skipped < at_most => {
                self.skipped += 1;
                tracing::warn!("{error}");
                Ok(Step::Skip)
            }
            _ => Err(error),
        }
    }
}

/// Ends a run that has not improved for a while.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    /// Evaluations without improvement after which to stop.
    pub patience: u64,
    /// The least change that counts as one.
    pub min_delta: f64,
    /// The lowest value so far.
    pub best: Option<f64>,
    /// Evaluations since then.
    pub waited: u64,
}

impl EarlyStop {
    /// Stops after `patience` evaluations in a row whose value is not at least `min_delta` below the best.
    pub fn new(patience: u64, min_delta: f64) -> Self {
        Self { patience, min_delta, best: None, waited: 0 }
    }

    /// Takes an evaluation's value (lower is better); true when the run should stop.
    /// A value that is not finite counts as no improvement.
    pub fn update(&mut self, value: f64) -> bool {
        let better = value.is_finite() && self.best.is_none_or(|best| value < best - self.min_delta);
        if better {
            self.best = Some(value);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.waited >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_count_and_then_stop() {
        let mut guard = NonFinite::new(NonFinitePolicy::Skip { at_most: 1 });
        assert_eq!(guard.check(0, 1.0, 1.0).unwrap(), Step::Take);
        assert_eq!(guard.check(1, f64::NAN, 1.0).unwrap(), Step::Skip);
        let error = guard.check(2, 1.0, f64::INFINITY).unwrap_err().to_string();
        assert!(error.contains("step 2: the gradient"), "{error}");
        assert!(NonFinite::new(NonFinitePolicy::Stop).check(0, f64::NAN, 0.0).is_err());
    }

    #[test]
    fn patience() {
        let mut stop = EarlyStop::new(2, 0.1);
        assert!(!stop.update(1.0));
        assert!(!stop.update(0.95));
        assert!(!stop.update(0.8));
        assert!(!stop.update(f64::NAN));
        assert!(stop.update(0.75));
    }
}
