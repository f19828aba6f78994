"""Expands groups.txt into cases.jsonl: every answer of a group against its gold answer, in rotating harmless wrappings, and
the equal and unequal answers swapped with the gold answer. Python 3, standard library only.

    python3 expand.py
"""

import json
import pathlib
import zlib

here = pathlib.Path(__file__).parent
WRAPS = [
    "{}",
    "\\boxed{{{}}}",
    "So the answer is $\\boxed{{{}}}$.",
    "The final answer is ${}$.",
    "After simplifying, we obtain the result.\n\n\\[ \\boxed{{{}}} \\]",
    "<think>Let me see.</think>\n<answer>{}</answer>",
]


def wrap(answer, key):
    n = zlib.crc32(key.encode())
    if "$" in answer:
        return [answer, "\\boxed{" + answer + "}"][n % 2]
    return WRAPS[n % len(WRAPS)].format(answer)


def main():
    kind, gold, rows, counts = None, None, [], {}

    def emit(gold, response, verdict):
        n = counts.get(kind, 0) + 1
        counts[kind] = n
        rows.append({"id": f"{kind}-{n}", "gold": gold, "response": response, "verdict": verdict, "kind": kind, "source": "hand"})

    for line in (here / "groups.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        mark, rest = line[0], line[1:].removeprefix(" ")
        if mark == "@":
            kind = rest
        elif mark == "=":
            gold = rest
        elif mark == ">":
            response = rest[1:].removeprefix(" ").replace("\\n", "\n") if "\\n" in rest and not "\\ne" in rest else rest[1:].removeprefix(" ")
            emit(gold, response, {"+": "correct", "-": "wrong", "x": "unparsed_gold"}[rest[0]])
        else:
            verdict = {"+": "correct", "-": "wrong"}[mark]
            emit(gold, wrap(rest, gold + rest), verdict)
            if rest != gold:
                emit(rest, wrap(gold, rest + gold), verdict)
    with open(here / "cases.jsonl", "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(len(rows), counts)


main()
