//! One test for each mistake that other libraries had to fix, with the issue it was reported in.

mod common;

use burn::prelude::*;
use common::{assert_close, devices, floats, gradient, mask, values};
use policy_gradient::advantage::{
    GaeConfig, GroupConfig, Masked, OptimalTokenBaseline, RlooConfig, Scale, Singleton, Std, Whiten, gae,
    group, optimal_token_baseline, per_response, rloo,
};
use policy_gradient::objective::{PpoClip, RatioLevel};
use policy_gradient::{
    Aggregation, EmptyRows, Error, GlobalCounts, GroupFilter, Objective, RolloutCorrection,
    TokenLogProbConfig, Tokens, aggregate, drop_rows, keep_groups, objective, preset, rollout_correction,
    token_log_probs, token_log_probs_from_logits,
};

const ROWS: Aggregation = Aggregation::SequenceMeanTokenMean { empty_rows: EmptyRows::Excluded };

/// TRL #7206, verl #5625, transformers #35203: each micro-batch was divided by its own count.
#[test]
fn accumulation_over_micro_batches_of_unequal_length_does_not_change_the_loss() {
    for device in devices() {
        let loss = floats(&[vec![1.0, 1.0, 1.0, 1.0], vec![5.0, 0.0, 0.0, 0.0]], &device);
        let m = mask(&[vec![true; 4], vec![true, false, false, false]], &device);
        let counts = GlobalCounts::of(&m).unwrap();
        for how in [Aggregation::TokenMean, ROWS] {
            let whole = values(aggregate(loss.clone(), m.clone(), how, &counts).unwrap())[0];
            let part = |b: usize| {
                let (l, m) = (loss.clone().slice([b..b + 1, 0..4]), m.clone().slice([b..b + 1, 0..4]));
                values(aggregate(l, m, how, &counts).unwrap())[0]
            };
            assert!((part(0) + part(1) - whole).abs() < 1e-6);
        }
        // The mean of the parts' own means, which is what those libraries had, is another number: 3 instead of 1.8.
        assert!((values(aggregate(loss, m, Aggregation::TokenMean, &counts).unwrap())[0] - 1.8).abs() < 1e-6);
    }
}

/// TRL #6369: rows that were masked out entirely stayed in (or fell out of) the denominator unasked.
#[test]
fn the_denominator_says_whether_it_counts_masked_rows() {
    for device in devices() {
        let loss = floats(&[vec![2.0, 4.0], vec![7.0, 7.0]], &device);
        let m = mask(&[vec![true, true], vec![false, false]], &device);
        let counts = GlobalCounts::of(&m).unwrap();
        let by = |empty_rows| {
            let how = Aggregation::SequenceMeanTokenMean { empty_rows };
            values(aggregate(loss.clone(), m.clone(), how, &counts).unwrap())[0]
        };
        assert_eq!((by(EmptyRows::Excluded), by(EmptyRows::Counted)), (3.0, 1.5));
    }
}

/// DAPO's truncated responses: dropping them must take them out of numerator and denominator.
#[test]
fn dropped_rows_leave_the_denominator_when_the_new_mask_is_counted() {
    let device = Device::flex();
    let loss = floats(&[vec![2.0, 4.0], vec![7.0, 7.0]], &device);
    let kept = drop_rows(mask(&[vec![true; 2], vec![true; 2]], &device), &[true, false]).unwrap();
    let counts = GlobalCounts::of(&kept).unwrap();
    assert_eq!(values(aggregate(loss, kept, Aggregation::TokenMean, &counts).unwrap()), [3.0]);
}

/// TRL #3248, #7077: a batch without a counted token gave NaN, or a loss that backward refused.
#[test]
fn a_batch_masked_out_entirely_gives_zero_with_a_graph() {
    for device in devices() {
        let device = device.autodiff();
        let none = mask(&[vec![false; 3], vec![false; 3]], &device);
        let counts = GlobalCounts::of(&none).unwrap();
        for (name, recipe) in preset::all() {
            let logp = floats(&[vec![-1.0; 3], vec![f64::NAN; 3]], &device).require_grad();
            let advantages = per_response(&[1.0, -1.0], &device);
            let tokens = Tokens {
                ref_logp: Some(logp.clone().detach()),
                ..Tokens::new(logp.clone(), logp.clone().detach(), advantages, none.clone())
            };
            let loss = recipe.loss(tokens, &counts).unwrap().loss;
            assert_eq!(values(loss.clone()), [0.0], "{name}");
            let gradients = loss.backward();
            let found = values(logp.grad(&gradients).unwrap_or_else(|| panic!("{name}: no graph")));
            assert_eq!(found, [0.0; 6], "{name}");
        }
        // The same from hidden states, where the graph must reach the head.
        let head = floats(&[vec![1.0, 0.0], vec![0.0, 1.0]], &device).require_grad();
        let hidden = Tensor::<3>::full([2, 3, 2], f32::NAN, &device);
        let targets = Tensor::<2, Int>::zeros([2, 3], &device);
        let out =
            token_log_probs(hidden, head.clone(), targets, none, &TokenLogProbConfig::default()).unwrap();
        assert_eq!(gradient(out.logp.sum(), &head), [0.0; 4]);
    }
}

/// OpenRLHF #1240: NaN times a mask of zero is NaN.
#[test]
fn nan_in_masked_slots_poisons_neither_sum_nor_gradient() {
    for device in devices() {
        let device = device.autodiff();
        let logp = floats(&[vec![-1.0, f64::NAN]], &device).require_grad();
        let m = mask(&[vec![true, false]], &device);
        let bad = floats(&[vec![-1.0, f64::INFINITY]], &device);
        let out =
            objective(logp.clone(), bad.clone(), bad, m.clone(), &Objective::ppo_clip(0.2, 0.2)).unwrap();
        let loss = aggregate(
            out.loss,
            m,
            Aggregation::TokenMean,
            &GlobalCounts { tokens: 1, sequences: 1, empty_sequences: 0 },
        )
        .unwrap();
        assert_eq!(values(loss.clone()), [1.0]);
        assert_eq!(gradient(loss, &logp), [1.0, 0.0]);

        let logits =
            Tensor::<3>::from_data([[[0.0f32, 0.0], [f32::NAN, f32::INFINITY]]], &device).require_grad();
        let targets = Tensor::<2, Int>::from_data([[0, -100]], &device);
        let m = mask(&[vec![true, false]], &device);
        let out =
            token_log_probs_from_logits(logits.clone(), targets, m, &TokenLogProbConfig::default()).unwrap();
        assert_close(&gradient((out.logp + out.entropy).sum(), &logits), &[0.5, -0.5, 0.0, 0.0], 1e-6);
    }
}

/// NeMo-RL #1518: leave-one-out divided by a standard deviation of nearly nothing gave advantages of a million.
#[test]
fn leave_one_out_of_nearly_equal_rewards_stays_small() {
    let rewards = [0.1 + 0.2, 0.3, 0.3, 0.3]; // the first is 0.30000000000000004
    let plain = rloo(&rewards, &[0; 4], &RlooConfig::default()).unwrap();
    let normalise = Some(Std { ddof: 1, eps: 1e-4 });
    let scaled = rloo(&rewards, &[0; 4], &RlooConfig { normalise, ..RlooConfig::default() }).unwrap();
    assert!(plain.iter().chain(&scaled).all(|a| a.abs() < 1e-9), "{plain:?} {scaled:?}");
}

/// NeMo-RL #4161: `E[x²] - E[x]²` of equal numbers is not zero in floating point.
#[test]
fn equal_rewards_have_advantages_of_exactly_zero() {
    for reward in [0.1, 1.0 / 3.0, 1e6 + 0.1, -7.7] {
        for n in [2, 3, 7, 100] {
            let (rewards, groups) = (vec![reward; n], vec![0; n]);
            for scale in [
                Scale::None,
                Scale::Group(Std { ddof: 1, eps: 0.0 }),
                Scale::Batch(Std { ddof: 1, eps: 0.0 }),
            ] {
                let config = GroupConfig { scale, singleton: Singleton::Zero };
                assert!(group(&rewards, &groups, &config).unwrap().iter().all(|a| *a == 0.0));
            }
            assert!(rloo(&rewards, &groups, &RlooConfig::default()).unwrap().iter().all(|a| *a == 0.0));
            assert!(keep_groups(&rewards, &groups, GroupFilter::Varied).unwrap().iter().all(|k| !k));
        }
    }
}

/// TRL #6789: a sampler's log-probabilities after top-p are of another distribution. Each weight against them is too small
/// by the mass that was cut off, and so is their mean, which would be one; the diagnostics show it.
#[test]
fn truncated_samplers_show_in_the_mean_weight() {
    let device = Device::flex();
    let (p, kept): ([f64; 4], f64) = ([0.4, 0.3, 0.2, 0.1], 0.7); // top-p keeps the first two
    let mean = |sampler: &dyn Fn(usize) -> f64, draws: &[usize]| {
        let row = |f: &dyn Fn(usize) -> f64| floats(&[draws.iter().map(|&v| f(v).ln()).collect()], &device);
        let all = Tensor::full([1, draws.len()], true, &device);
        let config = RolloutCorrection::tis(1e9);
        rollout_correction(row(&|v| p[v]), row(sampler), None, all, &config).unwrap().diagnostics.weight_mean
    };
    // Tokens in the proportions in which each sampler draws them.
    let truncated = mean(&|v| p[v] / kept, &[0, 0, 0, 0, 1, 1, 1]);
    let full = mean(&|v| p[v], &[0, 0, 0, 0, 1, 1, 1, 2, 2, 3]);
    assert!((truncated - kept).abs() < 1e-6 && (full - 1.0).abs() < 1e-6);
}

/// SkyRL #1305: a mean over padded slots.
#[test]
fn means_do_not_count_padding() {
    let device = Device::flex();
    let logp = floats(&[vec![-1.0, -1.0, -1.0, -1.0]], &device);
    let old = floats(&[vec![-1.5, -1.5, -1.0, -1.0]], &device);
    let m = mask(&[vec![true, true, false, false]], &device);
    let advantages = per_response(&[1.0], &device);
    let out = objective(logp, old, advantages, m.clone(), &Objective::ppo_clip(0.2, 0.2)).unwrap();
    let summary = out.diagnostics.summary();
    assert_eq!(summary.tokens, 2.0);
    assert!((summary.ratio_mean - 0.5f64.exp()).abs() < 1e-6 && (summary.approx_kl_k1 + 0.5).abs() < 1e-6);
    assert_eq!(summary.clip_fraction_high, 1.0);
    // The sequence's ratio is over counted tokens too: exp(0.5), not exp(0.25).
    let level = RatioLevel::SequenceMean;
    let config = PpoClip { level, ..PpoClip::default() };
    let (logp, old) = (floats(&[vec![-1.0; 4]], &device), floats(&[vec![-1.5, -1.5, -1.0, -1.0]], &device));
    let out = objective(logp, old, per_response(&[-1.0], &device), m, &Objective::PpoClip(config)).unwrap();
    assert_close(&values(out.loss)[..2], &[0.5f64.exp(); 2], 1e-6);
}

/// ROLL #447: the critic's value of a masked token, or of padding, was bootstrapped from.
#[test]
fn masked_critic_values_do_not_bootstrap() {
    let device = Device::flex();
    let rewards = floats(&[vec![0.0, 0.0, 1.0, 0.0]], &device);
    let m = mask(&[vec![true, false, true, false]], &device);
    let with = |value: f64, masked| {
        let critic = floats(&[vec![0.5, value, 0.25, value]], &device);
        let config = GaeConfig { gamma: 0.9, lambda: 0.5, masked, whiten: None };
        values(gae(rewards.clone(), critic, None, m.clone(), &config).unwrap().advantages)
    };
    for masked in [Masked::Skip, Masked::Zero, Masked::Reset] {
        assert_eq!(with(0.0, masked), with(1e9, masked));
        assert_eq!(with(0.0, masked), with(f64::NAN, masked));
    }
    // Skip: delta = [0.9 * 0.25 - 0.5, 1 - 0.25], A = [-0.275 + 0.45 * 0.75, 0.75].
    assert_close(&with(7.0, Masked::Skip), &[0.0625, 0.0, 0.75, 0.0], 1e-6);
}

/// OpenRLHF #1250: Dr. GRPO with one response per prompt trains nothing, and nothing said so.
#[test]
fn groups_of_one_can_be_made_an_error() {
    let config = GroupConfig { singleton: Singleton::Error, ..GroupConfig::centred() };
    let error = group(&[1.0, 0.0, 1.0], &[4, 4, 9], &config).unwrap_err();
    assert_eq!(error, Error::Group { group: 9, expected: 2, found: 1 });
    assert_eq!(error.to_string(), "expected at least 2 responses in group 9, found 1");
    assert_eq!(group(&[1.0], &[9], &GroupConfig::centred()).unwrap(), [0.0]);
}

/// NeMo-RL #4222: a "chunked" log-probability that keeps every chunk for the backward pass. Its memory is measured in
/// `memory.rs`; here, that the chunk's size changes nothing else.
#[test]
fn the_size_of_a_chunk_changes_no_result() {
    for device in devices() {
        let device = device.autodiff();
        let fill = |n: usize, scale: f64| {
            (0..n).map(|i| scale * ((i * 37 % 23) as f64 / 11.0 - 1.0)).collect::<Vec<f64>>()
        };
        let as_f32 = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let of = |chunk: usize| {
            let hidden =
                Tensor::<3>::from_data(TensorData::new(as_f32(fill(2 * 5 * 4, 1.0)), [2, 5, 4]), &device)
                    .require_grad();
            let head = Tensor::<2>::from_data(TensorData::new(as_f32(fill(11 * 4, 2.0)), [11, 4]), &device)
                .require_grad();
            let targets = Tensor::<2, Int>::from_data([[0, 3, 10, 5, 2], [1, 1, 9, 8, 0]], &device);
            let m =
                mask(&[vec![true, true, true, true, false], vec![false, true, true, true, true]], &device);
            let config = TokenLogProbConfig { temperature: 0.7, chunk };
            let out =
                token_log_probs(hidden.clone(), head.clone(), targets.clone(), m.clone(), &config).unwrap();
            let both = (out.logp + out.entropy.mul_scalar(0.5)).sum();
            let mut all = values(both.clone());
            let gradients = both.backward();
            all.extend(values(hidden.grad(&gradients).unwrap()));
            all.extend(values(head.grad(&gradients).unwrap()));
            let logits = hidden.detach().matmul(head.detach().transpose().unsqueeze());
            let logits = Tensor::<3>::from_data(logits.into_data(), &device).require_grad();
            let out = token_log_probs_from_logits(logits.clone(), targets, m, &config).unwrap();
            let both = (out.logp + out.entropy.mul_scalar(0.5)).sum();
            all.extend(values(both.clone()));
            all.extend(gradient(both, &logits));
            all
        };
        let whole = of(1024);
        for chunk in [1, 2, 3, 7] {
            assert_close(&of(chunk), &whole, 2e-6);
        }
    }
}

/// Whitening divides small differences of large advantages by their spread: rounding the advantages before shows.
#[test]
fn whitening_sees_differences_that_f32_cannot_hold() {
    for device in devices() {
        let critic: Vec<f64> = (0..8).map(|i| f64::from(i as f32 * 1e-4)).collect();
        let column = |values: &[f64]| floats(&values.iter().map(|v| vec![*v]).collect::<Vec<_>>(), &device);
        let m = mask(&vec![vec![true]; 8], &device);
        let config = GaeConfig { whiten: Some(Whiten::default()), ..GaeConfig::default() };
        let found = gae(column(&[1000.0; 8]), column(&critic), None, m, &config).unwrap();
        let advantages: Vec<f64> = critic.iter().map(|v| 1000.0 - v).collect();
        let mean = advantages.iter().sum::<f64>() / 8.0;
        let variance = advantages.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 7.0;
        let expected: Vec<f64> = advantages.iter().map(|a| (a - mean) / (variance + 1e-8).sqrt()).collect();
        assert_close(&values(found.advantages), &expected, 1e-5);
    }
}

/// The same of the optimal token baseline, which is subtracted from returns that may be large.
#[test]
fn a_baseline_sees_differences_that_f32_cannot_hold() {
    for device in devices() {
        let small = f64::from(3e-5_f32);
        let of = |rows: [[f64; 2]; 2]| floats(&rows.map(|row| row.to_vec()), &device);
        let (logp, p2) = (f64::from(-0.5_f32), f64::from(0.4_f32));
        let m = mask(&vec![vec![true; 2]; 2], &device);
        let rewards = of([[1000.0, small], [1000.0, 0.0]]);
        let config = OptimalTokenBaseline::default();
        let found =
            optimal_token_baseline(rewards, of([[logp; 2]; 2]), of([[p2; 2]; 2]), None, &[0, 0], m, &config);
        let w = 1.0 - 2.0 * logp.exp() + p2;
        let baseline = |sum: f64, gathered: f64| sum * gathered / (2.0 * gathered + config.eps);
        let (first, second) = (baseline(2000.0 + small, w), baseline(small, 2.0 * w));
        let expected = [1000.0 + small - first, small - second, 1000.0 - first, -second];
        assert_close(&values(found.unwrap().advantages), &expected, 1e-7);
    }
}
