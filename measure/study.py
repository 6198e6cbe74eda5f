"""What several seeds of a lab say together: sections, differences by seed and pooled, length against difficulty, truth.

    .venv/bin/python measure/study.py [--profile study] [--seeds 0 1 2]     # the seeds must have judged: rrm lab judge
    .venv/bin/python measure/study.py --write docs/study                    # sections and differences as CSV, too

Judges that every seed has judged are shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from rrmlib.findings import judgments, traces
from rrmlib.lab import load

CONTRASTS = (
    ("rrm-s", "base-s", "reasoning"),
    ("rrm-s", "direct-s", "reasoning"),
    ("rrm-s", "direct-rl-s", "reasoning"),
    ("rrm-s", "scalar-s", "reasoning"),
    ("rrm-s", "base-s.careful", "reasoning"),
    ("rrm-s", "base-s.careful", "overall"),
    ("random-s", "base-s", "reasoning"),
    ("random-s", "base-s", "overall"),
    ("rm-r1-s", "distilled-s", "overall"),
    ("rm-r1-s", "cold-s", "overall"),
    ("rm-r1-s", "distilled-s", "reasoning"),
    ("rm-r1-s", "cold-s", "reasoning"),
    ("rm-r1-s", "distilled-s", "chat"),
    ("rm-r1-s", "distilled-s", "safety"),
    ("grm-s", "rft-s", "overall"),
    ("rubrics-s", "plain-s", "overall"),
    ("cold-s", "rubrics-s", "overall"),
    ("distilled-s", "answers-s", "overall"),
    ("distilled-s", "chance-s", "overall"),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="study")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--write", type=Path, help="a folder for sections.csv and differences.csv")
    given = options.parse_args()
    labs = [load(given.profile, seed) for seed in given.seeds]
    names = [n for n in labs[0].judges if all(n in lab.judges and lab.judged_mark(n).is_file() for lab in labs)]
    rows = judgments.gather(labs, names)
    pd.set_option("display.width", 260, "display.max_columns", 30, "display.max_rows", 200)
    sections = [judgments.sections(rows, pooled=pooled) for pooled in (True, False)]
    print(judgments.form(sections[0]).to_string(), end="\n\n")
    print(judgments.form(sections[1], "judge", "seed").to_string(), end="\n\n")
    contrasts = [{"a": a, "b": b, "section": s} for a, b, s in CONTRASTS if a in names and b in names]
    differences = [judgments.differences(rows, contrasts, pooled=pooled) for pooled in (True, False)]
    for table in differences:
        print(table.round(3).to_string(), end="\n\n")
    if "rrm-s" in names:
        two = rows[rows["judge"].isin(["rrm-s", "base-s.careful"])]
        faithful = traces.faithful(two)[0]
        print(traces.effort(two).round(3).to_string(), end="\n\n")
        print(faithful[faithful["measure"] == "all true"].round(3).to_string())
    if given.write:
        given.write.mkdir(parents=True, exist_ok=True)
        for name, tables in (("sections", sections), ("differences", differences)):
            pd.concat(tables).round(5).to_csv(given.write / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
