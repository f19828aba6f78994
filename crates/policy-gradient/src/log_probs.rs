//! Log-probabilities and entropies of sampled tokens, without keeping `[batch, time, vocabulary]` alive.

use burn::prelude::*;
use burn::tensor::IndexingUpdateOp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require, same_shape};
use crate::num::mask_to_host;

/// Settings of [`token_log_probs`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenLogProbConfig {
    /// Logits are divided by this. Train with the temperature that sampled, or the ratios are of another policy.
    pub temperature: f64,
    /// Positions whose logits are alive at a time: memory is `chunk * vocabulary` floats.
    pub chunk: usize,
}

impl Default for TokenLogProbConfig {
    fn default() -> Self {
        Self { temperature: 1.0, chunk: 1024 }
    }
}

impl TokenLogProbConfig {
    fn check(&self) -> Result<()> {
        require("temperature", self.temperature, "a positive number", |v| v > 0.0 && v.is_finite())?;
        require("chunk", self.chunk as f64, "a positive number of positions", |v| v > 0.0)
    }
}

/// What [`token_log_probs`] returns; both `[batch, time]`, in nats, zero outside the mask, with a graph.
#[derive(Debug, Clone)]
pub struct TokenLogProbs {
    /// `log p(target)`.
    pub logp: Tensor<2>,
    /// Entropy of the whole distribution at that position.
    pub entropy: Tensor<2>,
}

/// Log-probability of each target and entropy of each position, from hidden states and the output head.
///
/// `logp = z[target] - logsumexp(z)`, `entropy = logsumexp(z) - sum softmax(z) z` with `z = hidden headᵀ / temperature`.
/// `hidden` `[batch, time, d]`, `head` `[vocabulary, d]`, `targets` `[batch, time]`, `mask` `[batch, time]`: only
/// positions where it is true are computed at all, so prompts and padding cost nothing and NaN there does not leak.
/// Logits live for one chunk of positions at a time and are recomputed in the backward pass. An empty mask gives zeros
/// with a graph. These are log-probabilities of the full softmax: a sampler that truncates (top-p, top-k) draws from
/// another distribution, and its log-probabilities must not be compared with these.
///
/// # Errors
/// [`Error::Shape`] when shapes differ, [`Error::Value`] for a temperature or chunk that is not positive.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{TokenLogProbConfig, token_log_probs};
///
/// let device = Device::flex();
/// let hidden = Tensor::<3>::from_data([[[0.0, 0.0], [1.0, 0.0]]], &device);
/// let head = Tensor::<2>::from_data([[3f32.ln(), 0.0], [0.0, 1.0]], &device);
/// let targets = Tensor::<2, Int>::from_data([[0, 0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = token_log_probs(hidden, head, targets, mask, &TokenLogProbConfig::default())?;
/// let logp = out.logp.into_data().to_vec::<f32>().unwrap();
/// assert!((logp[0] - 0.5f32.ln()).abs() < 1e-6); // logits 0, 0
/// assert!((logp[1] - 0.75f32.ln()).abs() < 1e-6); // logits ln 3, 0
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn token_log_probs(
    hidden: Tensor<3>,
    head: Tensor<2>,
    targets: Tensor<2, Int>,
    mask: Tensor<2, Bool>,
    config: &TokenLogProbConfig,
) -> Result<TokenLogProbs> {
    let [batch, time, width] = hidden.dims();
    same_shape("targets", targets.dims(), [batch, time])?;
    same_shape("mask", mask.dims(), [batch, time])?;
    let [vocabulary, found] = head.dims();
    if found != width {
        return Err(Error::Shape {
            argument: "head",
            expected: vec![vocabulary, width],
            found: vec![vocabulary, found],
        });
    }
    config.check()?;

    let total = batch * time;
    let positions: Vec<i64> = mask_to_host("mask", mask)?
        .into_iter()
        .enumerate()
        .filter_map(|(i, counts)| counts.then_some(i as i64))
        .collect();
    if positions.is_empty() {
        // Zero with a graph: the backward pass of an empty batch must still reach the parameters.
        let none = Tensor::<2, Bool>::full(head.dims(), true, &head.device());
        let zero = head.mask_fill(none, 0.0).sum().reshape([1, 1]).expand([batch, time]);
        return Ok(TokenLogProbs { logp: zero.clone(), entropy: zero });
    }
    let device = hidden.device();
    let count = positions.len();
    let all = count == total;
    let index =
        Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device.clone().without_autodiff());
    let flat = hidden.reshape([total, width]);
    let targets = targets.reshape([total]);
    let (flat, targets) =
        if all { (flat, targets) } else { (flat.select(0, index.clone()), targets.select(0, index.clone())) };
    let both = rows(flat, head, targets, config);
    let place = |row: usize| {
        let values = both.clone().slice([row..row + 1, 0..count]).reshape([count]);
        let placed = if all {
            values
        } else {
            let zeros = Tensor::<1>::zeros([total], (&device, values.dtype()));
            zeros.select_assign(0, index.clone(), values, IndexingUpdateOp::Add)
        };
        placed.reshape([batch, time])
    };
    Ok(TokenLogProbs { logp: place(0), entropy: place(1) })
}

/// [`token_log_probs`] from logits that exist already, `[batch, time, vocabulary]`.
///
/// The logits themselves are the largest buffer: forward adds `chunk * vocabulary` floats, backward one gradient of the
/// logits. A logit of `-inf` is a word of probability zero: it adds nothing to the entropy and gets no gradient, and a
/// target with such a logit has log-probability `-inf`. Values outside the mask are never read, targets included; an
/// empty mask gives zeros with a graph.
///
/// # Errors
/// As [`token_log_probs`].
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{TokenLogProbConfig, token_log_probs_from_logits};
///
/// let device = Device::flex();
/// let logits = Tensor::<3>::from_data([[[3f32.ln(), 0.0, f32::NEG_INFINITY]]], &device);
/// let targets = Tensor::<2, Int>::from_data([[0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let out = token_log_probs_from_logits(logits, targets, mask, &TokenLogProbConfig::default())?;
/// assert!((out.logp.into_scalar::<f32>() - 0.75f32.ln()).abs() < 1e-6);
/// let entropy = -(0.75 * 0.75f32.ln() + 0.25 * 0.25f32.ln());
/// assert!((out.entropy.into_scalar::<f32>() - entropy).abs() < 1e-6);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn token_log_probs_from_logits(
    logits: Tensor<3>,
    targets: Tensor<2, Int>,
    mask: Tensor<2, Bool>,
    config: &TokenLogProbConfig,
) -> Result<TokenLogProbs> {
    let [batch, time, vocabulary] = logits.dims();
    same_shape("targets", targets.dims(), [batch, time])?;
    same_shape("mask", mask.dims(), [batch, time])?;
    config.check()?;
    let total = batch * time;
    let outside = mask.without_autodiff().bool_not();
    let targets = targets.mask_fill(outside.clone(), 0).reshape([total]);
    let logits = logits.reshape([total, vocabulary]);
    let both = kernels::logit_log_probs(logits, targets, config.temperature, config.chunk);
    let part = |row: usize| {
        let values = both.clone().slice([row..row + 1, 0..total]).reshape([batch, time]);
        values.mask_fill(outside.clone(), 0.0)
    };
    Ok(TokenLogProbs { logp: part(0), entropy: part(1) })
}

/// `[2, n]`: log-probabilities and entropies of `n` positions.
fn rows(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    config: &TokenLogProbConfig,
) -> Tensor<2> {
    kernels::token_log_probs(hidden, head, targets, config.temperature, config.chunk)
}
