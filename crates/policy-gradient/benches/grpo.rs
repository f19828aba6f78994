//! Time and peak memory of a GRPO loss, forward and backward, and of advantages. The peer is `benches/grpo.py`.
//!
//! `cargo bench -p policy-gradient --bench grpo -- CASE [THREADS]`, one case a process, because the peak is the process's:
//! `hidden-small`, `hidden-large`, `logits-small`, `logits-large`, each also with `-live`, and `advantages`. Prints lines of
//! JSON. In the plain cases 35 to 43 % of the positions lie beyond the clip and have no gradient, which ours leaves out; in the
//! live ones the ratio is one and every position has a gradient.

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::Distribution;
use policy_gradient::advantage::{
    GaeConfig, GroupConfig, Masked, OptimalTokenBaseline, ReinforcePp, RlooConfig, Whiten, gae, group,
    optimal_token_baseline, per_response, reinforce_pp, reinforce_pp_baseline, returns, rloo, whiten,
};
use policy_gradient::{
    Aggregation, GlobalCounts, Objective, TokenLogProbConfig, TokenLogProbs, aggregate, objective,
    token_log_probs, token_log_probs_from_logits,
};

const WIDTH: usize = 512;
const REPEATS: usize = 5;

/// Peak resident bytes since the last reset (Linux), or zero.
fn peak(reset: bool) -> usize {
    if reset {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<usize>().ok()).unwrap_or(0) * 1024
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of each repeat after one warm-up, and the peak above what was resident before.
fn measure(mut run: impl FnMut()) -> (f64, usize) {
    run();
    let before = peak(true);
    let times = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    (median(times), peak(false).saturating_sub(before))
}

fn grpo(new: TokenLogProbs, old: &Tensor<2>, advantages: &Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    let per_token =
        objective(new.logp, old.clone(), advantages.clone(), mask.clone(), &Objective::ppo_clip(0.2, 0.28))
            .expect("shapes fit");
    let counts = GlobalCounts::of(mask).expect("a mask on the CPU");
    aggregate(per_token.loss, mask.clone(), Aggregation::TokenMean, &counts).expect("shapes fit")
}

fn losses([batch, time, vocabulary]: [usize; 3], from_hidden: bool, live: bool) -> (f64, usize, usize) {
    let device = Device::flex().autodiff();
    let normal = Distribution::Normal(0.0, 1.0);
    let mask = Tensor::<2, Bool>::full([batch, time], true, &device);
    let uniform = Tensor::<2>::full([batch, time], -(vocabulary as f64).ln(), &device);
    let rewards: Vec<f64> = (0..batch).map(|i| (i % 3) as f64).collect();
    let advantages = group(&rewards, &vec![0; batch], &GroupConfig::default()).expect("finite rewards");
    let advantages = per_response(&advantages, &device);
    let targets = Tensor::<2, Int>::zeros([batch, time], &device);
    let config = TokenLogProbConfig { temperature: 1.0, chunk: 256 };
    if from_hidden {
        let hidden = Tensor::<3>::random([batch, time, WIDTH], normal, &device).require_grad();
        let head = (Tensor::<2>::random([vocabulary, WIDTH], normal, &device) * 0.05).detach().require_grad();
        let forward = || {
            token_log_probs(hidden.clone(), head.clone(), targets.clone(), mask.clone(), &config)
                .expect("shapes fit")
        };
        let old = if live { forward().logp.detach() } else { uniform };
        let (seconds, bytes) = measure(|| {
            let new = forward();
            let gradients = grpo(new, &old, &advantages, &mask).backward();
            assert!(hidden.grad(&gradients).is_some() && head.grad(&gradients).is_some());
        });
        return (seconds, bytes, batch * time * vocabulary * 4);
    }
    let logits = Tensor::<3>::random([batch, time, vocabulary], normal, &device).require_grad();
    let forward = || {
        token_log_probs_from_logits(logits.clone(), targets.clone(), mask.clone(), &config)
            .expect("shapes fit")
    };
    let old = if live { forward().logp.detach() } else { uniform };
    let (seconds, bytes) = measure(|| {
        let new = forward();
        let gradients = grpo(new, &old, &advantages, &mask).backward();
        assert!(logits.grad(&gradients).is_some());
    });
    (seconds, bytes, batch * time * vocabulary * 4)
}

/// The estimators of single tokens on a million of them, those of responses on a million responses, in milliseconds.
fn advantages() -> Vec<(&'static str, f64)> {
    let device = Device::flex();
    let values = Tensor::<2>::random([1000, 1000], Distribution::Default, &device);
    let logp = values.clone().log();
    let mask = Tensor::<2, Bool>::full([1000, 1000], true, &device);
    let rewards: Vec<f64> = (0..1_000_000).map(|i| f64::from(i % 7)).collect();
    let groups: Vec<u64> = (0..1_000_000).map(|i| i / 16).collect();
    let (row_rewards, row_groups) = (&rewards[..1000], &groups[..1000]);
    let milliseconds = |name: &'static str, run: &dyn Fn() -> bool| {
        let (seconds, _) = measure(|| assert!(run(), "{name}"));
        (name, 1e3 * seconds)
    };
    let (v, m) = (|| values.clone(), || mask.clone());
    let whitened = GaeConfig { whiten: Some(Whiten::default()), ..GaeConfig::default() };
    vec![
        milliseconds("gae", &|| gae(v(), v(), None, m(), &GaeConfig::default()).is_ok()),
        milliseconds("gae, whitened", &|| gae(v(), v(), None, m(), &whitened).is_ok()),
        milliseconds("returns", &|| returns(v(), m(), 0.99, Masked::Skip).is_ok()),
        milliseconds("whiten", &|| whiten(v(), m(), &Whiten::default()).is_ok()),
        milliseconds("reinforce_pp", &|| reinforce_pp(v(), m(), &ReinforcePp::default()).is_ok()),
        milliseconds("reinforce_pp_baseline", &|| {
            reinforce_pp_baseline(row_rewards, row_groups, m(), &ReinforcePp::default()).is_ok()
        }),
        milliseconds("optimal_token_baseline", &|| {
            let config = OptimalTokenBaseline::default();
            optimal_token_baseline(v(), logp.clone(), v(), None, row_groups, m(), &config).is_ok()
        }),
        milliseconds("group, responses", &|| group(&rewards, &groups, &GroupConfig::default()).is_ok()),
        milliseconds("rloo, responses", &|| rloo(&rewards, &groups, &RlooConfig::default()).is_ok()),
    ]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let case = args.first().map_or("", String::as_str);
    let (small, large) = ([16, 256, 8192], [4, 1024, 49152]);
    let live = case.ends_with("-live");
    let (seconds, bytes, logits) = match case.trim_end_matches("-live") {
        "hidden-small" => losses(small, true, live),
        "hidden-large" => losses(large, true, live),
        "logits-small" => losses(small, false, live),
        "logits-large" => losses(large, false, live),
        "advantages" => {
            for (name, milliseconds) in advantages() {
                println!(r#"{{"case":"advantages","function":"{name}","ms_1e6":{milliseconds:.1}}}"#);
            }
            return;
        }
        _ => {
            eprintln!(
                "cases: hidden-small hidden-large logits-small logits-large, each with -live, and advantages"
            );
            return;
        }
    };
    println!(r#"{{"case":"{case}","seconds":{seconds},"peak_bytes":{bytes},"logits_bytes":{logits}}}"#);
}
