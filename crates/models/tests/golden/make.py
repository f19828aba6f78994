"""Writes tiny random-weight folders of every family into ../fixtures/tiny, and what transformers makes of them into tiny.json.

    pip install transformers==5.24.0 torch==2.15.0 safetensors==0.8.0
    python make.py                  # the folders and tiny.json
    pip install --target OLD transformers==4.57.6
    PYTHONPATH=OLD python make.py --older    # config.v4.json beside each config.json: the same in the older dialect

Everything runs in float32. Norms and biases are random too, so that one left out would show.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

here = pathlib.Path(__file__).parent
fixtures = here.parent / "fixtures" / "tiny"
VOCAB = 99

SHAPE = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.25, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
}
LONG = {"original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **LONG}


OLDER = transformers.__version__.startswith("4.")


def rope(theta, **scaling):
    """The section of the running version."""
    if scaling.get("rope_type") == "longrope" and OLDER:
        scaling = {"type": "longrope", "short_factor": scaling["short_factor"], "long_factor": scaling["long_factor"]}
    if OLDER:
        return {"rope_theta": theta, "rope_scaling": scaling or None}
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **scaling}}


def cases():
    yield "llama-gqa", "llama", {**rope(10000.0)}, {}
    yield "llama-biases", "llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4, "rms_norm_eps": 1e-3}, {}
    yield "llama-head-dim", "llama", {"head_dim": 16, "num_key_value_heads": 1}, {"dtype": "float32"}
    yield "llama3-tied", "llama", {"tie_word_embeddings": True, **rope(500000.0, **LLAMA3)}, {}
    yield "llama-linear", "llama", {**rope(10000.0, rope_type="linear", factor=4.0)}, {}
    yield "llama-yarn", "llama", {**rope(10000.0, rope_type="yarn", factor=8.0, **LONG)}, {}
    yield "llama-yarn-mscale", "llama", {**rope(
        10000.0, rope_type="yarn", factor=8.0, mscale=0.9, mscale_all_dim=0.7, beta_fast=16.0, beta_slow=2.0, **LONG)}, {}
    yield "llama-sharded", "llama", {}, {"max_shard_size": "20KB"}
    yield "qwen2", "qwen2", {**rope(1000000.0)}, {}
    yield "qwen2-window", "qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, {}
    yield "qwen3", "qwen3", {"head_dim": 16, "tie_word_embeddings": True, **rope(1000000.0)}, {}
    yield "mistral", "mistral", {"sliding_window": 8, "head_dim": 8}, {"dtype": "float16"}
    yield "smollm3", "smollm3", {"num_hidden_layers": 4, "intermediate_size": 32, "no_rope_layer_interval": 4}, {}
    yield "phi3", "phi3", {"original_max_position_embeddings": 256}, {}
    yield "phi3-long", "phi3", {"original_max_position_embeddings": 32, "partial_rotary_factor": 0.5, **rope(
        10000.0, rope_type="longrope", short_factor=[1.0, 1.5], long_factor=[2.0, 4.0], partial_rotary_factor=0.5, **LONG)}, {
            # No text crosses the original length while it grows: transformers then starts its cache anew.
            "lengths": (7, 1, 150, 5, 8)}
    yield "reward-llama", "llama", {**rope(500000.0, **LLAMA3), "num_labels": 1, "pad_token_id": 3}, {"reward": True}
    yield "reward-qwen2", "qwen2", {"num_labels": 1, "tie_word_embeddings": True}, {"reward": True, "dtype": "float32"}
    yield "reward-qwen3", "qwen3", {"num_labels": 1, "head_dim": 8, "pad_token_id": None}, {"reward": True}
    yield "reward-mistral", "mistral", {"num_labels": 1, "sliding_window": 8}, {"reward": True}
    yield "reward-smollm3", "smollm3", {
        "num_labels": 1, "num_hidden_layers": 4, "intermediate_size": 32, "no_rope_layer_interval": 4}, {"reward": True}
    yield "reward-phi3", "phi3", {"num_labels": 1, "original_max_position_embeddings": 256}, {"reward": True}


def tokens(generator, length):
    return torch.randint(4, VOCAB, (length,), generator=generator).tolist()


def build(name, kind, keys, options, seed):
    config = AutoConfig.for_model(kind, **{**SHAPE, **keys})
    torch.manual_seed(seed)
    auto = AutoModelForSequenceClassification if options.get("reward") else AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif key.endswith("bias"):
                parameter.copy_(0.3 * torch.randn_like(parameter))
    folder = fixtures / name
    shutil.rmtree(folder, ignore_errors=True)
    dtype = getattr(torch, options.get("dtype", "bfloat16"))
    if not options.get("reward"):
        # End tokens that the model does reach: one in the model's configuration, others in generation_config.json.
        generator = torch.Generator().manual_seed(seed)
        prompt = torch.tensor([tokens(generator, 7)])
        reached = model.to(dtype).float().generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None)[0, 7:].tolist()
        model.generation_config.eos_token_id = [2, reached[8]]
    model.to(dtype).save_pretrained(folder, max_shard_size=options.get("max_shard_size", "5GB"))
    return folder


@torch.no_grad()
def answers(folder, seed, lengths=(7, 1, 150, 20, 31)):
    """What the folder, loaded again in float32, gives."""
    config = AutoConfig.from_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    sequences = [tokens(generator, length) for length in lengths]
    if config.architectures[0].endswith("SequenceClassification"):
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        alone = [model(torch.tensor([s])).logits.item() for s in sequences]
        pad = config.pad_token_id
        if pad is not None:
            # The same in one batch, padded on the right, and a text that itself ends in the padding token.
            longest = max(map(len, sequences))
            ids = torch.tensor([s + [pad] * (longest - len(s)) for s in sequences])
            mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in sequences])
            batch = model(ids, attention_mask=mask).logits[:, 0].tolist()
            assert max(abs(a - b) for a, b in zip(alone, batch)) < 1e-4, (alone, batch)
            ending = sequences[0] + [pad, pad]
            sequences.append(ending)
            alone.append(model(torch.tensor([ending])).logits.item())
        return {"sequences": sequences, "scores": alone}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    out = {"sequences": sequences, "greedy": [], "logprobs": []}
    for s in sequences:
        new = model.generate(torch.tensor([s]), max_new_tokens=24, do_sample=False)[0, len(s):].tolist()
        whole = torch.tensor([s + new])
        logprobs = torch.log_softmax(model(whole).logits[0, :-1].double(), -1)
        out["greedy"].append(new)
        out["logprobs"].append([round(x, 7) for x in logprobs.gather(1, whole[0, 1:, None])[:, 0].tolist()])
    return out


if __name__ == "__main__":
    if "--older" in sys.argv:
        assert OLDER, transformers.__version__
        for name, kind, keys, options in cases():
            config = AutoConfig.for_model(kind, **{**SHAPE, **keys})
            newer = json.loads((fixtures / name / "config.json").read_text())
            config.architectures = newer["architectures"]
            config.torch_dtype = options.get("dtype", "bfloat16")
            (fixtures / name / "config.v4.json").write_text(config.to_json_string())
        sys.exit()
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "cases": {}}
    for seed, (name, kind, keys, options) in enumerate(cases()):
        folder = build(name, kind, keys, options, seed)
        golden["cases"][name] = answers(folder, seed, *filter(None, [options.get("lengths")]))
        print(name, [len(g) for g in golden["cases"][name].get("greedy", [])], golden["cases"][name].get("scores"))
    (here / "tiny.json").write_text(json.dumps(golden) + "\n")
