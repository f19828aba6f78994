"""Writes an adapter for fixtures/tiny/llama-gqa with PEFT into ../fixtures/adapter, and adapter.json: what it makes of a text.

    pip install peft==0.21.2 transformers==5.24.0 torch==2.15.0
    python adapter.py            # the folder and adapter.json
    python adapter.py check DIR  # loads a folder written by this crate in PEFT and compares with adapter.json
"""
import json
import pathlib
import shutil
import sys

try:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)

here = pathlib.Path(__file__).parent
base = here.parent / "fixtures" / "tiny" / "llama-gqa"
folder = here.parent / "fixtures" / "adapter"
TOKENS = [5, 17, 60, 33, 8, 91, 44, 12, 70]


def logprobs(model):
    ids = torch.tensor([TOKENS])
    with torch.no_grad():
        values = torch.log_softmax(model.eval()(ids).logits[0, :-1].double(), -1)
    return values.gather(1, ids[0, 1:, None])[:, 0].tolist()


model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
if len(sys.argv) > 1:
    expected = json.loads((here / "adapter.json").read_text())["logprobs"]
    found = logprobs(PeftModel.from_pretrained(model, sys.argv[2]))
    worst = max(abs(a - b) for a, b in zip(expected, found))
    print(f"largest difference {worst:.1e}")
    sys.exit(int(worst > 1e-5))
plain = logprobs(model)
torch.manual_seed(0)
config = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True, task_type="CAUSAL_LM")
model = get_peft_model(model, config)
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.copy_(0.1 * torch.randn_like(parameter))
shutil.rmtree(folder, ignore_errors=True)
model.peft_config["default"].base_model_name_or_path = "tiny/llama-gqa"
model.save_pretrained(folder)
(folder / "README.md").unlink(missing_ok=True)
(here / "adapter.json").write_text(json.dumps({"tokens": TOKENS, "plain": plain, "logprobs": logprobs(model)}) + "\n")
