"""Runs graders side by side over the case files: this crate's `verify` binary, Math-Verify, and a plain string comparison of the
last box. Prints a table of true-positive and true-negative rates by source and by kind, and every disagreement with --show. Math-Verify is slow:
--cache keeps its verdicts, and a run that was broken off goes on from there.

Python 3.11+, math-verify 0.9.0 (pip install "math-verify[antlr4_13_2]==0.9.0").

    cargo build --release --bin verify
    python3 crates/verifier/tests/peers/compare.py [--binary target/release/verify] [--cases FILE...] [--source hand] [--sample N] [--show NAME]
"""

import argparse
import collections
import json
import logging
import pathlib
import random
import re
import subprocess
import time

here = pathlib.Path(__file__).resolve().parent


def ours(cases, binary):
    lines = "".join(json.dumps({"id": i, "gold": c["gold"], "response": c["response"]}) + "\n" for i, c in enumerate(cases))
    start = time.perf_counter()
    out = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - start
    return [json.loads(line)["verdict"] == "correct" for line in out.splitlines()], seconds


def math_verify(cases, cache):
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    known = {}
    if cache and pathlib.Path(cache).exists():
        for line in open(cache):
            row = json.loads(line)
            known[row["gold"], row["response"]] = row["equal"]
    keep = open(cache, "a") if cache else None
    start, judged = time.perf_counter(), 0
    out = []
    for c in cases:
        key = (c["gold"], c["response"])
        if key in known:
            out.append(known[key])
            continue
        # Gold answers are bare; Math-Verify looks for mathematics inside dollar signs.
        gold = c["gold"] if "$" in c["gold"] else f"${c['gold']}$"
        try:
            out.append(bool(verify(parse(gold), parse(delimited(c["response"], c["kind"])))))
        except Exception:  # noqa: BLE001: a grader that raises gives no reward
            out.append(False)
        judged += 1
        if keep:
            keep.write(json.dumps({"gold": key[0], "response": key[1], "equal": out[-1]}) + "\n")
            keep.flush()
    return out, (time.perf_counter() - start) * len(cases) / max(judged, 1)


def delimited(response, kind):
    """Bare and tagged answers in dollar signs: Math-Verify reads LaTeX only inside delimiters, and should not lose for that."""
    if kind == "extraction":
        return response
    tag = re.search(r"<answer>(.*)</answer>", response, re.DOTALL)
    if tag:
        response = tag.group(1)
    marked = any(mark in response for mark in ("$", "\\boxed", "\\[", "\\("))
    return response if marked else f"${response}$"


def last_box(text):
    at = text.rfind("\\boxed{")
    if at < 0:
        return text
    depth, start = 1, at + 7
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return ""


def string_grader(cases):
    def clean(text):
        text = re.sub(r"\\[dt]frac", r"\\frac", text.strip().strip("$. "))
        return re.sub(r"\s|\\left|\\right|\\!|\\,", "", text)

    start = time.perf_counter()
    out = [clean(c["gold"]) == clean(last_box(c["response"])) for c in cases]
    return out, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/verify")
    files = [str(here.parent / "cases" / f"{name}.jsonl") for name in ("cases", "blind4", "blind5", "blind6", "blind7", "blind8", "blind9", "blind10", "blind11", "blind12", "blind13", "doubts")]
    parser.add_argument("--cases", nargs="*", default=files)
    parser.add_argument("--cache", help="file that keeps Math-Verify's verdicts")
    parser.add_argument("--show", choices=["verify", "math-verify", "string"])
    parser.add_argument("--source", help="only the cases of these sources: hand, second, third, fourth, fifth, blind4, blind5, blind6, blind7, blind8, blind9, blind10, blind11, blind12, blind13, doubts, joined by commas")
    parser.add_argument("--sample", type=int, help="so many cases drawn at random, always the same")
    args = parser.parse_args()
    cases = [json.loads(line) for name in args.cases for line in open(name)]
    if args.source:
        cases = [c for c in cases if c["source"] in args.source.split(",")]
    if args.sample:
        cases = random.Random(11).sample(cases, min(args.sample, len(cases)))
    graders = {"verify": ours(cases, args.binary), "math-verify": math_verify(cases, args.cache), "string": string_grader(cases)}
    table = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, 0, 0]))
    for name, (verdicts, _) in graders.items():
        for case, got in zip(cases, verdicts, strict=True):
            want = case["verdict"] == "correct"
            for kind in ("source " + case["source"], case["kind"], "all"):
                cell = table[kind][name]
                cell[0] += want and got
                cell[1] += want
                cell[2] += not want and not got
                cell[3] += not want
            if args.show == name and got != want:
                print(json.dumps(case, ensure_ascii=False), "->", got)
    rate = lambda n, d: f"{n / d:.3f}" if d else "-"
    print("| kind | cases | " + " | ".join(f"{n} TPR / TNR" for n in graders) + " |")
    print("|---|---:|" + "---|" * len(graders))
    for kind, cells in sorted(table.items(), key=lambda item: (item[0] == "all", item[0])):
        total = cells["verify"][1] + cells["verify"][3]
        row = " | ".join(f"{rate(c[0], c[1])} / {rate(c[2], c[3])}" for c in (cells[n] for n in graders))
        print(f"| {kind} | {total} | {row} |")
    for name, (_, seconds) in graders.items():
        print(f"{name}: {len(cases) / seconds:.0f} pairs/s")


main()
