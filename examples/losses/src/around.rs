//! What stands around a loss: rewards, filters, the sampler's correction.

use policy_gradient::advantage::RewardColumn;
use policy_gradient::reward::{self, AdaptiveKl, Overlong, Shaping, Truncated};
use policy_gradient::{
    GroupFilter, RolloutCorrection, drop_rows, geometric_mean_weights, high_entropy, keep_groups,
    length_statistics, reward_statistics, rollout_correction,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::advantages::columns;
use crate::describe::{Function, Input, input, optional, param, plain, required};
#[cfg(test)]
use crate::functions::fields;
use crate::functions::{MASK, config};

const REWARDS: fn() -> Input =
    || input("rewards", "float", "[n]", "One reward per response; NaN means unscored.");
const GROUPS: fn() -> Input = || input("groups", "id", "[n]", "The prompt of each response.");
const KL: fn() -> Input =
    || input("kl", "float", "[batch, time]", "KL per token, nats, from `kl`; not read outside the mask.");

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Combine {
    weights: Option<Vec<f64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beta {
    beta: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adaptive {
    beta: f64,
    target: f64,
    horizon: f64,
    kl: f64,
    samples: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    how: Truncated,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    filter: GroupFilter,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantile {
    quantile: f64,
}

fn numbers(flags: Vec<bool>) -> Vec<f64> {
    flags.into_iter().map(|b| f64::from(u8::from(b))).collect()
}

/// All of them.
pub fn functions() -> Vec<Function> {
    let mut all = rewards();
    all.extend(filters());
    all.extend(corrections());
    all
}

fn rewards() -> Vec<Function> {
    vec![
        Function {
            name: "reward.combine",
            about: "Weighted sum of several reward functions; NaN leaves one out, all NaN stays NaN (TRL).",
            params: vec![param(
                "weights",
                "[k] or null",
                json!(null),
                "One weight per column; null is all ones.",
            )],
            inputs: vec![input("rewards", "float", "[n, k]", "Rewards of n responses by k functions.")],
            outputs: vec![plain("rewards", "[n]", "The sums.")],
            prepare: |p| {
                let c: Combine = config(p)?;
                Ok(Box::new(move |call| {
                    let columns: Vec<RewardColumn> = columns(call, c.weights.as_deref())?;
                    call.output_list("rewards", reward::combine(&columns)?);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.shape",
            about: "clip((R + shift) scale).",
            params: vec![
                param("shift", "number", json!(0.0), "Added first."),
                param("scale", "number", json!(1.0), "Multiplied next."),
                param(
                    "clip",
                    "Bounds",
                    json!({"low": null, "high": null}),
                    "The range the result is cut to (OpenRLHF's and TRL's reward_clip_range).",
                ),
            ],
            inputs: vec![REWARDS()],
            outputs: vec![plain("rewards", "[n]", "The shaped rewards.")],
            prepare: |p| {
                let c: Shaping = config(p)?;
                Ok(Box::new(move |call| {
                    let out = reward::shape(&call.list("rewards")?, &c)?;
                    call.output_list("rewards", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.overlong_penalty",
            about: "DAPO's soft penalty on long responses: 0 up to limit - buffer, linear to -factor at the limit.",
            params: vec![
                required(
                    "limit",
                    "integer",
                    "The longest response allowed (TRL's max_completion_len, verl's max_resp_len).",
                ),
                required(
                    "buffer",
                    "integer <= limit",
                    "TRL's soft_punish_cache, verl's overlong_buffer.len, OpenRLHF's overlong_buffer_len.",
                ),
                param("factor", "number >= 0", json!(1.0), "The penalty at the limit."),
                param(
                    "beyond",
                    "Beyond",
                    json!("floor"),
                    "Behind the limit: floor (TRL, OpenRLHF) or growing (verl).",
                ),
            ],
            inputs: vec![input("lengths", "int", "[n]", "Lengths of the responses, tokens.")],
            outputs: vec![plain("penalties", "[n]", "To be added to the rewards; never positive.")],
            prepare: |p| {
                let c: Overlong = config(p)?;
                Ok(Box::new(move |call| {
                    let out = reward::overlong_penalty(&call.lengths("lengths")?, &c)?;
                    call.output_list("penalties", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.truncated",
            about: "Rewards with those of truncated responses changed (OpenRLHF's stop-properly penalty: scale, or replace where its coefficient is negative).",
            params: vec![required("how", "Truncated", "What becomes of them.")],
            inputs: vec![REWARDS(), input("truncated", "bool", "[n]", "Which responses were cut off.")],
            outputs: vec![plain("rewards", "[n]", "The rewards.")],
            prepare: |p| {
                let c: How = config(p)?;
                Ok(Box::new(move |call| {
                    let out = reward::truncated(&call.list("rewards")?, &call.flags("truncated")?, c.how)?;
                    call.output_list("rewards", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.at_last_token",
            about: "Each response's reward at its last counted token, zero elsewhere.",
            params: vec![],
            inputs: vec![input("rewards", "float", "[batch]", "One reward per row."), MASK()],
            outputs: vec![plain("rewards", "[batch, time]", "Rewards per token.")],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let rewards = call.list("rewards")?;
                    let mask = call.mask([rewards.len(), 1])?;
                    let shape = mask.dims();
                    call.output("rewards", reward::at_last_token(&rewards, mask)?, &shape);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.less_kl",
            about: "r_t - beta kl_t per token (verl's apply_kl_penalty; OpenRLHF's compute_reward on at_last_token).",
            params: vec![required("beta", "number >= 0", "The coefficient.")],
            inputs: vec![input("rewards", "float", "[batch, time]", "Rewards per token."), KL(), MASK()],
            outputs: vec![plain("rewards", "[batch, time]", "Rewards per token, zero outside the mask.")],
            prepare: |p| {
                let c: Beta = config(p)?;
                Ok(Box::new(move |call| {
                    let (rewards, kl) = (call.tokens("rewards")?, call.tokens("kl")?);
                    let shape = rewards.dims();
                    let out = reward::less_kl(rewards, kl, call.mask(shape)?, c.beta)?;
                    call.output("rewards", out, &shape);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.less_summed_kl",
            about: "R - beta sum_t kl_t per response (TRL's RLOO).",
            params: vec![required("beta", "number >= 0", "The coefficient.")],
            inputs: vec![input("rewards", "float", "[batch]", "One reward per row."), KL(), MASK()],
            outputs: vec![plain("rewards", "[batch]", "The penalised rewards.")],
            prepare: |p| {
                let c: Beta = config(p)?;
                Ok(Box::new(move |call| {
                    let (rewards, kl) = (call.list("rewards")?, call.tokens("kl")?);
                    let mask = call.mask(kl.dims())?;
                    call.output_list("rewards", reward::less_summed_kl(&rewards, kl, mask, c.beta)?);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.mean_kl",
            about: "Mean over rows of the rows' mean KL (what verl steers its coefficient by).",
            params: vec![],
            inputs: vec![KL(), MASK()],
            outputs: vec![plain("mean", "[]", "Nats.")],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let kl = call.tokens("kl")?;
                    let mask = call.mask(kl.dims())?;
                    call.output_number("mean", reward::mean_kl(kl, mask)?);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward.adaptive_kl",
            about: "The coefficient after one update: beta (1 + clip(kl / target - 1, ±0.2) samples / horizon).",
            params: vec![
                required("beta", "number >= 0", "The coefficient before."),
                required("target", "number > 0", "The KL it aims for."),
                required("horizon", "number > 0", "Samples over which the error counts in full."),
                required("kl", "number", "The KL that was measured."),
                required("samples", "number", "Samples since the last update (n_steps)."),
            ],
            inputs: vec![],
            outputs: vec![plain("beta", "[]", "The coefficient after.")],
            prepare: |p| {
                let c: Adaptive = config(p)?;
                Ok(Box::new(move |call| {
                    let next = AdaptiveKl::new(c.beta, c.target, c.horizon)?.updated(c.kl, c.samples);
                    call.output_number("beta", next.beta);
                    Ok(())
                }))
            },
        },
    ]
}

fn filters() -> Vec<Function> {
    vec![
        Function {
            name: "keep_groups",
            about: "Which responses dynamic sampling keeps.",
            params: vec![param(
                "filter",
                "GroupFilter",
                json!("varied"),
                "What makes a group worth keeping.",
            )],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![plain("keep", "[n]", "1 where the response stays.")],
            prepare: |p| {
                let c: Filter = config(p)?;
                Ok(Box::new(move |call| {
                    let out = keep_groups(&call.list("rewards")?, &call.groups()?, c.filter)?;
                    call.output_list("keep", numbers(out));
                    Ok(())
                }))
            },
        },
        Function {
            name: "drop_rows",
            about: "The mask without some rows.",
            params: vec![],
            inputs: vec![MASK(), input("keep", "bool", "[batch]", "Which rows stay.")],
            outputs: vec![plain("mask", "[batch, time]", "The mask to count and to go on with.")],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let keep = call.flags("keep")?;
                    let mask = call.mask([keep.len(), 1])?;
                    call.output_flags("mask", drop_rows(mask, &keep)?);
                    Ok(())
                }))
            },
        },
        Function {
            name: "high_entropy",
            about: "The mask of the counted tokens whose entropy is at least a quantile (TRL: 1 - top_entropy_quantile).",
            params: vec![required("quantile", "number in [0, 1]", "The quantile, linearly interpolated.")],
            inputs: vec![input("entropy", "float", "[batch, time]", "Entropies, nats."), MASK()],
            outputs: vec![plain("mask", "[batch, time]", "1 where the token stays.")],
            prepare: |p| {
                let c: Quantile = config(p)?;
                Ok(Box::new(move |call| {
                    let entropy = call.tokens("entropy")?;
                    let mask = call.mask(entropy.dims())?;
                    call.output_flags("mask", high_entropy(entropy, mask, c.quantile)?);
                    Ok(())
                }))
            },
        },
        Function {
            name: "reward_statistics",
            about: "Mean, spread and the share of groups without signal.",
            params: vec![],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![
                plain("mean", "[]", "Mean reward."),
                plain("std", "[]", "Unbiased standard deviation."),
                plain("frac_reward_zero_std", "[]", "Share of groups whose rewards are all equal."),
                plain(
                    "group_std",
                    "[]",
                    "Mean over groups of two or more of their unbiased standard deviation.",
                ),
            ],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let s = reward_statistics(&call.list("rewards")?, &call.groups()?)?;
                    call.output_number("mean", s.mean);
                    call.output_number("std", s.std);
                    call.output_number("frac_reward_zero_std", s.frac_reward_zero_std);
                    call.output_number("group_std", s.group_std);
                    Ok(())
                }))
            },
        },
        Function {
            name: "length_statistics",
            about: "Lengths and the truncated share.",
            params: vec![],
            inputs: vec![
                input("lengths", "int", "[n]", "Tokens."),
                input("truncated", "bool", "[n]", "Which responses were cut off."),
            ],
            outputs: vec![
                plain("mean", "[]", "Mean length."),
                plain("min", "[]", "Shortest."),
                plain("max", "[]", "Longest."),
                plain("truncated", "[]", "Share that was cut off."),
                plain("finished_mean", "[]", "Mean length of the others."),
            ],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let s = length_statistics(&call.lengths("lengths")?, &call.flags("truncated")?)?;
                    call.output_number("mean", s.mean);
                    call.output_number("min", s.min as f64);
                    call.output_number("max", s.max as f64);
                    call.output_number("truncated", s.truncated);
                    call.output_number("finished_mean", s.finished_mean);
                    Ok(())
                }))
            },
        },
    ]
}

fn corrections() -> Vec<Function> {
    vec![
        Function {
            name: "rollout_correction",
            about: "Weights exp(old_logp - sampler_logp), bounded or masked, and a mask without rejected tokens: TIS, IcePop, sequence weights, rejection, off-policy masks.",
            params: vec![
                param(
                    "weight",
                    "RolloutWeight or null",
                    json!(null),
                    "The importance weight; null leaves weights at one.",
                ),
                param("reject", "[Reject]", json!([]), "A token is refused when it fails any of these."),
                param("rejected", "Rejected", json!("leave_mask"), "What becomes of refused tokens."),
            ],
            inputs: vec![
                input(
                    "old_logp",
                    "float",
                    "[batch, time]",
                    "Under the trainer at the start of the step, nats.",
                ),
                input(
                    "sampler_logp",
                    "float",
                    "[batch, time]",
                    "Under the engine that sampled; NaN means unknown, weight one.",
                ),
                optional(
                    "advantages",
                    "float",
                    "[batch], [batch, 1] or [batch, time]",
                    "Needed for conditional rejection.",
                ),
                MASK(),
            ],
            outputs: vec![
                plain("weights", "[batch, time]", "Zero outside the mask."),
                plain("mask", "[batch, time]", "The mask to go on with."),
                plain("kl_k1", "[]", "Mean of sampler_logp - old_logp."),
                plain("kl_k3", "[]", "Mean of r - 1 - log r."),
                plain("chi_squared", "[]", "Mean of r^2, less one."),
                plain("chi_squared_sequences", "[]", "The same over sequences."),
                plain("trainer_perplexity", "[]", "Mean over rows."),
                plain("sampler_perplexity", "[]", "Mean over rows."),
                plain("weight_mean", "[]", "Mean weight after limits, before normalising."),
                plain("weight_min", "[]", "Smallest weight."),
                plain("weight_max", "[]", "Largest weight."),
                plain("effective_sample_size", "[]", "(sum w)^2 / (n sum w^2)."),
                plain("below", "[]", "Share of tokens whose raw weight was below a limit."),
                plain("above", "[]", "Share of tokens whose raw weight was above a limit."),
                plain("rejected_fraction", "[]", "Share of tokens refused."),
            ],
            prepare: |p| {
                let c: RolloutCorrection = config(p)?;
                Ok(Box::new(move |call| {
                    let (old, sampler) = (call.tokens("old_logp")?, call.tokens("sampler_logp")?);
                    let shape = old.dims();
                    let (advantages, mask) = (call.maybe_per_row("advantages")?, call.mask(shape)?);
                    let out = rollout_correction(old, sampler, advantages, mask, &c)?;
                    call.output("weights", out.weights, &shape);
                    call.output_flags("mask", out.mask);
                    let d = out.diagnostics;
                    for (name, value) in [
                        ("kl_k1", d.kl_k1),
                        ("kl_k3", d.kl_k3),
                        ("chi_squared", d.chi_squared),
                        ("chi_squared_sequences", d.chi_squared_sequences),
                        ("trainer_perplexity", d.trainer_perplexity),
                        ("sampler_perplexity", d.sampler_perplexity),
                        ("weight_mean", d.weight_mean),
                        ("weight_min", d.weight_min),
                        ("weight_max", d.weight_max),
                        ("effective_sample_size", d.effective_sample_size),
                        ("below", d.below),
                        ("above", d.above),
                        ("rejected_fraction", d.rejected),
                    ] {
                        call.output_number(name, value);
                    }
                    Ok(())
                }))
            },
        },
        Function {
            name: "geometric_mean_weights",
            about: "The geometric mean of a row's weights at each of its tokens (how verl weighs GMPO).",
            params: vec![],
            inputs: vec![input("weights", "float", "[batch, time]", "Weights per token."), MASK()],
            outputs: vec![plain("weights", "[batch, time]", "Weights per token, zero outside the mask.")],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let weights = call.tokens("weights")?;
                    let shape = weights.dims();
                    let mask = call.mask(shape)?;
                    call.output("weights", geometric_mean_weights(weights, mask)?, &shape);
                    Ok(())
                }))
            },
        },
    ]
}

/// The defaults that `--list` prints, to compare with the crate's own.
#[cfg(test)]
pub fn defaults() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("reward.combine", fields(&Combine::default())),
        ("reward.shape", fields(&Shaping::default())),
        ("keep_groups", fields(&Filter::default())),
        ("rollout_correction", fields(&RolloutCorrection::default())),
    ]
}
