"""Our sampling and training beside PyTorch's, in turn, on this CPU: one and two threads, wall and CPU time, peak memory.

    cargo build --release --workspace --bin parity
    python tools/cpu/compare.py --parity target/release/parity [--smollm2 FOLDER] [--output FILE] [--only sample,train,...]

Needs torch; transformers for SmolLM2. Two peers for sampling: a loop written as tightly as PyTorch allows (weights and cache laid out
beforehand, SDPA, no gradient, one argmax a step, no transformers) on the small shapes, and transformers' `generate` on SmolLM2. Both sides have the
same shapes and decode the same number of tokens greedily. Every measurement is a process of its own; the two sides alternate `--rounds` times (tokens per CPU second of our side count its whole process)
and the best of each counts, which is what the machine can do when nothing else disturbs it.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SHAPES = ["64x2x4096", "128x4x4096", "256x6x4096"]
PROMPT, NEW, ROWS = 32, 64, 64
REPEATS = 15
TRAIN_ROWS, TRAIN_TIME = 16, 128


def row(index, length, vocabulary):
    """The rule of `parity speed`."""
    return [(index * 7919 + t * 104729 + 17) % vocabulary for t in range(length)]


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def llama(shape):
    """A Llama in plain PyTorch: the shape rule of `parity speed`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, layers, vocabulary = map(int, shape.split("x"))
    inner, heads, size = -(-(width * 8 // 3) // 32) * 32, width // 32, 32

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.out = nn.Linear(width, width, bias=False)
            self.gate_up = nn.Linear(width, 2 * inner, bias=False)
            self.down = nn.Linear(inner, width, bias=False)
            self.norms = nn.ModuleList([nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)])

        def forward(self, x, cos, sin, cache=None, start=0):
            b, t, _ = x.shape
            q, k, v = self.qkv(self.norms[0](x)).view(b, t, 3, heads, size).permute(2, 0, 3, 1, 4)
            turn = lambda y: y * cos + torch.cat((-y[..., size // 2 :], y[..., : size // 2]), -1) * sin
            q, k = turn(q), turn(k)
            if cache is not None:
                keys, values = cache
                keys[:, :, start : start + t], values[:, :, start : start + t] = k, v
                k, v = keys[:, :, : start + t], values[:, :, : start + t]
            y = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, width))
            gate, up = self.gate_up(self.norms[1](x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.RMSNorm(width, eps=1e-5)
            angles = torch.arange(4096)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
            angles = torch.cat((angles, angles), -1)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def hidden(self, ids, caches=None, start=0):
            x, t = self.embedding(ids), ids.shape[1]
            cos, sin = self.cos[start : start + t], self.sin[start : start + t]
            for i, block in enumerate(self.blocks):
                x = block(x, cos, sin, None if caches is None else caches[i], start)
            return self.norm(x)

        def caches(self, rows, length):
            empty = lambda: torch.zeros(rows, heads, length, size)
            return [(empty(), empty()) for _ in self.blocks]

    return Llama(), vocabulary


def peer_sample(shape, rows):
    import torch

    model, vocabulary = llama(shape)
    ids = torch.tensor([row(i, PROMPT, vocabulary) for i in range(rows)])

    @torch.inference_mode()
    def once():
        began = time.perf_counter()
        caches = model.caches(rows, PROMPT + NEW)
        token = (model.hidden(ids, caches)[:, -1:] @ model.embedding.weight.T).argmax(-1)
        first, tokens = time.perf_counter(), [token]
        for i in range(NEW - 1):
            token = (model.hidden(token, caches, PROMPT + i) @ model.embedding.weight.T).argmax(-1)
            tokens.append(token)
        torch.cat(tokens, 1).tolist()
        return first - began, time.perf_counter() - first

    once()
    cpu, runs = time.process_time(), [once() for _ in range(REPEATS)]
    cpu = (time.process_time() - cpu) / REPEATS
    prefill, decode = (statistics.median(r[i] for r in runs) for i in (0, 1))
    return {"decode": rows * (NEW - 1) / decode, "prefill": rows * PROMPT / prefill, "per_cpu": rows * NEW / cpu}


def peer_train(shape):
    import torch
    from torch.nn import functional as F

    model, vocabulary = llama(shape)
    ids = torch.tensor([row(i, TRAIN_TIME + 1, vocabulary) for i in range(TRAIN_ROWS)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def once():
        began = time.perf_counter()
        logits = model.hidden(ids[:, :-1]) @ model.embedding.weight.T
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        return time.perf_counter() - began

    for _ in range(3):
        once()
    cpu, times = time.process_time(), [once() for _ in range(10)]
    cpu = (time.process_time() - cpu) / 10
    tokens = TRAIN_ROWS * TRAIN_TIME
    return {"train": tokens / statistics.median(times), "per_cpu": tokens / cpu}


def peer_smollm2(folder, rows):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    ids = torch.tensor([row(i, PROMPT, model.config.vocab_size) for i in range(rows)])

    @torch.inference_mode()
    def once(new):
        began = time.perf_counter()
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0
        )
        return time.perf_counter() - began

    once(2)
    prefill = statistics.median(once(1) for _ in range(3))
    cpu = time.process_time()
    total = statistics.median(once(NEW) for _ in range(2))
    cpu = (time.process_time() - cpu) / 2
    return {"decode": rows * (NEW - 1) / (total - prefill), "prefill": rows * PROMPT / prefill, "per_cpu": rows * NEW / cpu}


def child(command, threads):
    """Runs a process: its last line of output as JSON, its CPU seconds, its peak resident bytes."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(part) for part in command], stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"failed: {command}")
        out.seek(0)
        return json.loads(out.read().splitlines()[-1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def ours(parity, what, model, rows, threads):
    length, repeats = (TRAIN_TIME, 10) if what == "train" else (PROMPT, 3 if pathlib.Path(model).is_dir() else REPEATS)
    command = [parity, "speed", what, "--batch", rows, "--prompt", length, "--new", NEW, "--repeats", repeats]
    command += ["--model", model] if pathlib.Path(model).is_dir() else ["--shape", model]
    record, seconds, memory = child(command, threads)
    # The CPU time is the whole process's: start, loading and warm-up (one run, three steps) included.
    if what == "train":
        return {"train": record["train_tokens_per_second"], "per_cpu": rows * length * (repeats + 3) / seconds, "peak": memory}
    return {
        "decode": record["decode_tokens_per_second"], "prefill": record["prefill_tokens_per_second"],
        "per_cpu": rows * NEW * (repeats + 1) / seconds, "load": record["load_seconds"], "peak": memory,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parity", default="target/release/parity")
    parser.add_argument("--smollm2")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="sample,train,smollm2")
    parser.add_argument("--output")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)  # what model-or-shape rows: this process is the peer
    args = parser.parse_args()
    if args.peer:
        import torch

        torch.set_num_threads(int(args.threads))
        what, model, rows = args.peer[0], args.peer[1], int(args.peer[2])
        found = {"sample": peer_sample, "smollm2": peer_smollm2}.get(what, lambda shape, _: peer_train(shape))(model, rows)
        print(json.dumps({**found, "peak": peak()}))
        return

    cases = []
    if "sample" in args.only:
        cases += [("sample", "generate", shape, ROWS) for shape in SHAPES]
    if "train" in args.only:
        cases += [("train", "train", shape, TRAIN_ROWS) for shape in SHAPES]
    if "smollm2" in args.only and args.smollm2:
        cases += [("smollm2", "generate", args.smollm2, rows) for rows in (1, 16)]
    print("| what | threads | unit | ours | PyTorch | ratio | per CPU second | ratio | peak MB, ours / PyTorch |\n|---|---|---|---|---|---|---|---|---|")
    for peer, what, model, rows in cases:
        for threads in map(int, args.threads.split(",")):
            mine, theirs = [], []
            for _ in range(args.rounds):
                mine.append(ours(args.parity, what, model, rows, threads))
                command = [sys.executable, __file__, "--threads", threads, "--peer", peer, model, rows]
                theirs.append(child(command, threads)[0])
            record = {"what": peer, "model": pathlib.Path(model).name, "rows": rows, "threads": threads, "ours": mine, "pytorch": theirs}
            if args.output:
                with open(args.output, "a") as file:
                    file.write(json.dumps(record) + "\n")
            best = lambda side, key: max(r[key] for r in side)
            for key in ["train"] if what == "train" else ["decode", "prefill"]:
                a, b, c, d = best(mine, key), best(theirs, key), best(mine, "per_cpu"), best(theirs, "per_cpu")
                space = " / ".join(f"{min(r['peak'] for r in side) / 1e6:.0f}" for side in (mine, theirs))
                print(
                    f"| {peer} {pathlib.Path(model).name} x{rows} | {threads} | {key} tokens/s | {a:,.0f} | {b:,.0f} | {a / b:.2f} "
                    f"| {c:,.0f} / {d:,.0f} | {c / d:.2f} | {space} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
