//! The table of all functions, and the types of their parameters.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::describe::{Function, Input, optional};
use crate::{advantages, around, objectives};

/// The mask that nearly every function takes.
pub const MASK: fn() -> Input = || {
    optional(
        "mask",
        "bool",
        "[batch, time]",
        "1 where the token counts; all ones if left out. NaN and infinities elsewhere do not matter.",
    )
};

/// Reads parameters into a function's own struct.
///
/// # Errors
/// What is wrong with them, in words.
pub fn config<T: DeserializeOwned>(params: Value) -> Result<T, String> {
    serde_json::from_value(params).map_err(|e| e.to_string())
}

/// A struct's fields as JSON.
#[cfg(test)]
pub fn fields<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("a plain struct")
}

/// Every function.
pub fn all() -> Vec<Function> {
    let mut all = advantages::functions();
    all.extend(objectives::functions());
    all.extend(around::functions());
    all
}

/// The description of everything, as `losses --list` prints it.
pub fn list() -> Value {
    let presets: Vec<Value> = policy_gradient::preset::all()
        .into_iter()
        .map(|(name, recipe)| json!({"name": name, "recipe": as_json(&recipe)}))
        .collect();
    json!({
        "record": {
            "in": {
                "id": "string or number, unique",
                "function": "a name from `functions`",
                "params": "object; what is left out takes its default, unknown keys are errors",
                "inputs": "object of name -> {\"shape\": [..], \"data\": [flat, row-major]}; nested lists and bare numbers are accepted; values may be numbers, true/false, null (NaN) or \"nan\", \"inf\", \"-inf\"; the bare NaN and Infinity of Python's json are accepted",
                "cotangents": "optional object of differentiable output -> array: the weights of the outputs in the sum that is differentiated. Without it every differentiable output has weight one; with it those not named have weight zero",
                "dtype": "optional, \"f32\" or \"f64\": overrides --dtype for this record",
            },
            "out": {
                "id": "as given",
                "outputs": "object of name -> {\"shape\", \"data\"}; NaN and infinities are the strings \"nan\", \"inf\", \"-inf\"",
                "grads": "object of float input -> gradient of the sum above; zeros for inputs that are held constant; empty for functions without a differentiable output",
                "error": "in place of the two: the function refused these values, and why (a group of one where that is an error, say). The program goes on",
            },
            "errors": "a line that is no record (bad JSON, unknown function, parameter or input, a shape that does not fit, an id given twice) ends the program with exit code 2 and its file and line number; all lines are read before the first is evaluated",
        },
        "conventions": "Losses are to be minimised. Log-probabilities, KL and entropies are in nats. Tensors are [batch, time]. r = exp(logp - old_logp). Where a mask is 0, outputs and gradients are 0.",
        "types": types(),
        "presets": presets,
        "peers": peers(),
        "functions": all().iter().map(Function::to_json).collect::<Vec<_>>(),
    })
}

/// How functions of other libraries are said here.
pub fn peers() -> Value {
    serde_json::from_str(include_str!("peers.json")).unwrap_or(Value::Null)
}

fn as_json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn types() -> Value {
    json!({
        "Bounds": "{\"low\": number or null, \"high\": number or null}: a closed range; null is no limit",
        "Std": "{\"ddof\": 0 or 1, \"eps\": number >= 0}: sqrt(sum (x - mean)^2 / (n - ddof)) + eps",
        "Scale": {
            "\"none\"": "R - mean (Dr. GRPO)",
            "{\"group\": Std}": "divided by the group's deviation: verl ddof 1 eps 1e-6, TRL 1 1e-4, OpenRLHF 1 1e-9, open-instruct 0 1e-8",
            "{\"batch\": Std}": "divided by the deviation of all rewards (TRL's scale_rewards=batch)",
            "\"mean\"": "divided by the group's mean, 0 where that is not positive (MaxRL)",
        },
        "Singleton": {"\"zero\"": "a group of one gets 0 (TRL)", "\"raw\"": "its reward (verl)", "\"error\"": "is refused"},
        "Masked": {
            "\"skip\"": "masked tokens are as if not there (verl)",
            "\"zero\"": "their reward and value are 0, time passes (OpenRLHF)",
            "\"reset\"": "the recursion starts afresh behind them",
            "\"terminal\"": "each is a terminal state with its own reward and value, which the token before it bootstraps from (open-instruct's packed rows); values outside the mask are read",
        },
        "Variance": {"\"unbiased\"": "n - 1 (verl)", "\"biased\"": "n (OpenRLHF)"},
        "Floor": {
            "{\"add\": eps}": "1 / sqrt(var + eps) (verl 1e-8)",
            "{\"max\": eps}": "1 / sqrt(max(var, eps)) (OpenRLHF 1e-8)",
            "{\"add_to_std\": eps}": "1 / (sqrt(var) + eps)",
            "\"unscaled\"": "no division (OpenRLHF's no_std_norm)",
        },
        "Mean": {"\"remove\"": "mean zero", "\"keep\"": "the mean is added back after scaling"},
        "Alignment": {"\"column\"": "tokens in the same column", "\"counted\"": "the first counted ones, the second, ..."},
        "Tail": {"\"zero\"": "baseline zero", "\"own\"": "the response's own return"},
        "RatioLevel": {
            "\"token\"": "exp(logp - old_logp)",
            "\"sequence_mean\"": "exp(mean over the row's counted tokens), gradient through the mean (GSPO; TRL, OpenRLHF)",
            "\"sequence_mean_token\"": "the same value, gradient through the token's own logp (GSPO-token; verl)",
            "\"sequence_sum\"": "exp(sum over the row) (TRL's RLOO: aggregate with sequence_mean_token_mean, empty_rows counted)",
        },
        "Divergence": {"\"total_variation\"": "|p - p_old|", "\"kl\"": "binary KL(p_old || p), verl's"},
        "Surrogate": {"\"ratio\"": "-A r", "{\"score\": {\"cap\": number}}": "-A sg[min(r, cap)] logp (verl)"},
        "Objective": "one of \"reinforce\", {\"ppo_clip\": params}, {\"cispo\": params}, {\"sapo\": params}, {\"gmpo\": params}, {\"dppo\": params}, {\"topr\": params}, {\"dro\": params}, {\"clip_cov\": params}, {\"kl_cov\": params}, {\"vespo\": params}; params as of the function objective.NAME",
        "Aggregation": {
            "\"token_mean\"": "sum l / tokens (at least 1)",
            "\"token_sum\"": "sum l",
            "{\"sequence_mean_token_mean\": {\"empty_rows\": \"excluded\" or \"counted\"}}": "mean over rows of the rows' token means; excluded: verl, OpenRLHF; counted: TRL",
            "{\"sequence_mean_token_sum\": {\"empty_rows\": ..}}": "mean over rows of token sums",
            "{\"sequence_mean_token_sum_over\": {\"length\": number > 0, \"empty_rows\": ..}}": "the same divided by a constant (Dr. GRPO; verl's seq-mean-token-sum-norm; TRL's dr_grpo: length max_completion_length, counted)",
            "{\"constant\": {\"denominator\": number > 0}}": "sum l / constant",
        },
        "KlEstimator": {"\"k1\"": "d", "\"k2\"": "d^2 / 2", "\"k3\"": "exp(-d) - 1 + d", "\"abs\"": "|d|", "d": "logp - ref_logp"},
        "KlGradient": {"\"of_estimator\"": "the estimator's own", "\"of_k2\"": "d, whatever the value"},
        "KlWeight": {
            "\"none\"": "no weight",
            "\"ratio\"": "w = exp(logp - old_logp) on the value, with its gradient (TRL's use_bias_correction_kl; with k1: open-instruct's estimator 3)",
            "\"sequence_ratio\"": "w averaged over the row in log space (TRL with sequence-level ratios)",
            "{\"detached_on_gradient\": {\"cap\": number}}": "the gradient alone times min(w, cap) (OpenRLHF: cap 10, with gradient of_k2)",
        },
        "Kl": "{\"estimator\", \"gradient\", \"weight\", \"log_ratio\", \"value_bound\"}: params as of the function kl",
        "ValueClip": {"\"off\"": "none", "{\"pessimistic\": c}": "the larger error with and without clipping (verl, OpenRLHF)", "{\"plain\": c}": "the clipped value's error alone (stable-baselines3)"},
        "Beyond": {"\"floor\"": "-factor", "\"growing\"": "the line goes on"},
        "Truncated": {"\"keep\"": "unchanged", "{\"scale\": f in [0, 1]}": "multiplied", "{\"replace\": number}": "replaced", "\"unscored\"": "NaN"},
        "GroupFilter": {"\"varied\"": "max > min", "\"varied_or_lone\"": "the same, or of one response (verl)", "{\"mean_between\": {\"low\", \"high\"}}": "low < mean < high (OpenRLHF)"},
        "RolloutWeight": {
            "over": "Span, default \"token\": \"token\", \"sequence_sum\" (the sequence's ratio), \"sequence_mean\" (geometric mean), \"sequence_max\"",
            "token_log_ratio": "Bounds, default none: each token's d = old_logp - sampler_logp is cut first (open-instruct ±10)",
            "log_weight": "Bounds, default ±20: the log-weight is cut before exp (verl ±20; TRL, OpenRLHF none)",
            "keep": "Bounds, default none: weights outside become zero (IcePop; TRL's *_mask; OpenRLHF's mask on the token ratio)",
            "clamp": "Bounds, default {null, 2}: weights are cut (TIS; TRL's *_truncate)",
            "normalise": "\"off\", \"over_tokens\" or \"over_sequences\" (verl's rollout_is_batch_normalize at token and sequence level)",
        },
        "Reject": {
            "measure": "\"ratio\", \"k1\" (-d), \"k2\", \"k3\" (exp(d) - 1 - d), \"binary_kl\", \"total_variation\" (probabilities cut to [1e-6, 1 - 1e-6]), \"ratio_distance\" (|exp(d) - 1|); default \"ratio\"",
            "over": "Span, as above",
            "within": "Bounds in the measure's unit, default none. verl's k1 thresholds are ratios: give their logarithms",
            "log_ratio": "Bounds, default ±20: d is cut before it is measured (verl ±20, open-instruct ±10, OpenRLHF none)",
            "when": "\"always\", \"negative_advantage\" (TRL's off-policy mask), \"moving_away\" (A d > 0: open-instruct's rho_mask_tv_divergence)",
        },
        "Rejected": {"\"leave_mask\"": "refused tokens leave the mask (verl)", "\"zero_weight\"": "their weight is zero, the mask stays (OpenRLHF, TRL, open-instruct)"},
        "Preset": "a name from `presets`",
        "Advantage": "not needed",
    })
}
