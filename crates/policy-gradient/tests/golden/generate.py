"""Writes the golden values: what verl, TRL, OpenRLHF (their own code) and open-instruct (its formulas) give, in float64.

    python generate.py                                              # writes *.jsonl beside this file
    python generate.py --seed 7 --shape 5 12 --folder more          # other random numbers, other shapes

Each line is a record of the program `losses` with the expected `outputs` and `grads`, and where they come from (`source`).
Inputs are rounded, so that float32 holds them well. In every second case the slots outside the mask are NaN or infinite for
the crate, while the library saw plain numbers there.
"""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from peers import (
    Actor, openrlhf, openrlhf_control, openrlhf_experience, openrlhf_length, openrlhf_utils, trl_gmpo, trl_grpo, trl_rewards,
    trl_rloo, trl_utils, verl, verl_F, verl_rollout,
)

torch.set_default_dtype(torch.float64)
FILES = {}
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--shape", type=int, nargs=2, default=(3, 5), metavar=("ROWS", "TOKENS"))
parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
ARGS = parser.parse_args()
ROWS, TOKENS = ARGS.shape


def generator(seed):
    return np.random.default_rng(seed + 100_000 * ARGS.seed)


def number(x):
    x = float(x)
    if x != x:
        return "nan"
    if x in (float("inf"), float("-inf")):
        return "inf" if x > 0 else "-inf"
    return float(f"{x:.9g}")


def array(x):
    x = torch.as_tensor(x)
    return {"shape": list(x.shape), "data": [number(v) for v in x.detach().reshape(-1).tolist()]}


def case(file, source, function, params, inputs, outputs, grads=None, cotangents=None, mask=None, poison=False):
    """Adds a record. `poison` replaces float inputs outside the mask."""
    lines = FILES.setdefault(file, [])
    given = {}
    for name, value in inputs.items():
        if name == "groups":
            given[name] = {"shape": [len(value)], "data": [str(v) for v in value]}
            continue
        value = torch.as_tensor(value).detach().clone()
        if poison and mask is not None and value.is_floating_point() and value.shape == mask.shape:
            bad = torch.tensor([float("nan"), float("inf"), float("-inf"), 1e30])[torch.arange(value.numel()) % 4]
            value = torch.where(mask.bool(), value, bad.reshape(value.shape))
        given[name] = array(value)
    if mask is not None:
        given["mask"] = {"shape": list(mask.shape), "data": [int(v) for v in mask.reshape(-1).tolist()]}
    record = {"id": f"{file}-{len(lines)}", "function": function, "params": params, "inputs": given}
    if cotangents is not None:
        record["cotangents"] = {k: array(v) for k, v in cotangents.items()}
    record["outputs"] = {k: array(v) for k, v in outputs.items()}
    record["grads"] = {k: array(v) for k, v in (grads or {}).items()}
    record["source"] = source
    lines.append(json.dumps(record, separators=(",", ":")))


def rounded(x, digits=4):
    return torch.as_tensor(np.round(np.asarray(x), digits))


def masks(rng, b, t):
    """Padding on the right, holes, an empty row, all of it."""
    kind = rng.integers(4)
    mask = np.ones((b, t))
    if kind != 3:
        for i in range(b):
            mask[i, rng.integers(1, t + 1):] = 0
    if kind == 1:
        mask *= rng.random((b, t)) < 0.7
        mask[0, 0] = mask[0, 1] = 1
    if kind == 2:
        mask[-1] = 0
        mask[0, :2] = 1
    return torch.as_tensor(mask)


class Batch:
    """Random token tensors."""

    def __init__(self, seed, b=ROWS, t=TOKENS, spread=0.4, per_row=False):
        rng = self.rng = generator(seed)
        self.mask = masks(rng, b, t)
        self.logp = rounded(-rng.exponential(1.5, (b, t)) - 1e-3)
        self.old = rounded(np.minimum(self.logp.numpy() + spread * rng.standard_normal((b, t)), -1e-3))
        self.ref = rounded(np.minimum(self.logp.numpy() + 0.5 * rng.standard_normal((b, t)), -1e-3))
        self.sampler = rounded(np.minimum(self.old.numpy() + 0.4 * rng.standard_normal((b, t)), -1e-3))
        advantages = rng.standard_normal((b, 1 if per_row else t))
        advantages[rng.random(advantages.shape) < 0.15] = 0
        self.advantages = rounded(advantages)
        self.entropy = rounded(rng.exponential(1.0, (b, t)))
        self.weights = rounded(rng.exponential(1.0, (b, t)))

    def wide(self):
        return self.advantages.expand(self.mask.shape).clone()

    def leaf(self):
        return self.logp.clone().requires_grad_()


def grad(total, leaf):
    return torch.autograd.grad(total, leaf, allow_unused=True, retain_graph=True)[0]


# ---------------------------------------------------------------- advantages

def response_rewards(seed, style):
    rng = generator(seed)
    sizes = rng.integers(1 if style != "no_single" else 2, 5, size=4)
    groups = np.repeat(np.arange(4) + 10, sizes)
    order = rng.permutation(len(groups))
    groups = groups[order]
    if style == "binary":
        rewards = rng.integers(0, 2, len(groups)).astype(float)
    elif style == "equal":
        rewards = np.array([0.1 * (g % 3) + 0.1 for g in groups])
    elif style == "large":
        rewards = np.round(1000 + rng.standard_normal(len(groups)), 3)
    else:
        rewards = np.round(rng.standard_normal(len(groups)), 4)
    return torch.as_tensor(rewards), groups


def tokens_of(rewards, mask):
    """Each reward at its row's last counted token."""
    out = torch.zeros_like(mask)
    for i, r in enumerate(rewards):
        out[i, int(mask[i].nonzero()[-1])] = r
    return out


def full_rows(seed, b, t):
    mask = masks(generator(seed), b, t)
    mask[:, 0] = 1
    return mask


def per_response(tokens, mask):
    return torch.stack([tokens[i][mask[i].bool()][0] for i in range(len(mask))])


def std(ddof, eps):
    return {"group": {"ddof": ddof, "eps": eps}}


def advantages():
    file = "advantages"
    for seed, style in enumerate(["plain", "binary", "equal", "large", "no_single"] * 2):
        rewards, groups = response_rewards(seed, style)
        mask = full_rows(seed, len(rewards), 5)
        tokens = tokens_of(rewards, mask)
        response = {"rewards": rewards, "groups": groups}

        def row(function, params, out, source, extra=None):
            case(file, source, function, params, {**response, **(extra or {})}, {"advantages": out})

        for by_std, scale in ((True, std(1, 1e-6)), (False, "none")):
            out, _ = verl.compute_grpo_outcome_advantage(tokens, mask, groups, norm_adv_by_std_in_grpo=by_std)
            row("advantage.group", {"scale": scale, "singleton": "raw"}, per_response(out, mask), "verl grpo")
        out, _ = verl.compute_rloo_outcome_advantage(tokens, mask, groups)
        row("advantage.rloo", {"singleton": "raw"}, per_response(out, mask), "verl rloo")
        out, _ = verl.compute_rloo_vectorized_outcome_advantage(tokens, mask, groups)
        row("advantage.rloo", {"singleton": "zero"}, per_response(out, mask), "verl rloo_vectorized")
        out, _ = verl.compute_opo_outcome_advantage(tokens, mask, groups)
        row("advantage.opo", {"singleton": "raw"}, per_response(out, mask), "verl opo", {"lengths": mask.sum(-1)})
        out, _ = verl.compute_gpg_outcome_advantage(tokens, mask, groups)
        row("advantage.gpg", {"singleton": "raw"}, per_response(out, mask), "verl gpg")
        if style == "no_single":
            for by_std, scale in ((True, std(1, 1e-6)), (False, "none")):
                config = {"norm_adv_by_std_in_grpo": by_std}
                out, _ = verl.compute_grpo_passk_outcome_advantage(tokens, mask, groups, config=config)
                row("advantage.pass_at_k", {"scale": scale}, per_response(out, mask), "verl grpo_passk")
        out, _ = verl.compute_reinforce_plus_plus_baseline_outcome_advantage(tokens, mask, groups)
        case(file, "verl reinforce_plus_plus_baseline", "advantage.reinforce_pp_baseline", {}, response,
             {"advantages": out}, mask=mask)
        greedy = rounded(generator(seed).standard_normal(len(rewards)))
        dense = rounded(generator(seed + 50).standard_normal(mask.shape))
        out, returns = verl.compute_remax_outcome_advantage(dense, greedy, mask)
        case(file, "verl remax", "advantage.remax_tokens", {}, {"rewards": dense, "greedy_rewards": greedy},
             {"advantages": out * mask, "returns": returns * mask}, mask=mask, poison=True)
        for gamma in (1.0, 0.9):
            config = SimpleNamespace(gamma=gamma)
            out, returns = verl.compute_reinforce_plus_plus_outcome_advantage(dense, mask, config=config)
            case(file, "verl reinforce_plus_plus", "advantage.reinforce_pp", {"gamma": gamma}, {"rewards": dense},
                 {"advantages": out, "returns": returns}, mask=mask, poison=True)
            returns = openrlhf_experience.get_cumulative_returns(None, dense, mask, gamma)
            case(file, "openrlhf get_cumulative_returns", "advantage.returns", {"gamma": gamma, "masked": "zero"},
                 {"rewards": dense}, {"returns": returns * mask}, mask=mask, poison=True)
        # GDPO in verl: two reward functions.
        second = rounded(generator(seed + 9).standard_normal(len(rewards)))
        batch = {"prompts": torch.zeros(len(rewards), 1), "attention_mask": torch.ones(len(rewards), 1 + mask.shape[1], dtype=torch.long)}
        config = {"gdpo_reward_keys": ["a", "b"], "gdpo_reward_weights": [1.0, 0.5]}
        named = {"a": rewards.numpy(), "b": second.numpy()}
        out, _ = verl.compute_gdpo_outcome_advantage(tokens, mask, groups, config=config, non_tensor_batch=named, batch=batch)
        if style != "large":  # verl keeps these rewards in float32
            case(file, "verl gdpo", "advantage.gdpo_tokens",
                 {"weights": [1.0, 0.5], "group": {"scale": std(1, 1e-6), "singleton": "raw"}},
                 {"rewards": torch.stack([rewards, second], 1), "groups": groups}, {"advantages": out}, mask=mask)
        # Optimal token baselines.
        old = rounded(-generator(seed + 3).exponential(1.0, mask.shape) - 1e-3)
        squares = rounded(generator(seed + 4).uniform(0.05, 1.0, mask.shape))
        weights = rounded(generator(seed + 5).uniform(0.2, 2.0, mask.shape))
        for name, alignment in (
            ("compute_optimal_token_baseline_advantage", "column"),
            ("compute_multi_turn_optimal_token_baseline_advantage", "counted"),
        ):
            for tail, zero in (("zero", True), ("own", False)):
                use = seed % 2 == 0
                out, returns = getattr(verl, name)(
                    dense, mask, groups, old, squares, weights if use else None, handle_zero_tail=zero
                )
                inputs = {"rewards": dense, "old_logp": old, "sum_p_squared": squares, "groups": groups}
                if use:
                    inputs["weights"] = weights
                case(file, f"verl {name}", "advantage.optimal_token_baseline", {"alignment": alignment, "tail": tail},
                     inputs, {"advantages": out, "returns": returns * mask}, mask=mask, poison=True)

        # TRL: GRPO and RLOO, from the formulas of their trainers and TRL's nanstd; NaN is "could not be scored".
        rng = generator(seed + 20)
        size = 4
        groups = np.repeat(np.arange(3), size)
        columns = rounded(rng.standard_normal((12, 2)))
        if style == "equal":
            columns[:4] = 0.3
        columns[rng.random((12, 2)) < 0.2] = torch.nan
        columns[5] = torch.nan
        factors = torch.tensor([1.0, 0.7])
        unscored = columns.isnan().all(1)
        rewards = (columns * factors).nansum(1)
        rewards[unscored] = torch.nan
        case(file, "trl sum of rewards", "reward.combine", {"weights": [1.0, 0.7]}, {"rewards": columns}, {"rewards": rewards})
        grouped = rewards.view(-1, size)
        centred = rewards - grouped.nanmean(1).repeat_interleave(size)
        for name, scale, divisor in (
            ("group", std(1, 1e-4), trl_utils.nanstd(grouped, dim=1).repeat_interleave(size) + 1e-4),
            ("batch", {"batch": {"ddof": 1, "eps": 1e-4}}, trl_utils.nanstd(rewards) + 1e-4),
            ("none", "none", torch.ones(())),
        ):
            case(file, f"trl scale_rewards={name}", "advantage.group", {"scale": scale}, {"rewards": rewards, "groups": groups},
                 {"advantages": (centred / divisor).nan_to_num(0.0)})
        by_column = columns.view(3, size, 2)
        normal = (by_column - by_column.nanmean(1, keepdim=True)) / (trl_utils.nanstd(by_column, dim=1, keepdim=True) + 1e-4)
        sums = (normal.view(12, 2) * factors).nansum(1)
        sums[unscored] = torch.nan
        out = ((sums - sums.nanmean()) / (trl_utils.nanstd(sums) + 1e-4)).nan_to_num(0.0)
        case(file, "trl normalize_then_sum", "advantage.gdpo",
             {"weights": [1.0, 0.7], "group": {"scale": std(1, 1e-4)}, "batch": {"ddof": 1, "eps": 1e-4}},
             {"rewards": columns, "groups": groups}, {"advantages": out})
        count = (~grouped.isnan()).sum(1, keepdim=True)
        out = (grouped - (grouped.nansum(1, keepdim=True) - grouped) / (count - 1)).view(-1)
        for params, value in (
            ({}, out), ({"normalise": {"ddof": 1, "eps": 1e-4}}, (out - out.nanmean()) / (trl_utils.nanstd(out) + 1e-4)),
        ):
            case(file, "trl rloo", "advantage.rloo", params, {"rewards": rewards, "groups": groups},
                 {"advantages": value.nan_to_num(0.0)})
        # OpenRLHF and open-instruct, from their formulas.
        r = rounded(rng.standard_normal((3, size)))
        flat = {"rewards": r.reshape(-1), "groups": groups}
        for source, params, value in (
            ("openrlhf group_norm", {"scale": std(1, 1e-9)}, (r - r.mean(-1, keepdim=True)) / (r.std(-1, keepdim=True) + 1e-9)),
            ("openrlhf dr_grpo", {"scale": "none"}, r - r.mean(-1, keepdim=True)),
            ("open-instruct standard", {"scale": std(0, 1e-8)},
             (r - r.mean(-1, keepdim=True)) / (r.std(-1, keepdim=True, correction=0) + 1e-8)),
            ("prime-rl / MaxRL", {"scale": "mean"},
             torch.where(r.mean(-1, keepdim=True) > 0, (r - r.mean(-1, keepdim=True)) / r.mean(-1, keepdim=True), 0.0)),
        ):
            case(file, source, "advantage.group", params, flat, {"advantages": value.reshape(-1)})
        case(file, "openrlhf rloo", "advantage.rloo", {}, flat,
             {"advantages": (r - (r.sum(-1, keepdim=True) - r) / (size - 1)).reshape(-1)})

    for seed in range(12):
        b = Batch(1000 + seed, b=3, t=6)
        rewards, values = rounded(b.rng.standard_normal((3, 6))), rounded(b.rng.standard_normal((3, 6)))
        mask = b.mask
        gamma, lam = [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.99, 0.0)][seed % 4]
        params = {"gamma": gamma, "lambda": lam}
        inputs = {"rewards": rewards, "values": values}
        a, g = verl.compute_gae_advantage_return(rewards, values, mask, gamma, lam)
        case(file, "verl gae", "advantage.gae", {**params, "whiten": {}}, inputs,
             {"advantages": a * mask, "returns": g * mask}, mask=mask, poison=True)
        a, g = openrlhf_experience.get_advantages_and_returns(None, values, rewards, mask, gamma, lam)
        case(file, "openrlhf gae", "advantage.gae", {**params, "masked": "zero"}, inputs,
             {"advantages": a * mask, "returns": g * mask}, mask=mask, poison=True)
        n = mask.sum()
        mean = (a * mask).sum() / n
        var = ((a - mean) ** 2 * mask).sum() / n
        for floor, scaled in (({"max": 1e-8}, (a - mean) * var.clamp(min=1e-8).rsqrt()), ("unscaled", a - mean)):
            case(file, "openrlhf normalised gae", "advantage.gae",
                 {**params, "masked": "zero", "whiten": {"variance": "biased", "floor": floor}}, inputs,
                 {"advantages": scaled * mask}, mask=mask, poison=True)
        # open-instruct's packed rows.
        dones = torch.as_tensor((b.rng.random((3, 6)) < 0.3).astype(float))
        last, out = torch.zeros(3), []
        for t in reversed(range(6)):
            goes_on = (1 - dones[:, t]) * mask[:, t]
            following = values[:, t + 1] if t < 5 else torch.zeros(3)
            last = rewards[:, t] + gamma * following * goes_on - values[:, t] + gamma * lam * last * goes_on
            out.append(last)
        a = torch.stack(out[::-1], 1)
        case(file, "open-instruct calculate_advantages_packed", "advantage.gae", {**params, "masked": "terminal"},
             {**inputs, "dones": dones}, {"advantages": a * mask, "returns": (a + values) * mask}, mask=mask)
        for mean, shift in (("remove", True), ("keep", False)):
            out = verl_F.masked_whiten(values, mask, shift_mean=shift)
            case(file, "verl masked_whiten", "advantage.whiten", {"mean": mean}, {"values": values}, {"values": out * mask},
                 mask=mask, poison=True)


# ---------------------------------------------------------------- objectives

AGGREGATIONS = {
    "token-mean": "token_mean",
    "token-sum": "token_sum",
    "seq-mean-token-sum": {"sequence_mean_token_sum": {"empty_rows": "excluded"}},
    "seq-mean-token-mean": {"sequence_mean_token_mean": {"empty_rows": "excluded"}},
    "seq-mean-token-sum-norm": {"sequence_mean_token_sum_over": {"length": float(TOKENS), "empty_rows": "excluded"}},
}
BOTH = {"low": -20.0, "high": 20.0}
NONE = {"low": None, "high": None}


def objective(name, **params):
    return {name: params} if params or name != "reinforce" else "reinforce"


def verl_losses():
    file = "verl"
    for seed in range(60):
        b = Batch(seed, spread=[0.4, 0.05, 3.0, 15.0][seed % 4], per_row=seed % 3 == 0)
        low, high, c = [(0.2, 0.2, 3.0), (0.2, 0.28, 3.0), (0.1, 0.3, 1.5)][seed % 3]
        mode = list(AGGREGATIONS)[seed % 5]
        counts = None
        params = {"aggregation": AGGREGATIONS[mode]}
        if seed % 7 == 3 and mode != "seq-mean-token-sum-norm":
            counts = {"dp_size": 2, "batch_num_tokens": 37, "global_batch_size": 11}
            params.update(ranks=2.0, counts={"tokens": 37, "sequences": 11, "empty_sequences": 0})
        actor = Actor(low, high, c, counts)
        clip = {"low": low, "high": high}
        weights = b.weights if seed % 2 else None
        seq_mean = {**params, "aggregation": AGGREGATIONS["seq-mean-token-mean"]}
        rows = {**params, "aggregation": {"sequence_mean_token_mean": {"empty_rows": "counted"}}}
        rows.pop("ranks", None), rows.pop("counts", None)
        wide = b.wide()
        small = Actor(low, high, c, counts, clip_cov_ratio=0.5, clip_cov_lb=0.1, clip_cov_ub=1e9, kl_cov_ratio=0.3,
                      ppo_kl_coef=0.7, dro_beta=0.2)
        jobs = [
            ("vanilla", actor, params, objective("ppo_clip", clip=clip, dual=c, log_ratio=BOTH)),
            ("dppo_tv", actor, params,
             objective("dppo", divergence="total_variation", low=low, high=high, surrogate={"score": {"cap": c}}, log_ratio=BOTH)),
            ("dppo_kl", actor, params,
             objective("dppo", divergence="kl", low=low, high=high, surrogate={"score": {"cap": c}}, log_ratio=BOTH)),
            ("gspo", actor, params,
             objective("ppo_clip", clip=clip, level="sequence_mean_token", log_ratio={"low": None, "high": 10.0})),
            ("sapo", actor, seq_mean, objective("sapo", log_ratio=BOTH)),
            ("gpg", actor, params, "reinforce"),
            ("geo_mean", actor, rows, objective("gmpo", clip=clip)),
            ("dro", small, params, objective("dro", beta=0.2)),
            ("cispo", actor, params, objective("cispo", ratio={"low": 1 - low, "high": 1 + high}, log_ratio=BOTH)),
            ("kl_cov", small, params, objective("kl_cov", share=0.3, coefficient=0.7)),
        ]
        # Clip-Cov draws among its candidates; the values are comparable where all of them are cut.
        adv, lp, m = wide, b.logp, b.mask
        cov = (adv - verl_F.masked_mean(adv, m)) * (lp - verl_F.masked_mean(lp, m))
        ratio = (lp - b.old).exp()
        cut = (-adv * ratio.clamp(1 - low, 1 + high) > -adv * ratio) & (m > 0)
        if int(((cov > 0.1) & (m > 0) & ~cut).sum()) <= max(int(0.5 * m.sum()), 1):
            jobs.append(("clip_cov", small, params, objective("clip_cov", clip=clip, share=0.5, low=0.1, high=1e9)))
        if seed % 3 and seed >= 24:
            jobs = [jobs[seed % len(jobs)]]
        for name, config, settings, formula in jobs:
            leaf = b.leaf()
            function = getattr(verl, f"compute_policy_loss_{name}")
            total, metrics = function(b.old, leaf, wide, b.mask, mode, config, weights)
            inputs = {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}
            if weights is not None:
                if name == "geo_mean":
                    m = b.mask
                    mean = ((weights + 1e-10).log() * m).sum(-1, keepdim=True) / (m.sum(-1, keepdim=True) + 1e-8)
                    inputs["weights"] = mean.exp().expand(m.shape)
                else:
                    inputs["weights"] = weights
            outputs = {"loss": total}
            if "actor/ppo_kl" in metrics and name in ("vanilla", "gspo", "cispo", "dppo_tv") and b.mask.sum() and seed % 4 < 2:
                outputs["approx_kl_k1"] = torch.tensor(metrics["actor/ppo_kl"])
            case(file, f"verl {name} {mode}", "loss", {**settings, "objective": formula}, inputs, outputs,
                 {"logp": grad(total, leaf)}, mask=b.mask, poison=seed % 2 == 1)

    for seed in range(20):
        b = Batch(300 + seed, spread=1.0)
        for kind, params in (
            ("k1", {"estimator": "k1"}),
            ("abs", {"estimator": "abs"}),
            ("k2", {"estimator": "k2"}),
            ("k3", {"estimator": "k3", "log_ratio": BOTH, "value_bound": 10.0}),
            ("k1+", {"estimator": "k1", "gradient": "of_k2"}),
            ("k3+", {"estimator": "k3", "gradient": "of_k2", "log_ratio": BOTH, "value_bound": 10.0}),
            ("abs+", {"estimator": "abs", "gradient": "of_k2"}),
        )[: 7 if seed < 8 else 0]:
            leaf, ref = b.leaf(), b.ref * (30 if seed % 4 == 3 else 1)
            value = verl.kl_penalty(leaf, ref, kind)
            case(file, f"verl kl_penalty {kind}", "kl", params, {"logp": b.logp, "ref_logp": ref}, {"kl": value * b.mask},
                 {"logp": grad((value * b.mask).sum(), leaf)}, mask=b.mask, poison=True)
        values, returns = rounded(b.rng.standard_normal((ROWS, TOKENS))).requires_grad_(), rounded(b.rng.standard_normal((ROWS, TOKENS)))
        old = rounded(values.detach() + 0.5 * b.rng.standard_normal((ROWS, TOKENS)))
        upstream = rounded(b.rng.standard_normal((ROWS, TOKENS)))
        clipped = verl_F.clip_by_value(values, old - 0.2, old + 0.2)
        per_token = 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2)
        total, fraction = verl.compute_value_loss(values, returns, old, b.mask, 0.2)
        assert torch.isclose(total, (per_token * b.mask).sum() / b.mask.sum())
        case(file, "verl compute_value_loss", "value_loss", {"clip": {"pessimistic": 0.2}},
             {"values": values, "old_values": old, "returns": returns},
             {"loss": per_token * b.mask, "clip_fraction": fraction},
             {"values": grad((per_token * b.mask * upstream).sum(), values)}, cotangents={"loss": upstream}, mask=b.mask, poison=True)
        for mode, ours in AGGREGATIONS.items():
            leaf = b.weights.clone().requires_grad_()
            total = verl.agg_loss(leaf, b.mask, mode)
            case(file, f"verl agg_loss {mode}", "aggregate", {"aggregation": ours}, {"values": b.weights}, {"total": total},
                 {"values": grad(total, leaf)}, mask=b.mask, poison=True)


def verl_corrections():
    file = "verl-rollout"
    for seed in range(24):
        b = Batch(500 + seed, spread=0.3)
        b.mask[:, 0] = 1
        d = b.old - b.sampler
        for level, over, normalise in (("token", "token", "over_tokens"), ("sequence", "sequence_sum", "over_sequences")):
            for threshold in (2.0, "0.5_2.0", 1.2)[: 3 if seed < 8 else 1]:
                for norm in (False, True):
                    try:
                        weights, metrics = verl_rollout.compute_rollout_correction_weights(d, b.mask, level, threshold, norm)
                    except ZeroDivisionError:  # verl's metrics, when every weight is zero
                        continue
                    weight = {"over": over, "normalise": normalise if norm else "off"}
                    if isinstance(threshold, str):
                        weight.update(keep={"low": 0.5, "high": 2.0}, clamp=NONE)
                    else:
                        weight.update(clamp={"low": None, "high": threshold})
                    off = verl_rollout.compute_offpolicy_metrics(b.old, b.sampler, b.mask)
                    case(file, f"verl weights {level} {threshold}", "rollout_correction", {"weight": weight},
                         {"old_logp": b.old, "sampler_logp": b.sampler},
                         {"weights": weights * b.mask, "weight_mean": torch.tensor(metrics["rollout_is_mean"]),
                          "effective_sample_size": torch.tensor(metrics["rollout_is_eff_sample_size"]),
                          "kl_k1": torch.tensor(off["kl"]), "kl_k3": torch.tensor(off["k3_kl"]),
                          "chi_squared": torch.tensor(off["chi2_token"]),
                          "chi_squared_sequences": torch.tensor(off["chi2_seq"]),
                          "trainer_perplexity": torch.tensor(off["training_ppl"]),
                          "sampler_perplexity": torch.tensor(off["rollout_ppl"])}, mask=b.mask, poison=True)
        spans = {"token": "token", "seq_sum": "sequence_sum", "seq_mean": "sequence_mean", "seq_max": "sequence_max"}
        for prefix, over in spans.items():
            for k in ("k1", "k2", "k3"):
                if (prefix, k) == ("seq_max", "k1"):
                    continue
                spec, within = ("0.7_1.3", {"low": float(np.log(0.7)), "high": float(np.log(1.3))}) if k == "k1" else (
                    "0.05", {"low": None, "high": 0.05})
                kept, _ = verl_rollout.compute_rollout_rejection_mask(d, b.mask, f"{prefix}_{k}", spec)
                if seed < 8 or prefix == "token":
                    case(file, f"verl rejection {prefix}_{k}", "rollout_correction",
                         {"reject": [{"measure": k, "over": over, "within": within}]},
                         {"old_logp": b.old, "sampler_logp": b.sampler}, {"mask": kept, "weights": b.mask}, mask=b.mask)


ACCELERATOR = SimpleNamespace(
    reduce=lambda x, reduction: x, gather=lambda x: x, num_processes=1, pad_across_processes=lambda x, **_: x,
    gather_for_metrics=lambda x: x,
)

class Metrics(dict):
    def __missing__(self, key):
        self[key] = []
        return self[key]

def trainer(leaf, entropy, loss_type, level, **options):
    keep = dict(beta=0.0, delta=None, epsilon_low=0.2, epsilon_high=0.28, top_entropy_quantile=1.0, entropy_coef=0.0,
                bias=False, opsm=None, correct=False)
    keep.update(options)
    args = SimpleNamespace(delta=keep["delta"], use_bias_correction_kl=keep["bias"], sapo_temperature_pos=1.0,
                           sapo_temperature_neg=1.05, vespo_k_pos=2.0, vespo_lambda_pos=3.0, vespo_k_neg=3.0,
                           vespo_lambda_neg=2.0, steps_per_generation=1)
    me = SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=keep["top_entropy_quantile"], importance_sampling_level=level,
        beta=keep["beta"], args=args, loss_type=loss_type, epsilon_low=keep["epsilon_low"], epsilon_high=keep["epsilon_high"],
        off_policy_mask_threshold=keep["opsm"], use_vllm=keep["correct"], vllm_importance_sampling_correction=keep["correct"],
        model=SimpleNamespace(training=False), current_gradient_accumulation_steps=1, max_completion_length=8,
        accelerator=ACCELERATOR, _entropy_bonus_enabled=keep["entropy_coef"] != 0, use_adaptive_entropy=False,
        entropy_coef=keep["entropy_coef"], _metrics={"eval": Metrics(), "train": Metrics()},
        _get_per_token_logps_and_entropies=lambda *a, **k: (leaf, entropy, None), get_off_policy_mask=trl_grpo.get_off_policy_mask,
    )
    me.get_gamma_weights = trl_grpo.get_gamma_weights
    me.get_high_entropy_mask = lambda e, m, q: trl_grpo.get_high_entropy_mask(me, e, m, q)
    return me


def trl_losses():
    file = "trl"
    counted = {"empty_rows": "counted"}
    reductions = {
        "grpo": {"sequence_mean_token_mean": counted}, "sapo": {"sequence_mean_token_mean": counted}, "bnpo": "token_mean",
        "dr_grpo": {"sequence_mean_token_sum_over": {"length": 8.0, **counted}}, "luspo": {"sequence_mean_token_sum": counted},
        "dapo": None, "cispo": None, "vespo": None,
    }
    for seed in range(72):
        loss_type = list(reductions)[seed % 8]
        b = Batch(700 + seed, spread=[0.4, 0.05, 2.0][seed % 3], per_row=True)
        level = "sequence" if seed // 8 % 3 == 1 or loss_type == "luspo" else "token"
        ours = {"token": "token", "sequence": "sequence_mean"}[level]
        options, inputs, params = {}, {}, {}
        items = float(b.mask.sum()) + 3
        params["aggregation"] = reductions[loss_type] or {"constant": {"denominator": items}}
        clip = {"low": 0.2, "high": 0.28}
        formula = objective("ppo_clip", clip=clip, level=ours, log_ratio=NONE)
        if loss_type == "cispo":
            options["epsilon_high"] = 1.5
            formula = objective("cispo", ratio={"low": None, "high": 1.5}, level=ours, log_ratio=NONE)
        if loss_type == "sapo":
            formula = objective("sapo", level=ours, log_ratio=NONE)
        if loss_type == "vespo":
            formula = objective("vespo")
        if seed % 5 == 2 and loss_type in ("grpo", "bnpo", "dr_grpo", "dapo", "luspo"):
            options["delta"] = [4.0, 1.1][seed % 2]
            formula["ppo_clip"]["cap"] = options["delta"]
        data = {"prompt_ids": torch.zeros(ROWS, 1), "prompt_mask": torch.ones(ROWS, 1), "completion_ids": torch.zeros(ROWS, TOKENS),
                "completion_mask": b.mask, "advantages": b.advantages.squeeze(1), "old_per_token_logps": b.old,
                "num_items_in_batch": torch.tensor(items)}
        if seed % 3 == 1:
            options["beta"] = 0.1
            data["ref_per_token_logps"] = inputs["ref_logp"] = b.ref
            weight = "none"
            if seed % 2:
                options["bias"] = True
                weight = "ratio" if level == "token" else "sequence_ratio"
            params["kl"] = {"kl": {"estimator": "k3", "weight": weight}, "beta": 0.1}
        if seed % 4 == 3:
            options["correct"] = True
            weights = torch.where(b.mask.bool(), b.weights, 1.0)
            data["importance_sampling_ratio"] = weights
            inputs["weights"] = weights
        if seed % 6 == 5 and loss_type != "vespo":
            # Its threshold and the entropy's quantile are functions of their own here.
            options["opsm"] = 0.05
        leaf = b.leaf()
        entropy = b.entropy.clone()
        me = trainer(leaf, entropy, loss_type, level, **options)
        total = trl_grpo._compute_loss(me, me.model, data)
        if options.get("opsm"):
            kept = trl_grpo.get_off_policy_mask(b.advantages, b.logp, b.old, b.mask, 0.05)
            case(file, "trl get_off_policy_mask", "rollout_correction",
                 {"rejected": "zero_weight", "reject": [{"measure": "k1", "over": "sequence_mean",
                  "within": {"low": None, "high": 0.05}, "log_ratio": NONE, "when": "negative_advantage"}]},
                 {"old_logp": b.logp, "sampler_logp": b.old, "advantages": b.advantages}, {"weights": kept * b.mask}, mask=b.mask)
            inputs["weights"] = inputs.get("weights", torch.ones_like(b.mask)) * kept
        case(file, f"trl {loss_type} {level}", "loss", {**params, "objective": formula},
             {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages, **inputs}, {"loss": total},
             {"logp": grad(total, leaf)}, mask=b.mask, poison=seed % 2 == 0)
        if seed % 8 == 0:
            me = trainer(leaf, entropy, "grpo", "token", top_entropy_quantile=0.4)
            kept = me.get_high_entropy_mask(entropy, b.mask, 0.6)
            case(file, "trl get_high_entropy_mask", "high_entropy", {"quantile": 0.6}, {"entropy": entropy},
                 {"mask": kept.double()}, mask=b.mask, poison=True)
            leaf, entropy = b.leaf(), b.entropy.clone().requires_grad_()
            me = trainer(leaf, entropy, "bnpo", "token", entropy_coef=0.3)
            total = trl_grpo._compute_loss(me, me.model, data)
            case(file, "trl entropy bonus", "loss",
                 {"objective": objective("ppo_clip", clip=clip, log_ratio=NONE), "aggregation": "token_mean", "entropy": 0.3},
                 {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages, "entropy": b.entropy}, {"loss": total},
                 {"logp": grad(total, leaf), "entropy": grad(total, entropy)}, mask=b.mask, poison=True)
        # RLOO: the ratio of the whole sequence. GMPO. Both give a value to rows without tokens; ours have none here.
        b.mask[:, 0] = 1
        data["completion_mask"] = b.mask
        leaf = b.leaf()
        me = trainer(leaf, b.entropy, "rloo", "token")
        data["old_logps"] = (b.old * b.mask).sum(1)
        total = trl_rloo._compute_loss(me, me.model, data)
        rows = {"aggregation": {"sequence_mean_token_mean": counted}}
        plain = {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}
        if seed % 3 == 0:
            case(file, "trl rloo", "loss",
                 {**rows, "objective": objective("ppo_clip", clip=clip, level="sequence_sum", log_ratio=NONE)}, plain,
                 {"loss": total}, {"logp": grad(total, leaf)}, mask=b.mask, poison=True)
        if seed % 3 == 1:
            leaf = b.leaf()
            me = trainer(leaf, b.entropy, "gmpo", "token", epsilon_low=0.4, epsilon_high=0.4, beta=0.1)
            total = trl_gmpo._compute_loss(me, me.model, {**data, "ref_per_token_logps": b.ref})
            case(file, "trl gmpo", "loss", {**rows, "objective": objective("gmpo"), "kl": {"kl": {"estimator": "k3"}, "beta": 0.1}},
                 {**plain, "ref_logp": b.ref}, {"loss": total}, {"logp": grad(total, leaf)}, mask=b.mask, poison=True)
    # Sampler weights, from the formula of the trainer.
    for seed in range(12):
        b = Batch(900 + seed)
        if seed % 3 == 0:
            b.sampler[0, 1] = torch.nan
        d = ((b.old - b.sampler) * b.mask).nan_to_num(nan=0.0)
        for over, x in (("token", d), ("sequence_sum", d.sum(-1, keepdim=True))):
            w = x.exp()
            for params, out in (
                ({"clamp": {"low": 0.5, "high": 1.5}}, w.clamp(0.5, 1.5)),
                ({"keep": {"low": 0.5, "high": 1.5}, "clamp": NONE}, w.masked_fill((w < 0.5) | (w > 1.5), 0.0)),
            ):
                case(file, f"trl vllm_importance_sampling {over}", "rollout_correction",
                     {"weight": {"over": over, "log_weight": NONE, **params}}, {"old_logp": b.old, "sampler_logp": b.sampler},
                     {"weights": out.expand(b.mask.shape) * b.mask}, mask=b.mask)
    lengths = [0, 10, 79, 80, 81, 90, 99, 100, 101, 130]
    for limit, buffer in ((100, 20), (100, 0), (100, 100)):
        out = trl_rewards._SoftOverlongPunishment(limit, buffer)([[1] * n for n in lengths])
        case(file, "trl get_soft_overlong_punishment", "reward.overlong_penalty", {"limit": limit, "buffer": buffer},
             {"lengths": torch.tensor(lengths)}, {"penalties": torch.tensor(out)})


def openrlhf_losses():
    file = "openrlhf"
    for seed in range(48):
        b = Batch(1200 + seed, spread=[0.4, 0.05, 3.0, 15.0][seed % 4])
        token_level = seed % 2 == 0
        kind = "gspo" if seed % 5 == 4 else "ppo"
        dual = [None, 3.0, 1.5][seed % 3]
        level, mode, gating, threshold = [
            ("off", "mask", "ratio", (0.5, 5.0)), ("token", "mask", "ratio", (0.7, 1.4)), ("token", "clip", "ratio", (0.7, 1.4)),
            ("seq", "mask", "ratio", (0.8, 1.2)), ("token", "mask", "binary_kl", (0.0, 0.02)),
            ("seq", "mask", "binary_kl", (0.0, 0.03)), ("token", "mask", "tv", (0.0, 0.1)), ("seq", "mask", "tv", (0.0, 0.1)),
        ][seed // 2 % 8]
        if kind == "gspo":
            level = "off"
        b.mask[:, 0] = 1 if level == "seq" else b.mask[:, 0]
        loss = openrlhf.PolicyLoss(0.2, 0.27, dual, token_level, kind, level, mode, gating, list(threshold))
        leaf = b.leaf()
        sizes = {}
        params = {"aggregation": AGGREGATIONS["token-mean" if token_level and kind == "ppo" else "seq-mean-token-mean"]}
        if seed % 4 == 1:
            sizes = {"dp_size": 4, "batch_num_tokens": 50.0, "global_batch_size": 13.0}
            params.update(ranks=4.0, counts={"tokens": 50, "sequences": 13, "empty_sequences": 0})
        total, fraction, kl, *_ = loss.forward(leaf, b.old, b.advantages, b.mask, b.sampler, **sizes)
        clip = {"low": 0.2, "high": 0.27}
        formula = objective("ppo_clip", clip=clip, dual=dual, log_ratio=BOTH if kind == "ppo" else NONE,
                            level="token" if kind == "ppo" else "sequence_mean")
        inputs = {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}
        if level != "off":
            correction = {"rejected": "zero_weight", "weight": {"log_weight": NONE, "clamp": NONE}}
            if mode == "clip":
                correction["weight"]["clamp"] = {"low": threshold[0], "high": threshold[1]}
            else:
                measure = {"ratio": "ratio", "binary_kl": "binary_kl", "tv": "total_variation"}[gating]
                correction["reject"] = [{
                    "measure": measure, "over": "token" if level == "token" else "sequence_mean", "log_ratio": NONE,
                    "within": {"low": threshold[0], "high": threshold[1]},
                }]
            # The weights come out of the loss's own ratio: its gradient at A = 1 and ratio 1 is minus the weight.
            probe = torch.zeros_like(b.logp).requires_grad_()
            one = openrlhf.PolicyLoss(9.0, 9.0, None, True, "ppo", level, mode, gating, list(threshold))
            summed, *_ = one.forward(b.old + probe, b.old, torch.ones_like(b.old), b.mask, b.sampler, batch_num_tokens=1.0)
            weights = -grad(summed, probe)
            case(file, f"openrlhf correction {level} {mode} {gating}", "rollout_correction", correction,
                 {"old_logp": b.old, "sampler_logp": b.sampler}, {"weights": weights}, mask=b.mask, poison=True)
            inputs["weights"] = weights
        outputs = {"loss": total}
        if seed % 4 < 2 and kind == "ppo":
            outputs["approx_kl_k1"] = kl
        case(file, f"openrlhf PolicyLoss {kind}", "loss", {**params, "objective": formula}, inputs, outputs,
             {"logp": grad(total, leaf)}, mask=b.mask, poison=seed % 2 == 0)
        for estimator in ("k1", "k2", "k3")[: 3 if seed < 12 else 0]:
            for unbiased, old in ((False, None), (True, None), (True, b.old)):
                leaf, ref = b.leaf(), b.ref * (25 if seed % 3 == 2 else 1)
                value = openrlhf_utils.compute_approx_kl(leaf, ref, old, estimator, unbiased)
                params = {"estimator": estimator, "value_bound": 10.0, "gradient": "of_k2" if unbiased else "of_estimator",
                          "log_ratio": {"low": -10.0 if estimator == "k3" else None, "high": None}}
                inputs = {"logp": b.logp, "ref_logp": ref}
                if old is not None:
                    params["weight"] = {"detached_on_gradient": {"cap": 10.0}}
                    inputs["old_logp"] = old
                case(file, f"openrlhf compute_approx_kl {estimator}", "kl", params, inputs, {"kl": value * b.mask},
                     {"logp": grad((value * b.mask).sum(), leaf)}, mask=b.mask, poison=True)
        values, returns = rounded(b.rng.standard_normal((ROWS, TOKENS))).requires_grad_(), rounded(b.rng.standard_normal((ROWS, TOKENS)))
        old = rounded(values.detach() + 0.5 * b.rng.standard_normal((ROWS, TOKENS)))
        if seed < 12:
            for eps, clip in ((0.3, {"pessimistic": 0.3}), (None, "off")):
                # The per-token loss: the module's, summed over a one-hot batch count of one.
                total = openrlhf.ValueLoss(eps).forward(values, old, returns, b.mask, batch_num_tokens=1.0)
                case(file, "openrlhf ValueLoss", "value_loss", {"clip": clip},
                     {"values": values, "old_values": old, "returns": returns}, {}, {"values": grad(total, values)}, mask=b.mask,
                     poison=True)
    rng = generator(5)
    for seed in range(8):
        mask = full_rows(seed, ROWS, TOKENS)
        r, kl = rounded(rng.standard_normal(ROWS) * 3), rounded(rng.standard_normal((ROWS, TOKENS)))
        token = openrlhf_utils.compute_reward(r, 0.1, kl, mask, (-2.0, 2.0))
        clipped = r.clamp(-2.0, 2.0)
        case(file, "openrlhf reward clip", "reward.shape", {"clip": {"low": -2.0, "high": 2.0}}, {"rewards": r}, {"rewards": clipped})
        at = openrlhf_utils.compute_reward(clipped, 0.0, kl, mask)
        case(file, "openrlhf compute_reward", "reward.at_last_token", {}, {"rewards": clipped}, {"rewards": at}, mask=mask)
        case(file, "openrlhf compute_reward", "reward.less_kl", {"beta": 0.1}, {"rewards": at, "kl": kl}, {"rewards": token * mask},
             mask=mask, poison=True)
        case(file, "verl apply_kl_penalty", "reward.mean_kl", {}, {"kl": kl},
             {"mean": verl_F.masked_mean(kl * mask, mask, axis=-1).mean()}, mask=mask, poison=True)
        case(file, "trl rloo", "reward.less_summed_kl", {"beta": 0.2}, {"rewards": r, "kl": kl},
             {"rewards": r - 0.2 * (kl * mask).sum(-1)}, mask=mask, poison=True)
    for kl, steps in ((0.0, 8), (5.9, 64), (6.5, 10), (30.0, 256)):
        for cls, source in ((verl.AdaptiveKLController, "verl"), (openrlhf_control.AdaptiveKLController, "openrlhf")):
            control = cls(0.2, 6.0, 10000.0)
            control.update(kl, steps)
            case(file, f"{source} AdaptiveKLController", "reward.adaptive_kl",
                 {"beta": 0.2, "target": 6.0, "horizon": 10000.0, "kl": kl, "samples": steps}, {}, {"beta": torch.tensor(control.value)})
    lengths = torch.tensor([0, 50, 80, 81, 95, 100, 120])
    for factor in (1.0, 0.5):
        experience = SimpleNamespace(rewards=torch.zeros(7), response_length=lengths)
        openrlhf_length.apply_overlong_penalty([experience], 100, 20, factor)
        case(file, "openrlhf apply_overlong_penalty", "reward.overlong_penalty", {"limit": 100, "buffer": 20, "factor": factor},
             {"lengths": lengths}, {"penalties": experience.rewards})
        growing = torch.tensor([min(-(n - 80) / 20 * factor, 0) for n in lengths.tolist()])
        case(file, "verl DAPO reward manager", "reward.overlong_penalty",
             {"limit": 100, "buffer": 20, "factor": factor, "beyond": "growing"}, {"lengths": lengths}, {"penalties": growing})
    for coefficient, how in ((0.5, {"scale": 0.5}), (-0.3, {"replace": -0.3})):
        cut = torch.tensor([1.0, 0.0, 1.0])
        experience = SimpleNamespace(rewards=torch.tensor([1.0, 2.0, -1.0]), truncated=cut)
        openrlhf_length.apply_stop_properly_penalty([experience], coefficient)
        case(file, "openrlhf apply_stop_properly_penalty", "reward.truncated", {"how": how},
             {"rewards": torch.tensor([1.0, 2.0, -1.0]), "truncated": cut}, {"rewards": experience.rewards})


def open_instruct_losses():
    """From the formulas of open-instruct's grpo_utils.py (it is not on PyPI)."""
    file = "open-instruct"
    for seed in range(36):
        b = Batch(1500 + seed, spread=[0.4, 0.05, 2.0][seed % 3], per_row=True)
        leaf, m = b.leaf(), b.mask
        d = torch.where(m.bool(), (b.old - b.sampler).clamp(-10.0, 10.0), 0.0)
        rho = d.exp()
        sequence = seed % 4 == 1
        mean = lambda x: (x * m).sum(-1, keepdim=True) / m.sum(-1, keepdim=True).clamp_min(1.0)
        effective = mean(d).exp().expand_as(rho) if sequence else rho
        low, high = [(0.0, 0.0), (0.6, 0.0), (0.6, 1.5), (0.0, 1.3)][seed % 4]
        away = seed % 3 == 2
        wide = b.wide()
        dropped = lambda x: ((x < low) if low else x != x) | ((x > high) if high else x != x)
        drop = dropped(mean((rho - 1.0).abs()).expand_as(rho)) & (d.sign() * wide > 0) if away else dropped(effective)
        weights = torch.where(m.bool() & ~drop, effective.clamp(max=2.0), 0.0)
        bounds = {"low": low or None, "high": high or None}
        over = "sequence_mean" if sequence else "token"
        ten = {"low": -10.0, "high": 10.0}
        params = {"rejected": "zero_weight",
                  "weight": {"over": over, "token_log_ratio": ten, "log_weight": NONE, "clamp": {"low": None, "high": 2.0}}}
        if away:
            params["reject"] = [{"measure": "ratio_distance", "over": "sequence_mean", "within": bounds, "log_ratio": ten,
                                 "when": "moving_away"}]
        else:
            params["reject"] = [{"measure": "ratio", "over": over, "within": bounds, "log_ratio": ten}]
        case(file, "open-instruct compute_rho_correction", "rollout_correction", params,
             {"old_logp": b.old, "sampler_logp": b.sampler, "advantages": b.advantages}, {"weights": weights}, mask=m, poison=True)
        ratio = (leaf - b.old).exp()
        if seed % 2:
            per_token = torch.max(-wide * ratio, -wide * ratio.clamp(0.8, 1.272))
            formula = objective("ppo_clip", clip={"low": 0.2, "high": 0.272}, log_ratio=NONE)
        else:
            per_token = -wide * ratio.detach().clamp(max=1.272) * leaf
            formula = objective("cispo", ratio={"low": None, "high": 1.272}, log_ratio=NONE)
        diff = (leaf - b.ref).clamp(-40.0, 40.0)
        which = seed % 4
        kl = [diff, diff**2 / 2, torch.expm1(-diff) + diff, ratio * diff][which]
        total = ((per_token * weights + 0.05 * kl) * m).sum()
        constant = seed % 5 == 0
        total = total / (64.0 if constant else m.sum())
        term = {"estimator": ["k1", "k2", "k3", "k1"][which], "weight": "ratio" if which == 3 else "none",
                "log_ratio": {"low": -40.0, "high": 40.0}}
        case(file, "open-instruct compute_grpo_loss", "loss",
             {"objective": formula, "aggregation": {"constant": {"denominator": 64.0}} if constant else "token_mean",
              "kl": {"kl": term, "beta": 0.05}},
             {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages, "ref_logp": b.ref, "weights": weights},
             {"loss": total}, {"logp": grad(total, leaf)}, mask=m, poison=seed % 2 == 0)


def papers():
    """What no library above has: from the papers' formulas."""
    file = "papers"
    for seed in range(18):
        b = Batch(1800 + seed, spread=[0.3, 1.5][seed % 2], per_row=True)
        wide, m = b.wide(), b.mask
        leaf = b.leaf()
        ratio = ((leaf - b.old) * m).sum(-1, keepdim=True).exp() if seed % 3 else (leaf - b.old).exp()
        rewards = rounded(b.rng.standard_normal((ROWS, 1)))
        weight = torch.where(rewards > 0, 1.0, ratio.detach().clamp(0.0, 1.0))
        per_token = -weight * wide * leaf
        case(file, "TOPR", "objective.topr", {"level": "sequence_sum" if seed % 3 else "token", "log_ratio": NONE},
             {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages, "rewards": rewards}, {"loss": per_token * m},
             {"logp": grad((per_token * m).sum(), leaf)}, mask=m, poison=True)
        leaf = b.leaf()
        ratio, moved = (leaf - b.old).exp(), b.logp.exp() - b.old.exp()
        keep = torch.where(wide > 0, moved <= 0.1, moved >= -0.1)
        per_token = torch.where(keep, -wide * ratio, 0.0)
        case(file, "DPPO", "objective.dppo", {"low": 0.1, "high": 0.1, "log_ratio": NONE},
             {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}, {"loss": per_token * m},
             {"logp": grad((per_token * m).sum(), leaf)}, mask=m, poison=True)
        leaf = b.leaf()
        mean = ((leaf - b.old) * m).sum(-1, keepdim=True) / m.sum(-1, keepdim=True).clamp(min=1)
        s = mean.exp()
        per_token = -torch.min(s * wide, s.clamp(0.9, 1.2) * wide) * torch.ones_like(leaf)
        case(file, "GSPO", "objective.ppo_clip",
             {"clip": {"low": 0.1, "high": 0.2}, "level": "sequence_mean", "log_ratio": NONE},
             {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}, {"loss": per_token * m},
             {"logp": grad((per_token * m).sum(), leaf)}, mask=m, poison=True)
        returns = rounded(b.rng.standard_normal((ROWS, TOKENS)))
        r, v = returns[m.bool()].numpy(), b.weights[m.bool()].numpy()
        case(file, "explained variance", "explained_variance", {}, {"values": b.weights, "returns": returns},
             {"explained_variance": torch.tensor(1 - np.var(r - v) / np.var(r))}, mask=m, poison=True)


def presets():
    """The presets named after libraries give those libraries' numbers under their defaults."""
    file = "presets"
    for seed in range(4):
        b = Batch(3000 + seed, per_row=True)
        b.mask[:, 0] = 1  # see TRL's GMPO and RLOO
        wide, m = b.wide(), b.mask
        plain = {"logp": b.logp, "old_logp": b.old, "advantages": b.advantages}

        def add(name, total, leaf, extra=None):
            case(file, f"preset {name}", "loss", {"preset": name}, {**plain, **(extra or {})}, {"loss": total},
                 {"logp": grad(total, leaf)}, mask=m, poison=True)

        def verl_loss(loss, mode="token-mean", **actor):
            leaf = b.leaf()
            total, _ = getattr(verl, f"compute_policy_loss_{loss}")(b.old, leaf, wide, m, mode, Actor(**actor), None)
            return leaf, total

        leaf, total = verl_loss("vanilla")
        for name in ("ppo_verl", "rloo_verl", "opo_verl", "remax_verl", "reinforce_pp_verl"):
            add(name, total, leaf)
        total = total + 0.001 * verl.agg_loss(verl.kl_penalty(leaf, b.ref, "low_var_kl"), m, "token-mean")
        add("grpo_verl", total, leaf, {"ref_logp": b.ref})
        leaf, total = verl_loss("vanilla", low=0.2, high=0.28)
        add("dapo_verl", total, leaf)
        leaf, total = verl_loss("vanilla", "seq-mean-token-sum-norm", counts={"loss_scale_factor": 1024})
        add("dr_grpo_verl", total, leaf)
        leaf, total = verl_loss("gspo", "seq-mean-token-mean", low=3e-4, high=4e-4)
        add("gspo_verl", total, leaf)
        for name, loss in (("gmpo_verl", "geo_mean"), ("cispo_verl", "cispo"), ("sapo_verl", "sapo"), ("dppo_tv_verl", "dppo_tv"),
                           ("dppo_kl_verl", "dppo_kl"), ("gpg_verl", "gpg")):
            leaf, total = verl_loss(loss)
            add(name, total, leaf)
        leaf, total = verl_loss("kl_cov", ppo_kl_coef=0.1)  # Clip-Cov draws at random
        add("kl_cov_verl", total, leaf)

        data = {"prompt_ids": torch.zeros(ROWS, 1), "prompt_mask": torch.ones(ROWS, 1), "completion_ids": torch.zeros(ROWS, TOKENS),
                "completion_mask": m, "advantages": b.advantages.squeeze(1), "old_per_token_logps": b.old,
                "num_items_in_batch": m.sum(), "old_logps": (b.old * m).sum(1)}
        for name, loss, level, options in (
            ("grpo_trl", "grpo", "token", {}), ("dapo_trl", "dapo", "token", {}), ("bnpo_trl", "bnpo", "token", {}),
            ("dr_grpo_trl", "dr_grpo", "token", {}), ("luspo_trl", "luspo", "sequence", {}), ("vespo_trl", "vespo", "token", {}),
            ("cispo_trl", "cispo", "token", {"epsilon_high": 5.0}), ("sapo_trl", "sapo", "token", {}),
            ("gspo_trl", "grpo", "sequence", {"epsilon_low": 3e-4, "epsilon_high": 4e-4}),
            ("gmpo_trl", "gmpo", "token", {"epsilon_low": 0.4, "epsilon_high": 0.4}), ("rloo_trl", "rloo", "token", {}),
        ):
            leaf = b.leaf()
            me = trainer(leaf, b.entropy, loss, level, **{"epsilon_high": 0.2, **options})
            me.max_completion_length = 1024
            run = {"gmpo": trl_gmpo, "rloo": trl_rloo}.get(loss, trl_grpo)._compute_loss
            add(name, run(me, me.model, data), leaf)

        for name in ("ppo_openrlhf", "grpo_openrlhf", "rloo_openrlhf", "reinforce_pp_openrlhf"):
            leaf = b.leaf()
            add(name, openrlhf.PolicyLoss().forward(leaf, b.old, wide, m)[0], leaf)

        for name in ("grpo_open_instruct", "cispo_open_instruct"):
            leaf = b.leaf()
            ratio = (leaf - b.old).exp()
            if name == "grpo_open_instruct":
                per_token = torch.max(-wide * ratio, -wide * ratio.clamp(0.8, 1.272))
            else:
                per_token = -wide * ratio.detach().clamp(max=1.272) * leaf
            diff = (leaf - b.ref).clamp(-40.0, 40.0)
            total = ((per_token + 0.05 * (torch.expm1(-diff) + diff)) * m).sum() / m.sum()
            add(name, total, leaf, {"ref_logp": b.ref})


def log_probs():
    file = "log-probs"
    for seed in range(16):
        rng = generator(2000 + seed)
        mask = masks(rng, 2, 4)
        width, vocabulary = 3, 7
        temperature = [1.0, 0.7, 2.0][seed % 3]
        hidden, head = rounded(rng.standard_normal((2, 4, width)), 3), rounded(rng.standard_normal((vocabulary, width)), 3)
        targets = torch.as_tensor(rng.integers(0, vocabulary, (2, 4)))
        up = {"logp": rounded(rng.standard_normal((2, 4)), 3), "entropy": rounded(rng.standard_normal((2, 4)), 3)}
        hidden.requires_grad_(), head.requires_grad_()
        logits = hidden @ head.T
        logp = verl_F.logprobs_from_logits_v2(logits / temperature, targets)
        entropy = verl_F.entropy_from_logits(logits / temperature)
        total = ((logp * up["logp"] + entropy * up["entropy"]) * mask).sum()
        grads = torch.autograd.grad(total, [hidden, head])
        case(file, "verl logprobs_from_logits, entropy_from_logits", "token_log_probs",
             {"temperature": temperature, "chunk": 3}, {"hidden": hidden, "head": head, "targets": targets},
             {"logp": logp * mask, "entropy": entropy * mask}, dict(zip(("hidden", "head"), grads)), cotangents=up, mask=mask)
        logits = rounded(3 * rng.standard_normal((2, 4, vocabulary)), 3)
        if seed % 2:
            # Forbidden words: probability zero. Entropy from TRL, whose -p log p of zero is NaN: without those words.
            logits[..., 5] = -torch.inf
            targets = torch.where(targets == 5, 0, targets)
        if seed % 4 == 2:
            logits[0, 0] *= 40
        logits.requires_grad_()
        logp = trl_utils.selective_log_softmax(logits, targets, temperature)
        words = [w for w in range(vocabulary) if not (seed % 2 and w == 5)]
        entropy = trl_utils.entropy_from_logits(logits[..., words] / temperature)
        total = ((logp * up["logp"] + entropy * up["entropy"]) * mask).sum()
        grads = torch.autograd.grad(total, [logits])
        case(file, "trl selective_log_softmax, entropy_from_logits", "token_log_probs_from_logits",
             {"temperature": temperature, "chunk": 3}, {"logits": logits, "targets": targets},
             {"logp": logp * mask, "entropy": entropy * mask}, {"logits": grads[0]}, cotangents=up, mask=mask)


if __name__ == "__main__":
    ARGS.folder.mkdir(exist_ok=True)
    for part in (advantages, verl_losses, verl_corrections, trl_losses, openrlhf_losses, open_instruct_losses, papers, presets, log_probs):
        part()
    size = 0
    for file, lines in FILES.items():
        text = "\n".join(lines) + "\n"
        (ARGS.folder / f"{file}.jsonl").write_text(text)
        size += len(text)
        print(f"{file}: {len(lines)} cases, {sum(chr(34) + 'grads' + chr(34) + ':{' + chr(34) in l for l in lines)} with gradients")
    print(f"{size / 1e6:.2f} MB")
