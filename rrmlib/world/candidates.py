"""Candidates for tournaments: lists of eight responses, and every pair of each list as a comparison; lists to tune on.

Of split test (`valid_lists`: of valid), and only judged: no model is trained on them, so the worlds that models are
made from do not know them (`lab.SPLITS`). The same for every seed, profile and machine: `DIGEST` is the hash of the
lists.

Left out: the lists of three and four that models are trained and tested on (`data.py`), schedules (`tournament.py`).

    sets = candidates()          # 66 CandidateSets; pairs() has the 28 pairs of each
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal

from rrmlib.comparison import CandidateSet, Comparison
from rrmlib.world.pairs import candidate_sets, digest

Label = Literal["first", "second", "tie"]
EACH, SIZE, SEED = 22, 8, 8  # of each family; a seed of their own, so that ids differ from those of test-lists
DIGEST = "c3280f5df3b091ba9e5ae40470461cc4a3ecc4706bb358c6bad6dc44e4855881"


@lru_cache(maxsize=1)
def candidates() -> list[CandidateSet]:
    """The lists. Raises RuntimeError where they are not the ones whose hash stands here."""
    drawn: dict[str, list[CandidateSet]] = {}
    for each in candidate_sets("test", 20 * EACH, SEED, sizes=(SIZE,)):  # eight answers seldom differ: many are drawn
        drawn.setdefault(each.subset, []).append(each)
    found = [each for family in sorted(drawn) for each in drawn[family][:EACH]]
    if digest(found) != DIGEST:
        raise RuntimeError(f"the candidates are not the frozen ones ({digest(found)[:12]}, not {DIGEST[:12]})")
    return found


def valid_lists() -> list[CandidateSet]:
    """240 lists of four of split valid: what judges of lists are tuned on."""
    return candidate_sets("valid", 240, SEED)


def pairs() -> list[Comparison]:
    """Every pair of every list."""
    return pairs_of(candidates())


def pairs_of(lists: Sequence[CandidateSet]) -> list[Comparison]:
    """`id` is "<list>:<i>-<j>" with i < j, the label follows from the truth (tie where both are as good)."""
    out = []
    for each in lists:
        assert each.truth is not None
        for i, j in combinations(range(len(each.responses)), 2):
            a, b = each.truth[i], each.truth[j]
            label: Label = "first" if a > b else "second" if b > a else "tie"
            out.append(
                Comparison(
                    id=f"{each.id}:{i}-{j}",
                    query=each.query,
                    first=each.responses[i],
                    second=each.responses[j],
                    label=label,
                    source=each.source,
                    subset=each.subset,
                    difficulty=each.difficulty,
                    cluster=each.cluster,
                )
            )
    return out
