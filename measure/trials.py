"""What trials of a recipe showed: accuracy by section of every judge of a profile that has judged, on its own split,
and how often it takes the longer response of a pair.

.venv/bin/python -m rrmlib lab judge NAME --profile trials --seed 100     # each judge that is to be compared
.venv/bin/python measure/trials.py [--profile trials] [--seed 100]
"""

from __future__ import annotations

import argparse

import pandas as pd

from rrmlib.comparison import Comparison
from rrmlib.findings import judgments
from rrmlib.lab import Lab, judged, load, put_to
from rrmlib.world.leaks import length_reading


def longer(lab: Lab, name: str) -> list[bool]:
    """Of each verdict on a pair of different length, whether it is for the longer response."""
    known = {item.id: item for item in put_to(lab, name) if isinstance(item, Comparison)}
    said = [(known[j.item], j.in_item_order().verdict) for j in judged(lab, name) if j.item in known]
    read = [(length_reading(item), verdict.choice) for item, verdict in said if verdict]
    return [(choice == "first") == (first == 1) for first, choice in read if first != 0.5 and choice != "tie"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="trials")
    options.add_argument("--seed", type=int, default=100)
    given = options.parse_args()
    lab = load(given.profile, given.seed)
    names = [name for name in lab.judges if lab.judged_mark(name).is_file()]
    pd.set_option("display.width", 200, "display.max_columns", 20, "display.max_rows", 200)
    for name in names:  # one by one: their splits differ, and so do the sections there are
        print(judgments.form(judgments.sections(judgments.gather([lab], [name]))).to_string())
        took = longer(lab, name)
        print(f"takes the longer response in {sum(took)} of {len(took)} verdicts on pairs of different length\n")
    if not names:
        print(f"no judge of profile {given.profile}, seed {given.seed}, has judged")


if __name__ == "__main__":
    main()
