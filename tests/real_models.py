#!/usr/bin/env python3
"""Loads a model folder in transformers and compares log-probabilities with those of the program `score`.

    python3 tests/real_models.py FOLDER [--score PROGRAM] [--tolerance 1e-3]

Every token of some texts is scored by both. Where the weights are equal and the forward passes too, the log-softmax of the logits is.
Exits with 0 when all are within the tolerance, with 1 when not, and with 0 and a line that begins with "skipped:" when Python
packages or the program are absent.
"""
import argparse, json, pathlib, subprocess, sys, tempfile

TEXTS = [
    "Once upon a time there was a little girl named Lily. She had three apples and gave one to her friend.",
    "Question: Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
    "Natalia sell altogether in April and May?\nSolution: In May she sold 48/2 = 24 clips. 48 + 24 = 72.",
    "The final answer is $\\boxed{72}$.",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--score", default="target/release/score", type=pathlib.Path)
    parser.add_argument("--tolerance", default=1e-3, type=float)
    args = parser.parse_args()
    try:
        import torch, transformers
    except ImportError as error:
        print(f"skipped: {error}; pip install torch transformers")
        return 0
    if not args.score.exists():
        print(f"skipped: {args.score} is not built; cargo build --release --bin score")
        return 0

    tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        args.folder, dtype=torch.float32, output_loading_info=True
    )
    wrong = {key: value for key, value in loading.items() if value}
    if wrong:
        print(f"FAILED: transformers says {wrong}")
        return 1
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]

    with tempfile.TemporaryDirectory() as work:
        source, target = pathlib.Path(work, "in.jsonl"), pathlib.Path(work, "out.jsonl")
        lines = [{"id": i, "token_ids": tokens, "prompt_length": 1} for i, tokens in enumerate(ids)]
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        subprocess.run([args.score, "--model", args.folder, "--input", source, "--output", target], check=True)
        ours = [json.loads(line)["logprobs"] for line in target.read_text().splitlines()]

    largest, count = 0.0, 0
    for tokens, found in zip(ids, ours, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, :-1].float()
        expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
        assert len(expected) == len(found), (len(expected), len(found))
        largest = max([largest] + [abs(a - b) for a, b in zip(expected, found, strict=True)])
        count += len(found)
    ok = largest <= args.tolerance
    print(f"{'equal' if ok else 'FAILED'}: {count} tokens, largest difference {largest:.2e} nats ({args.folder})")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
