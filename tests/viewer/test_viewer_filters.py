"""Filters, search and order: cases worked by hand, which the page's JavaScript must answer alike."""

import json
from pathlib import Path

import pytest

from rrmlib.viewer.filters import FIELDS, NEVER, Query, flags, long_from, match, number, select, thresholds
from rrmlib.viewer.records import item_record

FILES = [json.loads((Path(__file__).parent / name).read_text("ascii")) for name in ("filters.json", "votes.json")]
ITEMS = FILES[0]["document"]["items"]


def query(stated):
    return Query(**{name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()})


def noted(worked):
    return {tuple(each) for each in worked["noted"]}


@pytest.mark.parametrize(
    ("worked", "case"),
    [(worked, case) for worked in FILES for case in worked["cases"]],
    ids=lambda part: part.get("why", part.get("about"))[:40],
)
def test_a_query_finds_what_was_worked_by_hand(worked, case):
    found = select(worked["document"]["items"], query(case["query"]), noted=noted(worked))
    assert [item["id"] for item in found] == case["ids"], case["why"]
    if "by" in case:
        assert [number(item, query(case["query"])) for item in found] == case["by"], case["why"]


@pytest.mark.parametrize("worked", FILES, ids=lambda worked: worked["about"][:20])
def test_flags_are_the_filters_that_let_an_item_through(worked):
    items = worked["document"]["items"]
    how = {"long": thresholds(items), "noted": noted(worked)}
    for item in items:
        found = flags(item, **how)
        assert found == worked["flags"][item["id"]], item["id"]
        assert all(match(item, Query(filters=(name,)), **how) for name in found)


def test_the_worked_document_has_the_fields_of_a_document():
    assert {*item_record(None)} == set(ITEMS[0])
    assert set(FIELDS) <= set(ITEMS[0])


def test_an_unknown_filter_or_sort_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown filter 'wrog'"):
        Query(filters=("wrog",))
    with pytest.raises(ValueError, match="unknown sort 'best'"):
        Query(sort="best")


def test_where_all_traces_are_as_long_none_is_long():
    assert long_from([0, 0, 0, 0]) == long_from([7]) == NEVER
    assert long_from([1, 2, 3, 4]) == 3


def test_never_are_more_than_half_of_a_judges_traces_long():
    assert long_from([17] * 84 + [18] * 16) == 18  # not 17: all would be
    assert long_from([16] + [17] * 99) == NEVER
    assert long_from([16] * 50 + [17] * 50) == 17
