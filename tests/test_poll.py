"""Adaptive votes with a live judge: it asks what the replay of its pool says, and resumes to the same end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_judge import ITEMS, Oracle, oracle

from rrmlib.engines.base import Completion, EngineError
from rrmlib.judge import Judge, run
from rrmlib.poll import poll, poll_budget
from rrmlib.score import CHOICE_VALUE
from rrmlib.spending import replay, spread
from rrmlib.stopping import beta, certain
from rrmlib.store import Store

K = 8


class Rounds(Oracle):
    """The oracle, and how many requests came with each call; texts differ in length."""

    def __init__(self, die_after: int = 10**9):
        super().__init__(die_after)
        self.rounds: list[int] = []

    def generate(self, requests):
        self.rounds.append(len(requests))
        for batch in super().generate(requests):
            yield [(i, replace(c, tokens=4 + len(c.text) % 5)) for i, c in batch]


def judge(die_after: int = 10**9, **fields) -> Judge:
    return replace(oracle(**{"temperature": 1.0} | fields), engine=Rounds(die_after))


def pool(one: Judge, items=ITEMS):
    """What all K votes would say: choices and tokens [items, K], in the order in which votes are asked for."""
    full = replace(one, spec=one.spec.model_copy(update={"samples": K // (2 if one.spec.orders == "both" else 1)}))
    with Store(":memory:") as store:
        said = run(full, items, store, quiet=True, votes=dict.fromkeys([item.id for item in items], K)).judgments
    verdicts = [j.in_item_order().verdict for j in said]
    choices = np.array([CHOICE_VALUE[v.choice] if v else np.nan for v in verdicts]).reshape(len(items), K)
    return choices, np.array([j.tokens for j in said]).reshape(len(items), K)


@pytest.mark.parametrize("orders", ["both", "single"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("rule", [certain(K), beta(K, 0.1)], ids=lambda rule: rule.name)
def test_it_asks_what_the_replay_of_its_pool_says(rule, batch, orders):
    live = judge(orders=orders)
    choices, tokens = pool(judge(orders=orders))
    said = replay(rule, choices, tokens, batch=batch)
    with Store(":memory:") as store:
        done = poll(live, ITEMS, rule, store, batch=batch)
    for name in ("verdict", "used", "asked", "cost", "boundary", "rounds"):
        np.testing.assert_array_equal(getattr(done.run, name), getattr(said, name), err_msg=name)
    assert len(live.engine.rounds) == said.rounds  # one call of the engine a round, over all items
    assert sum(live.engine.rounds) == said.asked.sum() == len(done.judgments) <= K * len(ITEMS)
    assert np.isnan(choices).any()  # unreadable votes were asked for, and counted


def test_a_budget_is_spent_as_the_replay_of_the_pool_says():
    choices, tokens = pool(judge())
    names = [item.id for item in ITEMS]
    said = spread(choices, 300.0, tokens, per_vote=6.0, width=5, k_max=K, ids=names)
    with Store(":memory:") as store:
        done = poll_budget(judge(), ITEMS, 300.0, store, k_max=K, width=5, per_vote=6.0)
    for name in ("verdict", "used", "asked", "cost", "rounds"):
        np.testing.assert_array_equal(getattr(done.run, name), getattr(said, name), err_msg=name)
    assert 0 < done.run.cost.sum() <= 330
    with Store(":memory:") as store:
        nothing = poll_budget(judge(), ITEMS, 0.0, store, k_max=K, width=5, per_vote=6.0)
    assert nothing.run.asked.sum() == 0
    assert np.isnan(nothing.run.verdict).all()


@pytest.mark.parametrize("die_after", [0, 6, 30, 60])
def test_a_poll_that_was_killed_goes_on_to_the_same_end(tmp_path, die_after):
    with Store(":memory:") as store:
        whole = poll(judge(), ITEMS, beta(K, 0.1), store)
    with Store(tmp_path / "s.sqlite") as store, pytest.raises(EngineError, match="on fire"):
        poll(judge(die_after), ITEMS, beta(K, 0.1), store)
    again = judge()
    with Store(tmp_path / "s.sqlite") as store:
        done = poll(again, ITEMS, beta(K, 0.1), store)
        assert len(store.judgments(benchmark="poll")) == len(done.judgments)
    assert done.judgments == whole.judgments
    np.testing.assert_array_equal(done.run.verdict, whole.run.verdict)
    kept = len(done.judgments) - len(again.engine.calls)
    assert kept >= die_after - 7  # whole batches of seven


@pytest.mark.parametrize("rule", [certain(K), beta(K, 0.1)], ids=lambda rule: rule.name)
def test_swapping_every_item_swaps_every_verdict_and_asks_the_same(rule):
    one, other = judge(), judge()
    with Store(":memory:") as store:
        said = poll(one, ITEMS, rule, store).run
    with Store(":memory:") as store:
        swapped = poll(other, [item.swap() for item in ITEMS], rule, store).run
    np.testing.assert_array_equal(swapped.verdict, 1 - said.verdict)
    np.testing.assert_array_equal(swapped.asked, said.asked)
    assert [(r.prompt_hash, r.seed) for r in other.engine.calls] == [(r.prompt_hash, r.seed) for r in one.engine.calls]


def test_nothing_to_ask_and_what_is_refused():
    with Store(":memory:") as store:
        assert poll(judge(), [], certain(K), store).judgments == ()
        with pytest.raises(
            ValueError, match="at temperature 0 every sample is the same, so 8 votes are no more than 2"
        ):
            poll(judge(temperature=0.0), ITEMS, certain(K), store)
        assert poll(judge(temperature=0.0), ITEMS, certain(2), store).run.asked.max() == 2
        with pytest.raises(ValueError, match="item 'q0' is there more than once"):
            poll(judge(), [ITEMS[0], ITEMS[0]], certain(K), store)
        for wrong in ({"budget": -1.0}, {"per_vote": 0.0}, {"width": 0}):
            given = {"budget": 10.0, "per_vote": 1.0, "width": 2} | wrong
            with pytest.raises(ValueError, match="need budget >= 0, per_vote > 0 and width >= 1"):
                poll_budget(
                    judge(), ITEMS, given["budget"], store, k_max=K, **{k: given[k] for k in ("per_vote", "width")}
                )

    class Silent(Rounds):
        def generate(self, requests):
            yield [(i, Completion("</think> \\boxed{Assistant 1}", "stop")) for i in range(len(requests))]

    with Store(":memory:") as store, pytest.raises(ValueError, match="does not count its tokens"):
        poll(replace(judge(), engine=Silent()), ITEMS, certain(K), store)
