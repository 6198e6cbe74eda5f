"""Benchmarks, one file each: load and validate, official aggregation, recorded judgments of that source."""

from __future__ import annotations

from importlib import import_module

from rrmlib.benchmarks.base import Benchmark

NAMES = (
    "builtin",
    "rewardbench",
    "rewardbench2",
    "rm_bench",
    "rmb",
    "ppe",
    "pandalm",
    "judgebench",
    "llmbar",
    "autoj",
    "rm_r1",
    "amel_llmbar",
    "pairs",
)


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises ValueError that lists the known names."""
    if name not in NAMES:
        raise ValueError(f"unknown benchmark {name!r}; known: {', '.join(NAMES)}")
    record: Benchmark = import_module(f"rrmlib.benchmarks.{name}").BENCHMARK
    return record
