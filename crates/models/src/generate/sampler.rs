//! From logits to a token: penalties, temperature, truncation, one draw.

use kernels::host::Exponentials;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Sampling;

/// The random stream of one sample, and the tokens it has seen where a penalty needs them.
pub(crate) struct Sampler {
    stream: Option<ChaCha8Rng>,
    seen: Vec<u32>,
}

/// A token with its log-probabilities (nats).
pub(crate) struct Drawn {
    pub token: u32,
    /// Under the raw logits.
    pub logprob: f32,
    /// Under the distribution it was drawn from.
    pub sampling_logprob: f32,
}

impl Sampler {
    pub fn new(sampling: &Sampling, request: u64, sample: u64, prompt: &[u32]) -> Self {
        let stream = (sampling.temperature > 0.0).then(|| {
            let mut key = [0u8; 32];
            key[..8].copy_from_slice(&sampling.seed.to_le_bytes());
            key[8..16].copy_from_slice(&request.to_le_bytes());
            key[16..24].copy_from_slice(&sample.to_le_bytes());
            key[24..].copy_from_slice(b"sampling");
            ChaCha8Rng::from_seed(key)
        });
        let mut sampler = Self { stream, seen: Vec::new() };
        if sampling.repetition_penalty != 1.0 {
            sampler.seen = prompt.to_vec();
            sampler.seen.sort_unstable();
            sampler.seen.dedup();
        }
        sampler
    }

    /// Draws a token; `None` if the logits give no distribution. `exponentials` is scratch space.
    pub fn draw(
        &mut self,
        sampling: &Sampling,
        logits: &[f32],
        exponentials: &mut Exponentials,
    ) -> Option<Drawn> {
        exponentials.compute(logits, 1.0);
        if !exponentials.total().is_finite() {
            return None;
        }
        let (max, log_total) = (exponentials.max(), exponentials.total().ln());
        let mut drawn = if sampling.repetition_penalty == 1.0 {
            self.choose(sampling, logits, exponentials)?
        } else {
            let mut changed = logits.to_vec();
            let penalty = sampling.repetition_penalty as f32;
            for token in &self.seen {
                let logit = &mut changed[*token as usize];
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
            exponentials.compute(&changed, 1.0);
            let drawn = self.choose(sampling, &changed, exponentials)?;
            if let Err(place) = self.seen.binary_search(&drawn.token) {
                self.seen.insert(place, drawn.token);
            }
            drawn
        };
        drawn.logprob = (f64::from(logits[drawn.token as usize] - max) - log_total) as f32;
        Some(drawn)
    }

    /// Chooses by temperature and truncation; `exponentials` are those at temperature 1.
    fn choose(
        &mut self,
        sampling: &Sampling,
        logits: &[f32],
        exponentials: &mut Exponentials,
    ) -> Option<Drawn> {
        let best = logits.iter().position(|logit| *logit == exponentials.max())?;
        let Some(stream) = &mut self.stream else {
            return Some(Drawn { token: best as u32, logprob: 0.0, sampling_logprob: 0.0 });
        };
        let draw: f64 = stream.random();
        let temperature = sampling.temperature as f32;
        if temperature != 1.0 {
            exponentials.compute(logits, temperature);
        }
        let chosen_with = |chosen: usize, total: f64| {
            let logprob = f64::from((logits[chosen] - exponentials.max()) / temperature) - total.ln();
            Some(Drawn { token: chosen as u32, logprob: 0.0, sampling_logprob: logprob as f32 })
        };
        if sampling.top_k.is_none() && sampling.top_p >= 1.0 && sampling.min_p <= 0.0 {
            return chosen_with(exponentials.token_at(draw).unwrap_or(best), exponentials.total());
        }
        let floor = floor(sampling, logits, exponentials.values(), exponentials.max(), temperature);
        let weights = || {
            exponentials
                .values()
                .iter()
                .zip(logits)
                .map(|(w, logit)| if *logit >= floor { f64::from(*w) } else { 0.0 })
        };
        let total: f64 = weights().sum();
        let mut left = draw * total;
        let chosen = weights().position(|weight| {
            left -= weight;
            left < 0.0
        });
        chosen_with(chosen.unwrap_or(best), total)
    }
}

/// The lowest logit that truncation keeps. Ties with it are kept too, as in transformers.
fn floor(sampling: &Sampling, logits: &[f32], weights: &[f32], max: f32, temperature: f32) -> f32 {
    let mut floor = f32::NEG_INFINITY;
    if let Some(k) = sampling.top_k
        && k < logits.len()
    {
        let mut values = logits.to_vec();
        let (_, kth, _) = values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        floor = *kth;
    }
    if sampling.top_p < 1.0 {
        let weight = |logit: f32| f64::from(((logit - max) / temperature).exp());
        let kept = weights.iter().zip(logits).filter(|(_, logit)| **logit >= floor);
        let total: f64 = kept.map(|(weight, _)| f64::from(*weight)).sum();
        let target = sampling.top_p * total;
        let mut values: Vec<f32> = logits.iter().copied().filter(|l| *l >= floor).collect();
        // The mass usually sits in few tokens, so growing heads of the order are sorted instead of all.
        let (mut sorted, mut mass, mut wanted) = (0, 0.0, 64);
        'search: while sorted < values.len() {
            let end = wanted.min(values.len());
            if end < values.len() {
                values[sorted..].select_nth_unstable_by(end - sorted - 1, |a, b| b.total_cmp(a));
            }
            values[sorted..end].sort_unstable_by(|a, b| b.total_cmp(a));
            for value in &values[sorted..end] {
                // A token stays while the mass before it is below the target.
                if mass >= target {
                    break 'search;
                }
                floor = *value;
                mass += weight(*value);
            }
            (sorted, wanted) = (end, wanted * 8);
        }
    }
    if sampling.min_p > 0.0 {
        floor = floor.max(max + (sampling.min_p.ln() as f32) * temperature);
    }
    floor.min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [2.0, 1.0, 0.5, 0.0, -1.0, -3.0];
    const DRAWS: u64 = 4000;

    /// Straight from the definitions, in f64, each step after the other as transformers takes them.
    fn expected(sampling: &Sampling, prompt: &[u32]) -> Vec<f64> {
        let penalty = sampling.repetition_penalty;
        let logit = |token: usize| match f64::from(LOGITS[token]) {
            logit if !prompt.contains(&(token as u32)) => logit,
            logit if logit < 0.0 => logit * penalty,
            logit => logit / penalty,
        };
        let normalised = |weights: Vec<f64>| -> Vec<f64> {
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / sum).collect()
        };
        let all = 0..LOGITS.len();
        let mut p =
            normalised(all.clone().map(|token| (logit(token) / sampling.temperature).exp()).collect());
        let mut order: Vec<usize> = all.collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
        for token in order.iter().skip(sampling.top_k.unwrap_or(LOGITS.len())) {
            p[*token] = 0.0;
        }
        p = normalised(p);
        let mut mass = 0.0;
        for token in &order {
            let own = p[*token];
            if mass >= sampling.top_p {
                p[*token] = 0.0;
            }
            mass += own;
        }
        p = normalised(p);
        let least = sampling.min_p * p[order[0]];
        normalised(p.into_iter().map(|p| if p < least { 0.0 } else { p }).collect())
    }

    #[test]
    fn tokens_come_as_often_as_their_distribution_says_and_bring_its_log_probabilities() {
        let plain = Sampling { temperature: 0.7, ..Sampling::default() };
        let cases = [
            (plain.clone(), 6),
            (Sampling { temperature: 1.5, ..plain.clone() }, 6),
            (Sampling { top_k: Some(3), ..plain.clone() }, 3),
            (Sampling { top_k: Some(50), ..plain.clone() }, 6),
            (Sampling { top_p: 0.8, ..plain.clone() }, 2),
            (Sampling { top_p: 0.5, ..plain.clone() }, 1),
            (Sampling { min_p: 0.1, ..plain.clone() }, 3),
            (Sampling { min_p: 1.0, ..plain.clone() }, 1),
            (Sampling { temperature: 1.5, top_k: Some(4), top_p: 0.9, min_p: 0.3, ..plain.clone() }, 3),
            (Sampling { repetition_penalty: 1.5, ..plain.clone() }, 6),
            (Sampling { repetition_penalty: 1.5, top_k: Some(2), ..plain }, 2),
        ];
        let prompt = [4, 0, 4];
        let raw_total: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        for (sampling, kept) in cases {
            let expected = expected(&sampling, &prompt);
            assert_eq!(expected.iter().filter(|p| **p > 0.0).count(), kept, "{sampling:?}");
            let mut counts = [0.0; LOGITS.len()];
            for sample in 0..DRAWS {
                let mut sampler = Sampler::new(&sampling, 3, sample, &prompt);
                let drawn = sampler.draw(&sampling, &LOGITS, &mut Exponentials::default()).unwrap();
                let token = drawn.token as usize;
                counts[token] += 1.0 / DRAWS as f64;
                let raw = f64::from(LOGITS[token]) - raw_total.ln();
                assert!((f64::from(drawn.logprob) - raw).abs() < 1e-5, "{sampling:?}");
                let own = f64::from(drawn.sampling_logprob);
                assert!((own - expected[token].ln()).abs() < 1e-5, "{sampling:?}: {own} for token {token}");
            }
            // More than six standard deviations of a share of 4,000 draws.
            assert!(
                counts.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.05),
                "{sampling:?}: {counts:?}"
            );
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest_and_a_penalty_counts_what_was_written() {
        let greedy = |sampling: &Sampling, logits: &[f32], count: usize| -> Vec<u32> {
            let mut sampler = Sampler::new(sampling, 0, 0, &[5]);
            let mut draw = || sampler.draw(sampling, logits, &mut Exponentials::default()).unwrap();
            (0..count)
                .map(|_| {
                    let drawn = draw();
                    assert_eq!(drawn.sampling_logprob, 0.0);
                    drawn.token
                })
                .collect()
        };
        assert_eq!(greedy(&Sampling::default(), &[0.0, 3.0, 3.0], 2), [1, 1]);
        // 2, then 1 (2 / 3 behind it), then 2 / 3 again (1 / 3 and 1 / 2 behind it).
        let penalty = Sampling { repetition_penalty: 3.0, ..Sampling::default() };
        assert_eq!(greedy(&penalty, &LOGITS, 3), [0, 1, 0]);
    }

    #[test]
    fn logits_without_a_distribution_give_nothing() {
        for bad in [f32::NAN, f32::INFINITY] {
            for temperature in [0.0, 1.0] {
                let sampling = Sampling { temperature, ..Sampling::default() };
                let mut sampler = Sampler::new(&sampling, 0, 0, &[0]);
                assert!(sampler.draw(&sampling, &[0.0, bad, 1.0], &mut Exponentials::default()).is_none());
            }
        }
        let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
        let mut sampler = Sampler::new(&sampling, 0, 0, &[0]);
        let impossible = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        assert_eq!(sampler.draw(&sampling, &impossible, &mut Exponentials::default()).unwrap().token, 1);
        let nothing = [f32::NEG_INFINITY; 3];
        assert!(sampler.draw(&sampling, &nothing, &mut Exponentials::default()).is_none());
    }
}
