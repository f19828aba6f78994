"""`mid-train` beside TRL's SFTTrainer: tokens a second, peak memory, and the loss that both end at.

    pip install torch==2.15.0 transformers==5.24.0 trl==1.16.0 accelerate==1.15.0 datasets==4.8.0
    cargo build --release --workspace --bin mid-train
    python crates/sft/tests/peers/sft_trainer.py --mid-train target/release/mid-train --data gsm8k_train.jsonl

Both train the same Llama from the same random weights on the same prompts and completions, packed, with the same number of places in a step,
in f32, with AdamW, clipping and a cosine, and log every step. The data are lines with `question` and `solution`; the tokenizer, of 4,096 words, is trained on them.
Each measurement is a process of its own and the sides take turns, `--rounds` times. TRL runs in each of the ways it can pack: `bfd`, whole documents kept apart,
as one long row or as rows of their own with accumulation, and `wrapped`, which lets documents see each other. A step's time is from the end of the one before to its own; the first three
are left out. Tokens are those fed to the model, padding left out. Where other work shares the machine, compare tokens per CPU second with `--threads 1`:
TRL's count the steps alone, ours the whole process, start included.
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

WARM = 3


def prepare(folder, data):
    """A tokenizer, a model folder, and prompts with completions."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rows = [json.loads(line) for line in open(data)]
    pairs = [(f"Question: {row['question']}\nSolution:", f" {row['solution']}") for row in rows]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4096, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((text for pair in pairs for text in pair), trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder / "base")
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=4096, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
                         num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None,
                         eos_token_id=1, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    with open(folder / "data.jsonl", "w") as out:
        for prompt, completion in pairs:
            out.write(json.dumps({"prompt": prompt, "completion": completion}) + "\n")


def summary(times, fed, losses, peak, per_cpu):
    """Numbers of a run from those of its steps."""
    kept = slice(WARM, None)
    return {"tokens_per_second": sum(fed[kept]) / sum(times[kept]), "tokens_per_cpu_second": per_cpu, "median_step": statistics.median(times[kept]),
            "tokens_per_step": statistics.mean(fed), "loss": statistics.mean(losses[-10:]), "peak_mb": peak / 1e6}


def peer(args):
    """TRL, in this process; prints one line of JSON."""
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(args.threads)
    strategy, rows = args.peer.split("-")
    folder = pathlib.Path(args.folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    config = SFTConfig(
        output_dir=str(folder / "trl"), packing=True, packing_strategy=strategy, max_length=args.length,
        per_device_train_batch_size=int(rows), gradient_accumulation_steps=args.rows // int(rows), max_steps=args.steps,
        learning_rate=1e-3, lr_scheduler_type="cosine", warmup_steps=0, weight_decay=0.01, max_grad_norm=1.0, bf16=False, use_cpu=True,
        gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False, seed=0)
    stamps, cpu, tokens, losses = [], [], [], []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__):
            stamps.append(time.perf_counter())

        def on_log(self, _args, _state, _control, logs=None, **__):
            if "loss" in logs:
                stamps.append(time.perf_counter())
                cpu.append(time.process_time())
                tokens.append(logs["num_tokens"])
                losses.append(logs["loss"])

    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    data = load_dataset("json", data_files=str(folder / "data.jsonl"), split="train", cache_dir=str(folder / "cache"))
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder / "base"), callbacks=[Clock()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    times = [b - a for a, b in zip(stamps, stamps[1:])]
    fed = [b - a for a, b in zip([0] + tokens, tokens)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    per_cpu = (tokens[-1] - tokens[WARM - 1]) / (cpu[-1] - cpu[WARM - 1])
    print(json.dumps(summary(times, fed, losses, peak, per_cpu) | {"imports_mb": before / 1e6}))


def ours(args, folder):
    """`mid-train`, as a process."""
    (folder / "config.toml").write_text(
        f'packing = "best_fit"\nrow_length = {args.length}\nmax_length = {args.length}\nrows = {args.rows}\naccumulate = 1\nsteps = {args.steps}\n'
        f"lr = 1e-3\nweight_decay = 0.01\nmax_norm = 1.0\ncheckpoint_every = {args.steps}\n")
    command = [args.mid_train, "--config", folder / "config.toml", "--model", folder / "base", "--input", folder / "data.jsonl", "--run-dir", folder / "ours", "--overwrite"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"RAYON_NUM_THREADS": str(args.threads)})
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, said.decode()
    lines = [json.loads(line) for line in open(folder / "ours/metrics.jsonl")]
    times = [line["time"]["step_seconds"] for line in lines]
    fed = [args.rows * args.length * (1 - line["padding"]) for line in lines]
    parts = lambda key: sum(line["time"][key] for line in lines[WARM:])
    work = parts("passes_seconds") + parts("optimizer_seconds")
    per_cpu = sum(fed) / (usage.ru_utime + usage.ru_stime)
    return summary(times, fed, [line["loss"] for line in lines], usage.ru_maxrss * 1024, per_cpu) | {"overhead": 1 - work / sum(times[WARM:])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mid-train", default="target/release/mid-train")
    parser.add_argument("--data", help="JSONL with `question` and `solution`, as GSM8K's training set")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="bfd-1,bfd-8,wrapped-8", help="packing-rows at once")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer == "prepare":
        return prepare(pathlib.Path(args.folder), args.data)
    if args.peer:
        return peer(args)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: a child's peak memory begins at what its parent had at the fork.
        subprocess.run([sys.executable, __file__, "--peer=prepare", f"--folder={folder}", f"--data={args.data}"], check=True, capture_output=True)
        options = [f"--{key}={getattr(args, key)}" for key in ("rows", "length", "steps", "threads")]
        for round in range(args.rounds):
            print(json.dumps({"who": "mid-train", "round": round} | ours(args, folder)), flush=True)
            for name in args.peers.split(","):
                command = [sys.executable, __file__, f"--peer={name}", f"--folder={folder}"] + options
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                print(json.dumps({"who": f"trl {name}", "round": round} | json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main()
