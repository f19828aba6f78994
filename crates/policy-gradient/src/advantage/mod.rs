//! How much better a response, or a token, was than expected.
//!
//! Estimators that look at whole responses take host slices (rewards come from verifiers, one number per response) and
//! return one `f64` per response; [`per_response`] turns them into a `[batch, 1]` tensor that
//! [`objective`](crate::objective()) broadcasts over time. Estimators that look at tokens take and return `[batch, time]`
//! tensors without a graph. Everything is computed in f64 on the host: nothing here is differentiated.
//!
//! Groups (responses to one prompt) are given by id, not by position, and may have unequal sizes. A reward of NaN
//! means "could not be scored": it enters no statistic and its advantage is zero.

mod baseline;
mod group;
mod optimal;
mod rloo;
pub(crate) mod tokens;

use burn::prelude::*;

pub use baseline::{GdpoConfig, RewardColumn, gdpo, gdpo_tokens, gpg, opo, pass_at_k, remax, remax_tokens};
pub use group::{GroupConfig, Scale, Singleton, Std, group};
pub use optimal::{Alignment, OptimalTokenBaseline, Tail, optimal_token_baseline};
pub use rloo::{RlooConfig, rloo};
pub use tokens::{
    Floor, GaeConfig, Masked, Mean, ReinforcePp, Returns, Variance, Whiten, WhitenMoments, gae, reinforce_pp,
    reinforce_pp_baseline, returns, whiten, whiten_with,
};

use crate::error::{Error, Result, same_length};

/// One advantage per response as a `[batch, 1]` tensor, which objectives broadcast over time.
///
/// ```
/// use burn::prelude::*;
/// let advantages = policy_gradient::advantage::per_response(&[1.0, -1.0], &Device::flex());
/// assert_eq!(advantages.dims(), [2, 1]);
/// ```
pub fn per_response(advantages: &[f64], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = advantages.iter().map(|&a| a as f32).collect();
    let batch = values.len();
    Tensor::from_data(TensorData::new(values, [batch, 1]), &device.clone().without_autodiff())
}

/// Responses by group, in order of first appearance.
pub(crate) struct Groups {
    /// Neighbours in one group, which the responses to one prompt mostly are: the group's dense index, how many.
    runs: Vec<(usize, usize)>,
    /// The id of each group.
    pub ids: Vec<u64>,
}

impl Groups {
    /// Checks lengths and that every reward is finite or NaN (not scored).
    pub(crate) fn new(rewards: &[f64], groups: &[u64]) -> Result<Self> {
        same_length("groups", groups.len(), rewards.len())?;
        scorable("rewards", rewards)?;
        let named: Vec<(u64, usize)> =
            groups.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        let mut places = Places::new(named.iter().map(|run| run.0), groups.len());
        let mut ids = Vec::new();
        let runs = named.iter().map(|&(id, count)| (places.of(id, &mut ids), count)).collect();
        Ok(Self { runs, ids })
    }

    /// The dense index of each response's group.
    pub(crate) fn index(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|&(group, count)| std::iter::repeat_n(group, count))
    }

    /// Calls `f` with the group and the values of every run of neighbours in one group.
    pub(crate) fn for_each_run(&self, values: &[f64], mut f: impl FnMut(usize, &[f64])) {
        let mut rest = values;
        for &(group, count) in &self.runs {
            let (values, behind) = rest.split_at(count);
            rest = behind;
            f(group, values);
        }
    }

    /// Mean, spread and extremes of each group's scored values.
    pub(crate) fn moments(&self, values: &[f64]) -> Vec<Moments> {
        if self.runs.len() == self.ids.len() {
            let mut all = Vec::with_capacity(self.ids.len());
            self.for_each_run(values, |_, values| all.push(Moments::of(values)));
            return all;
        }
        let mut all = vec![Moments::default(); self.ids.len()];
        self.for_each_run(values, |g, values| values.iter().for_each(|&v| all[g].add(v)));
        all.iter_mut().for_each(Moments::settle);
        self.for_each_run(values, |g, values| values.iter().for_each(|&v| all[g].add_square(v)));
        all
    }
}

/// The dense index of each id, in order of first appearance.
enum Places {
    /// For ids close together: a table from the smallest on, `usize::MAX` where an id has not been seen.
    Near {
        smallest: u64,
        table: Vec<usize>,
    },
    Far(std::collections::HashMap<u64, usize>),
}

impl Places {
    fn new(ids: impl Iterator<Item = u64> + Clone, responses: usize) -> Self {
        let smallest = ids.clone().min().unwrap_or(0);
        let span = ids.max().unwrap_or(0) - smallest;
        if span < 2 * responses as u64 {
            Self::Near { smallest, table: vec![usize::MAX; span as usize + 1] }
        } else {
            Self::Far(std::collections::HashMap::new())
        }
    }

    fn of(&mut self, id: u64, ids: &mut Vec<u64>) -> usize {
        let mut next = || {
            ids.push(id);
            ids.len() - 1
        };
        match self {
            Self::Near { smallest, table } => {
                let place = &mut table[(id - *smallest) as usize];
                if *place == usize::MAX {
                    *place = next();
                }
                *place
            }
            Self::Far(seen) => *seen.entry(id).or_insert_with(next),
        }
    }
}

/// Infinite rewards have no mean; NaN means that a response could not be scored.
pub(crate) fn scorable(argument: &'static str, rewards: &[f64]) -> Result<()> {
    match rewards.iter().find(|r| r.is_infinite()) {
        Some(&found) => {
            Err(Error::Value { argument, expected: "finite rewards, or NaN for unscored", found })
        }
        None => Ok(()),
    }
}

/// Two-pass statistics: E\[x²\] - E\[x\]² would leave a residue where all values are equal.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub count: usize,
    pub mean: f64,
    squares: f64,
    min: f64,
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut moments = Self::default();
        values.iter().for_each(|&v| moments.add(v));
        moments.settle();
        values.iter().for_each(|&v| moments.add_square(v));
        moments
    }

    fn add(&mut self, value: f64) {
        if !value.is_nan() {
            self.count += 1;
            self.mean += value;
            // Not `f64::min`, which looks for NaN again.
            self.min = if value < self.min { value } else { self.min };
            self.max = if value > self.max { value } else { self.max };
        }
    }

    /// Turns the sum into a mean; equal values have exactly themselves as mean.
    fn settle(&mut self) {
        if self.constant() {
            self.mean = self.max;
        } else {
            self.mean /= self.count as f64;
        }
        if self.count == 0 {
            self.mean = 0.0;
        }
    }

    fn add_square(&mut self, value: f64) {
        if !value.is_nan() {
            self.squares += (value - self.mean).powi(2);
        }
    }

    /// Whether all values are equal: an exact test, unlike "the standard deviation is zero".
    pub(crate) fn constant(&self) -> bool {
        self.count > 0 && self.min == self.max
    }

    /// The standard deviation with `count - ddof` in the denominator; zero where that is not positive.
    pub(crate) fn std(&self, ddof: u8) -> f64 {
        let freedom = self.count as f64 - f64::from(ddof);
        if freedom > 0.0 { (self.squares / freedom).sqrt() } else { 0.0 }
    }
}
