//! From sampled responses to the tensors that log-probabilities and objectives take.

use std::ops::Range;

use burn::prelude::*;

use crate::GlobalCounts;
use crate::error::{Error, Result, same_length, same_shape};
use crate::num::to_host;

/// One response, as it was sampled.
#[derive(Debug, Clone, Copy)]
pub struct Rollout<'a> {
    /// Token ids of the prompt, at least one: the first token of the response needs something to be predicted from.
    pub prompt: &'a [u32],
    /// Token ids of the response, with its end token if there was one. May be empty: such a row counts nothing.
    pub response: &'a [u32],
    /// Log-probability (nats) of each token of the response under the policy that sampled it.
    pub old_logprobs: &'a [f32],
    /// The same under a reference, for a KL term.
    pub reference_logprobs: Option<&'a [f32]>,
    /// How much better the response was than expected.
    pub advantage: f64,
}

/// Rollouts side by side, padded on the right. Position `t` predicts token `t + 1`.
#[derive(Debug, Clone)]
pub struct RolloutBatch {
    /// What goes into the model, `[batch, time]`.
    pub tokens: Tensor<2, Int>,
    /// What each position must predict, `[batch, time]`.
    pub targets: Tensor<2, Int>,
    /// True where the target is a token of a response, `[batch, time]`.
    pub mask: Tensor<2, Bool>,
    /// Recorded log-probabilities (nats), `[batch, time]`, zero outside the mask.
    pub old_logp: Tensor<2>,
    /// Those of the reference, if every rollout has them, `[batch, time]`, zero outside the mask.
    pub reference_logp: Option<Tensor<2>>,
    /// `[batch, 1]`; objectives broadcast it over time.
    pub advantages: Tensor<2>,
}

impl RolloutBatch {
    /// Collates rollouts; `pad` is any valid token id.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty prompt, or for log-probabilities of another length than their response.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Rollout, RolloutBatch};
    ///
    /// let rollout = Rollout {
    ///     prompt: &[5, 6], response: &[7, 2], old_logprobs: &[-0.5, -0.1], reference_logprobs: None, advantage: 1.0,
    /// };
    /// let short = Rollout { prompt: &[5], response: &[2], old_logprobs: &[-0.2], ..rollout };
    /// let batch = RolloutBatch::collate(&[rollout, short], 0, &Device::flex())?;
    /// let ids = |tensor: Tensor<2, Int>| tensor.into_data().iter::<i64>().collect::<Vec<_>>();
    /// assert_eq!(ids(batch.tokens), [5, 6, 7, 5, 0, 0]);
    /// assert_eq!(ids(batch.targets), [6, 7, 2, 2, 0, 0]);
    /// let mask: Vec<bool> = batch.mask.into_data().iter::<bool>().collect();
    /// assert_eq!(mask, [false, true, true, true, false, false]);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn collate(rollouts: &[Rollout<'_>], pad: u32, device: &Device) -> Result<Self> {
        let time = time(rollouts);
        let size = rollouts.len() * time;
        let (mut tokens, mut targets) = (vec![i64::from(pad); size], vec![i64::from(pad); size]);
        let (mut mask, mut old) = (vec![false; size], vec![0.0f32; size]);
        let with_reference = !rollouts.is_empty() && rollouts.iter().all(|r| r.reference_logprobs.is_some());
        let mut reference = vec![0.0f32; if with_reference { size } else { 0 }];
        for (row, rollout) in rollouts.iter().enumerate() {
            let (prompt, length) = (rollout.prompt.len(), rollout.response.len());
            let counted = place(rollout, row, time)?;
            same_length("old_logprobs", rollout.old_logprobs.len(), length)?;
            let at = row * time;
            let ids = rollout.prompt.iter().chain(rollout.response).map(|id| i64::from(*id));
            for (t, id) in ids.enumerate() {
                if t + 1 < prompt + length {
                    tokens[at + t] = id;
                }
                if t > 0 {
                    targets[at + t - 1] = id;
                }
            }
            mask[counted.clone()].fill(true);
            old[counted.clone()].copy_from_slice(rollout.old_logprobs);
            if with_reference && let Some(logprobs) = rollout.reference_logprobs {
                same_length("reference_logprobs", logprobs.len(), length)?;
                reference[counted].copy_from_slice(logprobs);
            }
        }
        let shape = [rollouts.len(), time];
        let floats = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, shape), device);
        let advantages: Vec<f32> = rollouts.iter().map(|r| r.advantage as f32).collect();
        Ok(Self {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            targets: Tensor::from_data(TensorData::new(targets, shape), device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
            old_logp: floats(old),
            reference_logp: with_reference.then(|| floats(reference)),
            advantages: Tensor::from_data(TensorData::new(advantages, [rollouts.len(), 1]), device),
        })
    }

    /// One number for every token of every response, where [`collate`](Self::collate)'s mask is true for it, `[batch, time]`,
    /// zero elsewhere, without a graph: advantages, returns and old values of a critic.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty prompt, or when the numbers are not those of the responses' tokens.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Rollout, RolloutBatch};
    ///
    /// let rollout = Rollout {
    ///     prompt: &[5, 6], response: &[7, 2], old_logprobs: &[], reference_logprobs: None, advantage: 0.0,
    /// };
    /// let short = Rollout { prompt: &[5], response: &[2], ..rollout };
    /// let (rows, values) = ([rollout, short], [vec![0.5, 0.25], vec![1.0]]);
    /// let tensor = RolloutBatch::lay_out(&rows, &values, &Device::flex())?;
    /// assert_eq!(tensor.to_data().to_vec::<f32>().unwrap(), [0.0, 0.5, 0.25, 1.0, 0.0, 0.0]);
    /// assert_eq!(RolloutBatch::pick(&rows, tensor)?, values);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn lay_out(
        rollouts: &[Rollout<'_>],
        numbers: &[impl AsRef<[f32]>],
        device: &Device,
    ) -> Result<Tensor<2>> {
        same_length("numbers", numbers.len(), rollouts.len())?;
        let time = time(rollouts);
        let mut values = vec![0.0f32; rollouts.len() * time];
        for (row, (rollout, numbers)) in rollouts.iter().zip(numbers).enumerate() {
            let (counted, numbers) = (place(rollout, row, time)?, numbers.as_ref());
            same_length("numbers", numbers.len(), counted.len())?;
            values[counted].copy_from_slice(numbers);
        }
        let device = device.clone().without_autodiff();
        Ok(Tensor::from_data(TensorData::new(values, [rollouts.len(), time]), &device))
    }

    /// The numbers of every response's tokens in a `[batch, time]` tensor: the way back from [`lay_out`](Self::lay_out).
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty prompt or a tensor of another shape, [`Error::Read`] when it cannot be read.
    pub fn pick(rollouts: &[Rollout<'_>], numbers: Tensor<2>) -> Result<Vec<Vec<f32>>> {
        let time = time(rollouts);
        same_shape("numbers", numbers.dims(), [rollouts.len(), time])?;
        let values = to_host("numbers", numbers)?;
        let of_row = |(row, rollout): (usize, &Rollout<'_>)| -> Result<Vec<f32>> {
            Ok(values[place(rollout, row, time)?].iter().map(|value| *value as f32).collect())
        };
        rollouts.iter().enumerate().map(of_row).collect()
    }

    /// What the masks of all these rollouts count together: the [`GlobalCounts`] of their micro-batches, before any of
    /// them is made.
    ///
    /// ```
    /// use policy_gradient::{GlobalCounts, Rollout, RolloutBatch};
    ///
    /// let rollout = Rollout {
    ///     prompt: &[5, 6], response: &[7, 2], old_logprobs: &[-0.5, -0.1], reference_logprobs: None, advantage: 1.0,
    /// };
    /// let empty = Rollout { response: &[], old_logprobs: &[], ..rollout };
    /// let counts = GlobalCounts { tokens: 2, sequences: 2, empty_sequences: 1 };
    /// assert_eq!(RolloutBatch::counts([rollout, empty]), counts);
    /// ```
    #[must_use]
    pub fn counts<'a>(rollouts: impl IntoIterator<Item = Rollout<'a>>) -> GlobalCounts {
        let row = |r: Rollout<'_>| GlobalCounts {
            tokens: r.response.len() as u64,
            sequences: 1,
            empty_sequences: u64::from(r.response.is_empty()),
        };
        rollouts.into_iter().map(row).sum()
    }
}

/// How many positions the longest rollout takes: each predicts the next token, so the last token needs none.
fn time(rollouts: &[Rollout<'_>]) -> usize {
    rollouts.iter().map(|r| (r.prompt.len() + r.response.len()).saturating_sub(1)).max().unwrap_or(0)
}

/// The flat positions of a row that predict its response.
fn place(rollout: &Rollout<'_>, row: usize, time: usize) -> Result<Range<usize>> {
    let Some(before) = rollout.prompt.len().checked_sub(1) else {
        return Err(Error::Shape { argument: "prompt", expected: vec![1], found: vec![0] });
    };
    let first = row * time + before;
    Ok(first..first + rollout.response.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout<'a>(prompt: &'a [u32], response: &'a [u32], old_logprobs: &'a [f32]) -> Rollout<'a> {
        Rollout { prompt, response, old_logprobs, reference_logprobs: None, advantage: 0.5 }
    }

    #[test]
    fn counts_are_those_of_the_masks() {
        let rows =
            [rollout(&[1], &[2, 3], &[-1.0, -2.0]), rollout(&[1, 2], &[], &[]), rollout(&[1], &[4], &[-3.0])];
        let batch = RolloutBatch::collate(&rows, 0, &Device::flex()).unwrap();
        assert_eq!(RolloutBatch::counts(rows), GlobalCounts::of(&batch.mask).unwrap());
        let old: Vec<f32> = batch.old_logp.into_data().iter::<f32>().collect();
        assert_eq!(old, [-1.0, -2.0, 0.0, 0.0, -3.0, 0.0]);
        assert_eq!(batch.advantages.dims(), [3, 1]);
    }

    #[test]
    fn a_reference_counts_when_all_have_it() {
        let one = Rollout { reference_logprobs: Some(&[-0.5]), ..rollout(&[1], &[2], &[-1.0]) };
        let both = RolloutBatch::collate(&[one, one], 0, &Device::flex()).unwrap();
        let values: Vec<f32> = both.reference_logp.unwrap().into_data().iter::<f32>().collect();
        assert_eq!(values, [-0.5, -0.5]);
        let mixed = RolloutBatch::collate(&[one, rollout(&[1], &[2], &[-1.0])], 0, &Device::flex()).unwrap();
        assert!(mixed.reference_logp.is_none());
    }

    #[test]
    fn wrong_lengths_are_named() {
        let refuse = |rollout| RolloutBatch::collate(&[rollout], 0, &Device::flex()).unwrap_err().to_string();
        assert!(refuse(rollout(&[], &[2], &[-1.0])).contains("`prompt`"));
        assert!(refuse(rollout(&[1], &[2], &[])).contains("`old_logprobs`"));
        let short = Rollout { reference_logprobs: Some(&[]), ..rollout(&[1], &[2], &[-1.0]) };
        assert!(refuse(short).contains("`reference_logprobs`"));
        let row = rollout(&[1], &[2, 3], &[-1.0, -2.0]);
        let device = Device::flex();
        let few = RolloutBatch::lay_out(&[row], &[[0.5f32]], &device).unwrap_err().to_string();
        let rows =
            RolloutBatch::lay_out(&[row], &[[0.5f32, 1.0], [0.5, 1.0]], &device).unwrap_err().to_string();
        let shape = RolloutBatch::pick(&[row], Tensor::zeros([1, 3], &device)).unwrap_err().to_string();
        assert!([few, rows, shape].iter().all(|error| error.contains("`numbers`")));
    }
}
