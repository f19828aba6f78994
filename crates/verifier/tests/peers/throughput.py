"""Throughput of the `verify` binary on one thread, whole process: the hard cases of the case files, and outputs made from the solutions of
GSM8K-like files (JSON lines with `solution` and `answer`), in four formats, three in ten with a wrong answer.

    cargo build --release --bin verify
    python3 crates/verifier/tests/peers/throughput.py [--binary target/release/verify] FILE...
"""

import argparse
import json
import pathlib
import random
import resource
import subprocess
import time

here = pathlib.Path(__file__).resolve().parent
FORMATS = ["{body}\n#### {answer}", "{body}\nThe answer is {answer}.", "{body}\n\n\\boxed{{{answer}}}", "{body}\nA: {answer}"]


def hard():
    names = ["cases", "blind4", "blind5", "blind6", "blind7", "blind8"]
    cases = [json.loads(line) for name in names for line in open(here.parent / "cases" / f"{name}.jsonl")]
    return [(c["gold"], c["response"], c["verdict"] == "correct") for c in cases] * 5


def outputs(files):
    draw, pairs = random.Random(1), []
    plain = lambda answer: answer.replace(",", "")
    for row in (json.loads(line) for name in files for line in open(name)):
        gold, body = str(row["answer"]), row["solution"].rsplit("####", 1)[0].strip()
        for form in FORMATS:
            answer = gold if draw.random() < 0.7 else str(draw.randint(1, 200))
            pairs.append((gold, form.format(body=body, answer=answer), plain(answer) == plain(gold)))
    return pairs


def measure(name, pairs, binary):
    text = "".join(json.dumps({"id": i, "gold": g, "response": r}) + "\n" for i, (g, r, _) in enumerate(pairs))
    runs = []
    for _ in range(3):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        out = subprocess.run([binary, "--threads", "1"], input=text, capture_output=True, text=True, check=True).stdout
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    cpu, wall = min(runs)
    verdicts = [json.loads(line)["verdict"] == "correct" for line in out.splitlines()]
    wrong = sum(got != want for got, (_, _, want) in zip(verdicts, pairs, strict=True))
    n = len(pairs)
    print(f"{name}: {n} pairs, {wrong} wrong; cpu {cpu:.3f} s, {n / cpu:.0f} pairs/s; wall {wall:.3f} s, {n / wall:.0f} pairs/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/verify")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    measure("hard cases", hard(), args.binary)
    if args.files:
        measure("outputs", outputs(args.files), args.binary)


main()
