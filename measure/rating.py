"""Bradley-Terry: seconds and growth on 1,000 candidates, and coverage of its intervals. Exit code 1 if a bar is missed.

    .venv/bin/python measure/rating.py [--seed N] [--runs 2000]

Time is of one core (OMP_NUM_THREADS=1), the best of three, with intervals; data are random pairs of 1,000 candidates,
one vote each, prior 3. Bars: 10^5 comparisons under 3 s; from 10^4 to 10^6 no step grows faster than m log m.

Coverage is `simulation.coverage`: round robins of n candidates, bias 0.3, with the prior of 3 that keeps every run
defined, seeds N .. N + runs - 1. Bars, for n = 16 and 32: 95 % intervals of strengths hold the truth in 93-97 % (over
runs and candidates), those of the bias in at least 93 % of the runs. n = 8, and correlated votes taken for independent
ones, are reported only. Strengths are spread 1 and 2, within the prior: where they are not, their intervals hold less
(`rrmlib/rating.py`), and a wider prior is needed. "by pair" intervals assume that pairs are independent of each other,
votes on a pair are not.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from math import log

import pandas as pd

from rrmlib.simulation import SimulatedJudge, coverage, estimator_growth

MATCHES = (10**4, 10**5, 10**6)
LIMIT, LOW, HIGH = 3.0, 0.93, 0.97
# correlation, votes, both orders, intervals by pair
DESIGNS = ((0.0, 1, True, False), (0.0, 4, False, False), (0.0, 4, True, True), (0.3, 4, True, True))
DESIGNS += ((0.6, 4, True, True), (0.3, 4, False, True))
WRONG = ((0.3, 4, True, False), (0.6, 4, True, False))  # what happens when the correlation is ignored


def speed() -> list[str]:
    """Prints seconds by number of comparisons; the bars that are missed."""
    table = pd.concat([estimator_growth(1000, MATCHES, seed=run) for run in range(3)])
    seconds = table.groupby(["estimator", "matches"]).seconds.min().unstack()
    print("seconds on 1,000 candidates, by comparisons (process time, best of 3)")
    print(seconds.round(3).to_string(), "\n")
    fit = seconds.loc["Bradley-Terry"]
    missed = [] if fit[10**5] < LIMIT else [f"10^5 comparisons take {fit[10**5]:.1f} s"]
    for small, large in pairwise(MATCHES):
        grown, allowed = fit[large] / fit[small], large * log(large) / (small * log(small))
        print(f"from {small:,} to {large:,} comparisons: {grown:.1f} times the seconds; m log m would be {allowed:.1f}")
        missed += [f"grows {grown:.1f} times"] if grown > allowed else []
    return missed


def covered(first_seed: int, runs: int) -> list[str]:
    missed = []
    print(f"\n95 % intervals of Bradley-Terry, seeds {first_seed}..{first_seed + runs - 1}: share that holds the truth")
    for n in (8, 16, 32):
        for spread in (1.0, 2.0):
            for design in (*DESIGNS, *WRONG):
                correlation, votes, both, by_pair = design
                judge = SimulatedJudge(spread=spread, correlation=correlation)
                seeds = range(first_seed, first_seed + runs)
                row = coverage(judge, n, seeds=seeds, votes=votes, both=both, by_pair=by_pair).iloc[0]
                bar = n >= 16 and design in DESIGNS
                bad = bar and not (LOW <= row.strengths <= HIGH and row.bias >= LOW)
                name = f"n={n} spread={spread:g} correlation={correlation:g} votes={votes}"
                name += f" {'both orders' if both else 'one order'}{', by pair' if by_pair else ''}"
                print(
                    f"strengths {100 * row.strengths:5.2f} %  bias {100 * row.bias:5.2f} % (mean {row.bias_mean:.3f})  "
                    f"{name}{'' if bar else '  (reported only)'}{'  <-- missed' if bad else ''}",
                    flush=True,
                )
                missed += [name] if bad else []
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=2000)
    arguments = parser.parse_args()
    missed = speed() + covered(arguments.seed, arguments.runs)
    print(f"\nbars missed: {len(missed)}{''.join(f'{chr(10)}  {m}' for m in missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
