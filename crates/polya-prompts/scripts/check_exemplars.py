#!/usr/bin/env python3
"""Compares every exemplar's answer with its `check`, an independent Python expression.

Python 3.11 or later, standard library only. Run from the crate's folder: python3 scripts/check_exemplars.py
The expressions are part of the repository; never run this on files from elsewhere.
"""

import pathlib
import re
import sys
import tomllib
from fractions import Fraction


def number(answer: str):
    """The answer as a number: integers, fractions, percentages, and a few LaTeX forms."""
    text = answer.replace("\\,", "").replace("^\\circ", "").strip("$ ")
    text = re.sub(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"((\1)**0.5)", text)
    text = text.replace("\\pi", "(3.141592653589793)").replace("%", "/100")
    text = re.sub(r"(\d|\))\s*\(", r"\1*(", text)
    text = re.sub(r"\^\{?(\d+)\}?", r"**\1", text)
    if re.fullmatch(r"-?\d+/\d+", text):
        return Fraction(text)
    return eval(text, {"__builtins__": {}})


def main() -> int:
    families = pathlib.Path(__file__).parent.parent / "families"
    checked = bad = 0
    for path in sorted(families.glob("*/*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for i, exemplar in enumerate(data.get("exemplar", []), 1):
            where = f"{path.relative_to(families)} exemplar {i}"
            if path.parent.name == "code":
                # The solution is a program and the answer an expression that is true when it is right.
                checked += 1
                try:
                    names: dict = {}
                    exec(exemplar["solution"], names)
                    right = bool(eval(exemplar["answer"], names))
                except Exception as error:
                    print(f"{where}: {error!r}")
                    right = False
                if not right:
                    print(f"{where}: not true: {exemplar['answer']}")
                    bad += 1
                continue
            if "check" not in exemplar:
                if path.parent.name == "maths":
                    print(f"{where}: no check")
                    bad += 1
                continue
            checked += 1
            try:
                found = eval(exemplar["check"])
                if isinstance(found, str):
                    same = found == exemplar["answer"]
                else:
                    same = abs(float(found) - float(number(exemplar["answer"]))) < 1e-9 * max(1, abs(float(found)))
            except Exception as error:  # any failure is reported with its place
                found, same = repr(error), False
            if not same:
                print(f"{where}: the answer is {exemplar['answer']!r}, the check gives {found!r}")
                bad += 1
    print(f"{checked} checks, {bad} failures")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
