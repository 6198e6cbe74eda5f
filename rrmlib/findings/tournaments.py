"""Picking the best of several responses: every schedule replays one recorded round robin, and says what it would cost.

The lab's judge says which of two responses is better for every pair of every list of candidates, in both orders and
several samples (split candidate-pairs). From that, `matrices` makes round robins of one judgment a match (one per
sample: replications) or of several votes a match, and `picks` plays each schedule against each. Units (one row per list
and schedule, replications averaged) have credit (the best response was picked), quality (its true grade), matches,
judgments and tokens; `table` makes accuracies with intervals of them.

Left out: schedules (`schedulers.py`), ratings (`rating.py`), pairs on their own (`scaling.py`).

    played = matrices(lab, "rrm-s.pairs")
    table(picks(items(lab, "candidates"), played, schedules(8)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
import pandas as pd

from rrmlib.comparison import CandidateSet, Item
from rrmlib.findings.judgments import bounds, expectation
from rrmlib.findings.pools import Pool, pool
from rrmlib.lab import Lab, items, judged
from rrmlib.rating import bradley_terry
from rrmlib.schedulers import Adaptive, Knockout, RoundRobin, Swiss, seeded_bracket
from rrmlib.stats import clustered_mean, paired_difference
from rrmlib.tournament import Match, Matrix, Scheduler, replay

REPLAYS = 24  # seeds of a schedule (brackets, seats, lots) that every list is played with: one of them is luck
# votes a match -> (list -> one round robin per replication)
Played = Mapping[int, Mapping[str, Sequence[Matrix]]]
Schedule = Callable[[str, int], Scheduler]  # (list, replication) -> its scheduler


def matrices(lab: Lab, name: str) -> Played:
    """The round robins that judge `name` played on the candidates' pairs: 1 vote a match, 2 (one in each order), and
    all. Raises ParameterError where it has not judged, ValueError where a pair is missing."""
    one = pool(lab, name)
    sizes = {each.id: len(each.responses) for each in items(lab, "candidates")}
    samples = one.choices.shape[1] // 2
    places: dict[str, list[tuple[int, int, int]]] = {}
    for row, pair in enumerate(one.units["item"]):
        each, _, ij = pair.rpartition(":")
        i, j = map(int, ij.split("-"))
        places.setdefault(each, []).append((row, i, j))
    out: dict[int, dict[str, list[Matrix]]] = {votes: {} for votes in sorted({1, 2, 2 * samples})}
    for each, pairs in places.items():
        if len(pairs) != sizes[each] * (sizes[each] - 1) // 2:
            raise ValueError(f"{each}: {len(pairs)} pairs of {sizes[each]} responses were judged; judge all of them")
        out[1][each] = [_matrix(sizes[each], one, pairs, [s], split=True) for s in range(samples)]
        out[2][each] = [_matrix(sizes[each], one, pairs, [s], split=False) for s in range(samples)]
        if samples > 1:
            out[2 * samples][each] = [_matrix(sizes[each], one, pairs, range(samples), split=False)]
    return out


def _matrix(n: int, one: Pool, pairs: Sequence[tuple[int, int, int]], samples: Sequence[int], *, split: bool) -> Matrix:
    """`split`: AB and BA are matches of their own, so that a schedule is answered in the order that it asks for."""
    matches = []
    ab, ba = (np.flatnonzero(one.orders == order)[list(samples)] for order in (0, 1))
    for row, i, j in pairs:
        votes, tokens = one.choices[row], one.tokens[row]
        if split:
            matches.append(Match.of(i, j, votes[ab], int(tokens[ab].sum())))
            matches.append(Match.of(j, i, 1 - votes[ba], int(tokens[ba].sum())))
        else:
            both = np.concatenate([ab, ba])
            matches.append(Match.of(i, j, votes[both], int(tokens[both].sum())))
    return Matrix.of(n, matches)


def schedules(n: int, seed: int = 0) -> dict[str, Schedule]:
    """The schedules compared, for n candidates. RRM's knockout has one bracket for all lists of a replication."""
    return {
        "round robin, wins": lambda item, r: RoundRobin(n, item=item, seed=seed + r),
        "round robin, Elo": lambda item, r: RoundRobin(n, item=item, seed=seed + r, rating="elo"),
        "round robin, Bradley-Terry": lambda item, r: RoundRobin(n, item=item, seed=seed + r, rating="bradley_terry"),
        "knockout, one bracket": lambda item, r: Knockout(
            n, item=item, seed=seed + r, bracket=seeded_bracket(n, seed + r)
        ),
        "knockout, own brackets": lambda item, r: Knockout(n, item=item, seed=seed + r),
        "Swiss": lambda item, r: Swiss(n, item=item, seed=seed + r),
        "adaptive": lambda item, r: Adaptive(n, item=item, seed=seed + r),
    }


def picks(
    lists: Sequence[Item], played: Played, plans: Mapping[str, Schedule], *, profile: str = "", seed: int = 0
) -> pd.DataFrame:
    """Units: profile, seed, schedule, votes (a match), item, cluster, family, credit, quality, matches, judgments,
    tokens, rounds, ties, unread; means over `REPLAYS` seeds of the schedule, the recorded round robins in turn."""
    known = {each.id: each for each in lists if isinstance(each, CandidateSet)}
    out = []
    for votes, by in played.items():
        for name, plan in plans.items():
            for item, replications in by.items():
                truth = known[item].truth
                assert truth is not None
                rows = []
                for r in range(max(REPLAYS, len(replications))):
                    found = replay(plan(item, r), replications[r % len(replications)])
                    grade = truth[found.pick]
                    cost = {"matches": found.matches, "judgments": found.votes, "tokens": found.tokens}
                    flaws = {"rounds": found.rounds, "ties": found.ties, "unread": found.unread}
                    rows.append({"credit": float(grade == max(truth)), "quality": grade, **cost, **flaws})
                means = pd.DataFrame(rows).mean().to_dict()
                head = {"profile": profile, "seed": str(seed), "schedule": name, "votes": votes, "item": item}
                about = {"cluster": known[item].cluster or item, "family": known[item].subset}
                out.append({**head, **about, **means, "replications": len(rows)})
    return pd.DataFrame(out)


def scored(lab: Lab, name: str, *, schedule: str) -> pd.DataFrame:
    """Units of a judge that scores all candidates at once (a scalar model): the highest score is picked, a tie among m
    earns 1/m. Its tokens are those it wrote."""
    known = {each.id: each for each in items(lab, "candidates") if isinstance(each, CandidateSet)}
    by: dict[str, list[Any]] = {}
    for judgment in judged(lab, name):
        by.setdefault(judgment.item, []).append(judgment)
    out = []
    for item, said in by.items():
        truth = known[item].truth
        assert truth is not None
        tops = [getattr(j.in_item_order().value, "top", ()) for j in said]
        grades = [np.mean([truth[i] for i in top]) if top else 0.0 for top in tops]
        credits = [np.mean([truth[i] == max(truth) for i in top]) if top else 0.0 for top in tops]
        head = {"profile": lab.profile, "seed": str(lab.seed), "schedule": schedule, "votes": 1, "item": item}
        about = {"cluster": known[item].cluster or item, "family": known[item].subset}
        cost = {"matches": 0, "judgments": 1, "tokens": float(np.mean([max(0, j.tokens) for j in said]))}
        flaws = {"rounds": 1, "ties": float(np.mean([len(top) > 1 for top in tops])), "replications": len(said)}
        found = {"credit": float(np.mean(credits)), "quality": float(np.mean(grades))}
        out.append({**head, **about, **found, **cost, **flaws, "unread": float(np.mean([not top for top in tops]))})
    return pd.DataFrame(out)


def table(units: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the pick and mean cost per schedule, votes and family ("all": of all lists)."""
    out = []
    for key, part in units.groupby(["profile", "seed", "schedule", "votes"], sort=False):
        head = dict(zip(("profile", "seed", "schedule", "votes"), key))
        for family in ("all", *sorted(set(part["family"]))):
            cell = part if family == "all" else part[part["family"] == family]
            found = clustered_mean(cell["credit"], list(cell["cluster"]))
            means = ("quality", "matches", "judgments", "tokens", "rounds", "ties", "unread", "replications")
            out.append({**head, "family": family, **bounds(found), **{m: float(cell[m].mean()) for m in means}})
    return pd.DataFrame(out)


def differences(units: pd.DataFrame, contrasts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """a - b of two schedules on the same lists, paired. A contrast is {"a": [schedule, votes], "b": [...], "least",
    "most"}. `share` is a's judgments over b's. Raises ValueError for one that is not there."""
    by = {tuple(key): part for key, part in units.groupby(["schedule", "votes"], sort=False)}
    out = []
    for contrast in contrasts:
        sides = [tuple(contrast[side]) for side in ("a", "b")]
        if lost := [side for side in sides if side not in by]:
            raise ValueError(f"contrast {dict(contrast)}: no {lost[0]}; there are {', '.join(map(str, by))}")
        both = by[sides[0]].merge(by[sides[1]][["item", "credit", "judgments"]], on="item", suffixes=("", "_b"))
        d = paired_difference(both["credit"], both["credit_b"], list(both["cluster"]))
        said, verdict = expectation(d.lo, d.hi, contrast.get("least"), contrast.get("most"))
        head = {name: both[name].iloc[0] for name in ("profile", "seed")}
        names = {side: f"{contrast[side][0]} @{contrast[side][1]}" for side in ("a", "b")}
        share = both["judgments"].sum() / max(1, both["judgments_b"].sum())
        out.append({**head, **names, **bounds(d), "expected": said, "verdict": verdict, "share": share})
    return pd.DataFrame(out)


def bias(
    played: Played, lists: Sequence[Item], *, prior: float = 3.0, profile: str = "", seed: int = 0
) -> pd.DataFrame:
    """The advantage of being shown first, fitted by Bradley-Terry together with the strengths of all lists.

    One number for all pairs is an assumption; so the shares that were counted stand beside it: how often the one shown
    first won where both are `equal` by the truth, where it was `better`, and where it was `worse`.

    Log-odds with interval (sandwich over pairs), and as the chance that the first of two equal responses wins; from
    the matches of one judgment, all replications.
    """
    columns: list[tuple[int, int, float, str]] = []
    grades = {each.id: each.truth for each in lists if isinstance(each, CandidateSet)}
    counted: dict[str, list[float]] = {"equal": [], "better": [], "worse": []}
    at = 0
    for item, replications in played[1].items():
        n, truth = len(replications[0].score), grades[item]
        assert truth is not None
        for matrix, (i, j) in product(replications, permutations(range(n), 2)):
            if matrix.votes[i, j]:
                won = float(matrix.score[i, j])
                kind = "equal" if truth[i] == truth[j] else "better" if truth[i] > truth[j] else "worse"
                counted[kind].append(won)
                columns.append((at + i, at + j, won, f"{item}:{min(i, j)}-{max(i, j)}"))
        at += n
    first, second, score, clusters = zip(*columns)
    fit = bradley_terry(at, first, second, score, prior=prior, clusters=np.unique(clusters, return_inverse=True)[1])
    chance = {k: 1 / (1 + np.exp(-getattr(fit.bias, k))) for k in ("value", "lo", "hi")}
    shares = {f"first_wins_{kind}": float(np.nanmean(wins)) if wins else np.nan for kind, wins in counted.items()}
    head = {"profile": profile, "seed": str(seed), "n": fit.matches, "unread": fit.unread, "prior": prior, **shares}
    odds = {f"log_odds_{k}": getattr(fit.bias, k) for k in ("value", "lo", "hi")}
    return pd.DataFrame([{**head, **chance, **odds}])
