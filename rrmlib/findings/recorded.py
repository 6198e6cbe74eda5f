"""Votes and ratings on real recorded judgments (profile `recorded`): nothing is generated, nothing is tuned.

Left out: readers (`benchmarks/`), what a source itself reports (`measure/replay.py` holds all its numbers).

    resolution(prometheus_eval.read(folder), "prometheus_eval")
    ratings(arena_hard.read(file), "arena_hard")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rrmlib.benchmarks import rrm_official
from rrmlib.benchmarks.source import Matches, Source
from rrmlib.comparison import Comparison
from rrmlib.findings.judgments import bounds
from rrmlib.judgment import Judgment, State
from rrmlib.rating import bradley_terry, elo
from rrmlib.score import CHOICE_VALUE
from rrmlib.stats import clustered_mean
from rrmlib.vote import majority
from rrmlib.vote_sums import score_sum

SHUFFLES = 50  # orders of the matches in which Elo is run


def finals(folder: Path) -> pd.DataFrame:
    """RRM-32B's recorded knockout (2505.14674, MMLU-Pro, one bracket of 32) played by our scheduler, in one row:
    questions, matches asked, finals with the recorded rivals and with the recorded winner, verdicts that name neither
    assistant, and how often the one shown first was preferred (share, with interval over questions)."""
    verdicts, official = rrm_official.knockout_verdicts(folder), rrm_official.finals(folder)
    played, won = rrm_official.play_knockout(folder, verdicts)

    def last(question: int) -> tuple[int, int]:
        return played[question][-1].first, played[question][-1].second

    read = [j for j in verdicts if j.reading.verdict]
    first = [float(j.reading.verdict.choice == "first") for j in read if j.reading.verdict]
    shown = clustered_mean(first, [j.item.split("/")[1] for j in read])
    row = {
        "questions": len(official),
        "matches": sum(map(len, played.values())),
        "rivals equal": sum(last(q) == (f.first, f.second) for q, f in official.items()),
        "winners equal": sum(won[q] == f.winner for q, f in official.items()),
        "unread": len(verdicts) - len(read),
        "first preferred": shown.value,
    }
    return pd.DataFrame([{**row, "lo": shown.lo, "hi": shown.hi}])


def resolution(source: Source, name: str) -> pd.DataFrame:
    """How sums of scores part responses as samples are added: source, k, n, tie (share of sets whose best is shared),
    same (chance that the pick is that of all samples; with its interval).

    Sets with a sample that lacks a score are left out and counted (`left_out`). There is no truth here: what grows is
    resolution, not accuracy.
    """
    scores = source.scores
    whole = np.logical_not(np.isnan(scores).any(axis=(1, 2)))
    kept, clusters = (
        scores[whole],
        [item.cluster or item.id for item, keep in zip(source.items, whole.tolist()) if keep],
    )
    sums = kept.sum(axis=1)
    best = sums >= sums.max(axis=1, keepdims=True) - 1e-9
    out = []
    for k in range(1, kept.shape[1] + 1):
        vote = score_sum(kept, best, k)
        same = clustered_mean(vote.credit(), clusters)
        head = {"source": name, "k": k, "responses": kept.shape[2], "left_out": int((~whole).sum())}
        out.append({**head, **bounds(same), "tie": float(vote.tie.mean())})
    return pd.DataFrame(out)


def repeated(items: Sequence[Comparison], judgments: Sequence[Judgment], name: str) -> pd.DataFrame:
    """Majority of k repetitions per judge: source, judge, k, items, n, value, lo, hi, unread, errors (share of error
    texts). Items on which a judge has fewer than k readable and unreadable answers (errors left out) drop out."""
    known = {item.id: item for item in items}
    out = []
    for judge in sorted({j.judge for j in judgments}):
        mine = [j for j in judgments if j.judge == judge]
        errors = sum(j.state is State.ERROR for j in mine) / len(mine)
        by: dict[str, list[float]] = {}
        for j in mine:
            if j.state is not State.ERROR:
                verdict = j.in_item_order().verdict
                value = CHOICE_VALUE[verdict.choice] if verdict else np.nan
                by.setdefault(j.item, []).append(value)
        most = max(map(len, by.values()))
        for k in range(1, most + 1):
            there = [item for item, votes in by.items() if len(votes) >= most]
            pool = np.array([by[item][:most] for item in there])
            labels = [1.0 if known[item].label == "first" else 0.0 for item in there]
            vote = majority(pool, labels, k)
            found = clustered_mean(vote.credit(), [known[item].cluster or item for item in there])
            row = {"source": name, "judge": judge, "k": k, **bounds(found), "unread": float(vote.unread.mean())}
            out.append({**row, "errors": errors, "dropped": len(known) - len(there)})
    return pd.DataFrame(out)


def ratings(matches: Matches, name: str, *, prior: float | None = None) -> pd.DataFrame:
    """Bradley-Terry strengths with intervals (sandwich over questions) and the chance of being best, beside the range
    of sequential Elo over `SHUFFLES` orders of the same matches: source, name, value, lo, hi, best, elo_lo, elo_hi,
    places (how many different ranks Elo gives), and the bias of position where games were placed."""
    n = len(matches.names)
    fit = bradley_terry(
        n,
        matches.first,
        matches.second,
        matches.score,
        matches.votes,
        prior=prior,
        position=matches.placed,
        clusters=matches.cluster,
    )
    runs = np.array([elo(n, matches.first, matches.second, matches.score, shuffle=s).values for s in range(SHUFFLES)])
    ranks = (-runs).argsort(axis=1).argsort(axis=1)
    best = fit.best()
    rows = []
    for i in np.argsort(-fit.strengths):
        row = {"source": name, "name": matches.names[i], "matches": fit.matches, "unread": fit.unread}
        strength = {"value": fit.strengths[i], "lo": fit.lo[i], "hi": fit.hi[i], "best": best[i]}
        spread = {"elo_lo": runs[:, i].min(), "elo_hi": runs[:, i].max(), "places": len(set(ranks[:, i]))}
        bias = {f"bias_{k}": getattr(fit.bias, k) if matches.placed else np.nan for k in ("value", "lo", "hi")}
        rows.append({**row, **strength, **spread, **bias})
    return pd.DataFrame(rows)
