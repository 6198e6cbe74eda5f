"""Filters, search and order: cases worked by hand, which the page's JavaScript must answer alike."""

import json
from pathlib import Path

import pytest

from rrmlib.viewer.filters import FIELDS, NEVER, Query, flags, long_from, match, select, thresholds
from rrmlib.viewer.records import item_record

WORKED = json.loads((Path(__file__).parent / "filters.json").read_text("ascii"))
ITEMS = WORKED["document"]["items"]
NOTED = {tuple(each) for each in WORKED["noted"]}


def query(stated):
    return Query(**{name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()})


@pytest.mark.parametrize("case", WORKED["cases"], ids=lambda case: case["why"][:40])
def test_a_query_finds_what_was_worked_by_hand(case):
    assert [item["id"] for item in select(ITEMS, query(case["query"]), noted=NOTED)] == case["ids"], case["why"]


def test_flags_are_the_filters_that_let_an_item_through():
    long = thresholds(ITEMS)
    for item in ITEMS:
        found = flags(item, long=long, noted=NOTED)
        assert found == WORKED["flags"][item["id"]]
        assert all(match(item, Query(filters=(name,)), long=long, noted=NOTED) for name in found)


def test_the_worked_document_has_the_fields_of_a_document():
    assert {*item_record(None)} == set(ITEMS[0])
    assert set(FIELDS) <= set(ITEMS[0])


def test_an_unknown_filter_or_sort_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown filter 'wrog'"):
        Query(filters=("wrog",))
    with pytest.raises(ValueError, match="unknown sort 'best'"):
        Query(sort="best")


def test_where_all_traces_are_as_long_none_is_long():
    assert long_from([0, 0, 0, 0]) == NEVER
    assert long_from([1, 2, 3, 4]) == 3
