"""What trials of a recipe showed: accuracy by section of every judge of a profile that has judged, on its own split.

.venv/bin/python -m rrmlib lab judge NAME --profile trials --seed 100     # each judge that is to be compared
.venv/bin/python measure/trials.py [--profile trials] [--seed 100]
"""

from __future__ import annotations

import argparse

import pandas as pd

from rrmlib.findings import judgments
from rrmlib.lab import load


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="trials")
    options.add_argument("--seed", type=int, default=100)
    given = options.parse_args()
    lab = load(given.profile, given.seed)
    names = [name for name in lab.judges if lab.judged_mark(name).is_file()]
    pd.set_option("display.width", 200, "display.max_columns", 20, "display.max_rows", 200)
    for name in names:  # one by one: their splits differ, and so do the sections there are
        print(judgments.form(judgments.sections(judgments.gather([lab], [name]))).to_string(), end="\n\n")
    if not names:
        print(f"no judge of profile {given.profile}, seed {given.seed}, has judged")


if __name__ == "__main__":
    main()
