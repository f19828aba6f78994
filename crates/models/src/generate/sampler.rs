//! From logits to a token: penalties, temperature, truncation, one draw.

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

    /// Draws a token; `None` if the logits give no distribution. The logits are used as scratch space.
    pub fn draw(&mut self, sampling: &Sampling, logits: &mut [f32]) -> Option<Drawn> {
        let raw = LogSum::of(logits, 1.0);
        if !raw.total.is_finite() {
            return None;
        }
        let mut drawn = if sampling.repetition_penalty == 1.0 {
            self.choose(sampling, logits, raw)?
        } else {
            let mut changed = logits.to_vec();
            let penalty = sampling.repetition_penalty as f32;
            for token in &self.seen {
                let logit = &mut changed[*token as usize];
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
            let drawn = self.choose(sampling, &changed, LogSum::of(&changed, 1.0))?;
            if let Err(place) = self.seen.binary_search(&drawn.token) {
                self.seen.insert(place, drawn.token);
            }
            drawn
        };
        drawn.logprob = raw.logprob(logits[drawn.token as usize]);
        Some(drawn)
    }

    /// Chooses by temperature and truncation; `plain` is the sum at temperature 1.
    fn choose(&mut self, sampling: &Sampling, logits: &[f32], plain: LogSum) -> Option<Drawn> {
        let Some(stream) = &mut self.stream else {
            return Some(Drawn { token: plain.best as u32, logprob: 0.0, sampling_logprob: 0.0 });
        };
        let draw: f64 = stream.random();
        let temperature = sampling.temperature as f32;
        if sampling.top_k.is_none() && sampling.top_p >= 1.0 && sampling.min_p <= 0.0 {
            let sum = if temperature == 1.0 { plain } else { LogSum::of(logits, temperature) };
            let mut left = draw * sum.total;
            let mut chosen = sum.best;
            for (token, logit) in logits.iter().enumerate() {
                left -= f64::from(exp((logit - sum.max) / temperature));
                if left < 0.0 {
                    chosen = token;
                    break;
                }
            }
            let sampling_logprob = (logits[chosen] - sum.max) / temperature - sum.total.ln() as f32;
            return Some(Drawn { token: chosen as u32, logprob: 0.0, sampling_logprob });
        }
        let floor = floor(sampling, logits, plain.max, temperature);
        let weight = |logit: f32| f64::from(exp((logit - plain.max) / temperature));
        let total: f64 = logits.iter().filter(|l| **l >= floor).map(|l| weight(*l)).sum();
        let mut left = draw * total;
        let mut chosen = plain.best;
        for (token, logit) in logits.iter().enumerate().filter(|(_, l)| **l >= floor) {
            left -= weight(*logit);
            if left < 0.0 {
                chosen = token;
                break;
            }
        }
        let sampling_logprob = (logits[chosen] - plain.max) / temperature - total.ln() as f32;
        Some(Drawn { token: chosen as u32, logprob: 0.0, sampling_logprob })
    }
}

/// The largest logit and the sum of the exponentials below it.
#[derive(Clone, Copy)]
struct LogSum {
    max: f32,
    best: usize,
    total: f64,
}

impl LogSum {
    fn of(logits: &[f32], temperature: f32) -> Self {
        let mut max = f32::NEG_INFINITY;
        let mut best = 0;
        for (token, logit) in logits.iter().enumerate() {
            if *logit > max {
                (max, best) = (*logit, token);
            }
        }
        let total = logits.iter().map(|l| f64::from(exp((l - max) / temperature))).sum();
        Self { max, best, total }
    }

    fn logprob(&self, logit: f32) -> f32 {
        (f64::from(logit - self.max) - self.total.ln()) as f32
    }
}

fn exp(x: f32) -> f32 {
    x.exp()
}

/// The lowest logit that truncation keeps. Ties with it are kept too, as in transformers.
fn floor(sampling: &Sampling, logits: &[f32], max: f32, temperature: f32) -> f32 {
    let mut floor = f32::NEG_INFINITY;
    if let Some(k) = sampling.top_k
        && k < logits.len()
    {
        let mut values = logits.to_vec();
        let (_, kth, _) = values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        floor = *kth;
    }
    if sampling.top_p < 1.0 {
        let weight = |logit: f32| f64::from(exp((logit - max) / temperature));
        let total: f64 = logits.iter().filter(|l| **l >= floor).map(|l| weight(*l)).sum();
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
