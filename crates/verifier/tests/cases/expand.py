"""Expands groups.txt and second.txt to fifth.txt into cases.jsonl: every answer of a group against its gold answer, in rotating harmless
wrappings, and the equal and unequal answers swapped with the gold answer; then the whole responses of responses.jsonl. Python 3,
standard library only.

    python3 expand.py
"""

import json
import pathlib
import re
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
# The later files: more styles, and words never inside dollar signs.
MATHS = [
    "{}",
    "${}$",
    "\\boxed{{{}}}",
    "So we are done: $\\boxed{{{}}}$.",
    "The final answer is ${}$.",
    "**Final Answer:** ${}$",
    "Answer: ${}$",
    "<answer>{}</answer>",
    "<answer> ${}$ </answer>",
    "Therefore, the answer is \\({}\\).",
    "\\[\\boxed{{{}}}\\]\nThis completes the solution.",
    "### Final Answer\n\n$${}$$",
    "答案：${}$",
    "#### {}",
    "<think>\\boxed{{1}} or so</think>\n\n\\boxed{{{}}}",
]
WORDS = [
    "{}",
    "\\boxed{{{}}}",
    "$\\boxed{{{}}}$",
    "The answer is {}.",
    "**Answer: {}**",
    "Answer: {}",
    "#### {}",
    "<answer>{}</answer>",
    "Final answer: {}",
]


def wrap(answer, key, source):
    n = zlib.crc32(key.encode())
    if source == "hand":
        if "$" in answer:
            return [answer, "\\boxed{" + answer + "}"][n % 2]
        return WRAPS[n % len(WRAPS)].format(answer)
    styles = WORDS if re.search(r"(?<![\\a-zA-Z{])[A-Za-z]{3,}", answer) else MATHS
    if "$" in answer:
        styles = ["{}", "The answer is {}.", "**Answer:** {}"]
    style = styles[n % len(styles)]
    if answer.endswith(".") and style.endswith("{}."):
        style = style[:-1]
    return style.format(answer)


def main():
    kind, gold, rows, counts = None, None, [], {}

    def emit(gold, response, verdict, source):
        n = counts.get(kind, 0) + 1
        counts[kind] = n
        rows.append({"id": f"{kind}-{n}", "gold": gold, "response": response, "verdict": verdict, "kind": kind, "source": source})

    for name, source in (("groups.txt", "hand"), ("second.txt", "second"), ("third.txt", "third"), ("fourth.txt", "fourth"), ("fifth.txt", "fifth")):
        for line in (here / name).read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            mark, rest = line[0], line[1:].removeprefix(" ")
            if mark == "@":
                kind = rest
            elif mark == "=":
                gold = rest
            elif mark == ">":
                response = rest[1:].removeprefix(" ").replace("\\n", "\n") if "\\n" in rest and not "\\ne" in rest else rest[1:].removeprefix(" ")
                emit(gold, response, {"+": "correct", "-": "wrong", "x": "unparsed_gold"}[rest[0]], source)
            else:
                verdict = {"+": "correct", "-": "wrong"}[mark]
                emit(gold, wrap(rest, gold + rest, source), verdict, source)
                if rest != gold:
                    emit(rest, wrap(gold, rest + gold, source), verdict, source)
    kind = "extraction"
    for line in (here / "responses.jsonl").read_text().splitlines():
        row = json.loads(line)
        emit(row["gold"], row["response"], row["verdict"], row["source"])
    with open(here / "cases.jsonl", "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(len(rows), counts)


if __name__ == "__main__":
    main()
