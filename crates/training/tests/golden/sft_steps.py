"""Twenty supervised steps in PyTorch, as golden values: a small network, two micro-batches per step, clipping by
global norm, AdamW, and a cosine schedule with warm-up.

Made with torch 2.11 (CPU) and transformers 5.23:  python sft_steps.py > sft_steps.json
"""
import json
import math

import torch
from torch.nn import functional as F
from transformers import get_cosine_schedule_with_warmup

torch.manual_seed(0)
V, D, STEPS = 23, 12, 20


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Parameter(torch.randn(V, D) * 0.5)
        self.weight = torch.nn.Parameter(torch.randn(D, D) / math.sqrt(D))
        self.bias = torch.nn.Parameter(torch.randn(D) * 0.1)
        self.head = torch.nn.Parameter(torch.randn(V, D) / math.sqrt(D))

    def hidden(self, tokens):
        x = self.embedding[tokens]
        # A running mean over the past gives each position some context.
        past = x.cumsum(1) / torch.arange(1, tokens.shape[1] + 1).view(1, -1, 1)
        return torch.tanh(past @ self.weight + self.bias) + x


net = Net()
initial = {name: p.detach().flatten().tolist() for name, p in net.named_parameters()}

examples = []
generator = torch.Generator().manual_seed(1)
for _ in range(16):
    n = int(torch.randint(4, 12, (1,), generator=generator))
    cut = int(torch.randint(1, n - 1, (1,), generator=generator))
    examples.append({"tokens": torch.randint(3, V, (n,), generator=generator).tolist(), "prompt": cut})


def batch(rows):
    width = max(len(r["tokens"]) for r in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for i, r in enumerate(rows):
        t = torch.tensor(r["tokens"])
        tokens[i, : len(t)] = t
        labels[i, r["prompt"] : len(t)] = t[r["prompt"] :]
    return tokens, labels


def run(smoothing, lr, decay, max_norm):
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, 3, STEPS)
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        chosen = [examples[(4 * step + i) % 16] for i in range(4)]
        parts = [batch(chosen[:3]), batch(chosen[3:])]
        count = sum(int((labels[:, 1:] != -100).sum()) for _, labels in parts)
        total = 0.0
        for tokens, labels in parts:
            logits = model.hidden(tokens) @ model.head.T
            loss = F.cross_entropy(
                logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1), reduction="sum", label_smoothing=smoothing
            )
            (loss / count).backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        losses.append(total / count)
        norms.append(norm.item())
    final = {name: p.detach().flatten().tolist() for name, p in model.named_parameters()}
    return {
        "smoothing": smoothing, "lr": lr, "weight_decay": decay, "max_norm": max_norm,
        "losses": losses, "norms": norms, "rates": rates, "final": final,
    }


print(json.dumps({
    "vocabulary": V, "width": D, "steps": STEPS, "examples": examples, "initial": initial,
    "runs": [run(0.0, 1e-2, 0.01, 0.5), run(0.1, 3e-2, 0.1, 1.0)],
}))
