"""Adaptive votes with a live judge: ask, look, and ask again only where it is still open; the store is the memory.

An item's votes are its judgments by sample, and of each sample first the order that `placement` gives (a hash of the
content), then the other: exchanging the responses of an item changes nothing that is asked. Each round sends the votes
of all open items to the engine together. `poll` stops an item by a rule of `stopping.py`, with the error rate that the
rule declares; `poll_budget` spreads a number of tokens by doubt. What is asked is a pure function of the votes so far,
so a poll that was killed asks the same again, finds it in the store, and goes on to the same end; and on a stored pool
`spending.replay` and `spending.spread` say beforehand what it will ask.

A vote that cannot be read is a vote that was paid for: it counts as asked, for neither side.

Left out: rules (`stopping.py`), what they save on average (`spending.compare`), tournaments (`contest.py`).

    with Store("traces.sqlite") as store:
        said = poll(open_judge(spec), comparisons, beta(16, 0.05), store)     # spec: temperature above 0
        said.run.verdict, said.run.asked, said.judgments
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rrmlib.comparison import Comparison
from rrmlib.judge import Judge, run
from rrmlib.judgment import Judgment
from rrmlib.score import CHOICE_VALUE, once
from rrmlib.spending import Run, expected_price, majority, next_votes
from rrmlib.stopping import Rule, next_asks, settle
from rrmlib.store import Store
from rrmlib.vote import Floats, Ints

Asks = Callable[[Floats, Ints, Floats], Ints]  # votes, asked, cost [items, votes] -> how many more for each item


@dataclass(frozen=True, eq=False)
class Polled:
    """`run` (arrays by item, as in a replay; `cost` in generated tokens), and every judgment that was asked for."""

    run: Run
    judgments: tuple[Judgment, ...]


def poll(
    judge: Judge,
    items: Sequence[Comparison],
    rule: Rule,
    store: Store,
    *,
    batch: int = 1,
    benchmark: str = "poll",
    quiet: bool = True,
) -> Polled:
    """Ask until the rule settles every item. `batch`: the least votes an item is asked for at once (`next_asks`).

    Raises ValueError for a judge that says the same every time, items that share an id, and tokens that the engine does
    not count; EngineError as `judge.run`: what was committed stays, and the same call goes on.
    """
    asker = _Poll(judge, items, rule.k_max, store, benchmark, quiet)
    asker.ask(lambda votes, asked, _: next_asks(rule, votes, asked, batch=batch))
    done = settle(rule, asker.votes, asker.asked)
    return asker.polled(done.verdict, done.used, done.boundary)


def poll_budget(
    judge: Judge,
    items: Sequence[Comparison],
    budget: float,
    store: Store,
    *,
    k_max: int,
    width: int,
    per_vote: float,
    seed: int = 0,
    benchmark: str = "poll",
    quiet: bool = True,
) -> Polled:
    """Spend `budget` generated tokens, a round of at most `width` votes at a time, where the leader is least sure.

    `per_vote` is what a vote is expected to cost before any was seen. A round may come out dearer than expected; no
    further one is begun then. Raises as `poll`, and ValueError for numbers that `spending.next_votes` refuses.
    """
    if not budget >= 0 or per_vote <= 0 or width < 1:
        raise ValueError(f"need budget >= 0, per_vote > 0 and width >= 1, not {budget}, {per_vote} and {width}")
    asker = _Poll(judge, items, k_max, store, benchmark, quiet)

    def asks(votes: Floats, asked: Ints, cost: Floats) -> Ints:
        paid = cost.sum(axis=1)
        price = expected_price(paid, asked, float(per_vote))
        left = max(budget - float(paid.sum()), 0.0)
        names = [item.id for item in items]
        return next_votes(votes, asked, width, k_max=k_max, left=left, price=price, ids=names, seed=seed)

    asker.ask(asks)
    return asker.polled(majority(asker.votes), asker.asked, np.zeros(len(items), dtype=bool))


class _Poll:
    """The votes so far, and the judgments they come from."""

    def __init__(
        self, judge: Judge, items: Sequence[Comparison], k_max: int, store: Store, benchmark: str, quiet: bool
    ) -> None:
        once(items, "item", "votes are counted by id")
        sides = 2 if judge.spec.orders == "both" else 1
        if judge.spec.temperature == 0 and k_max > sides:
            raise ValueError(
                f"judge {judge.spec.name!r}: at temperature 0 every sample is the same, so {k_max} votes are no more "
                f"than {sides}: set a temperature"
            )
        self.judge = replace(judge, spec=judge.spec.model_copy(update={"samples": -(-k_max // sides)}))
        self.items, self.store, self.benchmark, self.quiet = items, store, benchmark, quiet
        self.votes = np.full((len(items), k_max), np.nan)
        self.cost = np.zeros((len(items), k_max))
        self.asked: Ints = np.zeros(len(items), dtype=np.intp)
        self.said: dict[str, list[Judgment]] = {item.id: [] for item in items}
        self.rounds = 0

    def ask(self, asks: Asks) -> None:
        while (more := asks(self.votes, self.asked, self.cost)).any():
            self.asked, self.rounds = self.asked + more, self.rounds + 1
            open_ = [item for item, n in zip(self.items, more) if n]
            votes = {item.id: int(n) for item, n in zip(self.items, self.asked)}
            done = run(self.judge, open_, self.store, benchmark=self.benchmark, quiet=self.quiet, votes=votes)
            self.said |= {item.id: [] for item in open_}
            for j in done.judgments:
                self.said[j.item].append(j)
            for i, item in enumerate(self.items):
                for n, j in enumerate(self.said[item.id] if more[i] else ()):
                    verdict = j.in_item_order().verdict
                    self.votes[i, n] = CHOICE_VALUE[verdict.choice] if verdict else np.nan
                    if j.tokens < 0:
                        raise ValueError(f"judge {j.judge!r} does not count its tokens: what a poll costs is unknown")
                    self.cost[i, n] = j.tokens

    def polled(self, verdict: Floats, used: Ints, boundary: np.ndarray) -> Polled:
        cost = self.cost.sum(axis=1)
        said = tuple(j for item in self.items for j in self.said[item.id])
        return Polled(Run(verdict, used, self.asked, cost, boundary, self.rounds), said)
