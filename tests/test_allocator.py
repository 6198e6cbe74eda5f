"""Freed memory stays with the process, where the C library can be told."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from rrmlib.allocator import keep
import torch
told = keep() if sys.argv[1] == "keep" else None
def step():
    blocks = [torch.ones(4 << 20) for _ in range(8)]  # 16 MiB each
    del blocks
for _ in range(2):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[str, int]:
    told = ("LD_PRELOAD", "MALLOC_", "GLIBC_TUNABLES")  # an allocator of the user's own, or told by him already
    plain = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    said, count = done.stdout.split()
    return said, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: nothing is told to it")
def test_blocks_that_are_kept_are_not_cleared_again():
    told, kept = faults("keep")
    assert told == "True"
    assert 2 * kept < faults("leave")[1]


def test_without_mallopt_nothing_happens(monkeypatch):
    from rrmlib import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep() is False
