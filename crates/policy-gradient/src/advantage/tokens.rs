//! Per-token estimators on the host: returns, GAE, REINFORCE++, whitening.

use burn::prelude::*;
use burn::tensor::DType;
use serde::{Deserialize, Serialize};

use super::{GroupConfig, Scale, Singleton, group};
use crate::error::{Error, Result, require, same_shape};
use crate::num::{Word, from_host, from_host_on, from_words, mask_to_host, to_host, to_words};

/// How a recursion over time treats tokens that do not count (a tool's output between two turns, for instance).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Masked {
    /// As if they were not there: the recursion continues across them without discount (verl).
    #[default]
    Skip,
    /// Their reward and value are zero, but time passes: the discount applies (OpenRLHF).
    Zero,
    /// The recursion starts afresh behind them: nothing flows back across.
    Reset,
    /// Each masked token is a state that ends its episode, with its own reward and value, as in open-instruct's packed
    /// rows. In [`gae`] the token before it bootstraps from that value, so here values outside the mask are read, and
    /// must be finite. [`Reset`](Self::Reset) does without them. In [`returns`] nothing but its reward flows back.
    Terminal,
}

/// Advantages and the returns a critic is trained on; `[batch, time]`, without a graph, zero outside the mask.
#[derive(Debug, Clone)]
pub struct Returns {
    /// What the policy is trained on.
    pub advantages: Tensor<2>,
    /// What a critic is trained on.
    pub returns: Tensor<2>,
}

/// Token tensors on the host.
struct Rows {
    shape: [usize; 2],
    mask: Vec<bool>,
}

impl Rows {
    fn new(mask: &Tensor<2, Bool>) -> Result<Self> {
        Ok(Self { shape: mask.dims(), mask: mask_to_host("mask", mask.clone())? })
    }

    /// A tensor's values.
    fn read_all(&self, argument: &'static str, tensor: &Tensor<2>) -> Result<Vec<f64>> {
        same_shape(argument, tensor.dims(), self.shape)?;
        to_host(argument, tensor.clone())
    }

    /// A tensor's values, zero outside the mask.
    fn read(&self, argument: &'static str, tensor: &Tensor<2>) -> Result<Vec<f64>> {
        let mut values = self.read_all(argument, tensor)?;
        values.iter_mut().zip(&self.mask).filter(|(_, m)| !**m).for_each(|(v, _)| *v = 0.0);
        Ok(values)
    }

    /// Calls `step` for every row's range of flat positions.
    fn for_each_row(&self, mut step: impl FnMut(std::ops::Range<usize>)) {
        let [batch, time] = self.shape;
        (0..batch).for_each(|b| step(b * time..(b + 1) * time));
    }
}

/// Settings of [`gae`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaeConfig {
    /// Discount per token, in `[0, 1]`; 1 is usual for language models.
    pub gamma: f64,
    /// Trade between bias (0) and variance (1).
    pub lambda: f64,
    /// How tokens outside the mask are treated.
    pub masked: Masked,
    /// Whitening of the advantages afterwards; returns are never whitened.
    pub whiten: Option<Whiten>,
}

impl Default for GaeConfig {
    /// gamma 1, lambda 0.95, no whitening.
    fn default() -> Self {
        Self { gamma: 1.0, lambda: 0.95, masked: Masked::Skip, whiten: None }
    }
}

impl GaeConfig {
    /// Checks ranges: gamma and lambda in `[0, 1]`, a positive eps in the whitening. [`gae`] does it too.
    ///
    /// # Errors
    /// [`Error::Value`], naming the setting.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("gamma", self.gamma), ("lambda", self.lambda)] {
            require(name, value, "a number in [0, 1]", |v| (0.0..=1.0).contains(&v))?;
        }
        self.whiten.as_ref().map_or(Ok(()), Whiten::check)
    }
}

/// Generalised advantage estimation.
///
/// `A_t = delta_t + gamma lambda A_{t+1}` with `delta_t = r_t + gamma v_{t+1} - v_t`, [arXiv:1506.02438], equation 16;
/// `returns = A + v` (before whitening). `rewards`, `values` `[batch, time]`; behind the last counted token the value is
/// zero, so that a critic's opinion of padding never bootstraps. `dones` `[batch, time]`, if given, is true at the last
/// token of an episode within a packed row: nothing flows back across it. Values outside the mask are never read.
///
/// # Errors
/// [`Error::Shape`], and [`Error::Value`] for gamma or lambda outside `[0, 1]`.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{GaeConfig, Masked, gae};
///
/// let device = Device::flex();
/// let rewards = Tensor::<2>::from_data([[0.0, 1.0]], &device);
/// let values = Tensor::<2>::from_data([[0.5, 0.25]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let config = GaeConfig { lambda: 0.5, ..GaeConfig::default() };
/// let out = gae(rewards, values, None, mask, &config)?;
/// // delta = [0.25 - 0.5, 1 - 0.25] = [-0.25, 0.75]; A = [-0.25 + 0.5 * 0.75, 0.75]
/// assert_eq!(out.advantages.into_data().to_vec::<f32>().unwrap(), [0.125, 0.75]);
/// assert_eq!(out.returns.into_data().to_vec::<f32>().unwrap(), [0.625, 1.0]);
///
/// // a tool's output between two turns: skipped, or the recursion starts afresh behind it
/// let gap = |masked| {
///     let of = |v: [f64; 3]| Tensor::<2>::from_data([v], &device);
///     let mask = Tensor::<2, Bool>::from_data([[true, false, true]], &device);
///     let config = GaeConfig { lambda: 1.0, masked, ..GaeConfig::default() };
///     let out = gae(of([1.0, 9.0, 2.0]), of([0.5, 9.0, 0.25]), None, mask, &config)?;
///     Ok::<_, policy_gradient::Error>(out.advantages.into_data().to_vec::<f32>().unwrap())
/// };
/// assert_eq!(gap(Masked::Skip)?, [2.5, 0.0, 1.75]); // (1 + 0.25 - 0.5) + 1.75
/// assert_eq!(gap(Masked::Reset)?, [0.5, 0.0, 1.75]); // 1 - 0.5
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn gae(
    rewards: Tensor<2>,
    values: Tensor<2>,
    dones: Option<Tensor<2, Bool>>,
    mask: Tensor<2, Bool>,
    config: &GaeConfig,
) -> Result<Returns> {
    config.check()?;
    let rows = Rows::new(&mask)?;
    let shape = rows.shape;
    same_shape("rewards", rewards.dims(), shape)?;
    same_shape("values", values.dims(), shape)?;
    let ends = match dones {
        Some(dones) => {
            same_shape("dones", dones.dims(), shape)?;
            Some(mask_to_host("dones", dones)?)
        }
        None => None,
    };
    let ends = ends.as_deref();
    let like = values.clone();
    let plain = rewards.dtype() == DType::F32 && values.dtype() == DType::F32;
    match &config.whiten {
        // A million tokens are a matter of memory traffic: the results take the inputs' own places.
        None if plain => {
            let mut advantages: Vec<f32> = to_words("rewards", rewards)?;
            let mut returns: Vec<f32> = to_words("values", values)?;
            gae_rows(&mut advantages, &mut returns, ends, &rows, config);
            let tensor = |words| from_words(words, shape, &like.device());
            Ok(Returns { advantages: tensor(advantages), returns: tensor(returns) })
        }
        // Whitening divides by what may be a small difference of large advantages: these stay in f64 until then.
        whiten => {
            let mut advantages = to_host("rewards", rewards)?;
            let returns = if plain {
                let mut returns: Vec<f32> = to_words("values", values)?;
                gae_rows(&mut advantages, &mut returns, ends, &rows, config);
                from_words(returns, shape, &like.device())
            } else {
                let mut returns = to_host("values", values)?;
                gae_rows(&mut advantages, &mut returns, ends, &rows, config);
                from_host(returns, shape, &like)
            };
            if let Some(config) = whiten {
                WhitenMoments::from_host(&advantages, &rows.mask).apply(&mut advantages, &rows.mask, config);
            }
            Ok(Returns { advantages: from_host(advantages, shape, &like), returns })
        }
    }
}

/// The recursion of [`gae`] in f64: rewards become advantages, values become returns, in place.
fn gae_rows<A: Word, V: Word>(
    rewards: &mut [A],
    values: &mut [V],
    ends: Option<&[bool]>,
    rows: &Rows,
    config: &GaeConfig,
) {
    let decay = config.gamma * config.lambda;
    rows.for_each_row(|row| {
        let (mut next_value, mut next_advantage) = (0.0, 0.0);
        let (mask, ends) = (&rows.mask[row.clone()], ends.map(|ends| &ends[row.clone()]));
        let places = rewards[row.clone()].iter_mut().zip(&mut values[row]).zip(mask).enumerate();
        for (t, ((advantage, ret), counts)) in places.rev() {
            let (reward, value) = (advantage.wide(), ret.wide());
            if !counts {
                match config.masked {
                    Masked::Skip => {}
                    Masked::Zero => {
                        next_advantage = config.gamma * (next_value + config.lambda * next_advantage);
                        next_value = 0.0;
                    }
                    Masked::Reset => (next_value, next_advantage) = (0.0, 0.0),
                    Masked::Terminal => (next_value, next_advantage) = (value, reward - value),
                }
                (*advantage, *ret) = (A::narrow(0.0), V::narrow(0.0));
                continue;
            }
            if ends.is_some_and(|ends| ends[t]) {
                (next_value, next_advantage) = (0.0, 0.0);
            }
            let delta = reward + config.gamma * next_value - value;
            next_advantage = delta + decay * next_advantage;
            next_value = value;
            (*advantage, *ret) = (A::narrow(next_advantage), V::narrow(next_advantage + value));
        }
    });
}

/// Discounted rewards to go, `G_t = r_t + gamma G_{t+1}`, `[batch, time]`.
///
/// `rewards` `[batch, time]`. Values outside the mask are never read; `masked` says how they discount.
///
/// # Errors
/// [`Error::Shape`], and [`Error::Value`] for gamma outside `[0, 1]`.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{Masked, returns};
///
/// let device = Device::flex();
/// let rewards = Tensor::<2>::from_data([[1.0, 0.0, 4.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, false, true]], &device);
/// let to_go = |masked| returns(rewards.clone(), mask.clone(), 0.5, masked).unwrap().into_data();
/// assert_eq!(to_go(Masked::Skip).to_vec::<f32>().unwrap(), [3.0, 0.0, 4.0]); // 1 + 0.5 * 4
/// assert_eq!(to_go(Masked::Zero).to_vec::<f32>().unwrap(), [2.0, 0.0, 4.0]); // 1 + 0.25 * 4
/// assert_eq!(to_go(Masked::Reset).to_vec::<f32>().unwrap(), [1.0, 0.0, 4.0]);
/// ```
pub fn returns(rewards: Tensor<2>, mask: Tensor<2, Bool>, gamma: f64, masked: Masked) -> Result<Tensor<2>> {
    let rows = Rows::new(&mask)?;
    let to_go = to_go(&rows, &rewards, gamma, masked)?;
    Ok(from_host(to_go, rows.shape, &rewards))
}

fn to_go(rows: &Rows, rewards: &Tensor<2>, gamma: f64, masked: Masked) -> Result<Vec<f64>> {
    require("gamma", gamma, "a number in [0, 1]", |v| (0.0..=1.0).contains(&v))?;
    let r = match masked {
        Masked::Terminal => rows.read_all("rewards", rewards)?,
        _ => rows.read("rewards", rewards)?,
    };
    let mut to_go = vec![0.0; r.len()];
    rows.for_each_row(|row| {
        let mut running = 0.0;
        for t in row.rev() {
            match (rows.mask[t], masked) {
                (true, _) => {
                    running = r[t] + gamma * running;
                    to_go[t] = running;
                }
                (false, Masked::Skip) => {}
                (false, Masked::Zero) => running *= gamma,
                (false, Masked::Reset) => running = 0.0,
                (false, Masked::Terminal) => running = r[t],
            }
        }
    });
    Ok(to_go)
}

/// Settings of [`reinforce_pp`] and [`reinforce_pp_baseline`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReinforcePp {
    /// Discount per token.
    pub gamma: f64,
    /// How tokens outside the mask are treated.
    pub masked: Masked,
    /// What a group of one gets in the baseline variant, before whitening (verl: its reward).
    pub singleton: Singleton,
    /// The whitening over all tokens of the call.
    pub whiten: Whiten,
}

impl Default for ReinforcePp {
    fn default() -> Self {
        Self { gamma: 1.0, masked: Masked::Skip, singleton: Singleton::Raw, whiten: Whiten::default() }
    }
}

/// REINFORCE++: discounted returns of every token, whitened over the batch instead of within groups.
///
/// `A = whiten(G)` with `G_t = r_t + gamma G_{t+1}`, [arXiv:2501.03262], equations 4 and 5 (version 9). `rewards`
/// `[batch, time]`: usually the response's reward at its last token and a KL penalty at each. `returns` are the `G`.
///
/// # Errors
/// As [`returns`].
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{ReinforcePp, reinforce_pp};
///
/// let device = Device::flex();
/// let rewards = Tensor::<2>::from_data([[1.0], [-1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &device);
/// let out = reinforce_pp(rewards, mask, &ReinforcePp::default())?;
/// let a = out.advantages.into_data().to_vec::<f32>().unwrap();
/// assert!((a[0] - 1.0 / 2f32.sqrt()).abs() < 1e-6 && a[1] == -a[0]); // unbiased variance of {1, -1} is 2
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn reinforce_pp(rewards: Tensor<2>, mask: Tensor<2, Bool>, config: &ReinforcePp) -> Result<Returns> {
    config.whiten.check()?;
    let rows = Rows::new(&mask)?;
    let returns = to_go(&rows, &rewards, config.gamma, config.masked)?;
    let mut advantages = returns.clone();
    WhitenMoments::from_host(&advantages, &rows.mask).apply(&mut advantages, &rows.mask, &config.whiten);
    Ok(Returns {
        advantages: from_host(advantages, rows.shape, &rewards),
        returns: from_host(returns, rows.shape, &rewards),
    })
}

/// REINFORCE++ with a baseline: the reward minus its group's mean, at every token, whitened over the batch.
///
/// `A = whiten(R - mean_g)`, [arXiv:2501.03262], equations 6 and 7 (version 9). `rewards`, `groups`: one per response;
/// `mask` `[batch, time]`. The whitening weighs responses by their number of tokens.
///
/// # Errors
/// As [`group`](super::group()).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{ReinforcePp, reinforce_pp_baseline};
///
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &Device::flex());
/// let a = reinforce_pp_baseline(&[3.0, 1.0], &[0, 0], mask, &ReinforcePp::default())?;
/// let a = a.into_data().to_vec::<f32>().unwrap();
/// assert!((a[0] - 1.0 / 2f32.sqrt()).abs() < 1e-6 && a[1] == -a[0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn reinforce_pp_baseline(
    rewards: &[f64],
    groups: &[u64],
    mask: Tensor<2, Bool>,
    config: &ReinforcePp,
) -> Result<Tensor<2>> {
    let centred = GroupConfig { scale: Scale::None, singleton: config.singleton };
    let centred = group(rewards, groups, &centred)?;
    whiten_rows(&centred, mask, &config.whiten)
}

/// One value per response, put at each of its tokens and whitened over all tokens, `[batch, time]`.
pub(crate) fn whiten_rows(values: &[f64], mask: Tensor<2, Bool>, config: &Whiten) -> Result<Tensor<2>> {
    config.check()?;
    let rows = Rows::new(&mask)?;
    let [batch, time] = rows.shape;
    if values.len() != batch {
        return Err(Error::Shape {
            argument: "mask",
            expected: vec![values.len(), time],
            found: vec![batch, time],
        });
    }
    let mut tokens: Vec<f64> =
        rows.mask.iter().enumerate().map(|(i, &m)| if m { values[i / time] } else { 0.0 }).collect();
    WhitenMoments::from_host(&tokens, &rows.mask).apply(&mut tokens, &rows.mask, config);
    Ok(from_host_on(tokens, rows.shape, &mask.device()))
}

/// The denominator of the variance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// `n - 1` (verl).
    #[default]
    Unbiased,
    /// `n` (OpenRLHF).
    Biased,
}

/// How a vanishing variance is kept from blowing up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// `1 / sqrt(variance + eps)` (verl, torchtune).
    Add(f64),
    /// `1 / sqrt(max(variance, eps))` (OpenRLHF).
    Max(f64),
    /// `1 / (sqrt(variance) + eps)` (stable-baselines3, CleanRL).
    AddToStd(f64),
    /// No division at all: only the mean is removed (OpenRLHF's `no_std_norm`).
    Unscaled,
}

/// What becomes of the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mean {
    /// Removed.
    #[default]
    Remove,
    /// Added back after scaling.
    Keep,
}

/// Settings of [`whiten`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whiten {
    /// The denominator of the variance.
    pub variance: Variance,
    /// How a vanishing variance is treated.
    pub floor: Floor,
    /// What becomes of the mean.
    pub mean: Mean,
}

impl Default for Whiten {
    /// verl's: unbiased, `rsqrt(var + 1e-8)`, mean removed.
    fn default() -> Self {
        Self { variance: Variance::Unbiased, floor: Floor::Add(1e-8), mean: Mean::Remove }
    }
}

impl Whiten {
    fn check(&self) -> Result<()> {
        match self.floor {
            Floor::Add(eps) | Floor::Max(eps) | Floor::AddToStd(eps) => {
                require("floor", eps, "a positive number", |v| v > 0.0 && v.is_finite())
            }
            Floor::Unscaled => Ok(()),
        }
    }
}

/// Mean and spread of the counted tokens. Those of micro-batches and ranks [`merge`](Self::merge) into the global ones,
/// so that whitening does not depend on how the batch was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WhitenMoments {
    /// Counted tokens.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// The sum of squared distances from it.
    pub squares: f64,
}

impl WhitenMoments {
    /// Of the counted values of a `[batch, time]` tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] when the mask's shape differs.
    pub fn of(values: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<Self> {
        let rows = Rows::new(mask)?;
        Ok(Self::from_host(&rows.read("values", values)?, &rows.mask))
    }

    fn from_host<T: Word>(values: &[T], mask: &[bool]) -> Self {
        let counted = || values.iter().zip(mask).filter(|(_, m)| **m).map(|(v, _)| v.wide());
        let (count, sum) = counted().fold((0.0, 0.0), |(count, sum), v| (count + 1.0, sum + v));
        if count == 0.0 {
            return Self::default();
        }
        let mean = sum / count;
        Self { count, mean, squares: counted().map(|v| (v - mean).powi(2)).sum() }
    }

    /// The moments of both parts together (Chan, Golub and LeVeque's update).
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::advantage::WhitenMoments;
    ///
    /// let device = Device::flex();
    /// let all = Tensor::<2, Bool>::full([1, 2], true, &device);
    /// let of = |v: [f32; 2]| WhitenMoments::of(&Tensor::from_data([v], &device), &all);
    /// // 1, 3 and 5, 7: mean 4, squared distances 9 + 1 + 1 + 9
    /// assert_eq!(of([1.0, 3.0])?.merge(&of([5.0, 7.0])?), WhitenMoments { count: 4.0, mean: 4.0, squares: 20.0 });
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn merge(&self, other: &Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return Self::default();
        }
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * other.count / count,
            squares: self.squares + other.squares + delta * delta * self.count * other.count / count,
        }
    }

    fn apply<T: Word>(&self, values: &mut [T], mask: &[bool], config: &Whiten) {
        let freedom = match config.variance {
            Variance::Unbiased => self.count - 1.0,
            Variance::Biased => self.count,
        };
        let variance = if freedom > 0.0 { self.squares / freedom } else { 0.0 };
        let scale = match config.floor {
            Floor::Add(eps) => 1.0 / (variance + eps).sqrt(),
            Floor::Max(eps) => 1.0 / variance.max(eps).sqrt(),
            Floor::AddToStd(eps) => 1.0 / (variance.sqrt() + eps),
            Floor::Unscaled => 1.0,
        };
        let back = match config.mean {
            Mean::Remove => 0.0,
            Mean::Keep => self.mean,
        };
        for (v, &counts) in values.iter_mut().zip(mask) {
            // Equal values have no spread to divide by; their distance from the mean is rounding.
            *v = T::narrow(match (counts, self.squares > 0.0) {
                (true, true) => (v.wide() - self.mean) * scale + back,
                (true, false) => back,
                (false, _) => 0.0,
            });
        }
    }
}

/// Shifts and scales the counted values to mean zero and variance one, `[batch, time]`.
///
/// `(x - mean) / sqrt(var + 1e-8)`; [`Whiten`] has the variants. To whiten over several micro-batches or ranks, merge
/// their [`WhitenMoments`] and use [`whiten_with`]. Outside the mask the result is zero.
///
/// # Errors
/// [`Error::Shape`] when the mask's shape differs, [`Error::Value`] for an eps that is not positive.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{Variance, Whiten, whiten};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_data([[1.0, 3.0, f32::NAN]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true, false]], &device);
/// let config = Whiten { variance: Variance::Biased, ..Whiten::default() };
/// let y = whiten(x, mask, &config)?.into_data().to_vec::<f32>().unwrap();
/// assert!((y[0] + 1.0).abs() < 1e-6 && (y[1] - 1.0).abs() < 1e-6 && y[2] == 0.0);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn whiten(values: Tensor<2>, mask: Tensor<2, Bool>, config: &Whiten) -> Result<Tensor<2>> {
    let moments = WhitenMoments::of(&values, &mask)?;
    whiten_with(values, mask, &moments, config)
}

/// [`whiten`] with moments that may come from a larger batch than the values at hand.
///
/// # Errors
/// As [`whiten`].
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{Whiten, WhitenMoments, whiten_with};
///
/// let device = Device::flex();
/// let part = |v: f32| Tensor::<2>::from_data([[v]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let all = WhitenMoments::of(&part(1.0), &mask)?.merge(&WhitenMoments::of(&part(-1.0), &mask)?);
/// let y = whiten_with(part(1.0), mask, &all, &Whiten::default())?.into_scalar::<f32>();
/// assert!((y - 1.0 / 2f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn whiten_with(
    values: Tensor<2>,
    mask: Tensor<2, Bool>,
    moments: &WhitenMoments,
    config: &Whiten,
) -> Result<Tensor<2>> {
    config.check()?;
    let rows = Rows::new(&mask)?;
    let mut host = rows.read("values", &values)?;
    moments.apply(&mut host, &rows.mask, config);
    Ok(from_host(host, rows.shape, &values))
}
