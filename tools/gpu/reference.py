"""The Python side of check.sh: folders of random weights, PyTorch's figures beside ours, and the table at the end.

PyTorch is measured as a user would run it: transformers' `generate` with its default cache and SDPA, greedy; training with
`AdamW(fused=True)` and gradient clipping. f32 products may run as TF32, as burn's do on this hardware.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time


def write(path, record):
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def llama(width, layers, vocabulary, **changes):
    from transformers import LlamaConfig

    # The same rule as in `parity speed`.
    inner = -(-(width * 8 // 3) // 32) * 32
    options = dict(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=width // 32, num_key_value_heads=width // 32, max_position_embeddings=4096,
        tie_word_embeddings=True, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
    )
    return LlamaConfig(**{**options, **changes})


def config(name):
    if name == "smollm2":  # SmolLM2-135M's shape
        return llama(576, 30, 49152, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3, rope_theta=100000.0)
    if name == "llama1b":  # Llama 3.2 1B's shape, without its frequency scaling
        return llama(2048, 16, 128256, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=8, rope_theta=500000.0)
    if name == "tiny":
        return llama(64, 2, 512, num_attention_heads=4, num_key_value_heads=2)
    raise SystemExit(f"unknown model {name}")


def folders(args):
    import torch
    from transformers import AutoModelForCausalLM

    for name in args.models:
        torch.manual_seed(1)
        with torch.device(args.device):
            model = AutoModelForCausalLM.from_config(config(name), dtype=torch.bfloat16)
        model.save_pretrained(pathlib.Path(args.into) / name)
        print(name, sum(p.numel() for p in model.parameters()))


def row(index, length, vocabulary):
    return [(index * 7919 + t * 104729 + 17) % vocabulary for t in range(length)]


class Clock:
    def __init__(self, device):
        self.device = device

    def __call__(self):
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def ceilings(args, clock):
    import torch

    size = 1 << (32 if args.device == "cuda" else 26)
    source = torch.empty(size // 4, dtype=torch.float32, device=args.device).normal_()
    target = torch.empty_like(source)
    product = 8192 if args.device == "cuda" else 512
    a = torch.randn(product, product, dtype=torch.bfloat16, device=args.device)

    def best(run):
        run()
        times = []
        for _ in range(10):
            started = clock()
            run()
            times.append(clock() - started)
        return statistics.median(times)

    copy, matmul = best(lambda: target.copy_(source)), best(lambda: a @ a)
    record = {
        "part": "ceilings", "torch": torch.__version__, "copy_bytes_per_second": 2 * size / copy,
        "bf16_flops_per_second": 2 * product**3 / matmul,
        "card": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
    }
    write(args.output, record)
    print(record)


def generation(args, clock, name, dtype):
    import torch
    from transformers import AutoModelForCausalLM

    types = {"bf16": torch.bfloat16, "f32": torch.float32}
    model = AutoModelForCausalLM.from_pretrained(
        pathlib.Path(args.folder) / name, dtype=types[dtype], attn_implementation="sdpa"
    )
    model = model.to(args.device).eval()
    vocabulary = model.config.vocab_size
    for rows in args.batch:
        ids = torch.tensor([row(i, args.prompt, vocabulary) for i in range(rows)], device=args.device)

        def run(new):
            started = clock()
            with torch.no_grad():
                out = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False,
                    pad_token_id=0,
                )
            return clock() - started, out

        run(2), run(1)
        prefill = statistics.median(run(1)[0] for _ in range(3))
        total, out = run(args.new)
        decode = total - prefill
        record = {
            "part": "speed", "what": "generate", "label": "pytorch", "model": name, "dtype": dtype, "batch": rows,
            "prompt": args.prompt, "new": args.new, "prefill_tokens_per_second": rows * args.prompt / prefill,
            "decode_tokens_per_second": rows * (args.new - 1) / decode, "decode_seconds_per_step": decode / (args.new - 1),
            "prefill_seconds": prefill, "tokens": out[0, args.prompt:args.prompt + 16].tolist(),
        }
        write(args.output, record)
        print(record)


def training(args, clock, name, rows, length):
    import torch
    from transformers import AutoModelForCausalLM

    if "x" in name:
        model = AutoModelForCausalLM.from_config(llama(*map(int, name.split("x"))), dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(pathlib.Path(args.folder) / name, dtype=torch.float32)
    model = model.to(args.device).train()
    vocabulary = model.config.vocab_size
    ids = torch.tensor([row(i, length + 1, vocabulary) for i in range(rows)], device=args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=args.device == "cuda")
    times, losses = [], []
    for _ in range(13):
        started = clock()
        logits = model(ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        times.append(clock() - started)
    seconds = statistics.median(times[3:])
    record = {
        "part": "speed", "what": "train", "label": "pytorch", "model": name, "dtype": "f32", "batch": rows, "time": length,
        "train_tokens_per_second": rows * length / seconds, "step_seconds": seconds, "first_step_seconds": times[0],
        "losses": losses,
    }
    write(args.output, record)
    print(record)


def measure(args):
    import torch

    torch.set_float32_matmul_precision("high")
    clock = Clock(args.device)
    ceilings(args, clock)
    dtypes = ["bf16", "f32"] if args.device == "cuda" else ["f32"]
    real = args.models[0]
    generation(args, clock, real, dtypes[0])
    training(args, clock, real, args.real_rows, 4 * args.time)
    for shape in args.shapes:
        training(args, clock, shape, args.rows, args.time)
    for name in args.models:
        for dtype in dtypes:
            if (name, dtype) != (real, dtypes[0]):
                generation(args, clock, name, dtype)


def control(args):
    """Two figures that tell whether another run's numbers may be compared with this one's."""
    import torch

    torch.set_float32_matmul_precision("high")
    clock = Clock(args.device)
    ceilings(args, clock)
    for dtype, batch in [("f32", 1), ("bf16", 16)] if args.device == "cuda" else [("f32", 1)]:
        args.batch = [batch]
        generation(args, clock, args.model, dtype)


def stories(args):
    """`generate` and `score` on stories260K, against transformers' golden file."""
    tests = pathlib.Path(args.root) / "crates/models/tests"
    golden = json.loads((tests / "golden/stories260k.json").read_text())
    folder = tests / "fixtures/stories260K"
    binary = pathlib.Path(args.bin)
    work = pathlib.Path("stories")
    work.mkdir(exist_ok=True)

    def run(name, record, *options):
        source, target = work / f"{name}-in.jsonl", work / f"{name}-out.jsonl"
        source.write_text(json.dumps(record) + "\n")
        target.unlink(missing_ok=True)
        command = [binary / name, "--model", folder, "--input", source, "--output", target, "--device", args.device, *options]
        subprocess.run([str(part) for part in command], check=True)
        return json.loads(target.read_text())

    text, prompt, tokens = golden["text"], golden["prompt"], golden["greedy"]
    found = run("generate", {"id": "a", "prompt": text}, "--max-new-tokens", "64")
    equal = found["token_ids"] == tokens[len(prompt):]
    scored = run("score", {"id": "a", "token_ids": tokens, "prompt_length": 1})
    difference = max(abs(a - b) for a, b in zip(scored["logprobs"], golden["logprobs"], strict=True))
    write(args.output, {"part": "stories260K", "greedy_equal": equal, "score_difference": difference})
    print(f"stories260K: greedy equal to transformers: {equal}; largest difference of log-probabilities: {difference:.2e}")
    sys.exit(0 if equal and difference < 1e-2 else 1)


def quick(args):
    """What `reproduce --quick` left behind."""
    run = pathlib.Path(args.run)
    finished = (run / "results.json").exists()
    timing = json.loads((run / "timing.json").read_text()) if (run / "timing.json").exists() else None
    write(args.output, {"part": "reproduce", "finished": finished, "timing": timing})
    print(f"reproduce --quick finished: {finished}; {timing}")


def summary(args):
    records = [json.loads(line) for line in open(args.results)]
    of = lambda part: [r for r in records if r.get("part") == part]
    for ceiling in of("ceilings"):
        print(
            f"{ceiling['card']}: copy {ceiling['copy_bytes_per_second'] / 1e12:.2f} TB/s (read and written), "
            f"bf16 product {ceiling['bf16_flops_per_second'] / 1e12:.0f} TFLOP/s"
        )
    bandwidth = next((c["copy_bytes_per_second"] for c in of("ceilings")), None)
    flops = next((c["bf16_flops_per_second"] for c in of("ceilings")), None)

    def name(record):
        return record.get("shape") or pathlib.Path(record["model"]).name

    def key(record):
        return record["what"], name(record), record["dtype"], record["batch"]

    theirs = {key(r): r for r in of("speed") if r["label"] == "pytorch"}
    first = {key(r): r for r in of("speed") if r["label"] == "first"}
    print(f"{'':42}{'tokens/s':>12}{'PyTorch':>12}{'ratio':>8}{'share':>8}  first run, compiling | cached")
    for record in of("speed"):
        if record["label"] not in ("measured", "cube", "balanced"):
            continue
        other, before = theirs.get(key(record), {}), first.get(key(record), {})
        label = f"{name(record)} {record['dtype']} x{record['batch']}" + ("" if record["label"] == "measured" else f" {record['label']}")

        def line(what, field, share, started):
            mine, their = record[field], other.get(field)
            ratio = f"{mine / their:.2f}" if their else "-"
            print(
                f"{what + ' ' + label:42}{mine:12.0f}{their or 0:12.0f}{ratio:>8}{share:>8}"
                f"  {before.get(started, float('nan')):.1f} s | {record[started]:.1f} s"
            )

        if record["what"] == "generate":
            share, filled = "", ""
            if bandwidth and name(record) in ("smollm2", "llama1b"):
                # Bytes a step must read: every weight once (a tied embedding is the head), and the keys and values so far:
                # 2 x layers x key heads x head size, for each row and column. Over time and measured copy bandwidth.
                c = config(name(record))
                size = 2 if record["dtype"] == "bf16" else 4
                columns = record["prompt"] + record["new"] / 2
                cache = 2 * c.num_hidden_layers * c.num_key_value_heads * (c.hidden_size // c.num_attention_heads)
                read = size * (record["parameters"] + cache * record["batch"] * columns)
                share = f"{100 * read / record['decode_seconds_per_step'] / bandwidth:.1f}%"
                # Operations of prefill: two for each weight outside the embedding and each token.
                body = record["parameters"] - c.vocab_size * c.hidden_size
                filled = f"{100 * 2 * body * record['prefill_tokens_per_second'] / flops:.1f}%"
            line("decode", "decode_tokens_per_second", share, "first_run_seconds")
            line("prefill", "prefill_tokens_per_second", filled, "first_run_seconds")
        else:
            line("train", "train_tokens_per_second", "", "first_step_seconds")
    print("share: decode, of the copy bandwidth (weights and cache read once a step); prefill, of the bf16 product's rate")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(function, *options):
        sub = commands.add_parser(function.__name__)
        sub.set_defaults(run_command=function)
        for option in options:
            sub.add_argument(f"--{option}")
        return sub

    command(folders, "device", "into").add_argument("models", nargs="+")
    sub = command(measure, "device", "folder", "output")
    sub.add_argument("--models", nargs="+")
    sub.add_argument("--shapes", nargs="+")
    sub.add_argument("--batch", type=lambda text: [int(n) for n in text.split(",")])
    for option in ["prompt", "new", "rows", "time", "real-rows"]:
        sub.add_argument(f"--{option}", type=int)
    sub = command(control, "device", "folder", "output", "model")
    for option in ["prompt", "new"]:
        sub.add_argument(f"--{option}", type=int)
    command(stories, "device", "bin", "root", "output")
    command(quick, "run", "output")
    command(summary, "results")
    args = parser.parse_args()
    args.run_command(args)


main()
