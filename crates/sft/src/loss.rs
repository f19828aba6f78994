//! Losses over tokens, as sums.

use burn::tensor::{DType, Int, Tensor};
use kernels::token_log_probs;
use serde::{Deserialize, Serialize};

use crate::{Batch, Error, TokenMetrics};

/// How much each token's loss weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// All alike.
    #[default]
    Uniform,
    /// By the token's own probability, detached: dynamic fine-tuning, DFT.
    Dft,
}

/// Options of [`cross_entropy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Share of the target's mass spread evenly over the whole vocabulary, in [0, 1); PyTorch's definition.
    pub label_smoothing: f64,
    /// How much each token's loss weighs.
    pub weighting: Weighting,
    /// Positions per chunk: logits of one chunk are alive at a time, `chunk x vocabulary` in f32.
    pub chunk: usize,
    /// Whether to count first choices that are right, at the price of a second product with the head.
    pub accuracy: bool,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { label_smoothing: 0.0, weighting: Weighting::Uniform, chunk: 1024, accuracy: false }
    }
}

/// A loss to differentiate, as a sum, and what goes beside it, detached.
#[derive(Clone, Debug)]
pub struct LossSum {
    /// Sum over the counted tokens, `[1]`, nats, with its graph.
    pub sum: Tensor<1>,
    /// How many tokens counted. Divide by the sum of counts over all micro-batches and workers.
    pub count: f64,
    /// Sum of negative log-probabilities, of entropies, and number of right first choices (NaN if not asked for),
    /// `[3]`, off the graph.
    pub details: Tensor<1>,
    fed: usize,
    places: usize,
}

impl LossConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// When a value is out of range, naming it.
    pub fn check(&self) -> Result<(), Error> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let found = self.label_smoothing.to_string();
            return Err(Error::Config { key: "label_smoothing", expected: "in [0, 1)", found });
        }
        if self.chunk == 0 {
            return Err(Error::Config { key: "chunk", expected: "at least 1", found: "0".to_owned() });
        }
        Ok(())
    }
}

impl LossSum {
    /// The loss per counted token of this batch alone; 0 without tokens.
    pub fn mean(&self) -> f64 {
        f64::from(self.sum.clone().inner().into_scalar::<f32>()) / self.count.max(1.0)
    }

    /// Reads the numbers. On a GPU this waits for the device.
    pub fn metrics(&self) -> TokenMetrics {
        let details: Vec<f32> = self.details.to_data().iter::<f32>().collect();
        let value = |index: usize| f64::from(details.get(index).copied().unwrap_or(f32::NAN));
        TokenMetrics {
            count: self.count,
            loss: f64::from(self.sum.clone().inner().into_scalar::<f32>()),
            nll: value(0),
            entropy: value(1),
            correct: value(2),
            fed: self.fed as f64,
            places: self.places as f64,
        }
    }
}

/// Cross-entropy of the counted targets, summed, from hidden states and the output head.
///
/// With `p` the model's probability of target `y`, and `V` the vocabulary:
///
/// ```text
/// uniform    -log p(y)
/// smoothed   (1 - e) (-log p(y)) + e / V  sum_v (-log p(v))
/// DFT        p(y) times the above, p(y) detached          (https://arxiv.org/abs/2508.05629, eq. 9)
/// ```
///
/// * `hidden`: `[batch, time, width]`, after the final norm. Only counted positions are read, so whatever padding
///   holds, NaN included, reaches neither loss nor gradient.
/// * `head`: `[vocabulary, width]`.
///
/// Logits exist for `chunk` positions at a time and are recomputed in the backward pass. Sums are in f32.
/// A batch without targets gives a zero with a graph.
///
/// # Errors
/// When shapes differ, or an option is out of range.
pub fn cross_entropy(
    hidden: Tensor<3>,
    head: Tensor<2>,
    batch: &Batch,
    config: &LossConfig,
) -> Result<LossSum, Error> {
    let [rows, time, width] = hidden.dims();
    let shape =
        |argument, expected: [usize; 2], found: [usize; 2]| Error::Shape { argument, expected, found };
    if [rows, time] != batch.shape {
        return Err(shape("hidden", batch.shape, [rows, time]));
    }
    let [vocabulary, found] = head.dims();
    if found != width {
        return Err(shape("head", [vocabulary, width], [vocabulary, found]));
    }
    config.check()?;
    let places = rows * time;
    if batch.count == 0 {
        let everywhere = Tensor::<3>::zeros([rows, time, width], &hidden.device()).equal_scalar(0.0);
        let sum = hidden.mask_fill(everywhere, 0.0).sum().cast(DType::F32);
        let details = Tensor::zeros([3], &sum.device().inner());
        return Ok(LossSum { sum, count: 0.0, details, fed: batch.fed, places });
    }
    let hidden: Tensor<2> = hidden.reshape([places, width]);
    // Where every position counts, there is nothing to select.
    let hidden = if batch.count == places { hidden } else { hidden.select(0, batch.counted.clone()) };
    let targets = batch.counted_targets.clone();
    let both = token_log_probs(hidden.clone(), head.clone(), targets.clone(), 1.0, config.chunk);
    let log_prob: Tensor<1> = both.clone().slice([0..1]).reshape([-1]);
    let details = both.inner().cast(DType::F32);
    let nll = details.clone().slice([0..1]).sum().neg();
    let entropy = details.slice([1..2]).sum();
    let correct = if config.accuracy {
        first_choices(hidden.clone().inner(), head.clone().inner(), targets.clone(), config.chunk)
    } else {
        Tensor::full([1], f32::NAN, &nll.device())
    };

    let mut loss = log_prob.clone().neg();
    if config.label_smoothing > 0.0 {
        // -mean_v log p(v) = log Z - mean_v logit(v), and log Z = logit(y) - log p(y): two thin products instead of
        // another pass over the vocabulary.
        let rows: Tensor<2> = head.clone().select(0, targets);
        let target_logit: Tensor<1> = hidden.clone().mul(rows).cast(DType::F32).sum_dim(1).reshape([-1]);
        let mean_row: Tensor<2> = head.mean_dim(0);
        let mean_logit: Tensor<1> = hidden.mul(mean_row).cast(DType::F32).sum_dim(1).reshape([-1]);
        let uniform = target_logit.sub(log_prob.clone()).sub(mean_logit);
        loss = loss.mul_scalar(1.0 - config.label_smoothing).add(uniform.mul_scalar(config.label_smoothing));
    }
    if config.weighting == Weighting::Dft {
        loss = loss.mul(log_prob.detach().exp());
    }
    let details = Tensor::cat(vec![nll, entropy, correct], 0);
    Ok(LossSum { sum: loss.sum(), count: batch.count as f64, details, fed: batch.fed, places })
}

/// How many targets are the model's first choice.
fn first_choices(hidden: Tensor<2>, head: Tensor<2>, targets: Tensor<1, Int>, chunk: usize) -> Tensor<1> {
    let targets = if targets.device().is_autodiff() { targets.inner() } else { targets };
    let head = head.transpose();
    let count = hidden.dims()[0];
    let mut total = Tensor::<1>::zeros([1], &hidden.device());
    for start in (0..count).step_by(chunk.max(1)) {
        let range = start..count.min(start + chunk.max(1));
        let logits = hidden.clone().slice([range.clone()]).matmul(head.clone());
        let choice: Tensor<1, Int> = logits.argmax(1).reshape([-1]);
        let right = choice.equal(targets.clone().slice([range]));
        total = total.add(right.float().sum());
    }
    total
}
