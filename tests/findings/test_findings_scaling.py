"""Pools, and strategies on one footing: what k votes, budgets and stopping rules earn and cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakelab import says, splits

from rrmlib.engines.base import ContinuationScore
from rrmlib.findings import judgments, pools, scaling
from rrmlib.judgment import Reading, State
from rrmlib.params import ParameterError
from rrmlib.prompt import load_prompt
from rrmlib.stopping import beta, certain

SHOWN = splits()["test"]
MIXED = {"careful": 0.5, "guess": 0.5}


@pytest.fixture(scope="module")
def said():
    return says(SHOWN, "j", "rrm_compact", MIXED, samples=4, mute=0.05)


@pytest.fixture(scope="module")
def one(said):
    return pools.of(SHOWN, said, "j")


def test_a_pool_is_in_item_order_whatever_was_shown_first():
    first = pools.of(SHOWN, says(SHOWN, "j", "rrm_compact", {"first": 1.0}, samples=2))
    assert first.orders.tolist() == [0, 1, 0, 1]
    assert (first.choices == [1, 0, 1, 0]).all()
    careful = pools.of(SHOWN, says(SHOWN, "j", "rrm_compact", {"careful": 1.0}))
    assert (careful.choices == careful.labels[:, None]).all()


def test_an_unreadable_judgment_casts_no_vote_and_costs_its_tokens(said, one):
    lost = [j for j in said if j.state is not State.READ]
    assert lost
    assert np.isnan(one.choices).sum() == len(lost)
    assert one.tokens.sum() == sum(j.tokens for j in said)
    assert one.said[3][5].text == next(
        j.text for j in said if (j.item, str(j.order), j.sample) == (one.units["item"][3], "BA", 2)
    )


def test_pools_that_are_not_whole_are_refused(said):
    with pytest.raises(ValueError, match="1 items were judged at other samples or orders"):
        pools.of(SHOWN, said[:-1], "j")
    with pytest.raises(ParameterError, match="judged none of these"):
        pools.of(SHOWN, [replace(j, item="else") for j in said], "j")


def test_scores_are_kept_in_item_order_beside_choices():
    graded = pools.of(SHOWN, says(SHOWN, "g", "grm_compact", {"careful": 1.0}, mute=0.1), "g")
    assert graded.scores.shape == (*graded.choices.shape, 2)
    read = ~np.isnan(graded.choices)
    assert (np.isnan(graded.scores).any(axis=2) == ~read).all()
    lead = np.sign(graded.scores[..., 0] - graded.scores[..., 1])
    assert (lead[read] == 2 * graded.choices[read] - 1).all()


def test_one_vote_is_the_mean_single_judgment_and_all_of_them_the_plain_vote(said, one):
    units = scaling.votes(one, [1, 8])
    rows = judgments.readings(SHOWN, said, judge="j", mode="sampled")
    single = rows.groupby("item")["credit"].mean()
    at = units[units["k"] == 1].set_index("item")["credit"]
    assert at.to_numpy() == pytest.approx(single[at.index].to_numpy())
    lead = np.nansum(np.where(np.isnan(one.choices), 0, 2 * one.choices - 1), axis=1)
    plain = 0.5 + 0.5 * np.sign(lead) * (2 * one.labels - 1)
    assert units[units["k"] == 8]["credit"].to_numpy() == pytest.approx(plain)
    assert units[units["k"] == 8]["tokens"].to_numpy() == pytest.approx(one.tokens.sum(axis=1))


def test_votes_help_a_judge_that_is_right_more_often_than_not(one):
    table = scaling.accuracy(scaling.votes(one, [1, 8], profile="p", seed=3))
    all_of = table[table["section"] == "overall"].set_index("k")
    assert all_of["value"][8] > all_of["value"][1] + 0.05
    assert set(table["seed"]) == {"3"}


@pytest.mark.parametrize(
    ("how", "message"), [("soft", "need p_first"), ("sum", "gives no scores"), ("best", "how must be majority")]
)
def test_a_vote_that_the_pool_has_no_data_for(one, how, message):
    with pytest.raises(ValueError, match=message):
        scaling.votes(replace(one, scores=np.zeros((*one.choices.shape, 2))) if how == "best" else one, [1], how=how)


def test_the_meta_rm_that_knows_what_is_right_keeps_the_right_half():
    graded = pools.of(SHOWN, says(SHOWN, "g", "grm_compact", {"careful": 0.2, "guess": 0.8}, samples=2), "g")
    knows = 1.0 * (graded.choices == graded.labels[:, None])
    best, plain = (scaling.votes(graded, [4], how=how, meta=knows)["credit"].mean() for how in ("meta", "sum"))
    assert best > plain
    half, none = (
        scaling.votes(graded, [4], how="meta", meta=knows, meta_size=m)["tokens"].to_numpy() for m in (0.5, 0)
    )
    assert half == pytest.approx(1.5 * none)  # what it reads of the judgments is paid for, by its size
    assert none == pytest.approx(scaling.votes(graded, [4], how="sum")["tokens"].to_numpy())
    with pytest.raises(ValueError, match="need the meta RM"):
        scaling.votes(graded, [8], how="meta")


class Sure:
    """Gives a verdict's token the probability 0.9 where the text's own verdict is that, else 0.1."""

    def __init__(self, said):
        self.said = {j.text[: j.text.rfind(" ", 0, -2)]: j.text[j.text.rfind(" ", 0, -2) :][:2] for j in said}
        self.asked = []

    def score(self, requests, continuations):
        self.asked += [r.prefill for r in requests]
        chance = [0.9 if self.said[r.prefill] == c else 0.1 for r, c in zip(requests, continuations)]
        return [ContinuationScore(math.log(p), (math.log(p),)) for p in chance]


def test_soft_votes_ask_for_the_verdicts_own_token(said):
    careful = says(SHOWN, "c", "rrm_compact", {"careful": 1.0}, mute=0.1)
    few = pools.of(SHOWN, careful, "c").at(range(6))
    engine = Sure([j for row in few.said for j in row])
    p_first = pools.soft(few, engine, load_prompt("rrm_compact"), SHOWN)
    read = ~np.isnan(few.choices)
    assert (np.isnan(p_first) == ~read).all()
    assert p_first[read] == pytest.approx(np.where(few.choices[read] == 1, 0.9, 0.1))
    assert all(text.endswith("\\boxed{Assistant") for text in engine.asked)
    with pytest.raises(ValueError, match="no two-way verdict"):
        pools.soft(few, engine, load_prompt("grm_compact"), SHOWN)


def test_stopping_for_certain_costs_less_and_changes_nothing(one):
    units, savings = scaling.stopped(one, [certain(8), beta(8, 0.2)])
    sure = savings[(savings["strategy"] == "certain") & (savings["section"] == "all")].iloc[0]
    assert (sure["value"], sure["differs"]) == (0, 0)
    assert 0.4 < sure["share"] < 1
    full = scaling.votes(one, [8]).set_index("item")["credit"]
    mine = units[units["strategy"] == "certain"].set_index("item")["credit"]
    assert mine[full.index].to_numpy() == pytest.approx(full.to_numpy())
    assert (savings["differs"] <= savings["declared"] + 1e-9).all()


def test_a_budget_spread_by_uncertainty_goes_where_judges_disagree(one):
    units = scaling.spent(one, [3.0], k_max=8)
    mine = units[units["strategy"] == "spread by doubt"].set_index("item")
    wavers = np.nanmean(np.abs(one.choices - np.nanmean(one.choices, axis=1, keepdims=True)), axis=1)
    assert mine["votes"][one.units["item"]].to_numpy()[wavers > 0.4].mean() > mine["votes"].mean()
    assert mine["tokens"].mean() <= 3.5 * one.tokens.mean()


def test_asking_once_budgets_and_where_they_were_forced():
    full = says(SHOWN, "full", "rrm_compact", {"careful": 1.0})
    cut = [replace(j, judge="b8", finish="budget" if i % 4 == 0 else "stop") for i, j in enumerate(full)]
    cut[0] = replace(cut[0], reading=Reading(State.TRUNCATED))
    rows = pd.concat(judgments.readings(SHOWN, s, judge=n, mode="greedy") for n, s in (("full", full), ("b8", cut)))
    table = scaling.budgets(rows, {"8": "b8"}, "full")
    overall = table[table["section"] == "overall"].set_index("budget")
    assert overall["value"][math.inf] == 1
    assert overall["forced"].to_dict() == {8.0: pytest.approx(0.25, abs=0.02), math.inf: 0}
    assert table.loc[table["budget"] == 8, "unread"].max() > 0
    assert overall["value"][8.0] < 1


def test_the_frontier_holds_what_nothing_cheaper_is_as_good_as():
    rows = [("a", 10, 0.6), ("b", 20, 0.6), ("c", 20, 0.7), ("d", 30, 0.65), ("e", 40, 0.8)]
    table = pd.DataFrame(rows, columns=["strategy", "tokens", "value"]).assign(section="overall")
    assert scaling.frontier(table).set_index("strategy")["best"].to_dict() == {
        "a": True, "b": False, "c": True, "d": False, "e": True
    }  # fmt: skip


def test_differences_are_paired_and_name_what_is_missing(one):
    units = scaling.votes(one, [1, 8])
    (row,) = scaling.differences(units, [{"a": ["j", "majority", 8], "b": ["j", "majority", 1], "least": 0.0}]).to_dict(
        "records"
    )
    assert row["value"] > 0
    assert row["share"] == pytest.approx(8)
    assert row["verdict"] == "supported"
    with pytest.raises(ValueError, match="no units of"):
        scaling.differences(units, [{"a": ["j", "majority", 3], "b": ["j", "majority", 1]}])


def test_published_points_name_their_paper():
    table = scaling.published()
    assert set(table["paper"]) == {"2505.14674", "2504.02495"}
    assert table["value"].between(0.6, 1).all()
