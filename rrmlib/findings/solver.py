"""The control that never looks at how responses are judged: solve the query k times, pick the response that matches.

A model is asked the bare query (reasoning subsets only), as its base text asks it; the answer of a solution is its last
`so N`. The response with the answer of the majority is picked; half a credit where there is no majority (a tie, or no
solution can be read) or it is neither's, or both's. k makes the mean of generated tokens per comparison as near as it
gets to a judge's per judgment, and that of the row is the true one; what is read (prompts) is counted for neither.

Left out: comparisons of other worlds, whose answers would need a reader of their own.

    row = solver_match(lab, "base-s", against="rrm-s")          # a row beside those of `judgments.sections`
    rows = solver_rows(lab, "base-s", against="rrm-s")          # concat with `gather`'s for `differences`
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from rrmlib.comparison import Comparison, Order
from rrmlib.engines.base import Completion, Engine, Request, Sampling, sample_seed
from rrmlib.findings.judgments import KEYS, bounds, gather, problem
from rrmlib.findings.models import folder
from rrmlib.judge import open_engine
from rrmlib.judgment import State
from rrmlib.lab import Lab, items
from rrmlib.lab import store as traces
from rrmlib.params import JudgeSpec
from rrmlib.stats import clustered_mean
from rrmlib.store import Store
from rrmlib.world.oracle_engine import ask
from rrmlib.world.pairs import SECTION, shown_steps
from rrmlib.world.reasoning import claimed

_SO = re.compile(r"\bso (\d)\b")


def solver_match(lab: Lab, model: str, *, against: str, **how: Any) -> pd.DataFrame:
    """One row: profile, seed, judge, mode, section, against, k, n, value, lo, hi, tokens (per comparison), those of
    `against` (`judge_tokens`), the shares read, unparsed and truncated of all solutions, and `matched`, the share of
    comparisons with a pick. Arguments and errors as `solver_rows`."""
    rows = solver_rows(lab, model, against=against, **how)
    found = clustered_mean(rows["credit"], list(rows["cluster"]))
    head = {key: rows[key].iloc[0] for key in KEYS} | {"section": "reasoning", "against": against}
    states = {str(s): rows[str(s)].mean() for s in (State.READ, State.UNPARSED, State.TRUNCATED)}
    kept = {"k": int(rows["k"].iloc[0]), **bounds(found), "tokens": rows["tokens"].mean()}
    matched = float((rows["state"] == State.READ).mean())
    return pd.DataFrame([{**head, **kept, "judge_tokens": rows["judge_tokens"].iloc[0], **states, "matched": matched}])


def solver_rows(
    lab: Lab,
    model: str,
    *,
    against: str,
    samples: int = 0,
    temperature: float = 1.0,
    max_tokens: int = 96,
    seed: int = 0,
    at_most: int = 32,
) -> pd.DataFrame:
    """A row per reasoning comparison that judge `against` judged, with the columns of `judgments.readings` and k.

    `samples`: k; 0 takes the one (up to `at_most`) that costs what the judge does. `tokens` is the sum over k. `state`
    is "read" where a response was picked; `read`, `unparsed`, `truncated` are shares of the k solutions. Solutions lie
    in the profile's store. Raises ParameterError where the model is not trained or the judge has not judged,
    ValueError where it judged no reasoning.
    """
    said = gather([lab], [against])
    said = said[said["section"] == "reasoning"]
    if said.empty:
        raise ValueError(f"judge {against!r} judged no reasoning comparisons")
    judged = {item.id: item for item in items(lab, lab.judge(against).split) if isinstance(item, Comparison)}
    shown = [judged[name] for name in dict.fromkeys(said["item"])]
    cost = float(said["tokens"].mean())
    spec = JudgeSpec.parse({"name": model, "engine": "qwen2", "model": f"path:{folder(lab, model)}"})
    sampling, engine = Sampling(max_tokens, temperature), open_engine(spec)
    try:
        with Store(traces(lab)) as store:
            solved = solve(engine, shown, store, samples or 1, sampling, seed)
            if not samples:
                one = sum(max(0, c.tokens) for each in solved for c in each) / len(solved)
                samples = min(at_most, max(1, round(cost / max(1.0, one))))
                solved = solve(engine, shown, store, samples, sampling, seed)
    finally:
        engine.close()
    head = dict(zip(KEYS, (lab.profile, str(lab.seed), f"{model} solves", str(said["mode"].iloc[0]))))
    return pd.DataFrame(
        {**head, **_row(item, each), "k": samples, "judge_tokens": cost} for item, each in zip(shown, solved)
    )


def solver_units(lab: Lab, model: str, *, against: str, ks: Sequence[int], among: Sequence[str]) -> pd.DataFrame:
    """Units (`scaling.py`) of solving k times and picking the matching answer, on the comparisons `among` (ids)."""
    out = []
    for k in ks:
        rows = solver_rows(lab, model, against=against, samples=k)
        rows = rows[rows["item"].isin(among)]
        units = rows[[*KEYS[:3], "k", "item", "cluster", "section", "difficulty", "credit", "tokens"]]
        out.append(units.assign(strategy="solver-match", unread=0.0, tie=1.0 * (rows["state"] != State.READ)))
    return pd.concat(out, ignore_index=True)


def solve(
    engine: Engine, shown: Sequence[Comparison], store: Store, samples: int, sampling: Sampling, seed: int
) -> list[list[Completion]]:
    """`samples` solutions of each comparison's bare query; more samples begin with the same ones."""
    requests = []
    for item in shown:
        request = Request(messages=item.query, sampling=sampling, item=item.id)
        for i in range(samples):
            requests.append(replace(request, sample=i, seed=sample_seed(seed, request.prompt_hash, i)))
    done = ask(engine, requests, store)
    return [done[at : at + samples] for at in range(0, len(done), samples)]


def answer(text: str) -> int | None:
    """The answer of a solution, its last `so N`; None where it has none."""
    found = _SO.findall(text)
    return int(found[-1]) if found else None


def pick(item: Comparison, answers: Sequence[int | None]) -> str | None:
    """ "first" or "second": whose answer is that of the majority of those that are one; None for neither or both."""
    votes = Counter(a for a in answers if a is not None).most_common(2)
    if not votes or (len(votes) == 2 and votes[0][1] == votes[1][1]):
        return None
    match = [choice for choice, text in zip(("first", "second"), item.responses) if claimed(text)[1] == votes[0][0]]
    return match[0] if len(match) == 1 else None


def _row(item: Comparison, solved: Sequence[Completion]) -> dict[str, object]:
    answers, query = [answer(c.text) for c in solved], item.query[0].content
    choice = pick(item, answers)
    read = sum(a is not None for a in answers)
    cut = sum(a is None and c.finish == "length" for a, c in zip(answers, solved))
    return {
        "item": item.id,
        "cluster": item.cluster,
        "section": SECTION[item.subset],
        "subset": item.subset,
        "difficulty": int(item.difficulty),
        "shown": shown_steps(problem(query)),
        "order": str(Order.AB),  # it never sees the responses
        "sample": 0,
        "state": str(State.UNPARSED if choice is None else State.READ),
        "credit": 0.5 if choice is None else float(choice == item.label),
        "tokens": sum(max(0, c.tokens) for c in solved),
        "behaviour": "none",
        "query": query,
        "responses": item.responses,
        "text": "\n\n".join(c.text for c in solved),
        str(State.READ): read / len(solved),
        str(State.UNPARSED): (len(solved) - read - cut) / len(solved),
        str(State.TRUNCATED): cut / len(solved),
    }
