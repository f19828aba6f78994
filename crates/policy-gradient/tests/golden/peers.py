"""The published functions of verl, TRL and OpenRLHF, taken out of the installed packages' sources.

Installing those packages with all they need takes gigabytes and a GPU; their losses are functions of tensors. `take` reads a
source file of a package that was installed with `pip install --no-deps`, cuts out the named functions and classes and runs
their text, unchanged but for decorators, with nothing but PyTorch and NumPy in scope. Their casts to float32 become casts to
float64, so that what is compared is the formula.
"""

import __future__
import ast
import functools
import math
from collections import defaultdict
from importlib.metadata import distribution, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.Tensor.float = torch.Tensor.double

VERSIONS = {name: version(name) for name in ("verl", "trl", "openrlhf")}
EXPECTED = {"verl": "0.9.1", "trl": "1.16.0", "openrlhf": "0.11.2"}
assert VERSIONS == EXPECTED, f"golden values are of {EXPECTED}, installed are {VERSIONS}"


@functools.cache
def parsed(package, path):
    file = Path(str(distribution(package).locate_file(path)))
    return ast.parse(file.read_text(), str(file))


def take(package, path, *names, **scope):
    """The named functions, classes and `Class.method`s, in a namespace of their own."""
    space = dict(
        torch=torch, nn=nn, F=F, np=np, math=math, defaultdict=defaultdict, Any=Any, Callable=Callable, List=List,
        Optional=Optional, Tuple=Tuple, Union=Union, DictConfig=object, SAFETY_BOUND=20.0, KL_IS_WEIGHT_CLIP=10.0,
        TOKEN_LEVEL_ROLLOUT_RS_OPTIONS={"token_k1", "token_k2", "token_k3"},
    )
    space.update(scope)
    body = []
    for name in names:
        holder = parsed(package, path).body
        *outer, last = name.split(".")
        for part in outer:
            holder = next(node for node in holder if isinstance(node, ast.ClassDef) and node.name == part).body
        node = next(
            node for node in holder if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Assign)) and named(node, last)
        )
        if not isinstance(node, ast.Assign):
            node.decorator_list = [d for d in node.decorator_list if ast.unparse(d) == "torch.no_grad()"]
        body.append(node)
    module = ast.Module(body=body, type_ignores=[])
    # Annotations name types that are not in scope; they need not be evaluated.
    flags = __future__.annotations.compiler_flag
    exec(compile(module, f"{package}/{path}", "exec", flags=flags), space)
    return SimpleNamespace(**{name.split(".")[-1]: space[name.split(".")[-1]] for name in names})


def named(node, name):
    if isinstance(node, ast.Assign):
        return any(getattr(target, "id", None) == name for target in node.targets)
    return node.name == name


class Actor:
    """What verl's losses read of its actor configuration."""

    def __init__(self, low=0.2, high=0.2, c=3.0, counts=None, **policy):
        self.clip_ratio, self.clip_ratio_low, self.clip_ratio_high, self.c = low, low, high, c
        self.global_batch_info = counts or {}
        self.tau_pos, self.tau_neg = policy.pop("tau_pos", 1.0), policy.pop("tau_neg", 1.05)
        defaults = dict(clip_cov_ratio=None, clip_cov_lb=None, clip_cov_ub=None, kl_cov_ratio=None, ppo_kl_coef=None, dro_beta=None)
        self.policy_loss = SimpleNamespace(**{**defaults, **policy})

    def get(self, key, default=None):
        return self.c if key == "clip_ratio_c" else default


_VF = take(
    "verl", "verl/utils/torch_functional.py",
    "masked_sum", "masked_mean", "masked_var", "masked_whiten", "clip_by_value", "entropy_from_logits",
    "logprobs_from_logits_v2",
)
CORE = "verl/trainer/ppo/core_algos.py"
_ADVANTAGES = [
    "compute_gae_advantage_return", "compute_grpo_outcome_advantage", "compute_gdpo_outcome_advantage",
    "compute_grpo_passk_outcome_advantage", "compute_reinforce_plus_plus_baseline_outcome_advantage",
    "compute_rloo_outcome_advantage", "compute_opo_outcome_advantage", "compute_reinforce_plus_plus_outcome_advantage",
    "compute_remax_outcome_advantage", "compute_gpg_outcome_advantage", "compute_rloo_vectorized_outcome_advantage",
    "compute_optimal_token_baseline_advantage", "compute_multi_turn_optimal_token_baseline_advantage",
]
_LOSSES = [
    "compute_policy_loss_vanilla", "compute_policy_loss_dppo_tv", "compute_policy_loss_dppo_kl", "compute_policy_loss_gspo",
    "compute_policy_loss_sapo", "compute_policy_loss_gpg", "compute_policy_loss_clip_cov", "compute_policy_loss_kl_cov",
    "compute_policy_loss_geo_mean", "compute_policy_loss_dro", "compute_policy_loss_cispo",
]
verl = take(
    "verl", CORE, "AdaptiveKLController", "agg_loss", "compute_value_loss", "kl_penalty_forward", "kl_penalty", *_ADVANTAGES, *_LOSSES,
    verl_F=_VF, ActorConfig=Actor, AlgoConfig=type("AlgoConfig", (), {}),
)
verl_rollout = take(
    "verl", "verl/trainer/ppo/rollout_corr_helper.py",
    "_parse_rollout_is_threshold", "_parse_rollout_rs_thresholds", "compute_rs_metrics", "compute_rollout_rejection_mask",
    "compute_is_metrics", "compute_rollout_correction_weights", "compute_offpolicy_metrics",
    verl_F=_VF, SUPPORTED_ROLLOUT_RS_OPTIONS={
        f"{over}_{k}" for over in ("token", "seq_sum", "seq_mean", "seq_max") for k in ("k1", "k2", "k3")
    },
)
verl_F = _VF

trl_utils = take("trl", "trl/trainer/utils.py", "nanstd", "selective_log_softmax", "entropy_from_logits",
                 is_triton_available=lambda: False)
trl_grpo = take("trl", "trl/trainer/grpo_trainer.py", "GRPOTrainer._compute_loss", "GRPOTrainer.get_off_policy_mask",
                "GRPOTrainer.get_gamma_weights", "GRPOTrainer.get_high_entropy_mask",
                nanmin=lambda x: x.min(), nanmax=lambda x: x.max())
trl_rloo = take("trl", "trl/trainer/rloo_trainer.py", "RLOOTrainer._compute_loss",
                nanmin=lambda x: x.min(), nanmax=lambda x: x.max())
trl_gmpo = take("trl", "trl/experimental/gmpo/gmpo_trainer.py", "GMPOTrainer._compute_loss",
                nanmin=lambda x: x.min(), nanmax=lambda x: x.max())
trl_rewards = take("trl", "trl/rewards/other_rewards.py", "_SoftOverlongPunishment")

openrlhf_utils = take("openrlhf", "openrlhf/models/utils.py", "compute_approx_kl", "compute_reward", "masked_mean",
                      "_logsumexp_by_chunk", "log_probs_from_logits", "compute_entropy")
openrlhf = take("openrlhf", "openrlhf/models/loss.py", "aggregate_loss", "PolicyLoss", "ValueLoss",
                masked_mean=openrlhf_utils.masked_mean)
openrlhf_experience = take("openrlhf", "openrlhf/trainer/ppo_utils/experience_maker.py",
                           *[f"RemoteExperienceMaker.{m}" for m in ("get_advantages_and_returns", "get_cumulative_returns")])
openrlhf_control = take("openrlhf", "openrlhf/trainer/ppo_utils/kl_controller.py", "AdaptiveKLController")
openrlhf_length = take("openrlhf", "openrlhf/trainer/ppo_utils/length_penalty.py", "apply_overlong_penalty",
                       "apply_stop_properly_penalty")
