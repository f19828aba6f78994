//! Objectives, KL, reductions, the value loss and whole recipes.

use burn::prelude::*;
use policy_gradient::objective::{self, Cispo, ClipCov, Dppo, Dro, Gmpo, KlCov, PpoClip, Sapo, Topr, Vespo};
use policy_gradient::{
    Aggregation, GlobalCounts, Kl, PerToken, Recipe, TokenLogProbConfig, Tokens, ValueClip, aggregate,
    explained_variance, kl, preset, token_log_probs, token_log_probs_from_logits, value_loss,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{Call, Failure};
use crate::describe::{Function, Input, Output, Param, input, loss, optional, param, plain, required};
#[cfg(test)]
use crate::functions::fields;
use crate::functions::{MASK, config};

const LOGP: fn() -> Input = || {
    input(
        "logp",
        "float",
        "[batch, time]",
        "Log-probabilities of the sampled tokens under the policy being trained, nats. Gradients flow into it.",
    )
};
const OLD: fn() -> Input = || {
    optional(
        "old_logp",
        "float",
        "[batch, time]",
        "The same under the policy at the start of the step, held constant; if left out, `logp` without gradient (ratio one).",
    )
};
const ADVANTAGES: fn() -> Input =
    || input("advantages", "float", "[batch], [batch, 1] or [batch, time]", "Held constant.");
const LOG_RATIO: fn(Value) -> Param = |default| {
    param(
        "log_ratio",
        "Bounds",
        default,
        "The log-ratio is cut to this range before exp, without gradient outside (verl and OpenRLHF: ±20; TRL, open-instruct: none).",
    )
};
const LEVEL: fn() -> Param = || param("level", "RatioLevel", json!("token"), "What the ratio is taken over.");
const CLIP: fn(f64, f64) -> Param = |low, high| {
    param(
        "clip",
        "{low, high}",
        json!({"low": low, "high": high}),
        "Distances from one at which the ratio is clipped, >= 0.",
    )
};

const TOTAL: fn() -> Output = || {
    loss("total", "[]", "The reduced value, where `aggregation` was given; gradients are then of it alone.")
};

fn per_token() -> Vec<Output> {
    let mut all =
        vec![loss("loss", "[batch, time]", "Loss per token (to be minimised), zero outside the mask.")];
    all.extend(diagnostics());
    all
}

fn diagnostics() -> Vec<Output> {
    vec![
        plain("tokens", "[]", "Counted tokens."),
        plain("approx_kl_k1", "[]", "Mean of -log ratio (verl's ppo_kl)."),
        plain("approx_kl_k3", "[]", "Mean of r - 1 - log r."),
        plain("clip_fraction_low", "[]", "Share of tokens clipped from below."),
        plain(
            "clip_fraction_high",
            "[]",
            "Share of tokens clipped from above; with the one below, verl's pg_clipfrac.",
        ),
        plain(
            "capped_fraction",
            "[]",
            "Share of tokens stopped by another limit: dual clip, cap, covariance (verl's pg_clipfrac_lower).",
        ),
        plain("bounded_fraction", "[]", "Share of tokens whose log-ratio lay outside `log_ratio`."),
        plain("ratio_mean", "[]", "Mean ratio."),
        plain("ratio_max", "[]", "Largest ratio."),
        plain("effective_sample_size", "[]", "(sum r)^2 / (n sum r^2)."),
    ]
}

/// A function whose arguments are the four token tensors and a configuration.
macro_rules! per_token_function {
    ($name:literal, $about:literal, $config:ty, $params:expr, $function:path) => {
        Function {
            name: $name,
            about: $about,
            params: $params,
            inputs: vec![LOGP(), OLD(), ADVANTAGES(), MASK()],
            outputs: per_token(),
            prepare: |p| {
                let c: $config = config(p)?;
                Ok(Box::new(move |call| {
                    let (logp, old, advantages, mask) = quartet(call)?;
                    let out = $function(logp, old, advantages, mask, &c)?;
                    finish(call, out)
                }))
            },
        }
    };
}

type Quartet = (Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2, Bool>);

fn quartet(call: &mut Call) -> Result<Quartet, Failure> {
    let logp = call.tokens("logp")?;
    let old = call.maybe_tokens("old_logp")?.unwrap_or_else(|| logp.clone().detach());
    let advantages = call.per_row("advantages")?;
    let mask = call.mask(logp.dims())?;
    Ok((logp, old, advantages, mask))
}

fn finish(call: &mut Call, out: PerToken) -> Result<(), Failure> {
    let shape = out.loss.dims();
    call.differentiable("loss", out.loss, &shape)?;
    call.output_diagnostics(&out.diagnostics);
    Ok(())
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

/// Counts as a peer may have them: some of them, and as floats.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    #[serde(default)]
    tokens: Option<f64>,
    #[serde(default)]
    sequences: Option<f64>,
    #[serde(default)]
    empty_sequences: Option<f64>,
}

impl Counts {
    /// What was given; the rest from the mask. With `sequences` alone, none of them are taken for empty.
    fn or_of(given: Option<Self>, mask: &Tensor<2, Bool>) -> Result<GlobalCounts, Failure> {
        let own = GlobalCounts::of(mask)?;
        let Some(given) = given else { return Ok(own) };
        let whole = |name: &str, value: Option<f64>, or: u64| match value {
            None => Ok(or),
            Some(v) if v >= 0.0 && v.fract() == 0.0 && v < 1e15 => Ok(v as u64),
            Some(v) => Err(Failure::Record(format!(
                "`counts.{name}` should be a whole number, found {v}; an aggregation by `constant` takes any"
            ))),
        };
        let empty = if given.sequences.is_some() { 0 } else { own.empty_sequences };
        Ok(GlobalCounts {
            tokens: whole("tokens", given.tokens, own.tokens)?,
            sequences: whole("sequences", given.sequences, own.sequences)?,
            empty_sequences: whole("empty_sequences", given.empty_sequences, empty)?,
        })
    }
}

/// The denominators of a reduction, and what is multiplied for frameworks that average gradients over ranks.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reduction {
    aggregation: Aggregation,
    #[serde(default)]
    counts: Option<Counts>,
    #[serde(default = "one")]
    ranks: f64,
}

fn one() -> f64 {
    1.0
}

fn reduction() -> Vec<Param> {
    vec![
        required("aggregation", "Aggregation", "How losses per token become one."),
        param(
            "counts",
            "{tokens, sequences, empty_sequences} or null",
            json!(null),
            "Counts of the whole global batch; what is left out is counted from `mask` (with `sequences` alone, `empty_sequences` is 0). A peer's batch_num_tokens is `tokens`, its global_batch_size `sequences`.",
        ),
        param(
            "ranks",
            "number",
            json!(1.0),
            "The result is multiplied by this: the number of ranks whose gradients a framework averages (verl's and OpenRLHF's dp_size).",
        ),
    ]
}

impl Reduction {
    fn apply(
        &self,
        call: &mut Call,
        values: Tensor<2>,
        mask: Tensor<2, Bool>,
        name: &str,
    ) -> Result<(), Failure> {
        let counts = Counts::or_of(self.counts, &mask)?;
        let total = aggregate(values, mask, self.aggregation, &counts)?.mul_scalar(self.ranks);
        call.differentiable(name, total, &[])
    }
}

/// Takes the optional keys of a reduction out of a function's own parameters.
fn split(params: Value) -> Result<(Value, Option<Reduction>), String> {
    let Value::Object(mut own) = params else { return Err("`params` should be an object".into()) };
    let mut keys = serde_json::Map::new();
    for key in ["aggregation", "counts", "ranks"] {
        if let Some(value) = own.remove(key) {
            keys.insert(key.into(), value);
        }
    }
    let reduction = match keys.get("aggregation") {
        None | Some(Value::Null) => None,
        Some(_) => Some(config(Value::Object(keys))?),
    };
    Ok((Value::Object(own), reduction))
}

fn optional_reduction() -> Vec<Param> {
    let mut all = reduction();
    all[0] = param(
        "aggregation",
        "Aggregation or null",
        json!(null),
        "With it, the output `total` is the reduced value, and gradients are of it alone.",
    );
    all
}

/// Values per token, reduced where that was asked for.
fn per_token_or_total(
    call: &mut Call,
    values: Tensor<2>,
    mask: Tensor<2, Bool>,
    name: &str,
    reduction: Option<Reduction>,
) -> Result<(), Failure> {
    let shape = values.dims();
    match reduction {
        None => call.differentiable(name, values, &shape),
        Some(reduction) => {
            call.output(name, values.clone(), &shape);
            reduction.apply(call, values, mask, "total")
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Clip {
    clip: ValueClip,
}

impl Default for Clip {
    fn default() -> Self {
        Self { clip: ValueClip::Off }
    }
}

/// A preset, or a recipe, or a preset with fields replaced.
struct RecipeParams {
    recipe: Recipe,
    counts: Option<Counts>,
    ranks: f64,
}

fn recipe_params(params: Value) -> Result<RecipeParams, String> {
    let Value::Object(mut fields) = params else { return Err("`params` should be an object".into()) };
    let counts = fields.remove("counts").map(serde_json::from_value::<Option<Counts>>);
    let counts = counts.transpose().map_err(|e| format!("`counts`: {e}"))?.flatten();
    let ranks = fields.remove("ranks").map_or(Ok(1.0), serde_json::from_value::<f64>);
    let ranks = ranks.map_err(|e| format!("`ranks`: {e}"))?;
    let base = match fields.remove("preset") {
        None => json!({"advantage": "supplied"}),
        Some(name) => {
            let found = preset::all().into_iter().find(|(known, _)| name == **known);
            let (_, recipe) = found.ok_or_else(|| format!("`preset`: there is none called {name}"))?;
            serde_json::to_value(recipe).map_err(|e| e.to_string())?
        }
    };
    let Value::Object(mut all) = base else { unreachable!("a recipe is an object") };
    all.extend(fields);
    let recipe = serde_json::from_value(Value::Object(all)).map_err(|e| e.to_string())?;
    Ok(RecipeParams { recipe, counts, ranks })
}

/// All of them.
pub fn functions() -> Vec<Function> {
    let bounded = json!({"low": -20.0, "high": 20.0});
    let mut all = vec![
        per_token_function!(
            "objective.ppo_clip",
            "max(-A r, -A clip(r, 1 - low, 1 + high)): PPO, GRPO, DAPO, dual clip, GSPO, LUSPO, BNPO, TRL's RLOO.",
            PpoClip,
            vec![
                CLIP(0.2, 0.2),
                LEVEL(),
                param(
                    "dual",
                    "number > 1 or null",
                    json!(null),
                    "Dual clip: for negative advantages the loss is at most -dual A (verl's clip_ratio_c, 3 there; OpenRLHF's dual_clip)."
                ),
                param(
                    "cap",
                    "number > 0 or null",
                    json!(null),
                    "Upper cap on the unclipped ratio (TRL's delta)."
                ),
                LOG_RATIO(bounded.clone()),
            ],
            objective::ppo_clip
        ),
        Function {
            name: "objective.reinforce",
            about: "-A logp: REINFORCE, GPG. Multiply by sampler weights with `loss` or outside.",
            params: vec![],
            inputs: vec![LOGP(), OLD(), ADVANTAGES(), MASK()],
            outputs: per_token(),
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let (logp, old, advantages, mask) = quartet(call)?;
                    let out = objective::reinforce(logp, old, advantages, mask)?;
                    finish(call, out)
                }))
            },
        },
        per_token_function!(
            "objective.cispo",
            "-sg[clip(r)] A logp.",
            Cispo,
            vec![
                param(
                    "ratio",
                    "Bounds",
                    json!({"low": null, "high": 1.28}),
                    "The range of the weight: verl {1 - low, 1 + high}; open-instruct {null, 1 + high}; TRL {null, epsilon_high}, absolute."
                ),
                LEVEL(),
                LOG_RATIO(bounded.clone()),
            ],
            objective::cispo
        ),
        per_token_function!(
            "objective.sapo",
            "-A sigmoid(tau (r - 1)) 4 / tau.",
            Sapo,
            vec![
                param("tau_positive", "number > 0", json!(1.0), "tau where the advantage is positive."),
                param("tau_negative", "number > 0", json!(1.05), "tau elsewhere."),
                LEVEL(),
                LOG_RATIO(bounded.clone()),
            ],
            objective::sapo
        ),
        per_token_function!(
            "objective.gmpo",
            "-A exp(mean of one-sided clipped log-ratios); the sequence's loss stands at each of its tokens: aggregate with sequence_mean_token_mean, empty_rows counted (verl, TRL).",
            Gmpo,
            vec![param(
                "clip",
                "{low, high}",
                json!({"low": 0.4, "high": 0.4}),
                "The log-ratio is clipped to [-low, high]."
            )],
            objective::gmpo
        ),
        per_token_function!(
            "objective.dppo",
            "The ratio (or score) surrogate without tokens whose probability moved too far. verl's dppo_tv, dppo_kl: surrogate {\"score\": {\"cap\": clip_ratio_c}}.",
            Dppo,
            vec![
                param("divergence", "Divergence", json!("total_variation"), "The measure."),
                param(
                    "low",
                    "number >= 0",
                    json!(0.2),
                    "Limit where the advantage is not positive and the token became rarer."
                ),
                param(
                    "high",
                    "number >= 0",
                    json!(0.2),
                    "Limit where the advantage is positive and the token became more frequent."
                ),
                param("surrogate", "Surrogate", json!("ratio"), "What is masked."),
                LOG_RATIO(bounded.clone()),
            ],
            objective::dppo
        ),
        Function {
            name: "objective.topr",
            about: "R > 0: -A logp; else -sg[clip(r)] A logp.",
            params: vec![
                param(
                    "ratio",
                    "Bounds",
                    json!({"low": 0.0, "high": 1.0}),
                    "The range of the weight of responses without reward.",
                ),
                param(
                    "level",
                    "RatioLevel",
                    json!("sequence_sum"),
                    "What the ratio is taken over (ROLL: token).",
                ),
                param("positive", "number", json!(1.0), "Weight of rewarded responses."),
                param("negative", "number", json!(1.0), "Weight of the others."),
                LOG_RATIO(bounded.clone()),
            ],
            inputs: vec![
                LOGP(),
                OLD(),
                ADVANTAGES(),
                optional(
                    "rewards",
                    "float",
                    "[batch], [batch, 1] or [batch, time]",
                    "Decides who was rewarded; else the advantage's sign does.",
                ),
                MASK(),
            ],
            outputs: per_token(),
            prepare: |p| {
                let c: Topr = config(p)?;
                Ok(Box::new(move |call| {
                    let (logp, old, advantages, mask) = quartet(call)?;
                    let rewards = call.maybe_per_row("rewards")?;
                    let out = objective::topr(logp, old, advantages, rewards, mask, &c)?;
                    finish(call, out)
                }))
            },
        },
        per_token_function!(
            "objective.dro",
            "-(A logp - beta/2 (logp - old_logp)^2).",
            Dro,
            vec![required("beta", "number > 0", "The strength of the pull.")],
            objective::dro
        ),
        per_token_function!(
            "objective.clip_cov",
            "PPO's clip, and a share of the tokens whose covariance lies in a range has loss and gradient zero. Deterministic where the candidates are no more than the share.",
            ClipCov,
            vec![
                CLIP(0.2, 0.2),
                param(
                    "share",
                    "number in (0, 1]",
                    json!(2e-4),
                    "Share of the counted tokens, at least one token."
                ),
                param(
                    "low",
                    "number",
                    json!(1.0),
                    "Candidates have a covariance above this (verl's clip_cov_lb)."
                ),
                param("high", "number", json!(5.0), "and below this (clip_cov_ub)."),
                param("seed", "integer", json!(0), "Seed of the draw among candidates."),
            ],
            objective::clip_cov
        ),
        per_token_function!(
            "objective.kl_cov",
            "-A r, plus coefficient |log r| for the share of tokens with the highest covariance.",
            KlCov,
            vec![
                param(
                    "share",
                    "number in (0, 1]",
                    json!(2e-4),
                    "Share of the counted tokens, at least one token."
                ),
                param(
                    "coefficient",
                    "number >= 0",
                    json!(1.0),
                    "Strength of the penalty (verl's ppo_kl_coef)."
                ),
            ],
            objective::kl_cov
        ),
        Function {
            name: "objective.vespo",
            about: "-sg[phi(w)] A logp with the sequence's ratio w (TRL).",
            params: vec![
                param("positive", "{k, lambda}", json!({"k": 2.0, "lambda": 3.0}), "For advantages >= 0."),
                param(
                    "negative",
                    "{k, lambda}",
                    json!({"k": 3.0, "lambda": 2.0}),
                    "For negative advantages.",
                ),
            ],
            inputs: vec![
                LOGP(),
                OLD(),
                ADVANTAGES(),
                optional(
                    "sampler_weights",
                    "float",
                    "[batch], [batch, 1] or [batch, time]",
                    "Importance weights between old policy and sampler.",
                ),
                MASK(),
            ],
            outputs: per_token(),
            prepare: |p| {
                let c: Vespo = config(p)?;
                Ok(Box::new(move |call| {
                    let (logp, old, advantages, mask) = quartet(call)?;
                    let weights = call.maybe_per_row("sampler_weights")?;
                    let out = objective::vespo(logp, old, advantages, weights, mask, &c)?;
                    finish(call, out)
                }))
            },
        },
    ];
    all.extend(rest());
    all
}

fn rest() -> Vec<Function> {
    let mut recipe_params_list = vec![
        param(
            "preset",
            "Preset or null",
            json!(null),
            "A named recipe to start from; the fields below replace its own.",
        ),
        param(
            "objective",
            "Objective",
            json!("the preset's"),
            "The loss of a token; required without a preset.",
        ),
    ];
    recipe_params_list.extend(reduction());
    recipe_params_list.extend([
        param("kl", "{kl: Kl, beta} or null", json!(null), "The KL penalty in the loss."),
        param("entropy", "number", json!(0.0), "Coefficient of the entropy bonus."),
        param("advantage", "Advantage", json!("supplied"), "Not used: advantages are an input."),
    ]);
    vec![
        Function {
            name: "loss",
            about: "A whole loss (policy_gradient::Recipe::loss): objective, times weights, plus beta KL, minus coefficient entropy, aggregated.",
            params: recipe_params_list,
            inputs: vec![
                LOGP(),
                OLD(),
                ADVANTAGES(),
                optional("ref_logp", "float", "[batch, time]", "Under the reference; needed for a KL penalty."),
                optional("entropy", "float", "[batch, time]", "Entropies, nats, with gradient."),
                optional("weights", "float", "[batch], [batch, 1] or [batch, time]", "Multiplied into the objective, held constant (rollout_is_weights, importance_sampling_ratio)."),
                MASK(),
            ],
            outputs: {
                let mut all = vec![loss("loss", "[]", "The loss."), plain("kl", "[]", "The KL penalty before beta, aggregated alike (with a penalty).")];
                all.extend(diagnostics());
                all.push(plain("entropy_mean", "[]", "Mean entropy per token (where given)."));
                all
            },
            prepare: |p| {
                let c = recipe_params(p)?;
                Ok(Box::new(move |call| {
                    let (logp, old, advantages, mask) = quartet(call)?;
                    let counts = Counts::or_of(c.counts, &mask)?;
                    let tokens = Tokens {
                        ref_logp: call.maybe_tokens("ref_logp")?,
                        entropy: call.maybe_tokens("entropy")?,
                        weights: call.maybe_per_row("weights")?,
                        ..Tokens::new(logp, old, advantages, mask)
                    };
                    let out = c.recipe.loss(tokens, &counts)?;
                    call.differentiable("loss", out.loss.mul_scalar(c.ranks), &[])?;
                    if let Some(kl) = out.kl {
                        call.output_number("kl", kl);
                    }
                    call.output_diagnostics(&out.diagnostics);
                    Ok(())
                }))
            },
        },
        Function {
            name: "aggregate",
            about: "From values per token to one number (verl's agg_loss, OpenRLHF's aggregate_loss, masked means).",
            params: reduction(),
            inputs: vec![input("values", "float", "[batch, time]", "Values per token; not read outside the mask."), MASK()],
            outputs: vec![loss("total", "[]", "The reduced value.")],
            prepare: |p| {
                let c: Reduction = config(p)?;
                Ok(Box::new(move |call| {
                    let values = call.tokens("values")?;
                    let mask = call.mask(values.dims())?;
                    c.apply(call, values, mask, "total")
                }))
            },
        },
        Function {
            name: "kl",
            about: "KL(policy || reference) estimated per token.",
            params: [vec![
                param("estimator", "KlEstimator", json!("k3"), "The value."),
                param("gradient", "KlGradient", json!("of_estimator"), "The gradient; of_k2 is verl's k1+, k3+ and OpenRLHF's unbiased_gradient."),
                param("weight", "KlWeight", json!("none"), "The importance weight (needs old_logp)."),
                param("log_ratio", "Bounds", json!({"low": null, "high": null}), "logp - ref_logp is cut to this range, without gradient outside: verl's k3 ±20, open-instruct ±40, OpenRLHF's k3 [-10, inf)."),
                param("value_bound", "number > 0 or null", json!(null), "The value is cut to ± this: 10 in verl's k3 and in OpenRLHF."),
            ], optional_reduction()].into_iter().flatten().collect(),
            inputs: vec![
                LOGP(),
                input("ref_logp", "float", "[batch, time]", "Under the reference, held constant."),
                optional("old_logp", "float", "[batch, time]", "Under the policy that sampled; needed for a weight."),
                MASK(),
            ],
            outputs: vec![loss("kl", "[batch, time]", "Estimates, nats, zero outside the mask."), TOTAL()],
            prepare: |p| {
                let (p, reduction) = split(p)?;
                let c: Kl = config(p)?;
                Ok(Box::new(move |call| {
                    let (logp, reference) = (call.tokens("logp")?, call.tokens("ref_logp")?);
                    let (old, mask) = (call.maybe_tokens("old_logp")?, call.mask(logp.dims())?);
                    let values = kl(logp, reference, old, mask.clone(), &c)?;
                    per_token_or_total(call, values, mask, "kl", reduction)
                }))
            },
        },
        Function {
            name: "value_loss",
            about: "0.5 max((v - R)^2, (clip(v, v_old ± c) - R)^2) per token; reduce with `aggregate`.",
            params: [vec![param("clip", "ValueClip", json!("off"), "How the critic is kept near its old values.")], optional_reduction()]
                .into_iter()
                .flatten()
                .collect(),
            inputs: vec![
                input("values", "float", "[batch, time]", "The critic's values. Gradients flow into it."),
                optional("old_values", "float", "[batch, time]", "Its values at the start of the step; needed for clipping."),
                input("returns", "float", "[batch, time]", "What it should predict."),
                MASK(),
            ],
            outputs: vec![
                loss("loss", "[batch, time]", "Loss per token, the factor 0.5 included."),
                TOTAL(),
                plain("clip_fraction", "[]", "Share of tokens where the clipped error was larger."),
            ],
            prepare: |p| {
                let (p, reduction) = split(p)?;
                let c: Clip = config(p)?;
                Ok(Box::new(move |call| {
                    let (values, returns) = (call.tokens("values")?, call.tokens("returns")?);
                    let old = match call.maybe_tokens("old_values")? {
                        Some(old) => old,
                        None if c.clip == ValueClip::Off => values.clone().detach(),
                        None => return Err(Failure::Record("no input `old_values`, which clipping needs".into())),
                    };
                    let mask = call.mask(values.dims())?;
                    let out = value_loss(values, old, returns, mask.clone(), c.clip)?;
                    per_token_or_total(call, out.loss, mask, "loss", reduction)?;
                    call.output_number("clip_fraction", out.clip_fraction);
                    Ok(())
                }))
            },
        },
        Function {
            name: "entropy",
            about: "Entropy of each position from logits (token_log_probs_from_logits without targets); with an aggregation, verl's compute_entropy_loss.",
            params: [log_prob_params(), optional_reduction()].into_iter().flatten().collect(),
            inputs: vec![
                input("logits", "float", "[batch, time, vocabulary]", "Logits; -inf is probability zero. Gradients flow into it."),
                MASK(),
            ],
            outputs: vec![loss("entropy", "[batch, time]", "Entropies, nats, zero outside the mask."), TOTAL()],
            prepare: |p| {
                let (p, reduction) = split(p)?;
                let c: TokenLogProbConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let logits = call.cube("logits")?;
                    let [batch, time, _] = logits.dims();
                    let mask = call.mask([batch, time])?;
                    let targets = Tensor::<2, Int>::zeros([batch, time], &logits.device());
                    let out = token_log_probs_from_logits(logits, targets, mask.clone(), &c)?;
                    per_token_or_total(call, out.entropy, mask, "entropy", reduction)
                }))
            },
        },
        Function {
            name: "explained_variance",
            about: "1 - Var(R - v) / Var(R) over the counted tokens; nan where the returns do not vary.",
            params: vec![],
            inputs: vec![
                input("values", "float", "[batch, time]", "The critic's values."),
                input("returns", "float", "[batch, time]", "The returns."),
                MASK(),
            ],
            outputs: vec![plain("explained_variance", "[]", "At most 1.")],
            prepare: |p| {
                let _: Nothing = config(p)?;
                Ok(Box::new(|call| {
                    let (values, returns) = (call.tokens("values")?, call.tokens("returns")?);
                    let mask = call.mask(values.dims())?;
                    let value = explained_variance(values, returns, mask)?.unwrap_or(f64::NAN);
                    call.output_number("explained_variance", value);
                    Ok(())
                }))
            },
        },
        Function {
            name: "token_log_probs",
            about: "Log-probability of each target and entropy of each position, from hidden states and the output head, in chunks.",
            params: log_prob_params(),
            inputs: vec![
                input("hidden", "float", "[batch, time, width]", "Hidden states. Gradients flow into it."),
                input("head", "float", "[vocabulary, width]", "The output head. Gradients flow into it."),
                input("targets", "int", "[batch, time]", "Token ids; not read outside the mask."),
                MASK(),
            ],
            outputs: log_prob_outputs(),
            prepare: |p| {
                let c: TokenLogProbConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let (hidden, head, targets) = (call.cube("hidden")?, call.matrix("head")?, call.ids("targets")?);
                    let shape = targets.dims();
                    let mask = call.mask(shape)?;
                    let out = token_log_probs(hidden, head, targets, mask, &c)?;
                    call.differentiable("logp", out.logp, &shape)?;
                    call.differentiable("entropy", out.entropy, &shape)
                }))
            },
        },
        Function {
            name: "token_log_probs_from_logits",
            about: "The same from logits: selective log-softmax and entropy.",
            params: log_prob_params(),
            inputs: vec![
                input("logits", "float", "[batch, time, vocabulary]", "Logits; -inf is probability zero. Gradients flow into it."),
                input("targets", "int", "[batch, time]", "Token ids; not read outside the mask."),
                MASK(),
            ],
            outputs: log_prob_outputs(),
            prepare: |p| {
                let c: TokenLogProbConfig = config(p)?;
                Ok(Box::new(move |call| {
                    let (logits, targets) = (call.cube("logits")?, call.ids("targets")?);
                    let shape = targets.dims();
                    let mask = call.mask(shape)?;
                    let out = token_log_probs_from_logits(logits, targets, mask, &c)?;
                    call.differentiable("logp", out.logp, &shape)?;
                    call.differentiable("entropy", out.entropy, &shape)
                }))
            },
        },
    ]
}

fn log_prob_params() -> Vec<Param> {
    vec![
        param("temperature", "number > 0", json!(1.0), "Logits are divided by this."),
        param("chunk", "integer > 0", json!(1024), "Positions whose logits are alive at a time."),
    ]
}

fn log_prob_outputs() -> Vec<Output> {
    vec![
        loss("logp", "[batch, time]", "Log-probabilities, nats, zero outside the mask."),
        loss(
            "entropy",
            "[batch, time]",
            "Entropies, nats, zero outside the mask. Give a cotangent for `logp` alone to leave it out of the gradients.",
        ),
    ]
}

#[cfg(test)]
fn with_reduction(mut fields: Value) -> Value {
    let own = fields.as_object_mut().expect("an object");
    own.insert("aggregation".into(), Value::Null);
    own.insert("counts".into(), Value::Null);
    own.insert("ranks".into(), json!(1.0));
    fields
}

/// The defaults that `--list` prints, to compare with the crate's own.
#[cfg(test)]
pub fn defaults() -> Vec<(&'static str, Value)> {
    vec![
        ("objective.ppo_clip", fields(&PpoClip::default())),
        ("objective.cispo", fields(&Cispo::default())),
        ("objective.sapo", fields(&Sapo::default())),
        ("objective.gmpo", fields(&Gmpo::default())),
        ("objective.dppo", fields(&Dppo::default())),
        ("objective.topr", fields(&Topr::default())),
        ("objective.clip_cov", fields(&ClipCov::default())),
        ("objective.kl_cov", fields(&KlCov::default())),
        ("objective.vespo", fields(&Vespo::default())),
        ("kl", with_reduction(fields(&Kl::default()))),
        ("value_loss", with_reduction(fields(&Clip::default()))),
        ("entropy", with_reduction(fields(&TokenLogProbConfig::default()))),
        ("token_log_probs", fields(&TokenLogProbConfig::default())),
        ("token_log_probs_from_logits", fields(&TokenLogProbConfig::default())),
    ]
}
