"""What `benches/kernels.rs` measures, in PyTorch: milliseconds of each operation, forward and backward, median of so many runs.

    pip install torch==2.15.0
    python crates/kernels/benches/kernels.py [THREADS]
"""
import statistics
import sys
import time

import torch
from torch.nn import functional as F

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
torch.manual_seed(0)
BATCH, TIME, WIDTH, INNER, HEADS, WORDS = 16, 128, 128, 352, 4, 4096
TOKENS, DIM = BATCH * TIME, WIDTH // HEADS
targets = torch.arange(TOKENS) * 7919 % WORDS
angles = torch.arange(TIME)[:, None] / 10000 ** (torch.arange(DIM // 2) / (DIM // 2))
cos, sin = (torch.cat((f(angles), f(angles)), -1)[:, None] for f in (torch.cos, torch.sin))


def rotary(x):
    return x * cos + torch.cat((-x[..., DIM // 2 :], x[..., : DIM // 2]), -1) * sin


def log_probs(logits):
    """Log-probabilities of the targets, and entropies."""
    all = logits.log_softmax(-1)
    return torch.stack((all.gather(-1, targets[:, None])[:, 0], -(all.exp() * all).sum(-1)))


CASES = {
    "rms_norm": ([(BATCH, TIME, WIDTH), (WIDTH,)], lambda x, w: F.rms_norm(x, (WIDTH,), w, 1e-5)),
    "swiglu": ([(BATCH, TIME, INNER)] * 2, lambda gate, up: F.silu(gate) * up),
    "rotary": ([(BATCH, TIME, HEADS, DIM)], rotary),
    "causal_attention": ([(BATCH, HEADS, TIME, DIM)] * 3, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    "token_log_probs": ([(TOKENS, WIDTH), (WORDS, WIDTH)], lambda hidden, head: log_probs(hidden @ head.T)),
    "logit_log_probs": ([(TOKENS, WORDS)], log_probs),
}


def median(run, runs=50):
    for _ in range(5):
        run()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


for name, (shapes, function) in CASES.items():
    leaves = [(torch.rand(shape) * 2 - 1).requires_grad_() for shape in shapes]

    def run():
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).sum().backward()

    print(f"{name:18} {median(run):8.3f} ms", flush=True)

param = torch.nn.Parameter(torch.rand(1 << 20))
param.grad = torch.rand(1 << 20)
optimizer = torch.optim.AdamW([param], lr=1e-3, weight_decay=0.01, fused=True)
print(f"{'adamw_step':18} {median(optimizer.step):8.3f} ms")
