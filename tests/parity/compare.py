"""Runs the binaries generate and score on a folder and compares with transformers: greedy tokens, text, log-probabilities.

    pip install transformers torch
    cargo build --release -p generate -p score
    python tests/parity/compare.py FOLDER [--bin target/release] [--new 64] [--device cpu] [--dtype f32]

For a language model, a few prompts (and conversations where the folder has a chat template) are continued greedily; for a
reward model, texts are scored. Ends with 0 where everything agrees, 1 where something differs, and 0 with a printed reason
where the packages are absent.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

PROMPTS = [
    "Once upon a time",
    "The capital of France is",
    "Question: Natalia sold 48 clips in April and half as many in May. How many did she sell altogether?\nAnswer:",
]
TALKS = [
    [{"role": "user", "content": "What is 17 + 25?"}],
    [{"role": "system", "content": "Answer in one sentence."}, {"role": "user", "content": "Why is the sky blue?"}],
    [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Name three fruits."}],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        print(f"skipped: {error}")
        return 0
    if not (pathlib.Path(args.folder) / "config.json").exists():
        print(f"skipped: {args.folder} has no config.json")
        return 0

    config = AutoConfig.from_pretrained(args.folder)
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    reward = config.architectures[0].endswith("SequenceClassification")
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model = auto.from_pretrained(args.folder, dtype=torch.float32).eval()
    records = [{"id": i, "prompt": prompt} for i, prompt in enumerate(PROMPTS)]
    if tokenizer.chat_template:
        records += [{"id": len(PROMPTS) + i, "messages": talk} for i, talk in enumerate(TALKS)]

    def ids(record, prompted):
        if "messages" in record:
            text = tokenizer.apply_chat_template(record["messages"], tokenize=False, add_generation_prompt=prompted)
            return tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokenizer(record["prompt"])["input_ids"]

    worst, wrong = 0.0, []
    with tempfile.TemporaryDirectory() as place:
        def run(binary, records, *more):
            source, target = f"{place}/{binary}.in.jsonl", f"{place}/{binary}.out.jsonl"
            with open(source, "w") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
            started = time.time()
            subprocess.check_call([f"{args.bin}/{binary}", "--model", args.folder, "--input", source, "--output", target,
                                   "--device", args.device, "--dtype", args.dtype, *more])
            print(f"{binary}: {len(records)} records in {time.time() - started:.1f} s")
            return [json.loads(line) for line in open(target)]

        with torch.no_grad():
            if reward:
                for record, found in zip(records, run("score", records)):
                    expected = model(torch.tensor([ids(record, False)])).logits.item()
                    worst = max(worst, abs(expected - found["score"]))
            else:
                samples = run("generate", records, "--max-new-tokens", str(args.new), "--logprobs")
                for record, found in zip(records, samples):
                    prompt = ids(record, True)
                    started = time.time()
                    whole = model.generate(torch.tensor([prompt]), max_new_tokens=args.new, do_sample=False, use_cache=True)
                    new = whole[0, len(prompt):].tolist()
                    text = tokenizer.decode(new, skip_special_tokens=True)
                    if new != found["token_ids"] or text != found["completion"]:
                        wrong.append((record["id"], text, found["completion"]))
                        continue
                    logprobs = torch.log_softmax(model(whole).logits[0, len(prompt) - 1:-1].double(), -1)
                    expected = logprobs.gather(1, whole[0, len(prompt):, None])[:, 0].tolist()
                    worst = max([worst] + [abs(a - b) for a, b in zip(expected, found["logprobs"])])
                    print(f"  {record['id']}: {len(new)} tokens equal; {text[:60]!r}")
                scored = [{**record, "completion": " is a good thing."} for record in records]
                for record, found in zip(scored, run("score", scored)):
                    prompt = ids(record, True)
                    tail = tokenizer(record["completion"], add_special_tokens=False)["input_ids"]
                    whole = torch.tensor([prompt + tail])
                    logprobs = torch.log_softmax(model(whole).logits[0, len(prompt) - 1:-1].double(), -1)
                    expected = logprobs.gather(1, whole[0, len(prompt):, None])[:, 0].tolist()
                    if tail != found["token_ids"]:
                        wrong.append((record["id"], tail, found["token_ids"]))
                        continue
                    worst = max([worst] + [abs(a - b) for a, b in zip(expected, found["logprobs"])])
    for identifier, expected, found in wrong:
        print(f"record {identifier} differs\n  transformers: {expected!r}\n  here:         {found!r}")
    print(f"largest difference {worst:.2e}, {len(wrong)} of {len(records)} records differ")
    return int(bool(wrong) or not worst <= args.tolerance)


if __name__ == "__main__":
    sys.exit(main())
