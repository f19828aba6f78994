"""Writes the seeds of the fuzz targets from the case files. Python 3, standard library only."""

import hashlib
import json
import pathlib

here = pathlib.Path(__file__).resolve().parent
cases = here.parent / "tests" / "cases"
for line in (line for name in ("cases", "blind4", "blind5", "blind6", "blind7", "blind8", "blind9", "blind10", "blind11", "blind12", "blind13", "doubts") for line in open(cases / f"{name}.jsonl")):
    case = json.loads(line)
    seeds = {"verify": case["gold"] + "\n" + case["response"], "parse": case["gold"], "extract": case["response"]}
    for target, text in seeds.items():
        folder = here / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(text.encode()).hexdigest()[:24]).write_text(text)
