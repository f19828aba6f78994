//! The pieces of a decoding step on slices, against plain sums and burn's own operations.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::composed;
use kernels::host::{
    Exponentials, HeadCache, PackedWeight, Scratch, Values, attend, rms_norm, rotate, swiglu,
};
use proptest::prelude::*;

/// Numbers in -1..1 that look random.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "at {i}: {a}, expected {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_packed_product_is_the_product(
        rows in 1usize..20, inputs in 1usize..600, outputs in 1usize..150, tasks in 1usize..5, seed in 0u64..1000,
    ) {
        let (weight, x) = (numbers(outputs * inputs, seed), numbers(rows * inputs, seed + 1));
        let packed = PackedWeight::new(&weight, [outputs, inputs]);
        let mut y = vec![f32::NAN; rows * outputs];
        packed.multiply(&x, &mut y, tasks, &mut Scratch::default());
        let expected: Vec<f32> = x
            .chunks(inputs)
            .flat_map(|x| weight.chunks(inputs).map(|w| x.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32))
            .collect();
        assert_close(&y, &expected, 1e-4);
        // The same bits for a row alone, on one task.
        let mut alone = vec![0.0; outputs];
        packed.multiply(&x[..inputs], &mut alone, 1, &mut Scratch::default());
        prop_assert_eq!(&alone[..], &y[..outputs]);
    }

    #[test]
    fn attention_with_two_caches_is_attention(
        dim in 1usize..40, group in 1usize..4, before in 0usize..40, own in 1usize..40, seed in 0u64..1000, window in 1usize..90,
    ) {
        let length = before + own;
        let q = numbers(group * dim, seed).iter().map(|x| x * 3.0).collect::<Vec<_>>();
        let (k, v) = (numbers(length * dim, seed + 1), numbers(length * dim, seed + 2));
        let mut caches = [HeadCache::default(), HeadCache::default()];
        for (i, (k, v)) in k.chunks(dim).zip(v.chunks(dim)).enumerate() {
            caches[usize::from(i >= before)].push(k, v);
        }
        prop_assert_eq!((caches[0].len(), caches[1].len()), (before, own));
        let hidden = length.saturating_sub(window);
        // Room that holds something else already.
        let (mut out, mut room) = (vec![f32::NAN; q.len()], vec![f32::NAN; 7]);
        attend(&q, dim, &caches[0], &caches[1], hidden, &mut out, &mut room);
        let seen = length - hidden;
        let expected = composed::decode_attention(
            tensor(&q, [1, group, dim]),
            tensor(&k[hidden * dim..], [1, 1, seen, dim]),
            tensor(&v[hidden * dim..], [1, 1, seen, dim]),
            Tensor::<1, Int>::from_data([seen as i32], &Device::flex()),
        );
        assert_close(&out, &expected.into_data().iter::<f32>().collect::<Vec<_>>(), 1e-5);
    }

    #[test]
    fn exponentials_give_probabilities_and_draws(count in 1usize..1500, seed in 0u64..1000, temperature in 0.2f32..3.0) {
        let mut logits: Vec<f32> = numbers(count, seed).iter().map(|x| x * 8.0).collect();
        for i in (5..count).step_by(17) {
            logits[i] = f32::NEG_INFINITY;
        }
        let mut exponentials = Exponentials::default();
        exponentials.compute(&numbers(9, 1), 1.0);
        exponentials.compute(&logits, temperature);
        let weights: Vec<f64> = logits.iter().map(|l| (f64::from(*l) / f64::from(temperature)).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (logit, weight) in logits.iter().zip(&weights) {
            if weight > &0.0 {
                let expected = (weight / total).ln() as f32;
                prop_assert!((exponentials.log_prob(*logit) - expected).abs() < 1e-4);
            }
        }
        // In the middle of each token's share of the sum, the draw is that token.
        let mut before = 0.0;
        for (token, weight) in weights.iter().enumerate() {
            if weight / total > 1e-4 {
                prop_assert_eq!(exponentials.token_at((before + weight / 2.0) / total), Some(token));
            }
            before += weight;
        }
    }
}

#[test]
fn logits_without_a_distribution_have_no_total() {
    let mut exponentials = Exponentials::default();
    for logits in [
        vec![f32::NAN, 1.0],
        vec![1.0, f32::INFINITY],
        vec![f32::NEG_INFINITY; 3],
        [vec![0.0; 600], vec![f32::NAN]].concat(),
    ] {
        exponentials.compute(&logits, 1.0);
        assert!(exponentials.total().is_nan(), "{logits:?}: {}", exponentials.total());
    }
    exponentials.compute(&[0.0, f32::NEG_INFINITY], 1.0);
    assert_eq!((exponentials.total(), exponentials.token_at(0.999_999)), (1.0, Some(0)));
}

#[test]
fn rows_are_normed_gated_and_rotated_as_on_tensors() {
    let (dim, heads) = (10, 3);
    let x = numbers(4 * heads * dim, 1);
    let weight = numbers(heads * dim, 2);
    let mut normed = x.clone();
    rms_norm(&mut normed, &weight, 1e-5);
    let expected = composed::rms_norm(tensor(&x, [1, 4, heads * dim]), tensor(&weight, [heads * dim]), 1e-5);
    assert_close(&normed, &expected.into_data().iter::<f32>().collect::<Vec<_>>(), 1e-5);

    let mut gate = x.clone();
    swiglu(&mut gate, &normed);
    let shape = [1, 4, heads * dim];
    let expected = composed::swiglu(tensor(&x, shape), tensor(&normed, shape));
    assert_close(&gate, &expected.into_data().iter::<f32>().collect::<Vec<_>>(), 1e-5);

    // One position, all of its heads; then with the last two dimensions of each head left alone.
    let (cos, sin): (Vec<f32>, Vec<f32>) = numbers(dim / 2, 3).iter().map(|a| (a.cos(), a.sin())).unzip();
    let mut turned = x[..heads * dim].to_vec();
    rotate(&mut turned, dim, &cos, &sin);
    let expected = composed::rotary(
        tensor(&x[..heads * dim], [1, 1, heads, dim]),
        tensor(&cos, [1, dim / 2]),
        tensor(&sin, [1, dim / 2]),
    );
    assert_close(&turned, &expected.into_data().iter::<f32>().collect::<Vec<_>>(), 1e-6);
    let mut part = x[..heads * dim].to_vec();
    rotate(&mut part, dim, &cos[1..], &sin[1..]);
    for head in 0..heads {
        let whole = head * dim..head * dim + dim;
        assert_eq!(part[whole.clone()][dim - 2..], x[whole.clone()][dim - 2..]);
        let expected = x[whole.start] * cos[1] - x[whole.start + dim / 2 - 1] * sin[1];
        assert!((part[whole.start] - expected).abs() < 1e-6);
    }
}

#[test]
fn values_are_those_of_flex_in_f32_alone() {
    let x = tensor(&[1.0, 2.0, 3.0, 4.0], [2, 2]);
    assert_eq!(Values::of(x.clone()).as_deref(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
    assert_eq!(Values::of(x.clone().transpose()).as_deref(), Some(&[1.0, 3.0, 2.0, 4.0][..]));
    assert!(Values::of(x.clone().cast(burn::tensor::FloatDType::F64)).is_none());
    assert!(Values::of(Tensor::<2>::zeros([2, 2], &Device::flex().autodiff())).is_none());
    #[allow(deprecated)]
    let other = Device::ndarray();
    assert!(Values::of(Tensor::<2>::zeros([2, 2], &other)).is_none());
}
