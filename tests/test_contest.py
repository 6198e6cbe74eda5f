"""Tournaments with a live judge: one batch a round, and a killed one goes on from the store to the same end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_judge import Oracle, oracle

from rrmlib.comparison import CandidateSet, ask
from rrmlib.contest import contest
from rrmlib.engines.base import Completion, EngineError
from rrmlib.judge import Judge
from rrmlib.schedulers import Knockout, RoundRobin
from rrmlib.store import Store

SETS = [
    CandidateSet(id=f"q{i}", query=ask(f"How many is {i}?"), responses=tuple(f"{'x' * (n + 1)}" for n in range(6)))
    for i in range(3)
]


class Longest(Oracle):
    """Prefers the longer response, whatever the order; counts its calls."""

    calls_of_generate = 0

    def generate(self, requests):
        self.calls_of_generate += 1
        for index, request in enumerate(requests):
            if len(self.calls) >= self.die_after:
                raise EngineError("the machine is on fire")
            self.calls.append(request)
            text = request.messages[-1].content
            first, second = (text.split(f"### Assistant {n}\n")[1].split("\n")[0] for n in (1, 2))
            best = 1 if len(first) > len(second) else 2
            yield [(index, Completion(f"hm </think> \\boxed{{Assistant {best}}}", "stop", tokens=5))]


def knockouts(sets=SETS):
    return {each.id: Knockout(len(set(each.responses)), item=each.id) for each in sets}


def judge(die_after: int = 10**9, **fields) -> Judge:
    return replace(oracle(**fields), engine=Longest(die_after))


def test_every_round_is_one_batch_over_all_items_and_the_best_is_found():
    one = judge()
    with Store(":memory:") as store:
        played = contest(one, SETS, knockouts(), store)
    assert one.engine.calls_of_generate == 3  # of 6: two matches, then two, then one
    assert {item: knockouts()[item].pick(results) for item, results in played.items()} == dict.fromkeys(played, 5)
    assert all(len(results) == 5 for results in played.values())
    assert {(m.votes, m.unread, m.tokens) for results in played.values() for m in results} == {(2, 0, 10)}


@pytest.mark.parametrize("die_after", [0, 5, 14, 25])
def test_a_contest_that_was_killed_goes_on_from_the_store_to_the_same_end(tmp_path, die_after):
    with Store(":memory:") as store:
        whole = contest(oracle(), SETS, knockouts(), store)
    dying = oracle()
    dying.engine.die_after = die_after
    with Store(tmp_path / "s.sqlite") as store, pytest.raises(EngineError, match="on fire"):
        contest(dying, SETS, knockouts(), store)
    again = oracle()
    with Store(tmp_path / "s.sqlite") as store:
        assert contest(again, SETS, knockouts(), store) == whole
    assert len(again.engine.calls) < 30 or die_after < 7  # whole batches of seven were kept


def test_duplicates_play_once():
    twice = replace(SETS[0], responses=("a", "bbb", "a", "cc"))
    with Store(":memory:") as store:
        played = contest(judge(), [twice], {"q0": RoundRobin(3, item="q0")}, store)["q0"]
    assert len(played) == 3
    assert RoundRobin(3, item="q0").pick(played) == 1  # the second different text


def test_a_tournament_of_another_size_is_named():
    with Store(":memory:") as store, pytest.raises(ValueError, match="q0: 6 different responses, but 4 in its"):
        contest(judge(), SETS, {each.id: Knockout(4) for each in SETS}, store)
    with Store(":memory:") as store, pytest.raises(ValueError, match="no scheduler"):
        contest(judge(), SETS, {}, store)


def test_sets_that_share_an_id_are_refused():
    other = replace(SETS[1], id="q0")
    with Store(":memory:") as store, pytest.raises(ValueError, match="set 'q0' is there more than once"):
        contest(judge(), [SETS[0], other], knockouts(), store)
