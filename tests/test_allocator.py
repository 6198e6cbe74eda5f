"""Freed memory stays with the process, where the C library can be told."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

GROWN = """
import os, sys
from pathlib import Path
from rrmlib.allocator import keep
import torch
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
told = keep() if sys.argv[1] == "keep" else None
before = resident()
blocks = [torch.ones(4 << 20) for _ in range(8)]  # 16 MiB each
held = resident() - before
del blocks
print(told, held, resident() - before)
"""


def grown(how: str) -> tuple[str, int, int]:
    """What `keep` said, and MiB more than before while 128 MiB are held, and once they are free."""
    told = ("LD_PRELOAD", "MALLOC_", "GLIBC_TUNABLES")  # an allocator of the user's own, or told by him already
    plain = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    command = [sys.executable, "-c", GROWN, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    said, held, freed = done.stdout.split()
    return said, int(held), int(freed)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: nothing is told to it")
def test_freed_blocks_stay_with_the_process():
    told, held, freed = grown("keep")
    assert told == "True"
    assert held >= 128
    assert freed >= 128
    assert grown("leave")[2] < 64


def test_without_mallopt_nothing_happens(monkeypatch):
    from rrmlib import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep() is False
