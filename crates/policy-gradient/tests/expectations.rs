//! What estimators are right on average: expectations over every outcome of a small softmax policy, so that there is no
//! sampling error to hide in. The last test draws samples as well.

mod common;

use burn::prelude::*;
use burn::tensor::DType;
use common::{assert_close, gradient, values};
use policy_gradient::advantage::{GroupConfig, RlooConfig, group, rloo};
use policy_gradient::{Kl, KlEstimator, KlGradient, KlWeight, kl};

const LOGITS: [f64; 3] = [0.3, -0.5, 1.1];
const OLD: [f64; 3] = [0.1, 0.0, 0.6];
const REFERENCE: [f64; 3] = [-0.2, 0.4, 0.5];
const REWARDS: [f64; 3] = [1.0, 0.0, 0.25];

fn softmax(logits: &[f64; 3]) -> [f64; 3] {
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.map(|l| l.exp() / sum)
}

/// The gradient of log p(action) with respect to the logits.
fn score(p: &[f64; 3], action: usize) -> [f64; 3] {
    std::array::from_fn(|i| f64::from(u8::from(i == action)) - p[i])
}

/// The gradient of the expected reward.
fn policy_gradient(p: &[f64; 3]) -> [f64; 3] {
    let mean: f64 = (0..3).map(|a| p[a] * REWARDS[a]).sum();
    std::array::from_fn(|i| p[i] * (REWARDS[i] - mean))
}

/// The gradient of KL(p || q) with respect to the logits of p.
fn kl_gradient(p: &[f64; 3], q: &[f64; 3]) -> [f64; 3] {
    let kl: f64 = (0..3).map(|a| p[a] * (p[a] / q[a]).ln()).sum();
    std::array::from_fn(|i| p[i] * ((p[i] / q[i]).ln() - kl))
}

/// The expectation of an advantage estimator's policy gradient, over all groups of four actions.
fn expected(estimator: impl Fn(&[f64]) -> Vec<f64>) -> [f64; 3] {
    let p = softmax(&LOGITS);
    let mut sum = [0.0; 3];
    for outcome in 0..81usize {
        let actions: Vec<usize> = (0..4).map(|i| outcome / 3usize.pow(i) % 3).collect();
        let probability: f64 = actions.iter().map(|&a| p[a]).product();
        let rewards: Vec<f64> = actions.iter().map(|&a| REWARDS[a]).collect();
        for (advantage, &action) in estimator(&rewards).iter().zip(&actions) {
            let score = score(&p, action);
            (0..3).for_each(|i| sum[i] += probability * advantage * score[i] / 4.0);
        }
    }
    sum
}

#[test]
fn leave_one_out_is_unbiased() {
    let found = expected(|rewards| rloo(rewards, &[0; 4], &RlooConfig::default()).unwrap());
    assert_close(&found, &policy_gradient(&softmax(&LOGITS)), 1e-12);
}

#[test]
fn the_group_mean_shrinks_the_gradient_by_one_less_a_gth() {
    let found = expected(|rewards| group(rewards, &[0; 4], &GroupConfig::centred()).unwrap());
    let three_quarters = policy_gradient(&softmax(&LOGITS)).map(|g| 0.75 * g);
    assert_close(&found, &three_quarters, 1e-12);
}

#[test]
fn dividing_by_the_deviation_is_no_multiple_of_the_gradient() {
    let found = expected(|rewards| group(rewards, &[0; 4], &GroupConfig::default()).unwrap());
    let exact = policy_gradient(&softmax(&LOGITS));
    let factors: Vec<f64> = (0..3).map(|i| found[i] / exact[i]).collect();
    let spread = factors.iter().fold(0.0f64, |m, f| m.max((f - factors[0]).abs()));
    assert!(spread > 0.05, "{factors:?}");
}

/// The expectation of the KL term's gradient with respect to the logits, for actions drawn from `sampler`.
fn expected_kl(config: &Kl, sampler: &[f64; 3]) -> [f64; 3] {
    let device = Device::flex().autodiff();
    let (p, q, old) = (softmax(&LOGITS), softmax(&REFERENCE), softmax(&OLD));
    let row =
        |v: [f64; 3]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, 3]), (&device, DType::F64));
    let logs = |p: [f64; 3]| row(p.map(f64::ln));
    let leaf = logs(p).require_grad();
    let all = Tensor::full([1, 3], true, &device);
    let term = kl(leaf.clone(), logs(q), Some(logs(old)), all, config).unwrap();
    // One row holds the three actions; each counts by its probability.
    let by_logp = gradient((term * row(*sampler)).sum(), &leaf);
    std::array::from_fn(|i| (0..3).map(|a| by_logp[a] * score(&p, a)[i]).sum())
}

#[test]
fn on_the_policy_k1_has_no_gradient_k2_that_of_the_kl_and_k3_that_of_the_reverse_kl() {
    let (p, q) = (softmax(&LOGITS), softmax(&REFERENCE));
    assert_close(&expected_kl(&Kl::new(KlEstimator::K1), &p), &[0.0; 3], 1e-12);
    assert_close(&expected_kl(&Kl::new(KlEstimator::K2), &p), &kl_gradient(&p, &q), 1e-12);
    // KL(reference || policy): its gradient is p - q.
    let reverse: [f64; 3] = std::array::from_fn(|i| p[i] - q[i]);
    assert_close(&expected_kl(&Kl::new(KlEstimator::K3), &p), &reverse, 1e-12);
}

/// TRL #4967: k3 in the loss does not have the gradient of the KL that it estimates.
#[test]
fn k3_in_the_loss_is_biased_and_its_corrections_are_not() {
    let (p, q, old) = (softmax(&LOGITS), softmax(&REFERENCE), softmax(&OLD));
    let exact = kl_gradient(&p, &q);
    let plain = expected_kl(&Kl::new(KlEstimator::K3), &p);
    assert!((0..3).any(|i| (plain[i] - exact[i]).abs() > 0.01), "{plain:?} {exact:?}");
    assert_close(&expected_kl(&Kl::unbiased(), &p), &exact, 1e-12);
    // Off the policy, drawn from the old one: weighed by the ratio.
    let weighted = Kl { weight: KlWeight::Ratio, ..Kl::new(KlEstimator::K3) };
    assert_close(&expected_kl(&weighted, &old), &exact, 1e-12);
    let through = Kl {
        weight: KlWeight::DetachedOnGradient { cap: 1e9 },
        gradient: KlGradient::OfK2,
        ..Kl::new(KlEstimator::K3)
    };
    assert_close(&expected_kl(&through, &old), &exact, 1e-12);
}

#[test]
fn k1_and_k3_are_unbiased_as_values() {
    let device = Device::flex();
    let (p, q) = (softmax(&LOGITS), softmax(&REFERENCE));
    let exact: f64 = (0..3).map(|a| p[a] * (p[a] / q[a]).ln()).sum();
    let row =
        |v: [f64; 3]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, 3]), (&device, DType::F64));
    for estimator in [KlEstimator::K1, KlEstimator::K3] {
        let all = Tensor::full([1, 3], true, &device);
        let term = kl(row(p.map(f64::ln)), row(q.map(f64::ln)), None, all, &Kl::new(estimator)).unwrap();
        let mean: f64 = values(term).iter().zip(p).map(|(v, p)| v * p).sum();
        assert!((mean - exact).abs() < 1e-12, "{estimator:?}");
    }
}

/// Samples instead of the full enumeration, as a check of the enumeration itself: within five standard errors.
#[test]
fn leave_one_out_is_unbiased_on_samples() {
    let p = softmax(&LOGITS);
    let exact = policy_gradient(&p);
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let u = (state >> 11) as f64 / (1u64 << 53) as f64;
        if u < p[0] {
            0
        } else if u < p[0] + p[1] {
            1
        } else {
            2
        }
    };
    let groups = 20_000;
    let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
    for _ in 0..groups {
        let actions: Vec<usize> = (0..4).map(|_| draw()).collect();
        let rewards: Vec<f64> = actions.iter().map(|&a| REWARDS[a]).collect();
        let mut estimate = [0.0; 3];
        for (a, &action) in rloo(&rewards, &[0; 4], &RlooConfig::default()).unwrap().iter().zip(&actions) {
            let score = score(&p, action);
            (0..3).for_each(|i| estimate[i] += a * score[i] / 4.0);
        }
        (0..3).for_each(|i| {
            sum[i] += estimate[i];
            squares[i] += estimate[i] * estimate[i];
        });
    }
    let n = f64::from(groups);
    for i in 0..3 {
        let mean = sum[i] / n;
        let error = ((squares[i] / n - mean * mean) / n).sqrt();
        assert!((mean - exact[i]).abs() < 5.0 * error, "{mean} but exactly {}, error {error}", exact[i]);
    }
}
