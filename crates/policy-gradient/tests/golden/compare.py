"""Compares what `losses` wrote with the expected outputs and gradients of its input.

    losses more/verl.jsonl > found.jsonl && python compare.py more/verl.jsonl found.jsonl
"""

import json
import math
import sys

RELATIVE, ABSOLUTE = 2e-5, 2e-6


def differs(found, expected):
    a, b = float(found), float(expected)
    if math.isnan(b) or math.isinf(b):
        return not (a == b or (math.isnan(a) and math.isnan(b)))
    return not abs(a - b) <= max(ABSOLUTE, RELATIVE * abs(b))


bad = cases = 0
for line, other in zip(open(sys.argv[1]), open(sys.argv[2]), strict=True):
    expected, found = json.loads(line), json.loads(other)
    assert expected["id"] == found["id"]
    cases += 1
    problems = [found["error"]] if "error" in found else []
    for kind in ("outputs", "grads"):
        for name, array in expected[kind].items():
            got = found.get(kind, {}).get(name, {"data": []})["data"]
            wrong = [i for i, (a, b) in enumerate(zip(got, array["data"])) if differs(a, b)]
            if len(got) != len(array["data"]):
                problems.append(f"{kind} {name}: {len(got)} values")
            elif wrong:
                i = wrong[0]
                problems.append(f"{kind} {name}[{i}]: {got[i]}, expected {array['data'][i]}")
    if problems:
        bad += 1
        print(expected["id"], expected["source"], "; ".join(problems))
print(f"{bad} of {cases} cases differ")
sys.exit(bad > 0)
