"""Work side by side: in order, begun at once, the caller taking its part, and no error lost."""

import threading

import pytest

from rrmlib.train import trainer
from rrmlib.train.trainer import side_by_side


@pytest.mark.parametrize("here", [0, 1, 2])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_results_are_in_order_and_the_first_are_the_callers(n, here):
    ran = side_by_side(lambda i: (i, threading.current_thread() is threading.main_thread()), range(n), here)
    assert ran == [(i, i < here) for i in range(n)]


def test_there_is_no_thread_where_nothing_is_left_for_one(monkeypatch):
    monkeypatch.setattr(trainer, "ThreadPoolExecutor", None)
    assert side_by_side(str, range(2), here=2) == ["0", "1"]


def test_all_run_at_once():
    together = threading.Barrier(3, timeout=20)  # broken unless three wait for it at the same time
    assert sorted(side_by_side(lambda i: together.wait(), range(3))) == [0, 1, 2]


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_of_any_share_is_the_callers(failing):
    def run(i):
        if i == failing:
            raise ValueError(f"share {i}")

    with pytest.raises(ValueError, match=f"share {failing}"):
        side_by_side(run, range(3))
