"""The peer of benches/grpo.rs: PyTorch's log_softmax and gather, a GRPO loss, forward and backward.

    RAYON_NUM_THREADS=1 cargo bench -p policy-gradient --bench grpo -- hidden-small
    python crates/policy-gradient/benches/grpo.py hidden-small 1
"""

import json
import resource
import statistics
import sys
import time

import torch

case, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
source, size, *live = case.split("-")  # "live": the ratio is one, so that every position has a gradient
b, t, v = (16, 256, 8192) if size == "small" else (4, 1024, 49152)
torch.manual_seed(0)
old = torch.full((b, t), -torch.log(torch.tensor(float(v))))
rewards = torch.arange(b) % 3.0
advantages = ((rewards - rewards.mean()) / (rewards.std() + 1e-6))[:, None]
targets = torch.zeros(b, t, dtype=torch.long)
if source == "hidden":
    hidden = torch.randn(b, t, 512, requires_grad=True)
    head = (torch.randn(v, 512) * 0.05).requires_grad_()
    leaves = [hidden, head]
else:
    leaves = [torch.randn(b, t, v, requires_grad=True)]


def forward():
    logits = hidden @ head.T if source == "hidden" else leaves[0]
    return logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)


if live:
    with torch.no_grad():
        old = forward()


def run():
    for leaf in leaves:
        leaf.grad = None
    logp = forward()
    ratio = (logp - old).exp()
    loss = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages)
    loss.mean().backward()


def peak(reset):
    if reset:
        open("/proc/self/clear_refs", "w").write("5")
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


run()
for leaf in leaves:
    leaf.grad = None
before, times = peak(True), []
for _ in range(5):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print(json.dumps({"case": case, "threads": threads, "seconds": statistics.median(times), "peak_bytes": peak(False) - before,
                  "logits_bytes": b * t * v * 4, "torch": torch.__version__}))
