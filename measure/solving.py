"""What a base cannot do yet: problems it solves by itself, what it takes over from the query, and its sums.

.venv/bin/python measure/solving.py [--profile laptop] [--seed 0] [--model base-s] [--n 600]

Problems of split valid, two families in turn, solved greedily. `copied`: steps whose right-hand side (`b*2`) is the
query's, of those written as the query orders them; `sums`: single sums `3*4=2` that are right, whatever they were asked
of; `solved`: the answer is right. A base that copies badly and sums well solves nothing, and its loss hardly tells.
"""

from __future__ import annotations

import argparse
import re

import pandas as pd

from rrmlib.comparison import ask
from rrmlib.engines.base import Request, Sampling
from rrmlib.engines.qwen2 import Qwen2Engine
from rrmlib.findings.models import folder
from rrmlib.findings.solver import answer
from rrmlib.lab import load
from rrmlib.world.families import draw
from rrmlib.world.reasoning import OPERATIONS, Chain, Program

_SUM = re.compile(r"(\d)([-+*])(\d)=(\d)(?!\d)")
_STEP = re.compile(r"(?:\A|(?<= ))[a-h](?:=\w)?[-+*]\w(?==)")


def sums(text: str) -> list[bool]:
    """Every sum of a solution: is it right? In a chain the left side is the value before."""
    said, value = [], None
    for word in text.split("from ", 1)[-1].split(" so ")[0].split():
        found = _SUM.search(word)
        chained = re.fullmatch(r"[a-h]([-+*])(\d)=(\d)", word)
        if found:
            said.append(OPERATIONS[found[2]](int(found[1]), int(found[3])) == int(found[4]))
        elif chained and value is not None:
            said.append(OPERATIONS[chained[1]](value, int(chained[2])) == int(chained[3]))
        value = int(word[-1]) if word[-1].isdigit() else None
    return said


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="laptop")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--model", default="base-s")
    options.add_argument("--n", type=int, default=600)
    given = options.parse_args()
    problems = [draw(("chain", "program")[i % 2], "valid", "solving", i) for i in range(given.n)]
    engine = Qwen2Engine(folder(load(given.profile, given.seed), given.model), batch_size=64)
    asked = [Request(ask(problem.query), Sampling(96), seed=0) for problem in problems]
    texts = [""] * len(asked)
    for batch in engine.generate(asked):
        for at, completion in batch:
            texts[at] = completion.text
    rows = []
    for problem, text in zip(problems, texts):
        assert isinstance(problem, Chain | Program)
        wanted, steps, right = _STEP.findall(problem.solution()), _STEP.findall(text), sums(text)
        rows.append(
            {
                "family": problem.family,
                "problems": 1,
                "solved": answer(text) == problem.answer,
                "steps": len(wanted),
                "copied": sum(a == b for a, b in zip(wanted, steps)),
                "sums": len(right),
                "right": sum(right),
            }
        )
    table = pd.DataFrame(rows).groupby("family").sum()
    shares = {"solved": table["solved"] / table["problems"], "copied": table["copied"] / table["steps"]}
    shares["sums right"] = table["right"] / table["sums"]
    print(pd.DataFrame(shares).mul(100).round(1).assign(problems=table["problems"]).to_string())


if __name__ == "__main__":
    main()
