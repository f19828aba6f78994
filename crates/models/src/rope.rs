//! Rotary position embeddings: frequencies of every scaling rule, and tables of cosines and sines.

use std::f64::consts::PI;

use burn::tensor::{Device, Tensor, TensorData};

/// How the rotation frequencies are stretched for long contexts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// The frequencies as trained.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Llama 3.1's rule: low frequencies are divided, high ones kept, those between interpolated.
    Llama3 {
        /// The stretch of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_positions / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original_positions / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context length of the first training.
        original_positions: usize,
    },
    /// YaRN, <https://arxiv.org/abs/2309.00071>.
    Yarn {
        /// The stretch.
        factor: f64,
        /// The factor on cosines and sines.
        attention_factor: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is fully stretched.
        beta_slow: f64,
        /// The context length of the first training.
        original_positions: usize,
        /// Round the bounds of the ramp to whole dimensions.
        truncate: bool,
    },
    /// LongRoPE, <https://arxiv.org/abs/2402.13753>: one factor per frequency, another set beyond the original length.
    LongRope {
        /// Factors up to `original_positions`.
        short: Vec<f32>,
        /// Factors beyond.
        long: Vec<f32>,
        /// The factor on cosines and sines.
        attention_factor: f64,
        /// The context length of the first training.
        original_positions: usize,
    },
}

/// The rotary embedding of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// How many dimensions of a head are rotated; even, at most the head's size.
    pub dim: usize,
    /// How the frequencies are stretched.
    pub scaling: RopeScaling,
}

impl Rope {
    /// Angle per position of each rotated pair, in the f32 arithmetic of the reference implementation,
    /// for a sequence of `length` positions (which matters for LongRoPE alone).
    #[must_use]
    pub fn frequencies(&self, length: usize) -> Vec<f32> {
        let half = self.dim / 2;
        let base: Vec<f32> = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / self.dim as f32;
                self.theta.powf(f64::from(exponent)) as f32
            })
            .collect();
        match &self.scaling {
            RopeScaling::None => base.iter().map(|p| 1.0 / p).collect(),
            RopeScaling::Linear { factor } => base.iter().map(|p| (1.0 / p) / *factor as f32).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => {
                let original = *original_positions as f64;
                let (low, high) = (original / low_freq_factor, original / high_freq_factor);
                base.iter()
                    .map(|p| {
                        let frequency = 1.0 / p;
                        let wavelength = 2.0 * PI / f64::from(frequency);
                        if wavelength > low {
                            (f64::from(frequency) / factor) as f32
                        } else if wavelength < high {
                            frequency
                        } else {
                            let smooth = (original / wavelength - low_freq_factor)
                                / (high_freq_factor - low_freq_factor);
                            ((1.0 - smooth) * f64::from(frequency) / factor + smooth * f64::from(frequency))
                                as f32
                        }
                    })
                    .collect()
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_positions, truncate, .. } => {
                let dim = self.dim as f64;
                let correction = |rotations: f64| {
                    dim * (*original_positions as f64 / (rotations * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (correction(*beta_fast), correction(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                low = low.max(0.0);
                high = high.min(dim - 1.0);
                if low == high {
                    high += 0.001;
                }
                base.iter()
                    .enumerate()
                    .map(|(i, p)| {
                        let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                        let keep = 1.0 - ramp;
                        (1.0 / (*factor as f32 * p)) * (1.0 - keep) + (1.0 / p) * keep
                    })
                    .collect()
            }
            RopeScaling::LongRope { short, long, .. } => {
                let factors = if self.is_long(length) { long } else { short };
                base.iter().zip(factors).map(|(p, factor)| 1.0 / (factor * p)).collect()
            }
        }
    }

    /// Whether a text of `length` positions gets LongRoPE's second set of factors. A text that is sampled keeps the set of its
    /// prompt, since the keys in the cache have been rotated by it.
    #[must_use]
    pub fn is_long(&self, length: usize) -> bool {
        match &self.scaling {
            RopeScaling::LongRope { original_positions, .. } => length > *original_positions,
            _ => false,
        }
    }

    /// The factor on cosines and sines.
    #[must_use]
    pub fn attention_factor(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// Cosines and sines of `positions`, each `positions.len() * dim / 2` values, row by row.
    #[must_use]
    pub fn table(&self, positions: impl Iterator<Item = u32>, length: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.frequencies(length);
        let factor = self.attention_factor() as f32;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for frequency in &frequencies {
                // The product is rounded to f32, as in the reference implementation.
                let angle = f64::from(position as f32 * frequency);
                let (s, c) = angle.sin_cos();
                cos.push(c as f32 * factor);
                sin.push(s as f32 * factor);
            }
        }
        (cos, sin)
    }
}

/// Cosines and sines on a device, `[positions, dim / 2]` each, ready for the layers of one forward pass.
#[derive(Debug, Clone)]
pub(crate) struct RotaryTable {
    pub cos: Tensor<2>,
    pub sin: Tensor<2>,
}

impl RotaryTable {
    pub fn new(rope: &Rope, positions: impl Iterator<Item = u32>, length: usize, device: &Device) -> Self {
        let half = rope.dim / 2;
        let (cos, sin) = rope.table(positions, length);
        let rows = cos.len() / half;
        let tensor = |values| Tensor::from_data(TensorData::new(values, [rows, half]), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }
}
