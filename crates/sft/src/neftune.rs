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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    const TIME: usize = 50;
    const WIDTH: usize = 8;

    fn noise(seed: u64) -> Vec<f32> {
        let zeros = Tensor::<3>::zeros([2, TIME, WIDTH], &Device::flex());
        let noisy = neftune(zeros, &[TIME, 10], 5.0, &mut ChaCha8Rng::seed_from_u64(seed));
        noisy.into_data().iter::<f32>().collect()
    }

    #[test]
    fn noise_is_uniform_within_its_bound_and_spares_padding() {
        let found = noise(1);
        for (row, length) in found.chunks(TIME * WIDTH).zip([TIME, 10]) {
            let (text, padding) = row.split_at(length * WIDTH);
            let bound = 5.0 / ((length * WIDTH) as f32).sqrt();
            assert!(text.iter().all(|value| value.abs() <= bound));
            // The mean square of a uniform number is a third of its bound's square.
            let square = text.iter().map(|value| value * value).sum::<f32>() / text.len() as f32;
            let share = 3.0 * square / (bound * bound);
            assert!((0.6..1.5).contains(&share), "{share}");
            assert!(padding.iter().all(|value| *value == 0.0));
        }
        assert_eq!(found, noise(1));
        assert_ne!(found, noise(2));
    }

    #[test]
    fn noise_is_added_and_gradients_pass() {
        let device = Device::flex().autodiff();
        let embeddings = Tensor::<3>::full([2, TIME, WIDTH], 3.0, &device).require_grad();
        let noisy = neftune(embeddings.clone(), &[TIME, 10], 5.0, &mut ChaCha8Rng::seed_from_u64(1));
        let values = noisy.clone().into_data().iter::<f32>().collect::<Vec<_>>();
        assert!(values.iter().zip(noise(1)).all(|(value, noise)| (value - 3.0 - noise).abs() < 1e-6));
        let gradient = embeddings.grad(&noisy.sum().backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(|value| value == 1.0));
    }
}
