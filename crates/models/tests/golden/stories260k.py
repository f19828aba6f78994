"""Writes stories260k.json: what transformers makes of the fixture folder.

Versions: transformers 5.23.0, torch 2.11.0. Run: python stories260k.py (in this folder).
"""
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = pathlib.Path(__file__).parent
folder = here.parent / "fixtures" / "stories260K"
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
text = "Once upon a time"
prompt = tokenizer(text)["input_ids"]
ids = torch.tensor([prompt])
with torch.no_grad():
    greedy = model.generate(ids, max_new_tokens=64, do_sample=False)[0].tolist()
    logprobs = torch.log_softmax(model(torch.tensor([greedy])).logits[0], -1)
picked = [logprobs[i, greedy[i + 1]].item() for i in range(len(greedy) - 1)]
json.dump(
    {"text": text, "prompt": prompt, "greedy": greedy, "logprobs": picked, "decoded": tokenizer.decode(greedy, skip_special_tokens=True)},
    open(here / "stories260k.json", "w"),
)
print(tokenizer.decode(greedy))
