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
