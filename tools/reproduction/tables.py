"""The tables of docs/reproduction.md, from what `reproduce` left.

    python tools/reproduction/tables.py runs/full/results.json [runs/sweep/sweep.json]
"""
import json
import sys

results = json.load(open(sys.argv[1]))
arms = results["arms"]


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}f}"


def small(value):
    return "-" if value is None else f"{value:.2f}" if value >= 0.01 else f"{value:.0e}"


def each(values, show=number):
    return ", ".join(show(v) for v in values)


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def metric(arm, set, name):
    return arms[arm]["evals"][set][name]


def interval(value):
    lo, hi = value["ci95"]
    mean = number(value["mean"])
    return mean if lo is None else f"{mean} [{lo:.3f}, {hi:.3f}]"


print("## Arms, hard set: mean over seeds [95 %, t], and every seed\n")
table(
    ["arm", "hard pass@1", "each seed", "hard pass@16", "each seed", "combining, of correct", "correct", "switch prior, each seed"],
    [
        [
            arm["label"], interval(arm["evals"]["hard"]["pass@1"]), each(arm["evals"]["hard"]["pass@1"]["per_seed"]),
            number(arm["evals"]["hard"]["pass@16"]["mean"]), each(arm["evals"]["hard"]["pass@16"]["per_seed"]),
            number(arm["evals"]["hard"]["combined"]["mean"]), str(arm["counts"]["hard"]["correct"]),
            each(arm["switch_prior_per_seed"], small),
        ]
        for arm in arms.values()
    ],
)

print("## Other sets: pass@1 and pass@16, means over seeds\n")
sets = [s for s in next(iter(arms.values()))["evals"] if s != "hard"]
table(
    ["arm", *sets],
    [
        [arm["label"], *(f"{number(arm['evals'][s]['pass@1']['mean'])} / {number(arm['evals'][s]['pass@16']['mean'])}" for s in sets)]
        for arm in arms.values()
    ],
)

print("## Paired differences over seeds\n")
table(
    ["arm", "minus", "set", "metric", "difference [95 %, t]", "p", "each seed"],
    [
        [
            c["a"], c["b"], c["set"], c["metric"],
            f"{c['difference']:+.3f}" + ("" if c["ci95"][0] is None else f" [{c['ci95'][0]:+.3f}, {c['ci95'][1]:+.3f}]"),
            "-" if c["p"] is None else f"{c['p']:.3g}", each(c["per_seed"], lambda v: f"{v:+.3f}"),
        ]
        for c in results["comparisons"]
        if c["difference"] is not None
    ],
)

if results["thresholds"]:
    print("## Time to threshold\n")
    table(
        ["seed", "share of questions with all approaches", "switch prior", "steps to one half"],
        [
            [str(t["seed"]), str(t["share"]), small(t["switch_prior"]), str(t["steps"] or f"not in {t['cap']}")]
            for t in results["thresholds"]
        ],
    )

if len(sys.argv) > 2:
    print("## Sweep: pass@1 on questions like those of RL after it (hard set), each seed\n")
    tried = json.load(open(sys.argv[2]))
    rows = {}
    for one in tried:
        key = (one["key"], one["tuned"]["lr"], one["tuned"]["entropy"])
        rows.setdefault(key, []).append((one["pass_at_1"], one["hard_pass_at_1"]))
    means = {key: sum(v[0] for v in values) / len(values) for key, values in rows.items()}
    best = {}
    for key, mean in means.items():
        if key[0] not in best or mean > means[best[key[0]]]:
            best[key[0]] = key
    table(
        ["arm", "learning rate", "entropy bonus", "each seed", "mean"],
        [
            [
                key[0], f"{key[1]:g}", f"{key[2]:g}", ", ".join(f"{a:.3f} ({b:.3f})" for a, b in values),
                ("**" if best[key[0]] == key else "") + f"{means[key]:.3f}" + ("**" if best[key[0]] == key else ""),
            ]
            for key, values in rows.items()
        ],
    )
