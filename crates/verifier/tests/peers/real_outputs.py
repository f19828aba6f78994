"""Model outputs with known verdicts: the solutions of `example_model_solutions.jsonl` in github.com/openai/grade-school-math (MIT), each
in four formats (last line "A: n", "#### n", "The answer is n.", a box). Prints errors and pairs per second.

Python 3, standard library only.

    cargo build --release --bin verify
    python3 crates/verifier/tests/peers/real_outputs.py example_model_solutions.jsonl [--binary target/release/verify]
"""

import argparse
import json
import re
import subprocess
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("file")
parser.add_argument("--binary", default="target/release/verify")
args = parser.parse_args()
rows = []
for line in open(args.file):
    question = json.loads(line)
    gold = question["ground_truth"].rsplit("A:", 1)[1].strip()
    for value in question.values():
        if isinstance(value, dict):
            text = re.sub(r"<<.*?>>", "", value["solution"])
            for form in (r"\nA: \1", r"\n#### \1", r"\nThe answer is \1.", r"\nTherefore the final answer is $\\boxed{\1}$."):
                rows.append((gold, re.sub(r"\nA: (.*)", form, text), value["is_correct"]))
lines = "".join(json.dumps({"id": i, "gold": g, "response": r}) + "\n" for i, (g, r, _) in enumerate(rows))
start = time.perf_counter()
out = subprocess.run([args.binary], input=lines, capture_output=True, text=True, check=True).stdout
seconds = time.perf_counter() - start
got = [json.loads(line)["verdict"] == "correct" for line in out.splitlines()]
wrong = [row for row, g in zip(rows, got, strict=True) if row[2] != g]
for row in wrong:
    print(row)
print(f"{len(rows)} outputs, {len(wrong)} verdicts differ, {len(rows) / seconds:.0f} pairs/s")
