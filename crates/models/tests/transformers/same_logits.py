"""Loads pairs of folders in transformers, the second of each saved by this crate, and compares their logits.

    python same_logits.py ORIGINAL SAVED [ORIGINAL SAVED ...]

Prints one line per pair; ends with 1 where logits differ, and with 0 and a printed reason where packages are absent.
"""
import sys

try:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


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
    worst = (logits(original) - logits(saved)).abs().max().item()
    print(f"{original}: largest difference {worst:.1e}")
    failed |= not worst <= 1e-6
sys.exit(int(failed))
