//! Laws that hold for every input.

mod common;

use burn::prelude::*;
use common::{assert_close, devices, floats, gradient, mask, values};
use policy_gradient::advantage::{
    GdpoConfig, GroupConfig, RewardColumn, RlooConfig, Scale, Singleton, Std, gdpo, gpg, group, opo,
    per_response, rloo, whiten,
};
use policy_gradient::objective::{PpoClip, RatioLevel};
use policy_gradient::{
    Aggregation, EmptyRows, GlobalCounts, Kl, KlEstimator, Objective, Recipe, Tokens, aggregate, kl,
    objective, preset,
};
use proptest::prelude::*;

/// Rewards with groups of one to five.
fn grouped() -> impl Strategy<Value = (Vec<f64>, Vec<u64>)> {
    prop::collection::vec((-4.0..4.0f64, 0u64..4), 1..14).prop_map(|v| v.into_iter().unzip())
}

/// The same, with an order to put the responses in.
fn shuffled() -> impl Strategy<Value = (Vec<f64>, Vec<u64>, Vec<usize>)> {
    grouped().prop_flat_map(|(rewards, groups)| {
        let order: Vec<usize> = (0..rewards.len()).collect();
        (Just(rewards), Just(groups), Just(order).prop_shuffle())
    })
}

/// A batch of token tensors as host rows.
#[derive(Debug, Clone)]
struct Rows {
    logp: Vec<Vec<f64>>,
    old: Vec<Vec<f64>>,
    reference: Vec<Vec<f64>>,
    advantages: Vec<Vec<f64>>,
    mask: Vec<Vec<bool>>,
}

fn rows(batch: usize, time: usize) -> impl Strategy<Value = Rows> {
    type Cell = (f64, f64, f64, f64, bool);
    let cell = (-4.0..-0.01f64, -0.8..0.8f64, -0.8..0.8f64, -2.0..2.0f64, prop::bool::weighted(0.75));
    prop::collection::vec(prop::collection::vec(cell, time), batch).prop_map(|cells| {
        let pick = |f: &dyn Fn(&Cell) -> f64| {
            cells.iter().map(|row| row.iter().map(f).collect()).collect::<Vec<Vec<f64>>>()
        };
        Rows {
            logp: pick(&|c| c.0),
            old: pick(&|c| c.0 + c.1),
            reference: pick(&|c| c.0 + c.2),
            advantages: pick(&|c| c.3),
            mask: cells.iter().map(|row| row.iter().map(|c| c.4).collect()).collect(),
        }
    })
}

/// Loss and gradient of a recipe.
fn evaluate(recipe: &Recipe, rows: &Rows, counts: Option<GlobalCounts>, device: &Device) -> (f64, Vec<f64>) {
    let device = device.clone().autodiff();
    let logp = floats(&rows.logp, &device).require_grad();
    let mask = mask(&rows.mask, &device);
    let counts = counts.unwrap_or_else(|| GlobalCounts::of(&mask).unwrap());
    let tokens = Tokens {
        ref_logp: Some(floats(&rows.reference, &device)),
        ..Tokens::new(logp.clone(), floats(&rows.old, &device), floats(&rows.advantages, &device), mask)
    };
    let loss = recipe.loss(tokens, &counts).unwrap().loss;
    (loss.clone().into_scalar::<f64>(), gradient(loss, &logp))
}

/// Objectives whose tokens depend on statistics of the whole call.
fn looks_at_the_batch(recipe: &Recipe) -> bool {
    matches!(recipe.objective, Objective::ClipCov(_) | Objective::KlCov(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn centred_and_leave_one_out_advantages_sum_to_zero_in_every_group((rewards, groups) in grouped()) {
        let centred = group(&rewards, &groups, &GroupConfig::centred()).unwrap();
        let left_out = rloo(&rewards, &groups, &RlooConfig::default()).unwrap();
        for advantages in [centred, left_out] {
            for g in 0..4 {
                let sum: f64 = advantages.iter().zip(&groups).filter(|(_, of)| **of == g).map(|(a, _)| a).sum();
                prop_assert!(sum.abs() < 1e-12, "{sum}");
            }
        }
    }

    #[test]
    fn advantages_do_not_change_when_all_rewards_shift((rewards, groups) in grouped(), shift in -8.0..8.0f64) {
        let shifted: Vec<f64> = rewards.iter().map(|r| r + shift).collect();
        let lengths: Vec<usize> = (1..=rewards.len()).collect();
        let of = |r: &[f64]| [
            group(r, &groups, &GroupConfig::default()).unwrap(),
            group(r, &groups, &GroupConfig::centred()).unwrap(),
            rloo(r, &groups, &RlooConfig::default()).unwrap(),
            opo(r, &lengths, &groups, Singleton::Zero).unwrap(),
        ].concat();
        // A tiny spread over a large shift loses digits in the rewards themselves.
        assert_close(&of(&shifted), &of(&rewards), 1e-6);
    }

    #[test]
    fn normalised_advantages_do_not_change_when_all_rewards_scale((rewards, groups) in grouped(), scale in 0.1..10.0f64) {
        let config = GroupConfig { scale: Scale::Group(Std { ddof: 1, eps: 0.0 }), singleton: Singleton::Zero };
        let scaled: Vec<f64> = rewards.iter().map(|r| r * scale).collect();
        assert_close(&group(&scaled, &groups, &config).unwrap(), &group(&rewards, &groups, &config).unwrap(), 1e-9);
    }

    #[test]
    fn advantages_follow_a_permutation_of_the_responses((rewards, groups, order) in shuffled()) {
        let lengths: Vec<usize> = (1..=rewards.len()).collect();
        let all = |rewards: &[f64], lengths: &[usize], groups: &[u64]| {
            let column = |weight, values: Vec<f64>| RewardColumn { values, weight };
            let second = lengths.iter().map(|&l| (l % 3) as f64).collect();
            let columns = [column(1.0, rewards.to_vec()), column(0.5, second)];
            [
                group(rewards, groups, &GroupConfig::default()).unwrap(),
                group(rewards, groups, &GroupConfig::centred()).unwrap(),
                group(rewards, groups, &GroupConfig::max_rl()).unwrap(),
                rloo(rewards, groups, &RlooConfig::default()).unwrap(),
                opo(rewards, lengths, groups, Singleton::Raw).unwrap(),
                gpg(rewards, groups, Singleton::Raw).unwrap(),
                gdpo(&columns, groups, &GdpoConfig::default()).unwrap(),
            ]
        };
        let found = all(
            &order.iter().map(|&i| rewards[i]).collect::<Vec<_>>(),
            &order.iter().map(|&i| lengths[i]).collect::<Vec<_>>(),
            &order.iter().map(|&i| groups[i]).collect::<Vec<_>>(),
        );
        for (found, expected) in found.iter().zip(all(&rewards, &lengths, &groups)) {
            // Sums in another order round otherwise; a nearly vanishing spread or mean magnifies that.
            assert_close(found, &order.iter().map(|&i| expected[i]).collect::<Vec<_>>(), 1e-8);
        }
    }

    #[test]
    fn group_mean_is_leave_one_out_times_one_less_a_gth((rewards, groups) in grouped()) {
        let centred = group(&rewards, &groups, &GroupConfig::centred()).unwrap();
        let left_out = rloo(&rewards, &groups, &RlooConfig::default()).unwrap();
        for ((c, l), g) in centred.iter().zip(&left_out).zip(&groups) {
            let n = groups.iter().filter(|of| *of == g).count() as f64;
            prop_assert!((c - l * (1.0 - 1.0 / n)).abs() < 1e-12);
        }
    }

    #[test]
    fn k3_is_positive_but_where_the_policies_agree(logp in -20.0..0.0f64, d in -8.0..8.0f64) {
        for device in devices() {
            let one = |v: f64| floats(&[vec![v]], &device);
            let at = |d: f64| {
                let all = Tensor::full([1, 1], true, &device);
                values(kl(one(logp), one(logp - d), None, all, &Kl::new(KlEstimator::K3)).unwrap())[0]
            };
            prop_assert_eq!(at(0.0), 0.0);
            let exact = f64::from(logp as f32) - f64::from((logp - d) as f32);
            if exact != 0.0 {
                prop_assert!(at(d) > 0.0, "{d}");
            }
        }
    }

    #[test]
    fn whitened_values_have_mean_zero_and_variance_one(cells in rows(3, 4)) {
        let device = Device::flex();
        let m = mask(&cells.mask, &device);
        let white = values(whiten(floats(&cells.advantages, &device), m, &Default::default()).unwrap());
        let counted: Vec<f64> =
            white.iter().zip(cells.mask.iter().flatten()).filter(|(_, m)| **m).map(|(v, _)| *v).collect();
        let n = counted.len() as f64;
        if n > 2.0 {
            prop_assert!(counted.iter().sum::<f64>().abs() / n < 1e-5);
            let variance = counted.iter().map(|v| v * v).sum::<f64>() / (n - 1.0);
            prop_assert!((variance - 1.0).abs() < 1e-3);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn padding_changes_nothing_whatever_it_holds(cells in rows(3, 4), bad in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30])) {
        let mut padded = cells.clone();
        for rows in [&mut padded.logp, &mut padded.old, &mut padded.reference, &mut padded.advantages] {
            rows.iter_mut().zip(&cells.mask).for_each(|(row, mask)| {
                row.iter_mut().zip(mask).filter(|(_, m)| !**m).for_each(|(v, _)| *v = bad);
                row.extend([bad, bad]);
            });
        }
        padded.mask.iter_mut().for_each(|row| row.extend([false, false]));
        for device in devices() {
            for (name, recipe) in preset::all() {
                let (loss, gradients) = evaluate(&recipe, &cells, None, &device);
                let (same, wider) = evaluate(&recipe, &padded, None, &device);
                prop_assert!((loss - same).abs() < 1e-5 * loss.abs().max(1.0), "{name}: {loss} {same}");
                let cut: Vec<f64> = wider.chunks(6).flat_map(|row| row[..4].to_vec()).collect();
                prop_assert!(wider.chunks(6).all(|row| row[4..] == [0.0, 0.0]), "{name}");
                assert_close(&cut, &gradients, 1e-5);
            }
        }
    }

    #[test]
    fn micro_batches_add_up_to_the_full_batch(cells in rows(5, 4), cut in 1usize..5) {
        for device in devices() {
            let counts = GlobalCounts::of(&mask(&cells.mask, &device)).unwrap();
            let part = |range: std::ops::Range<usize>| Rows {
                logp: cells.logp[range.clone()].to_vec(),
                old: cells.old[range.clone()].to_vec(),
                reference: cells.reference[range.clone()].to_vec(),
                advantages: cells.advantages[range.clone()].to_vec(),
                mask: cells.mask[range].to_vec(),
            };
            for (name, recipe) in preset::all().into_iter().filter(|(_, r)| !looks_at_the_batch(r)) {
                let (full, gradients) = evaluate(&recipe, &cells, Some(counts), &device);
                let (a, first) = evaluate(&recipe, &part(0..cut), Some(counts), &device);
                let (b, second) = evaluate(&recipe, &part(cut..5), Some(counts), &device);
                prop_assert!((a + b - full).abs() < 1e-5 * full.abs().max(1.0), "{name}: {a} + {b} != {full}");
                assert_close(&[first, second].concat(), &gradients, 1e-5);
            }
        }
    }

    #[test]
    fn at_ratio_one_every_clipped_objective_has_reinforces_gradient(cells in rows(3, 5), advantages in prop::collection::vec(-2.0..2.0f64, 3)) {
        let rows_mean = Aggregation::SequenceMeanTokenMean { empty_rows: EmptyRows::Excluded };
        for device in devices() {
            let device = device.autodiff();
            let m = mask(&cells.mask, &device);
            let counts = GlobalCounts::of(&m).unwrap();
            let of = |objective_: &Objective| {
                let logp = floats(&cells.logp, &device).require_grad();
                let advantages = per_response(&advantages, &device);
                let out = objective(logp.clone(), logp.clone().detach(), advantages, m.clone(), objective_).unwrap();
                gradient(aggregate(out.loss, m.clone(), rows_mean, &counts).unwrap(), &logp)
            };
            let reinforce = of(&Objective::Reinforce);
            for same in [
                Objective::ppo_clip(0.2, 0.2),
                Objective::ppo_clip(0.2, 0.28),
                Objective::gspo(3e-4, 4e-4),
                Objective::PpoClip(PpoClip { level: RatioLevel::SequenceMeanToken, ..PpoClip::default() }),
                Objective::PpoClip(PpoClip { dual: Some(3.0), ..PpoClip::default() }),
                Objective::Cispo(Default::default()),
                Objective::Sapo(Default::default()),
                Objective::Gmpo(Default::default()),
                Objective::Dppo(Default::default()),
                Objective::Topr(Default::default()),
                Objective::Vespo(Default::default()),
            ] {
                assert_close(&of(&same), &reinforce, 2e-6);
            }
        }
    }

    #[test]
    fn ppo_stops_learning_exactly_beyond_the_clip_in_the_direction_of_the_advantage(log_ratio in -1.5..1.5f64, advantage in -2.0..2.0f64) {
        for device in devices() {
            let device = device.autodiff();
            let logp = floats(&[vec![-2.0 + log_ratio]], &device).require_grad();
            let all = Tensor::full([1, 1], true, &device);
            let out = objective(
                logp.clone(), floats(&[vec![-2.0]], &device), floats(&[vec![advantage]], &device), all,
                &Objective::ppo_clip(0.2, 0.3),
            ).unwrap();
            let ratio = (f64::from((-2.0 + log_ratio) as f32) + 2.0).exp();
            let stopped = advantage > 0.0 && ratio > 1.3 || advantage < 0.0 && ratio < 0.8;
            let found = gradient(out.loss.sum(), &logp)[0];
            let expected = if stopped { 0.0 } else { -advantage * ratio };
            prop_assert!((found - expected).abs() < 1e-5, "ratio {ratio}, A {advantage}: {found}, expected {expected}");
            let counted = out.diagnostics.clipped_low + out.diagnostics.clipped_high;
            prop_assert_eq!(counted, f64::from(u8::from(stopped)));
        }
    }
}

/// Ids name groups and nothing else: neither their size, nor whether a group's responses stand together, changes a number.
#[test]
fn group_ids_are_only_names() {
    let rewards: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 11)).collect();
    let together: Vec<u64> = (0..60).map(|i| i / 6).collect();
    let expected = group(&rewards, &together, &GroupConfig::default()).expect("finite rewards");
    for name in [|g: u64| g + 3, |g: u64| u64::MAX - g, |g: u64| g * 1_000_003, |g: u64| (g * 7) % 10] {
        let ids: Vec<u64> = together.iter().map(|&g| name(g)).collect();
        assert_eq!(group(&rewards, &ids, &GroupConfig::default()).expect("finite rewards"), expected);
    }
    // The same responses, dealt out one group after the other.
    let order: Vec<usize> = (0..6).flat_map(|k| (0..10).map(move |g| g * 6 + k)).collect();
    let dealt: Vec<f64> = order.iter().map(|&i| rewards[i]).collect();
    let ids: Vec<u64> = order.iter().map(|&i| together[i]).collect();
    let found = group(&dealt, &ids, &GroupConfig::default()).expect("finite rewards");
    assert_eq!(found, order.iter().map(|&i| expected[i]).collect::<Vec<_>>());
}

/// Both sides of both ends of the clip, for both signs, so that each of the four cases is met in every run.
#[test]
fn the_four_sides_of_ppos_clip() {
    for device in devices() {
        let device = device.autodiff();
        for (ratio, advantage, learns) in [
            (1.29, 1.0, true),
            (1.31, 1.0, false),
            (0.79, 1.0, true),
            (0.81, 1.0, true),
            (1.29, -1.0, true),
            (1.31, -1.0, true),
            (0.79, -1.0, false),
            (0.81, -1.0, true),
        ] {
            let logp = floats(&[vec![f64::ln(ratio) - 2.0]], &device).require_grad();
            let (old, advantages) = (floats(&[vec![-2.0]], &device), floats(&[vec![advantage]], &device));
            let all = Tensor::full([1, 1], true, &device);
            let out = objective(logp.clone(), old, advantages, all, &Objective::ppo_clip(0.2, 0.3)).unwrap();
            let expected = if learns { -advantage * ratio } else { 0.0 };
            let found = gradient(out.loss.sum(), &logp)[0];
            assert!(
                (found - expected).abs() < 1e-5,
                "ratio {ratio}, A {advantage}: {found}, expected {expected}"
            );
        }
    }
}
