//! Initial weights from streams of our own: one per tensor, keyed by the seed and the tensor's name.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where the values of a tensor come from while a model is put together.
pub(crate) trait Source {
    /// The tensor of that name and shape.
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> crate::error::Result<Tensor<D>>;
}

/// Normal weights, unit norms, zero biases.
pub(crate) struct Random<'a> {
    pub seed: u64,
    pub deviation: f64,
    pub device: &'a Device,
}

impl Source for Random<'_> {
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> crate::error::Result<Tensor<D>> {
        let count: usize = shape.iter().product();
        let values = if name.ends_with("norm.weight") {
            vec![1.0; count]
        } else if name.ends_with(".bias") {
            vec![0.0; count]
        } else {
            normal(self.seed, name, count, self.deviation)
        };
        Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}

/// `count` normal numbers of the stream of `(seed, name)`.
pub(crate) fn normal(seed: u64, name: &str, count: usize, deviation: f64) -> Vec<f32> {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(fnv(name.as_bytes()));
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Box and Muller: two uniform numbers, the first in (0, 1], give two normal ones.
        let radius = (-2.0 * (1.0 - stream.random::<f64>()).ln()).sqrt() * deviation;
        let (sin, cos) = (stream.random::<f64>() * std::f64::consts::TAU).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(count);
    values
}

/// `count` numbers of the stream of `(seed, name)`, uniform within `bound` of zero.
pub(crate) fn uniform(seed: u64, name: &str, count: usize, bound: f64) -> Vec<f32> {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(fnv(name.as_bytes()));
    (0..count).map(|_| ((stream.random::<f64>() * 2.0 - 1.0) * bound) as f32).collect()
}

/// The 64-bit FNV-1a hash.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
