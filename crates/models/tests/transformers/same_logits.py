"""Loads pairs of folders in transformers, the second of each saved by this crate, and compares their logits.

    python same_logits.py ORIGINAL SAVED [ORIGINAL SAVED ...]

Prints one line per pair; ends with 1 where logits differ, and with 0 and a printed reason where packages are absent. With
transformers 4, an original is read with its config.v4.json, where it has one.
"""
import pathlib
import shutil
import sys
import tempfile

try:
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


def original_logits(folder):
    older = pathlib.Path(folder) / "config.v4.json"
    if not (older.exists() and transformers.__version__.startswith("4.")):
        return logits(folder)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        shutil.copy(older, pathlib.Path(copy) / "config.json")
        return logits(copy)


def logits(folder):
    config = AutoConfig.from_pretrained(folder)
    reward = config.architectures[0].endswith("SequenceClassification")
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model, loading = auto.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    missing = [key for part in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in loading[part]]
    assert not missing, (folder, missing)
    ids = torch.arange(4, 44)[None] % (config.vocab_size - 4) + 4
    with torch.no_grad():
        return model.eval()(ids).logits


failed = False
for original, saved in zip(sys.argv[1::2], sys.argv[2::2]):
    worst = (original_logits(original) - logits(saved)).abs().max().item()
    print(f"{original}: largest difference {worst:.1e}")
    failed |= not worst <= 1e-6
sys.exit(int(failed))
