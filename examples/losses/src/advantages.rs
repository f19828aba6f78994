//! The functions of `policy_gradient::advantage`.

use policy_gradient::advantage::{
    self, GaeConfig, GdpoConfig, GroupConfig, Masked, OptimalTokenBaseline, ReinforcePp, RewardColumn,
    RlooConfig, Scale, Singleton, Std, Whiten, WhitenMoments,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{Call, Failure};
use crate::describe::{Function, Input, Output, Param, input, optional, param, plain};
#[cfg(test)]
use crate::functions::fields;
use crate::functions::{MASK, config};

const REWARDS: fn() -> Input = || {
    input(
        "rewards",
        "float",
        "[n]",
        "One reward per response; NaN means \"could not be scored\": advantage zero, left out of all statistics.",
    )
};
const GROUPS: fn() -> Input = || {
    input(
        "groups",
        "id",
        "[n]",
        "The prompt of each response, as numbers or strings; groups may have any sizes and order.",
    )
};
const TOKEN_REWARDS: fn() -> Input =
    || input("rewards", "float", "[batch, time]", "Rewards per token; values outside the mask are not read.");
const ADVANTAGES: fn() -> Output = || plain("advantages", "[n]", "One advantage per response.");
const TOKEN_ADVANTAGES: fn() -> Output =
    || plain("advantages", "[batch, time]", "Advantages per token, zero outside the mask.");
const RETURNS: fn() -> Output =
    || plain("returns", "[batch, time]", "Returns per token, zero outside the mask.");
const SINGLETON: fn(&str) -> Param =
    |default| param("singleton", "Singleton", json!(default), "What a group of one gets.");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OnlySingleton {
    singleton: Singleton,
}

impl Default for OnlySingleton {
    fn default() -> Self {
        Self { singleton: Singleton::Raw }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PassAtK {
    scale: Scale,
}

impl Default for PassAtK {
    fn default() -> Self {
        Self { scale: Scale::Group(Std::default()) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Gdpo {
    weights: Option<Vec<f64>>,
    group: GroupConfig,
    batch: Option<Std>,
}

impl Default for Gdpo {
    fn default() -> Self {
        let GdpoConfig { group, batch } = GdpoConfig::default();
        Self { weights: None, group, batch }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GdpoTokens {
    weights: Option<Vec<f64>>,
    group: GroupConfig,
    whiten: Whiten,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Returns {
    gamma: f64,
    masked: Masked,
}

impl Default for Returns {
    fn default() -> Self {
        Self { gamma: 1.0, masked: Masked::Skip }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

/// Splits `[n, k]` or a list of columns into columns with weights.
pub(crate) fn columns(call: &mut Call, weights: Option<&[f64]>) -> Result<Vec<RewardColumn>, Failure> {
    let tensor = call.matrix("rewards")?;
    let [n, k] = tensor.dims();
    let data = call.list("rewards")?;
    if weights.is_some_and(|w| w.len() != k) {
        return Err(Failure::Record(format!(
            "expected {k} values in `weights`, one per column of `rewards`"
        )));
    }
    Ok((0..k)
        .map(|j| RewardColumn {
            values: (0..n).map(|i| data[i * k + j]).collect(),
            weight: weights.map_or(1.0, |w| w[j]),
        })
        .collect())
}

fn whiten_params() -> Vec<Param> {
    vec![
        param("variance", "Variance", json!("unbiased"), "The denominator of the variance."),
        param("floor", "Floor", json!({"add": 1e-8}), "How a vanishing variance is treated."),
        param("mean", "Mean", json!("remove"), "Whether the mean is removed or added back after scaling."),
    ]
}

/// All of them.
pub fn functions() -> Vec<Function> {
    vec![
        Function {
            name: "advantage.group",
            about: "GRPO, Dr. GRPO, MaxRL, batch-scaled: (R - mean of the group) / divisor.",
            params: vec![
                param(
                    "scale",
                    "Scale",
                    json!({"group": {"ddof": 1, "eps": 1e-6}}),
                    "What the centred reward is divided by.",
                ),
                SINGLETON("zero"),
            ],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: GroupConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let out = advantage::group(&call.list("rewards")?, &call.groups()?, &c)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.rloo",
            about: "Leave-one-out: R - mean of the group's other rewards.",
            params: vec![
                SINGLETON("zero"),
                param(
                    "normalise",
                    "Std or null",
                    json!(null),
                    "Normalise over all responses afterwards (TRL's normalize_advantages: eps 1e-4).",
                ),
            ],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: RlooConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let out = advantage::rloo(&call.list("rewards")?, &call.groups()?, &c)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.remax",
            about: "R - reward of the greedy response.",
            params: vec![],
            inputs: vec![
                REWARDS(),
                input("greedy_rewards", "float", "[n]", "The greedy response's reward, for each response."),
            ],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let out = advantage::remax(&call.list("rewards")?, &call.list("greedy_rewards")?)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.remax_tokens",
            about: "Undiscounted returns to go - reward of the greedy response, per token.",
            params: vec![],
            inputs: vec![
                TOKEN_REWARDS(),
                input("greedy_rewards", "float", "[batch]", "The greedy response's reward, for each row."),
                MASK(),
            ],
            outputs: vec![TOKEN_ADVANTAGES(), RETURNS()],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let rewards = call.tokens("rewards")?;
                    let mask = call.mask(rewards.dims())?;
                    let out = advantage::remax_tokens(rewards, &call.list("greedy_rewards")?, mask)?;
                    returns(call, out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.opo",
            about: "R - length-weighted mean reward of the group.",
            params: vec![SINGLETON("raw")],
            inputs: vec![
                REWARDS(),
                input("lengths", "int", "[n]", "Counted tokens of each response."),
                GROUPS(),
            ],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: OnlySingleton = config(p)?;
                Ok(Box::new(move |call| {
                    let (rewards, lengths) = (call.list("rewards")?, call.lengths("lengths")?);
                    let out = advantage::opo(&rewards, &lengths, &call.groups()?, c.singleton)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.gpg",
            about: "(n / number of non-zero rewards) (R - mean of the group).",
            params: vec![SINGLETON("raw")],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: OnlySingleton = config(p)?;
                Ok(Box::new(move |call| {
                    let out = advantage::gpg(&call.list("rewards")?, &call.groups()?, c.singleton)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.pass_at_k",
            about: "The best response of a group gets (r1 - r2) / (std + eps), the others 0; groups of one are refused.",
            params: vec![param(
                "scale",
                "Scale",
                json!({"group": {"ddof": 1, "eps": 1e-6}}),
                "`none` or `group`.",
            )],
            inputs: vec![REWARDS(), GROUPS()],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: PassAtK = config(p)?;
                Ok(Box::new(move |call| {
                    let out = advantage::pass_at_k(&call.list("rewards")?, &call.groups()?, c.scale)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.gdpo",
            about: "GDPO, and TRL's normalize_then_sum: each reward function normalised within its group, weighted, summed, normalised over the batch.",
            params: vec![
                param("weights", "[k] or null", json!(null), "One weight per column; null is all ones."),
                param(
                    "group",
                    "{scale, singleton}",
                    json!({"scale": {"group": {"ddof": 1, "eps": 1e-6}}, "singleton": "zero"}),
                    "As for advantage.group.",
                ),
                param(
                    "batch",
                    "Std or null",
                    json!({"ddof": 1, "eps": 1e-6}),
                    "Normalisation of the sum over all responses (TRL: ddof 1, eps 1e-4).",
                ),
            ],
            inputs: vec![
                input(
                    "rewards",
                    "float",
                    "[n, k]",
                    "Rewards of n responses by k functions; NaN where one does not apply.",
                ),
                GROUPS(),
            ],
            outputs: vec![ADVANTAGES()],
            prepare: |p| {
                let c: Gdpo = config(p)?;
                Ok(Box::new(move |call| {
                    let columns = columns(call, c.weights.as_deref())?;
                    let settings = GdpoConfig { group: c.group, batch: c.batch };
                    let out = advantage::gdpo(&columns, &call.groups()?, &settings)?;
                    call.output_list("advantages", out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.gdpo_tokens",
            about: "GDPO as in verl: the weighted sum is whitened over the tokens of the batch (singleton raw there).",
            params: vec![
                param("weights", "[k] or null", json!(null), "One weight per column; null is all ones."),
                param(
                    "group",
                    "{scale, singleton}",
                    json!({"scale": {"group": {"ddof": 1, "eps": 1e-6}}, "singleton": "zero"}),
                    "As for advantage.group.",
                ),
                param(
                    "whiten",
                    "{variance, floor, mean}",
                    json!({"variance": "unbiased", "floor": {"add": 1e-8}, "mean": "remove"}),
                    "As for advantage.whiten.",
                ),
            ],
            inputs: vec![
                input("rewards", "float", "[batch, k]", "Rewards of each row by k functions."),
                GROUPS(),
                MASK(),
            ],
            outputs: vec![TOKEN_ADVANTAGES()],
            prepare: |p| {
                let c: GdpoTokens = config(p)?;
                Ok(Box::new(move |call| {
                    let columns = columns(call, c.weights.as_deref())?;
                    let settings = GdpoConfig { group: c.group, batch: None };
                    let mask = call.mask([call.groups()?.len(), 1])?;
                    let out = advantage::gdpo_tokens(&columns, &call.groups()?, mask, &settings, &c.whiten)?;
                    let shape = out.dims();
                    call.output("advantages", out, &shape);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.gae",
            about: "Generalised advantage estimation: A_t = delta_t + gamma lambda A_{t+1}. verl: masked skip, whiten; OpenRLHF: masked zero; open-instruct: masked terminal with dones.",
            params: vec![
                param("gamma", "number in [0, 1]", json!(1.0), "Discount per token."),
                param("lambda", "number in [0, 1]", json!(0.95), "Bias against variance."),
                param("masked", "Masked", json!("skip"), "How tokens outside the mask are treated."),
                param(
                    "whiten",
                    "{variance, floor, mean} or null",
                    json!(null),
                    "Whitening of the advantages afterwards; returns are never whitened. verl: {}.",
                ),
            ],
            inputs: vec![
                TOKEN_REWARDS(),
                input("values", "float", "[batch, time]", "The critic's values."),
                optional(
                    "dones",
                    "bool",
                    "[batch, time]",
                    "True at the last token of each episode in a packed row.",
                ),
                MASK(),
            ],
            outputs: vec![TOKEN_ADVANTAGES(), RETURNS()],
            prepare: |p| {
                let c: GaeConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let (rewards, values) = (call.tokens("rewards")?, call.tokens("values")?);
                    let (dones, mask) = (call.maybe_flags("dones")?, call.mask(rewards.dims())?);
                    let out = advantage::gae(rewards, values, dones, mask, &c)?;
                    returns(call, out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.returns",
            about: "Discounted rewards to go: G_t = r_t + gamma G_{t+1}.",
            params: vec![
                param("gamma", "number in [0, 1]", json!(1.0), "Discount per token."),
                param(
                    "masked",
                    "Masked",
                    json!("skip"),
                    "How tokens outside the mask are treated (OpenRLHF: zero).",
                ),
            ],
            inputs: vec![TOKEN_REWARDS(), MASK()],
            outputs: vec![RETURNS()],
            prepare: |p| {
                let c: Returns = config(p)?;
                Ok(Box::new(move |call| {
                    let rewards = call.tokens("rewards")?;
                    let shape = rewards.dims();
                    let out = advantage::returns(rewards, call.mask(shape)?, c.gamma, c.masked)?;
                    call.output("returns", out, &shape);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.reinforce_pp",
            about: "REINFORCE++: discounted returns to go, whitened over the tokens of the batch.",
            params: vec![
                param("gamma", "number in [0, 1]", json!(1.0), "Discount per token."),
                param("masked", "Masked", json!("skip"), "How tokens outside the mask are treated."),
                param("singleton", "Singleton", json!("raw"), "Not used by this variant."),
                param(
                    "whiten",
                    "{variance, floor, mean}",
                    json!({"variance": "unbiased", "floor": {"add": 1e-8}, "mean": "remove"}),
                    "As for advantage.whiten.",
                ),
            ],
            inputs: vec![TOKEN_REWARDS(), MASK()],
            outputs: vec![TOKEN_ADVANTAGES(), RETURNS()],
            prepare: |p| {
                let c: ReinforcePp = config(p)?;
                Ok(Box::new(move |call| {
                    let rewards = call.tokens("rewards")?;
                    let mask = call.mask(rewards.dims())?;
                    let out = advantage::reinforce_pp(rewards, mask, &c)?;
                    returns(call, out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.reinforce_pp_baseline",
            about: "REINFORCE++ with baseline: (R - mean of the group) at every token, whitened over the tokens of the batch.",
            params: vec![
                param("gamma", "number in [0, 1]", json!(1.0), "Not used by this variant."),
                param("masked", "Masked", json!("skip"), "Not used by this variant."),
                param("singleton", "Singleton", json!("raw"), "What a group of one gets before whitening."),
                param(
                    "whiten",
                    "{variance, floor, mean}",
                    json!({"variance": "unbiased", "floor": {"add": 1e-8}, "mean": "remove"}),
                    "As for advantage.whiten.",
                ),
            ],
            inputs: vec![REWARDS(), GROUPS(), MASK()],
            outputs: vec![TOKEN_ADVANTAGES()],
            prepare: |p| {
                let c: ReinforcePp = config(p)?;
                Ok(Box::new(move |call| {
                    let rewards = call.list("rewards")?;
                    let mask = call.mask([rewards.len(), 1])?;
                    let out = advantage::reinforce_pp_baseline(&rewards, &call.groups()?, mask, &c)?;
                    let shape = out.dims();
                    call.output("advantages", out, &shape);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.optimal_token_baseline",
            about: "Returns to go - baseline of least variance per position. verl's optimal_token_baseline (alignment column) and tir_optimal_token_baseline (alignment counted).",
            params: vec![
                param("alignment", "Alignment", json!("column"), "Which tokens of a group are compared."),
                param(
                    "tail",
                    "Tail",
                    json!("zero"),
                    "The baseline where only the longest response reaches (verl's handle_zero_tail: zero if true, own if false).",
                ),
                param("eps", "number >= 0", json!(1e-8), "Added to the denominator."),
            ],
            inputs: vec![
                TOKEN_REWARDS(),
                input("old_logp", "float", "[batch, time]", "Log-probabilities of the sampled tokens, nats."),
                input(
                    "sum_p_squared",
                    "float",
                    "[batch, time]",
                    "Sum over the vocabulary of squared probabilities.",
                ),
                optional("weights", "float", "[batch, time]", "Importance weights of the sampler."),
                GROUPS(),
                MASK(),
            ],
            outputs: vec![TOKEN_ADVANTAGES(), RETURNS()],
            prepare: |p| {
                let c: OptimalTokenBaseline = config(p)?;
                Ok(Box::new(move |call| {
                    let (rewards, logp) = (call.tokens("rewards")?, call.tokens("old_logp")?);
                    let (squares, weights) = (call.tokens("sum_p_squared")?, call.maybe_tokens("weights")?);
                    let (groups, mask) = (call.groups()?, call.mask(rewards.dims())?);
                    let out = advantage::optimal_token_baseline(
                        rewards, logp, squares, weights, &groups, mask, &c,
                    )?;
                    returns(call, out);
                    Ok(())
                }))
            },
        },
        Function {
            name: "advantage.whiten",
            about: "(x - mean) / sqrt(var + eps) over the counted tokens, zero outside the mask.",
            params: whiten_params(),
            inputs: vec![input("values", "float", "[batch, time]", "What is whitened."), MASK()],
            outputs: vec![
                plain("values", "[batch, time]", "Whitened values, zero outside the mask."),
                plain("count", "[]", "Counted tokens."),
                plain("mean", "[]", "Their mean."),
                plain("squares", "[]", "The sum of squared distances from it."),
            ],
            prepare: |p| {
                let c: Whiten = config(p)?;
                Ok(Box::new(move |call| {
                    let values = call.tokens("values")?;
                    let shape = values.dims();
                    let mask = call.mask(shape)?;
                    let moments = WhitenMoments::of(&values, &mask)?;
                    call.output("values", advantage::whiten(values, mask, &c)?, &shape);
                    call.output_number("count", moments.count);
                    call.output_number("mean", moments.mean);
                    call.output_number("squares", moments.squares);
                    Ok(())
                }))
            },
        },
    ]
}

fn returns(call: &mut Call, out: advantage::Returns) {
    let shape = out.advantages.dims();
    call.output("advantages", out.advantages, &shape);
    call.output("returns", out.returns, &shape);
}

/// The defaults that `--list` prints, to compare with the crate's own.
#[cfg(test)]
pub fn defaults() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("advantage.group", fields(&GroupConfig::default())),
        ("advantage.rloo", fields(&RlooConfig::default())),
        ("advantage.opo", fields(&OnlySingleton::default())),
        ("advantage.gpg", fields(&OnlySingleton::default())),
        ("advantage.pass_at_k", fields(&PassAtK::default())),
        ("advantage.gdpo", fields(&Gdpo::default())),
        ("advantage.gdpo_tokens", fields(&GdpoTokens::default())),
        ("advantage.gae", fields(&GaeConfig::default())),
        ("advantage.returns", fields(&Returns::default())),
        ("advantage.reinforce_pp", fields(&ReinforcePp::default())),
        ("advantage.reinforce_pp_baseline", fields(&ReinforcePp::default())),
        ("advantage.optimal_token_baseline", fields(&OptimalTokenBaseline::default())),
        ("advantage.whiten", fields(&Whiten::default())),
    ]
}
