//! Losses: values by hand, laws, and mistakes others had to fix.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sft::{Batch, Example, LossConfig, Weighting, cross_entropy};

fn devices() -> Vec<Device> {
    #[allow(deprecated)]
    let ndarray = Device::ndarray();
    vec![Device::flex().autodiff(), ndarray.autodiff()]
}

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.random_range(-1.0_f32..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Straight from the definitions, in f64.
fn reference(hidden: &[f32], head: &[f32], width: usize, targets: &[usize], config: &LossConfig) -> f64 {
    let mut sum = 0.0;
    for (row, target) in hidden.chunks(width).zip(targets) {
        let logits: Vec<f64> = head
            .chunks(width)
            .map(|weights| row.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
            .collect();
        let log_z = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        let log_probs: Vec<f64> = logits.iter().map(|logit| logit - log_z).collect();
        let e = config.label_smoothing;
        let uniform = -log_probs.iter().sum::<f64>() / log_probs.len() as f64;
        let mut loss = (1.0 - e) * -log_probs[*target] + e * uniform;
        if config.weighting == Weighting::Dft {
            loss *= log_probs[*target].exp();
        }
        sum += loss;
    }
    sum
}

fn configs() -> Vec<LossConfig> {
    let mut all = Vec::new();
    for label_smoothing in [0.0, 0.1] {
        for weighting in [Weighting::Uniform, Weighting::Dft] {
            all.push(LossConfig { label_smoothing, weighting, chunk: 3, accuracy: true });
        }
    }
    all
}

#[test]
fn uniform_logits_give_the_logarithm_of_the_vocabulary() {
    for device in devices() {
        let example = Example::all(vec![1, 2, 3]);
        let batch = Batch::collate(&[&example], 0, &device).unwrap();
        let hidden = Tensor::zeros([1, 2, 4], &device);
        let loss = cross_entropy(hidden, random([5, 4], 1, &device), &batch, &LossConfig::default()).unwrap();
        let metrics = loss.metrics();
        assert!((metrics.loss - 2.0 * 5.0_f64.ln()).abs() < 1e-6);
        assert!((metrics.perplexity() - 5.0).abs() < 1e-5);
        assert!((metrics.mean_entropy() - 5.0_f64.ln()).abs() < 1e-6);
        assert_eq!(metrics.accuracy(), None);
    }
}

#[test]
fn values_are_the_definitions() {
    for device in devices() {
        for config in configs() {
            let examples =
                [Example::all(vec![1, 2, 3, 4, 0]), Example::prompt_completion(vec![1, 4], vec![3, 2])];
            let batch = Batch::collate(&[&examples[0], &examples[1]], 0, &device).unwrap();
            let hidden = random([2, 4, 6], 2, &device);
            let head = random([5, 6], 3, &device);
            let values = vec(hidden.clone());
            let counted: Vec<f32> = [0, 1, 2, 3, 5, 6]
                .iter()
                .flat_map(|place| values[place * 6..place * 6 + 6].to_vec())
                .collect();
            let expected = reference(&counted, &vec(head.clone()), 6, &[2, 3, 4, 0, 3, 2], &config);
            let loss = cross_entropy(hidden, head, &batch, &config).unwrap();
            assert_eq!(loss.count, 6.0);
            let found = loss.metrics();
            assert!((found.loss - expected).abs() < 1e-5, "{config:?}: {} for {expected}", found.loss);
            assert!(found.accuracy().is_some_and(|share| (0.0..=1.0).contains(&share)));
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    let device = &devices()[0];
    for config in configs().into_iter().filter(|config| config.weighting == Weighting::Uniform) {
        let example = Example::prompt_completion(vec![1, 4], vec![3, 2, 0]);
        let batch = Batch::collate(&[&example], 0, device).unwrap();
        let hidden = random([1, 4, 3], 2, device).require_grad();
        let head = random([5, 3], 3, device).require_grad();
        let gradients = cross_entropy(hidden.clone(), head.clone(), &batch, &config).unwrap().sum.backward();
        let by_hidden = vec(hidden.grad(&gradients).unwrap());
        let by_head = vec(head.grad(&gradients).unwrap());
        let (h, w) = (vec(hidden), vec(head));
        let value = |h: &[f32], w: &[f32]| reference(&h[3..], w, 3, &[3, 2, 0], &config);
        let step = 1e-3_f32;
        for index in 0..h.len() {
            let (mut up, mut down) = (h.clone(), h.clone());
            up[index] += step;
            down[index] -= step;
            let slope = (value(&up, &w) - value(&down, &w)) / f64::from(up[index] - down[index]);
            assert!((slope - f64::from(by_hidden[index])).abs() < 1e-4, "hidden {index}");
        }
        for index in 0..w.len() {
            let (mut up, mut down) = (w.clone(), w.clone());
            up[index] += step;
            down[index] -= step;
            let slope = (value(&h, &up) - value(&h, &down)) / f64::from(up[index] - down[index]);
            assert!((slope - f64::from(by_head[index])).abs() < 1e-4, "head {index}");
        }
    }
}

/// DFT's weight is detached: its gradient is the plain one times each token's probability.
#[test]
fn dft_scales_the_gradient_by_the_probability() {
    let device = &devices()[0];
    let example = Example::prompt_completion(vec![1], vec![3]);
    let batch = Batch::collate(&[&example], 0, device).unwrap();
    let head = random([5, 3], 3, device);
    let gradient = |weighting| {
        let hidden = random([1, 1, 3], 2, device).require_grad();
        let config = LossConfig { weighting, ..LossConfig::default() };
        let loss = cross_entropy(hidden.clone(), head.clone(), &batch, &config).unwrap();
        let probability = (-loss.metrics().nll).exp() as f32;
        (vec(hidden.grad(&loss.sum.backward()).unwrap()), probability)
    };
    let (plain, probability) = gradient(Weighting::Uniform);
    let (weighted, _) = gradient(Weighting::Dft);
    for (plain, weighted) in plain.iter().zip(weighted) {
        assert!((plain * probability - weighted).abs() < 1e-6);
    }
}

/// Padding and prompts may hold NaN: neither the loss nor any gradient sees it.
#[test]
fn nan_outside_the_mask_does_not_leak() {
    for device in devices() {
        let examples = [Example::prompt_completion(vec![1, 1], vec![2, 3]), Example::all(vec![1, 2])];
        let batch = Batch::collate(&[&examples[0], &examples[1]], 0, &device).unwrap();
        let clean = random([2, 3, 4], 5, &device);
        let mut values = vec(clean.clone());
        let counted: Vec<usize> =
            batch.counted.to_data().iter::<i64>().map(|place| usize::try_from(place).unwrap()).collect();
        for place in (0..6).filter(|place| !counted.contains(place)) {
            values[place * 4..place * 4 + 4].fill(f32::NAN);
        }
        let poisoned = Tensor::<3>::from_data(TensorData::new(values, [2, 3, 4]), &device).require_grad();
        let head = random([5, 4], 6, &device).require_grad();
        let loss = cross_entropy(poisoned.clone(), head.clone(), &batch, &LossConfig::default()).unwrap();
        let expected = cross_entropy(clean, head.clone(), &batch, &LossConfig::default()).unwrap();
        assert_eq!(loss.metrics().loss, expected.metrics().loss);
        let gradients = loss.sum.backward();
        assert!(vec(head.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
        assert!(vec(poisoned.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
    }
}

/// No target at all: a zero that can be differentiated, even over NaN.
#[test]
fn an_empty_mask_is_zero_with_a_graph() {
    for device in devices() {
        let example = Example { tokens: vec![1, 2, 3], learn: vec![false; 3] };
        let batch = Batch::collate(&[&example], 0, &device).unwrap();
        let [rows, time] = batch.shape;
        let hidden = Tensor::<3>::full([rows, time, 4], f32::NAN, &device).require_grad();
        let loss = cross_entropy(hidden.clone(), random([5, 4], 1, &device), &batch, &LossConfig::default())
            .unwrap();
        assert_eq!((loss.count, loss.metrics().loss), (0.0, 0.0));
        let gradients = loss.sum.backward();
        assert!(vec(hidden.grad(&gradients).unwrap()).iter().all(|value| *value == 0.0));
    }
}
