"""Paired tests over seeds for the questions of "Ten fresh seeds" in docs/reproduction.md. Needs scipy.

    python tools/reproduction/fresh_seeds.py runs/fresh/results.json
"""
import json
import sys

from scipy import stats

results = json.load(open(sys.argv[1]))
arms, seeds = results["arms"], results["seeds"]
OUTSIDE = ["code", "story", "longer"]  # never seen in mid-training or RL


def per_seed(arm, sets, metric):
    columns = [arms[arm]["evals"][s][metric]["per_seed"] for s in sets]
    return [sum(values) / len(values) for values in zip(*columns)]


def test(a, b, sets, metric):
    x, y = per_seed(a, sets, metric), per_seed(b, sets, metric)
    differences = [p - q for p, q in zip(x, y)]
    found = stats.ttest_1samp(differences, 0.0)
    lo, hi = found.confidence_interval(0.95)
    below = sum(d < 0 for d in differences)
    print(
        f"| {a} - {b} | {', '.join(sets)} | {metric} | {sum(x) / len(x):.3f}, {sum(y) / len(y):.3f} "
        f"| {sum(differences) / len(differences):+.3f} [{lo:+.3f}, {hi:+.3f}] | {found.pvalue:.2g} | {below} of {len(seeds)} "
        f"| {', '.join(f'{d:+.3f}' for d in differences)} |"
    )


print(f"seeds {seeds}\n\n| difference | sets, averaged | metric | means | difference [95 %, t] | p | seeds below 0 | each seed |\n" + "|---" * 8 + "|")
for metric in ["pass@1", "pass@16"]:
    for other in ["base_rl", "star_rl", "wrong_rl"]:
        test("mid_rl", other, ["hard"], metric)
    test("wrong_rl", "base_rl", ["hard"], metric)
for metric in ["pass@1", "pass@16"]:
    for arm in ["wrong_rl", "mid_rl", "star_rl"]:
        test(arm, "base_rl", OUTSIDE, metric)
    test("mid_rl", "wrong_rl", OUTSIDE, metric)
    for one in OUTSIDE:
        test("wrong_rl", "base_rl", [one], metric)
