"""What several seeds of a lab say together: sections, differences by seed and pooled, length against difficulty, truth.

    .venv/bin/python measure/study.py [--profile study] [--seeds 0 1 2]     # the seeds must have judged: rrm lab judge

Judges that every seed has judged are shown. The figures of docs/log.md, 2026-11-28, are its output.
"""

from __future__ import annotations

import argparse

import pandas as pd

from rrmlib.findings import judgments, traces
from rrmlib.lab import load

CONTRASTS = (
    ("rrm-s", "base-s", "reasoning"),
    ("rrm-s", "direct-s", "reasoning"),
    ("rrm-s", "direct-rl-s", "reasoning"),
    ("rrm-s", "scalar-s", "reasoning"),
    ("random-s", "base-s", "reasoning"),
    ("random-s", "base-s", "overall"),
    ("rm-r1-s", "distilled-s", "overall"),
    ("rm-r1-s", "cold-s", "overall"),
    ("rm-r1-s", "distilled-s", "reasoning"),
    ("rm-r1-s", "cold-s", "reasoning"),
    ("grm-s", "rft-s", "overall"),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="study")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = options.parse_args()
    labs = [load(given.profile, seed) for seed in given.seeds]
    names = [n for n in labs[0].judges if all(n in lab.judges and lab.judged_mark(n).is_file() for lab in labs)]
    rows = judgments.gather(labs, names)
    pd.set_option("display.width", 260, "display.max_columns", 30, "display.max_rows", 200)
    print(judgments.form(judgments.sections(rows, pooled=True)).to_string(), end="\n\n")
    print(judgments.form(judgments.sections(rows), "judge", "seed").to_string(), end="\n\n")
    contrasts = [{"a": a, "b": b, "section": s} for a, b, s in CONTRASTS if a in names and b in names]
    for pooled in (True, False):
        print(judgments.differences(rows, contrasts, pooled=pooled).round(3).to_string(), end="\n\n")
    if "rrm-s" in names:
        rrm = rows[rows["judge"] == "rrm-s"]
        faithful = traces.faithful(rrm)[0]
        print(traces.effort(rrm).round(3).to_string(), end="\n\n")
        print(faithful[faithful["section"] == "reasoning"].round(3).to_string())


if __name__ == "__main__":
    main()
