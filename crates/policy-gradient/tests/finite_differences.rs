//! Gradients against central differences in float64.
//!
//! Objectives that hold a weight constant (CISPO, TOPR, VESPO, GSPO-token, DPPO's score form, the KL's straight-through
//! gradients) have by design another gradient than their value's; for them the golden values stand.

mod common;

use burn::prelude::*;
use burn::tensor::DType;
use common::{doubles, gradient, mask, values};
use policy_gradient::objective::{Clip, ClipCov, Dppo, Dro, Gmpo, KlCov, PpoClip, RatioLevel, Sapo};
use policy_gradient::{
    Aggregation, Bounds, EmptyRows, GlobalCounts, Kl, KlEstimator, KlWeight, Objective, TokenLogProbConfig,
    ValueClip, aggregate, kl, objective, token_log_probs, token_log_probs_from_logits, value_loss,
};

const STEP: f64 = 1e-6;

/// A small generator, so that the points do not depend on a library's version.
struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn rows(&mut self, batch: usize, time: usize, low: f64, high: f64) -> Vec<Vec<f64>> {
        (0..batch).map(|_| (0..time).map(|_| low + (high - low) * self.unit()).collect()).collect()
    }
}

fn counted() -> Vec<Vec<bool>> {
    vec![vec![true, true, true, false], vec![true, false, true, true], vec![true, true, false, false]]
}

/// Compares the gradient of `loss` at `point` with differences of its value.
#[track_caller]
fn check<const D: usize>(
    name: &str,
    shape: [usize; D],
    point: &[f64],
    loss: impl Fn(Tensor<D>) -> Tensor<1>,
) {
    let device = Device::flex().autodiff();
    let tensor =
        |data: &[f64]| Tensor::<D>::from_data(TensorData::new(data.to_vec(), shape), (&device, DType::F64));
    let leaf = tensor(point).require_grad();
    let found = gradient(loss(leaf.clone()), &leaf);
    for i in 0..point.len() {
        let at = |step: f64| {
            let mut moved = point.to_vec();
            moved[i] += step;
            values(loss(tensor(&moved)))[0]
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        assert!(
            (found[i] - difference).abs() < 1e-6 * difference.abs().max(1.0),
            "{name}[{i}]: {} but differences say {difference}",
            found[i]
        );
    }
}

#[test]
fn objectives() {
    let none = Bounds::NONE;
    let ppo = |change: &dyn Fn(&mut PpoClip)| {
        let mut config = PpoClip { log_ratio: none, ..PpoClip::default() };
        change(&mut config);
        Objective::PpoClip(config)
    };
    let all = [
        ("ppo", ppo(&|_| ())),
        ("dual clip", ppo(&|c| c.dual = Some(1.3))),
        ("cap", ppo(&|c| c.cap = Some(1.4))),
        ("cap inside the clip range", ppo(&|c| c.cap = Some(1.05))),
        (
            "sequence mean",
            ppo(&|c| (c.level, c.clip) = (RatioLevel::SequenceMean, Clip { low: 0.1, high: 0.1 })),
        ),
        ("sequence sum", ppo(&|c| c.level = RatioLevel::SequenceSum)),
        ("bounded log-ratio", ppo(&|c| c.log_ratio = Bounds::symmetric(0.3))),
        ("reinforce", Objective::Reinforce),
        ("sapo", Objective::Sapo(Sapo { log_ratio: none, ..Sapo::default() })),
        ("sapo of sequences", Objective::Sapo(Sapo { level: RatioLevel::SequenceMean, ..Sapo::default() })),
        ("gmpo", Objective::Gmpo(Gmpo { clip: Clip { low: 0.2, high: 0.2 } })),
        ("dppo", Objective::Dppo(Dppo { low: 0.05, high: 0.05, ..Dppo::default() })),
        ("dro", Objective::Dro(Dro { beta: 0.3 })),
        ("clip-cov", Objective::ClipCov(ClipCov { share: 1.0, low: 0.1, high: 5.0, ..ClipCov::default() })),
        ("kl-cov", Objective::KlCov(KlCov { share: 0.4, coefficient: 0.5 })),
    ];
    for seed in 0..6 {
        let mut draw = Draw(seed);
        let (logp, shift) = (draw.rows(3, 4, -3.0, -0.1), draw.rows(3, 4, -0.6, 0.6));
        let old: Vec<Vec<f64>> =
            logp.iter().zip(&shift).map(|(l, s)| l.iter().zip(s).map(|(a, b)| a + b).collect()).collect();
        let (advantages, weights) = (draw.rows(3, 4, -2.0, 2.0), draw.rows(3, 4, 0.2, 2.0));
        for (name, config) in &all {
            check(name, [3, 4], &logp.concat(), |leaf| {
                let device = leaf.device();
                let of = |rows: &[Vec<f64>]| doubles(rows, &device);
                let out =
                    objective(leaf, of(&old), of(&advantages), mask(&counted(), &device), config).unwrap();
                (out.loss * of(&weights)).sum()
            });
        }
    }
}

#[test]
fn kl_estimators_and_weights() {
    for seed in 0..4 {
        let mut draw = Draw(seed + 100);
        let logp = draw.rows(3, 4, -3.0, -0.1);
        let (reference, old) = (draw.rows(3, 4, -3.0, -0.1), draw.rows(3, 4, -3.0, -0.1));
        for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::Abs] {
            for weight in [KlWeight::None, KlWeight::Ratio, KlWeight::SequenceRatio] {
                let config = Kl { weight, log_ratio: Bounds::symmetric(1.0), ..Kl::new(estimator) };
                check(&format!("{estimator:?} {weight:?}"), [3, 4], &logp.concat(), |leaf| {
                    let device = leaf.device();
                    let of = |rows: &[Vec<f64>]| doubles(rows, &device);
                    kl(leaf, of(&reference), Some(of(&old)), mask(&counted(), &device), &config)
                        .unwrap()
                        .sum()
                });
            }
        }
    }
}

#[test]
fn value_losses() {
    let mut draw = Draw(7);
    let (v, old, returns) =
        (draw.rows(3, 4, -1.0, 1.0), draw.rows(3, 4, -1.0, 1.0), draw.rows(3, 4, -1.0, 1.0));
    for clip in [ValueClip::Off, ValueClip::Pessimistic(0.3), ValueClip::Plain(0.3)] {
        check(&format!("{clip:?}"), [3, 4], &v.concat(), |leaf| {
            let device = leaf.device();
            let of = |rows: &[Vec<f64>]| doubles(rows, &device);
            value_loss(leaf, of(&old), of(&returns), mask(&counted(), &device), clip).unwrap().loss.sum()
        });
    }
}

#[test]
fn reductions() {
    let mut draw = Draw(8);
    let v = draw.rows(3, 4, -1.0, 1.0);
    let empty_rows = EmptyRows::Counted;
    for how in [
        Aggregation::TokenMean,
        Aggregation::TokenSum,
        Aggregation::SequenceMeanTokenMean { empty_rows },
        Aggregation::SequenceMeanTokenSum { empty_rows },
        Aggregation::SequenceMeanTokenSumOver { length: 7.0, empty_rows },
        Aggregation::Constant { denominator: 5.0 },
    ] {
        check(&format!("{how:?}"), [3, 4], &v.concat(), |leaf| {
            let m = mask(&counted(), &leaf.device());
            let counts = GlobalCounts::of(&m).unwrap();
            aggregate(leaf.square(), m, how, &counts).unwrap()
        });
    }
}

#[test]
fn token_log_probabilities_and_entropies() {
    let mut draw = Draw(9);
    let (hidden, head) = (draw.rows(6, 3, -1.0, 1.0).concat(), draw.rows(5, 3, -2.0, 2.0).concat());
    let up = draw.rows(2, 3, -1.0, 1.0);
    let counted = [vec![true, true, false], vec![true, true, true]];
    let config = TokenLogProbConfig { temperature: 0.8, chunk: 2 };
    let targets = |device: &Device| Tensor::<2, Int>::from_data([[0, 4, 2], [1, 1, 3]], device);
    let double = |data: &[f64], shape: [usize; 3], device: &Device| {
        Tensor::<3>::from_data(TensorData::new(data.to_vec(), shape), (device, DType::F64))
    };
    check("hidden", [2, 3, 3], &hidden, |leaf| {
        let device = leaf.device();
        let head = Tensor::<2>::from_data(TensorData::new(head.clone(), [5, 3]), (&device, DType::F64));
        let out = token_log_probs(leaf, head, targets(&device), mask(&counted, &device), &config).unwrap();
        (out.logp * doubles(&up, &device) + out.entropy).sum()
    });
    check("head", [5, 3], &head, |leaf| {
        let device = leaf.device();
        let hidden = double(&hidden, [2, 3, 3], &device);
        let out = token_log_probs(hidden, leaf, targets(&device), mask(&counted, &device), &config).unwrap();
        (out.logp * doubles(&up, &device) + out.entropy).sum()
    });
    let logits = draw.rows(6, 5, -2.0, 2.0).concat();
    check("logits", [2, 3, 5], &logits, |leaf| {
        let device = leaf.device();
        let out =
            token_log_probs_from_logits(leaf, targets(&device), mask(&counted, &device), &config).unwrap();
        (out.logp * doubles(&up, &device) + out.entropy).sum()
    });
}
