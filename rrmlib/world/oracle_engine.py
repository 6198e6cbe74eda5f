"""Engines in the place of the world's programs: which one, and its texts, kept so that nothing is paid for twice.

Left out: what is asked (`distil.py`, `findings/solver.py`).

    spec = oracle_spec({"engine": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:8000/v1"}}, "first")
    completions = asked(spec, [messages, ...], seed=0)
    open_, spec = opener({"engine": "vllm", "max_tokens": 4096}, "draw")      # a parent's own samples, at scale
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rrmlib.artefact import root
from rrmlib.comparison import Message
from rrmlib.engines.base import Completion, Engine, Request, Sampling, sample_seed, store_key
from rrmlib.judge import open_engine
from rrmlib.params import JudgeSpec, ParameterError
from rrmlib.store import Store

STORE = Path("runs", "oracles.sqlite")
_FIELDS = ("engine", "model", "options", "temperature", "top_p", "max_tokens", "seed", "stop", "template_args")


def oracle_spec(given: Any, where: str) -> JudgeSpec:
    """From a mapping or an address. Raises ParameterError that names `where`."""
    given = {"model": given} if isinstance(given, str) else given
    if not isinstance(given, dict):
        raise ParameterError(f"{where}: expected a model's address or a mapping, found {given!r:.60}")
    if unknown := sorted(set(map(str, given)) - {*_FIELDS}):
        raise ParameterError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(_FIELDS)}")
    spec = JudgeSpec.parse({"name": "oracle", "engine": "hf", "format": "rm_r1", **given}, where)
    if spec.engine in ("heuristic", "scalar", "recorded") or spec.model.startswith("lab:"):
        raise ParameterError(f"{where}: {spec.engine} {spec.model} cannot be an oracle: one that writes, no lab: model")
    return spec


def opener(given: Any, where: str) -> tuple[Callable[[Path], Engine], JudgeSpec]:
    """How to open a model folder with the engine of `given` (engine, max_tokens, temperature, options), and its spec.
    Raises ParameterError that names `where`."""
    if isinstance(given, dict) and "model" in given:
        raise ParameterError(f"{where}: takes no model: it is the one that training starts from")
    spec = oracle_spec({"model": "path:.", **given} if isinstance(given, dict) else given, where)
    return lambda folder: open_engine(spec.model_copy(update={"model": f"path:{folder}"})), spec


def asked(spec: JudgeSpec, shown: Sequence[Sequence[Message]], seed: int) -> list[Completion]:
    """One completion per conversation; what runs/oracles.sqlite holds is not asked again. Raises EngineError."""
    drawn = Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.stop)
    given = tuple(sorted((name, json.dumps(value)) for name, value in spec.template_args.items()))
    requests = []
    for messages in shown:
        request = Request(messages=tuple(messages), sampling=drawn, template_args=given)
        requests.append(replace(request, seed=sample_seed(seed + spec.seed, request.prompt_hash, 0)))
    engine = open_engine(spec)
    try:
        with Store(root() / STORE) as store:
            return ask(engine, requests, store)
    finally:
        engine.close()


def ask(engine: Engine, requests: Sequence[Request], store: Store) -> list[Completion]:
    """One completion per request, from the store where it is there, else generated and committed batch by batch."""
    keys = [store_key(engine, request) for request in requests]
    done = store.get(keys)
    missing = list({key: request for key, request in zip(keys, requests) if key not in done}.values())
    for batch in engine.generate(missing) if missing else ():
        store.put(engine, [(missing[index], completion) for index, completion in batch])
    done |= store.get([key for key in keys if key not in done], errors=True)
    return [done.get(key, Completion("", "error", error="nothing came back")) for key in keys]
