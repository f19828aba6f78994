//! The gradient argument behind mid-training, computed exactly: how far one policy-gradient step moves a softmax
//! policy, and how long reinforcement learning needs until a rare but better approach is used.
//!
//! The model: a solution has parts; for each part the policy, an independent softmax, picks one approach; the needed
//! approach succeeds with `needed`, any other with `other`; the answer is right when all parts succeed. Learning
//! follows the exact gradient of that probability ([`time_to_threshold`]) or samples it
//! ([`sampled_updates_to_threshold`]). It is a model of the choice between approaches alone: no network, no
//! generalisation between questions, no clipping.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The probabilities of a softmax over `logits`.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// How one policy-gradient step changes the probability of the token that was sampled.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct OneStep {
    /// The change, computed by taking the step.
    pub exact: f64,
    /// The change to first order in the step: `eta A p (1 - 2 p + sum_b p_b^2)`.
    pub first_order: f64,
    /// What `eta A p (1 - p)^2` gives: the sampled token's own logit moves, the others stand still. For a confident
    /// policy this is the paper's `eta A eps^2`.
    pub own_logit: f64,
}

/// One step of size `eta_advantage` (learning rate times advantage) for token `sampled` of a policy with these
/// probabilities: every logit `b` moves by `eta A ([b = sampled] - p_b)`.
///
/// With N equal modes the first order is `eta A (1/N) (1 - 1/N)`, as the paper says. For a confident policy with
/// `p = 1 - eps` it lies between `eta A eps^2 (1 - eps)` (the rest spread thinly) and twice that (the rest on one
/// token).
///
/// ```
/// let four_modes = [0.25; 4];
/// let step = evaluation::theory::one_step(&four_modes, 0, 0.01);
/// assert!((step.first_order - 0.01 * 0.25 * 0.75).abs() < 1e-15);
/// assert!((step.exact - step.first_order).abs() < 0.02 * step.exact);
/// ```
///
/// # Panics
/// If `sampled` is no index of `probabilities`.
pub fn one_step(probabilities: &[f64], sampled: usize, eta_advantage: f64) -> OneStep {
    let p = probabilities[sampled];
    // The new probability is p e^u / (p e^u + sum_b p_b e^(u_b)); everything relative to the sampled token's move.
    let moved = |b: usize| eta_advantage * (f64::from(u8::from(b == sampled)) - probabilities[b]);
    // sum_b p_b (e^(u_b - u_a) - 1), term by term, so that small changes do not drown in rounding.
    let drag: f64 =
        (0..probabilities.len()).map(|b| probabilities[b] * (moved(b) - moved(sampled)).exp_m1()).sum();
    let squares: f64 = probabilities.iter().map(|p| p * p).sum();
    // Rest of the mass, not 1 - p: exact for confident policies.
    let rest: f64 = (0..probabilities.len()).filter(|&b| b != sampled).map(|b| probabilities[b]).sum();
    let other_squares = squares - p * p;
    OneStep {
        exact: p * -drag / (1.0 + drag),
        first_order: eta_advantage * p * (rest * rest + other_squares),
        own_logit: eta_advantage * p * rest * rest,
    }
}

/// Parts, approaches and their success rates.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Task {
    /// Number of parts. Part `j` needs approach `j mod approaches`.
    pub parts: usize,
    /// Number of approaches. Approach 0 is the policy's default.
    pub approaches: usize,
    /// Success rate of the needed approach.
    pub needed: f64,
    /// Success rate of any other.
    pub other: f64,
}

impl Task {
    /// `needed - other`, the gain from choosing well.
    pub fn gain(&self) -> f64 {
        self.needed - self.other
    }

    fn needs(&self, part: usize) -> usize {
        part % self.approaches
    }

    /// A policy that gives each approach but the default the mass `eps`, in every part.
    pub fn policy(&self, eps: f64) -> Vec<Vec<f64>> {
        let default = 1.0 - eps * (self.approaches - 1) as f64;
        let logits: Vec<f64> =
            (0..self.approaches).map(|a| if a == 0 { default.ln() } else { eps.ln() }).collect();
        vec![logits; self.parts]
    }

    fn success(&self, part: usize, policy: &[f64]) -> f64 {
        self.other + self.gain() * policy[self.needs(part)]
    }

    /// The probability that every part gets the approach it needs.
    pub fn all_needed(&self, logits: &[Vec<f64>]) -> f64 {
        logits.iter().enumerate().map(|(part, logits)| softmax(logits)[self.needs(part)]).product()
    }

    /// The gradient of the success probability with respect to all logits.
    fn gradient(&self, logits: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let policies: Vec<Vec<f64>> = logits.iter().map(|logits| softmax(logits)).collect();
        let rates: Vec<f64> =
            policies.iter().enumerate().map(|(part, policy)| self.success(part, policy)).collect();
        (0..self.parts)
            .map(|part| {
                let others: f64 =
                    (0..self.parts).filter(|&other| other != part).map(|other| rates[other]).product();
                (0..self.approaches)
                    .map(|a| {
                        let rate = if a == self.needs(part) { self.needed } else { self.other };
                        others * policies[part][a] * (rate - rates[part])
                    })
                    .collect()
            })
            .collect()
    }
}

/// The exact time of gradient flow from mass `eps` to one half, for one part and two approaches.
///
/// `dp/dt = 2 D p^2 (1 - p)^2`, hence `[1/eps - 1/(1 - eps) + 2 ln((1 - eps)/eps)] / (2 D)`, about `1 / (2 D eps)`
/// for small `eps`. `gain` is D, the difference of the success rates.
///
/// ```
/// let t = evaluation::theory::time_to_half(0.01, 0.9);
/// assert!((t - 60.1).abs() < 0.05);
/// ```
pub fn time_to_half(eps: f64, gain: f64) -> f64 {
    (1.0 / eps - 1.0 / (1.0 - eps) + 2.0 * ((1.0 - eps) / eps).ln()) / (2.0 * gain)
}

/// The approximate time for several parts: the slowest part alone, `1 / (2 D eps S)`, where S is the other parts'
/// initial success probability. An approximation, not a theorem; with one part S = 1.
pub fn approximate_time(task: &Task, eps: f64) -> f64 {
    let policies: Vec<Vec<f64>> = task.policy(eps).iter().map(|logits| softmax(logits)).collect();
    let slowest = |part: usize| {
        let others: f64 = (0..task.parts)
            .filter(|&other| other != part)
            .map(|other| task.success(other, &policies[other]))
            .product();
        1.0 / (2.0 * task.gain() * policies[part][task.needs(part)] * others)
    };
    (0..task.parts).map(slowest).fold(0.0, f64::max)
}

/// The time of gradient flow until [`Task::all_needed`] reaches `threshold`, by fourth-order Runge-Kutta with steps
/// that shrink as the policy speeds up. `None` if `max_time` passes first.
pub fn time_to_threshold(task: &Task, start: Vec<Vec<f64>>, threshold: f64, max_time: f64) -> Option<f64> {
    /// The largest change of any logit in one step.
    const STEP: f64 = 0.02;
    let mut logits = start;
    let mut time = 0.0;
    let mut reached = task.all_needed(&logits);
    while reached < threshold {
        if time >= max_time {
            return None;
        }
        let k1 = task.gradient(&logits);
        let steepest = k1.iter().flatten().fold(0.0f64, |most, slope| most.max(slope.abs()));
        let h = (STEP / steepest.max(1e-300)).min(max_time - time).max(1e-12);
        let k2 = task.gradient(&moved(&logits, &k1, h / 2.0));
        let k3 = task.gradient(&moved(&logits, &k2, h / 2.0));
        let k4 = task.gradient(&moved(&logits, &k3, h));
        let mut next = moved(&logits, &k1, h / 6.0);
        next = moved(&next, &k2, h / 3.0);
        next = moved(&next, &k3, h / 3.0);
        next = moved(&next, &k4, h / 6.0);
        let now = task.all_needed(&next);
        if now >= threshold {
            // Within one small step the curve is close to straight.
            return Some(time + h * (threshold - reached) / (now - reached));
        }
        (logits, reached) = (next, now);
        time += h;
    }
    Some(time)
}

fn moved(logits: &[Vec<f64>], slope: &[Vec<f64>], by: f64) -> Vec<Vec<f64>> {
    let add =
        |(logits, slope): (&Vec<f64>, &Vec<f64>)| logits.iter().zip(slope).map(|(z, s)| z + by * s).collect();
    logits.iter().zip(slope).map(add).collect()
}

/// How the sampled policy gradient learns.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SampledConfig {
    /// Solutions per update.
    pub samples: usize,
    /// Step size on the logits.
    pub learning_rate: f64,
    /// Give up after this many updates.
    pub max_updates: usize,
}

/// The number of updates of REINFORCE (batch mean reward as the baseline) until [`Task::all_needed`] reaches
/// `threshold`; `None` after `max_updates`. One run of a ChaCha8 stream of `seed`.
pub fn sampled_updates_to_threshold(
    task: &Task,
    start: Vec<Vec<f64>>,
    threshold: f64,
    config: &SampledConfig,
    seed: u64,
) -> Option<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut logits = start;
    let mut picks = vec![0usize; task.parts * config.samples];
    let mut rewards = vec![0.0f64; config.samples];
    for update in 0..=config.max_updates {
        let policies: Vec<Vec<f64>> = logits.iter().map(|logits| softmax(logits)).collect();
        let all: f64 = policies.iter().enumerate().map(|(part, policy)| policy[task.needs(part)]).product();
        if all >= threshold {
            return Some(update);
        }
        for (reward, picks) in rewards.iter_mut().zip(picks.chunks_mut(task.parts)) {
            let mut rate = 1.0;
            for (part, pick) in picks.iter_mut().enumerate() {
                *pick = draw(&policies[part], random.random());
                rate *= if *pick == task.needs(part) { task.needed } else { task.other };
            }
            *reward = f64::from(u8::from(random.random::<f64>() < rate));
        }
        let baseline = rewards.iter().sum::<f64>() / config.samples as f64;
        let scale = config.learning_rate / config.samples as f64;
        // sum_i A_i ([a_i = a] - p_a): the advantages sum to zero, so the second term drops out.
        for (reward, picks) in rewards.iter().zip(picks.chunks(task.parts)) {
            for (part, &pick) in picks.iter().enumerate() {
                logits[part][pick] += scale * (reward - baseline);
            }
        }
    }
    None
}

fn draw(policy: &[f64], mut uniform: f64) -> usize {
    for (a, p) in policy.iter().enumerate() {
        if uniform < *p {
            return a;
        }
        uniform -= p;
    }
    policy.len() - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_part() -> Task {
        Task { parts: 1, approaches: 2, needed: 0.95, other: 0.05 }
    }

    /// One part that needs the approach which is not the default.
    fn rare(eps: f64) -> Vec<Vec<f64>> {
        vec![vec![eps.ln(), (1.0 - eps).ln()]]
    }

    #[test]
    fn flow_equals_the_closed_form() {
        for eps in [0.3, 0.1, 0.01, 0.001, 1e-5] {
            let exact = time_to_half(eps, 0.9);
            let flow = time_to_threshold(&one_part(), rare(eps), 0.5, 1e9).unwrap();
            assert!((flow / exact - 1.0).abs() < 1e-4, "eps {eps}: {flow} against {exact}");
        }
        assert_eq!(time_to_threshold(&one_part(), rare(0.01), 0.5, 30.0), None);
        assert_eq!(time_to_threshold(&one_part(), rare(0.6), 0.5, 30.0), Some(0.0));
    }

    #[test]
    fn the_approximation_holds_for_rare_approaches() {
        let task = Task { parts: 3, approaches: 3, needed: 0.98, other: 0.1 };
        let flow = time_to_threshold(&task, task.policy(0.001), 0.5, 1e6).unwrap();
        let approximation = approximate_time(&task, 0.001);
        assert!((flow / approximation - 1.0).abs() < 0.05, "{flow} against {approximation}");
    }

    #[test]
    fn sampling_agrees_with_the_flow() {
        // A small step and large batches follow the flow: updates times step is time.
        let config = SampledConfig { samples: 512, learning_rate: 0.25, max_updates: 10_000 };
        let mut updates: Vec<usize> = (0..9)
            .map(|seed| sampled_updates_to_threshold(&one_part(), rare(0.05), 0.5, &config, seed).unwrap())
            .collect();
        updates.sort_unstable();
        let time = updates[4] as f64 * config.learning_rate;
        assert!((time / time_to_half(0.05, 0.9) - 1.0).abs() < 0.15, "{time}");
        let few = SampledConfig { max_updates: 3, ..config };
        assert_eq!(sampled_updates_to_threshold(&one_part(), rare(0.05), 0.5, &few, 0), None);
    }

    #[test]
    fn confident_policies_barely_move() {
        // The rest on one token: 2 eps^2; the rest spread over many: eps^2.
        let eps = 1e-3;
        let two = one_step(&[1.0 - eps, eps], 0, 0.1);
        assert!((two.first_order / (0.1 * (1.0 - eps) * 2.0 * eps * eps) - 1.0).abs() < 1e-9);
        let mut spread = vec![eps / 1000.0; 1001];
        spread[0] = 1.0 - eps;
        let many = one_step(&spread, 0, 0.1);
        assert!((many.first_order / (0.1 * (1.0 - eps) * eps * eps) - 1.0).abs() < 2e-3);
        assert!((many.exact / many.first_order - 1.0).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn small_steps_are_first_order(weights in prop::collection::vec(0.01f64..1.0, 2..8), at in 0usize..8) {
            let sum: f64 = weights.iter().sum();
            let policy: Vec<f64> = weights.iter().map(|w| w / sum).collect();
            let sampled = at % policy.len();
            let step = one_step(&policy, sampled, 1e-4);
            prop_assert!((step.exact / step.first_order - 1.0).abs() < 1e-3);
            // The same by moving logits and taking the softmax.
            let logits: Vec<f64> = policy.iter().map(|p| p.ln()).collect();
            let moved: Vec<f64> = logits
                .iter()
                .enumerate()
                .map(|(b, z)| z + 0.7 * (f64::from(u8::from(b == sampled)) - policy[b]))
                .collect();
            let exact = softmax(&moved)[sampled] - policy[sampled];
            prop_assert!((one_step(&policy, sampled, 0.7).exact - exact).abs() < 1e-12);
        }
    }
}
