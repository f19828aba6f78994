//! Noise on embeddings.

use burn::tensor::{Tensor, TensorData};
use rand::Rng;

/// Adds uniform noise to embeddings while training (NEFTune, [Jain et al. 2023](https://arxiv.org/abs/2310.05914),
/// algorithm 1): entries from ±`alpha / sqrt(length width)`.
///
/// * `embeddings`: `[batch, time, width]`.
/// * `lengths`: tokens of each row without padding, `[batch]`. Padding gets no noise.
///
/// The noise comes from the stream given, so the same stream gives the same noise.
///
/// # Panics
/// When `lengths` is not as long as the batch.
pub fn neftune(embeddings: Tensor<3>, lengths: &[usize], alpha: f64, random: &mut impl Rng) -> Tensor<3> {
    let [batch, time, width] = embeddings.dims();
    assert_eq!(lengths.len(), batch, "one length per row");
    let mut noise = vec![0.0_f32; batch * time * width];
    for (row, length) in noise.chunks_exact_mut(time * width).zip(lengths) {
        let length = (*length).min(time);
        let scale = (alpha / ((length * width).max(1) as f64).sqrt()) as f32;
        for value in &mut row[..length * width] {
            *value = random.random_range(-1.0_f32..=1.0) * scale;
        }
    }
    let noise = Tensor::<3>::from_data(TensorData::new(noise, [batch, time, width]), &embeddings.device());
    embeddings.clone().add(noise.cast(embeddings.dtype()))
}
