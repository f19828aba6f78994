"""Writes the seeds of the fuzz targets from the case file. Python 3, standard library only."""

import hashlib
import json
import pathlib

here = pathlib.Path(__file__).resolve().parent
for line in open(here.parent / "tests" / "cases" / "cases.jsonl"):
    case = json.loads(line)
    seeds = {"verify": case["gold"] + "\n" + case["response"], "parse": case["gold"], "extract": case["response"]}
    for target, text in seeds.items():
        folder = here / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(text.encode()).hexdigest()[:24]).write_text(text)
