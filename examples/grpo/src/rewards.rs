//! What a response is worth: a weighted sum of named rewards. Write your own beside these.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use verifier::extract::{Source, extract};
use verifier::{Gold, Policy, Response, Verification, verify};

/// A response with all that a reward may look at.
pub struct Judged<'a> {
    /// What was written.
    pub text: &'a str,
    /// Its tokens, the end token included.
    pub tokens: usize,
    /// The most tokens it could have.
    pub limit: usize,
    /// Whether it ended by itself.
    pub finished: bool,
    /// The verifier's verdict.
    pub verification: &'a Verification,
}

/// A reward.
pub type Reward = fn(&Judged<'_>, &Weights) -> f64;

/// The weights of the rewards, and their settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// 1 for the right final answer.
    pub correct: f64,
    /// 1 for a response that ends by itself and marks its final answer: `\boxed{}`, `####` or `<answer>`.
    pub format: f64,
    /// From 0 down to -1 over the last tokens before the limit (DAPO, arXiv 2503.14476, equation 13).
    pub length: f64,
    /// How many tokens before the limit the punishment of length begins.
    pub length_buffer: usize,
    /// Whether a response that the token limit cut can be correct.
    pub unfinished: bool,
}

impl Default for Weights {
    fn default() -> Self {
        Self { correct: 1.0, format: 0.0, length: 0.0, length_buffer: 64, unfinished: false }
    }
}

impl Weights {
    /// Checks the settings against the token limit.
    pub fn check(&self, limit: usize) -> Result<()> {
        let weights = [self.correct, self.format, self.length];
        ensure!(weights.iter().all(|w| w.is_finite()), "`rewards` must be finite numbers, found {weights:?}");
        ensure!(
            weights.iter().any(|w| *w != 0.0),
            "every weight of `rewards` is 0: nothing would be learned"
        );
        ensure!(
            (1..=limit).contains(&self.length_buffer) || self.length == 0.0,
            "`rewards.length_buffer` must be between 1 and max_new_tokens ({limit}), found {}",
            self.length_buffer
        );
        Ok(())
    }

    /// The rewards: name, weight, function. A new one is a line here.
    fn all(&self) -> [(&'static str, f64, Reward); 3] {
        [("correct", self.correct, correct), ("format", self.format, format), ("length", self.length, length)]
    }

    /// Each reward by name, and their weighted sum.
    pub fn judge(&self, judged: &Judged<'_>) -> (Vec<(&'static str, f64)>, f64) {
        let (mut parts, mut sum) = (Vec::new(), 0.0);
        for (name, weight, reward) in self.all() {
            let value = reward(judged, self);
            parts.push((name, value));
            sum += weight * value;
        }
        (parts, sum)
    }
}

/// 1 for a right final answer.
fn correct(judged: &Judged<'_>, weights: &Weights) -> f64 {
    f64::from(judged.verification.is_correct() && (judged.finished || weights.unfinished))
}

/// 1 for a response that ends by itself and marks its answer.
fn format(judged: &Judged<'_>, _: &Weights) -> f64 {
    let marked = extract(judged.text, &Policy::default())
        .is_ok_and(|found| matches!(found.source, Source::Boxed | Source::Hashes | Source::Tag));
    f64::from(judged.finished && marked)
}

/// 0 up to the buffer before the limit, then falling to -1 at the limit.
fn length(judged: &Judged<'_>, weights: &Weights) -> f64 {
    let free = judged.limit.saturating_sub(weights.length_buffer);
    let over = judged.tokens.saturating_sub(free) as f64;
    -(over / weights.length_buffer.max(1) as f64).min(1.0)
}

/// The verdict about a response.
pub fn verdict(gold: &Gold, text: &str) -> Verification {
    verify(gold, &Response::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(weights: Weights, text: &str, tokens: usize, finished: bool) -> f64 {
        let verification = verdict(&Gold::parse("4"), text);
        weights.judge(&Judged { text, tokens, limit: 100, finished, verification: &verification }).1
    }

    #[test]
    fn rewards_by_hand() {
        let only = |correct, format, length| Weights {
            correct,
            format,
            length,
            length_buffer: 20,
            ..Weights::default()
        };
        assert_eq!(judge(only(1.0, 0.0, 0.0), r"So \boxed{4}.", 9, true), 1.0);
        assert_eq!(judge(only(1.0, 0.0, 0.0), r"So \boxed{5}.", 9, true), 0.0);
        assert_eq!(judge(only(1.0, 0.0, 0.0), r"So \boxed{4}. And", 100, false), 0.0);
        assert_eq!(
            judge(Weights { unfinished: true, ..only(1.0, 0.0, 0.0) }, r"So \boxed{4}.", 100, false),
            1.0
        );
        assert_eq!(judge(only(0.0, 1.0, 0.0), r"So \boxed{5}.", 9, true), 1.0);
        assert_eq!(judge(only(0.0, 1.0, 0.0), "The answer is 4.", 9, true), 0.0);
        assert_eq!(judge(only(0.0, 0.0, 1.0), "", 80, true), 0.0);
        assert_eq!(judge(only(0.0, 0.0, 1.0), "", 90, true), -0.5);
        assert_eq!(judge(only(0.0, 0.0, 2.0), "", 100, false), -2.0);
        assert_eq!(judge(only(1.0, 0.5, 0.0), r"So \boxed{4}.", 9, true), 1.5);
    }

    #[test]
    fn settings_are_checked() {
        assert!(Weights::default().check(10).is_ok());
        let none = Weights { correct: 0.0, ..Weights::default() };
        assert!(none.check(10).unwrap_err().to_string().contains("every weight"));
        let buffer = Weights { length: 1.0, length_buffer: 11, ..Weights::default() };
        assert!(buffer.check(10).unwrap_err().to_string().contains("length_buffer"));
    }
}
