"""A tournament with a live judge: each round of all items is one call of `judge.run`, and the store is its memory.

A match is judged as the judge's spec says: in both orders or in one (then the first of the pair is placed by content,
as everywhere), in so many samples. All matches of a round over all items go to the engine together. Nothing else is
kept: played again after a failure, the same tournament asks the same matches, finds what was judged in the store, and
goes on to the same end.

Duplicates play among the first of each text (`tournament.distinct`), for a judge shown a text twice says nothing.

Left out: schedules (`schedulers.py`), what they would have cost on recorded matches (`tournament.replay`).

    with Store("traces.sqlite") as store:
        results = contest(open_judge(spec), sets, {each.id: Knockout(len(each.responses)) for each in sets}, store)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rrmlib.comparison import CandidateSet, Comparison
from rrmlib.judge import Judge, run
from rrmlib.score import CHOICE_VALUE, once
from rrmlib.store import Store
from rrmlib.tournament import Match, Pair, Scheduler, distinct, play


def contest(
    judge: Judge,
    sets: Sequence[CandidateSet],
    schedulers: Mapping[str, Scheduler],
    store: Store,
    *,
    benchmark: str = "contest",
    quiet: bool = True,
) -> dict[str, tuple[Match, ...]]:
    """Every item's matches, in the order asked; `schedulers` is one per set, by id, of as many candidates as it has
    different responses (`distinct`: candidate c is the response distinct(responses)[c]).

    Raises ValueError for sets that share an id, a set without a scheduler or with another number of candidates, and
    what `judge.run` raises.
    """
    once(sets, "set", "matches are kept by id")
    known = {each.id: each for each in sets}
    seats = {each.id: distinct(each.responses) for each in sets}
    for item, places in seats.items():
        there = schedulers[item].n if item in schedulers else "no scheduler"
        if there != len(places):
            raise ValueError(f"{item}: {len(places)} different responses, but {there} in its tournament")

    def pair(item: str, a: int, b: int) -> Comparison:
        each, places = known[item], seats[item]
        first, second = each.responses[places[a]], each.responses[places[b]]
        return Comparison(id=f"{item}:{a}-{b}", query=each.query, first=first, second=second, cluster=each.cluster)

    def ask(asked: Sequence[tuple[str, Pair]]) -> Iterator[Match]:
        done = run(judge, [pair(item, *two) for item, two in asked], store, benchmark=benchmark, quiet=quiet)
        votes: dict[str, list[float]] = {}
        tokens: dict[str, list[int]] = {}
        for j in done.judgments:
            verdict = j.in_item_order().verdict
            votes.setdefault(j.item, []).append(CHOICE_VALUE[verdict.choice] if verdict else float("nan"))
            tokens.setdefault(j.item, []).append(j.tokens)
        for item, (a, b) in asked:
            name = f"{item}:{a}-{b}"
            spent = tokens[name]
            yield Match.of(a, b, votes[name], -1 if min(spent) < 0 else sum(spent))

    return play({item: schedulers[item] for item in known}, ask)
