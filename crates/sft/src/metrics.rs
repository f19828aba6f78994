//! What a loss says about the tokens it saw.

use serde::{Deserialize, Serialize};

/// Sums over tokens: add those of micro-batches and workers, then ask for the means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenMetrics {
    /// Tokens that counted.
    pub count: f64,
    /// Sum of what was minimised, in nats.
    pub loss: f64,
    /// Sum of negative log-probabilities, in nats: without smoothing or weights.
    pub nll: f64,
    /// Sum of the entropies of the predictions, in nats.
    pub entropy: f64,
    /// Tokens that were the model's first choice; not a number where that was not computed.
    pub correct: f64,
    /// Tokens fed.
    pub fed: f64,
    /// Places in the batch, padding included.
    pub places: f64,
}

impl TokenMetrics {
    /// Adds another batch's sums.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.loss += other.loss;
        self.nll += other.nll;
        self.entropy += other.entropy;
        self.correct += other.correct;
        self.fed += other.fed;
        self.places += other.places;
    }

    /// The sums as numbers, to be added over workers and put together again by `TokenMetrics::from`.
    ///
    /// ```
    /// let metrics = sft::TokenMetrics { count: 2.0, fed: 3.0, ..Default::default() };
    /// assert_eq!(sft::TokenMetrics::from(metrics.sums()), metrics);
    /// ```
    pub fn sums(&self) -> [f64; 7] {
        [self.count, self.loss, self.nll, self.entropy, self.correct, self.fed, self.places]
    }

    /// Mean of what was minimised; 0 without tokens.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.count.max(1.0)
    }

    /// exp of the mean negative log-probability; 1 without tokens.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.count.max(1.0)).exp()
    }

    /// The share of tokens that were the model's first choice; `None` where that was not computed.
    pub fn accuracy(&self) -> Option<f64> {
        let accuracy = self.correct / self.count.max(1.0);
        accuracy.is_finite().then_some(accuracy)
    }

    /// Mean entropy of the predictions, in nats.
    pub fn mean_entropy(&self) -> f64 {
        self.entropy / self.count.max(1.0)
    }

    /// The share of places that were padding.
    pub fn padding(&self) -> f64 {
        1.0 - self.fed / self.places.max(1.0)
    }
}

impl From<[f64; 7]> for TokenMetrics {
    fn from([count, loss, nll, entropy, correct, fed, places]: [f64; 7]) -> Self {
        Self { count, loss, nll, entropy, correct, fed, places }
    }
}
