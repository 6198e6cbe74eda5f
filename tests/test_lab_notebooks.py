"""The lab's notebooks run from top to bottom on a small world with made-up judges, and write what they promise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest
from fakelab import Engine, FakeLab

from rrmlib.judge import Judge
from rrmlib.prompt import load_prompt
from rrmlib.run import parameters_of
from rrmlib.world.judging import BEHAVIOURS

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PAIR = [
    {"a": "rrm-s", "b": "base-s", "least": 0.2},
    {"a": "random-s", "b": "base-s", "section": "overall", "most": 0.03},
]
# Parameters that name judges of the fake lab, and the figures that the workflow expects.
POOLED = [
    {"a": ["rrm-s.pool", "majority", 8], "b": ["rrm-s.pool", "majority", 1], "section": "reasoning", "least": 0.0},
    {"a": ["rrm-s", "greedy", 1], "b": ["rrm-s", "budget", 8], "section": "reasoning"},
    {"a": ["grm-s.pool", "meta", 8], "b": ["grm-s.pool", "sum", 8], "section": "reasoning"},
]
RUNS = {
    "world": ({}, ["base", "behaviours", "leaks"]),
    "rl": (
        {
            "names": ["base-s", "random-s", "direct-s", "rrm-s"],
            "sampled": ["base-s.t1", "random-s.t1", "direct-s.t1", "rrm-s.t1"],
            "contrasts": PAIR,
            "curves": ["rrm-s", "random-s"],
            "solves": "",
            "least": 1,
        },
        ["behaviours", "contrasts", "curves", "gain", "sections", "thinking"],
    ),
    "scaling": (
        {
            "ks": [1, 2, 8],
            "soft": 0,
            "greedy": ["rrm-s", "grm-s", "direct-s"],
            "budgets": {"8": "rrm-s.b8"},
            "solves": "",
            "k_max": 8,
            "means": [2.0],
            "contrasts": POOLED,
        },
        ["budgets", "difficulty", "frontier", "published", "spending", "ties", "votes"],
    ),
    "multi_response": (
        {
            "scalar": "",
            "simulated": 4,
            "sizes": [4, 8],
            "contrasts": [{"a": ["knockout, one bracket", 4], "b": ["round robin, wins", 1]}],
        },
        ["growth", "judgments", "simulation", "tokens"],
    ),
    "patterns": (
        {"comparisons": 12, "many": 6},
        ["commitment", "following", "length", "rates", "steps"],
    ),
    "distillation": ({"meta_limit": 4}, ["contrasts", "curves", "meta", "oracles", "sections"]),
    "ablation": (
        {
            "seeds": [0, 1],
            "few_seeds": [1],
            "size_seeds": [1],
            "few_controls": {"no training": "base-s", "RL, random reward": "random-s", "RRM": "rrm-s"},
            "few_grm": {"rejective fine-tuning": "rft-s", "then RL": "grm-s"},
            "arms": {"no training": "base-s.rm_r1", "cold-start RL": "cold-s", "RM-R1": "rm-r1-s"},
            "contrasts": [{"a": "rm-r1-s", "b": "cold-s", "section": "overall", "least": 0.0}],
            "arm_seeds": [0, 1],
            "arm_contrasts": [{"a": "rm-r1-s", "b": "distilled-s", "section": "overall"}],
            "few_contrasts": [{"a": "grm-s", "b": "rft-s", "section": "overall"}],
            "sizes": [{"judge": "base-s", "kind": "base", "x": 0.7}, {"judge": "rrm-s", "kind": "RRM", "x": 0.7}],
            "few_noise": [{"judge": "rrm-s", "kind": "RRM", "x": 0}, {"judge": "random-s", "kind": "RRM", "x": 10}],
        },
        ["arms", "contrasts", "controls", "grm", "noise", "sizes"],
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_reward_model_dir):
    with pytest.MonkeyPatch.context() as patch:
        made = FakeLab(tmp_path_factory.mktemp("lab"), patch)
        made.everything()
        made.everything(seed=1)
        for file in tiny_reward_model_dir.iterdir():
            if file.name != "README.md":
                shutil.copy(file, made.lab().path("meta-s"))
        yield made


@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_runs_and_writes_its_figures_and_tables(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(made.folder)
    given, figures = RUNS[name]
    path = NOTEBOOKS / f"{name}.ipynb"
    values = {key: default for key, (_, default) in parameters_of(path).items()}
    values |= {"profile": "p", "out": str(tmp_path), **given}
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert len(cells) <= 15
    monkeypatch.setattr("IPython.display.display", lambda *_: None)
    monkeypatch.setattr("rrmlib.world.data.frozen", lambda split: [])
    monkeypatch.setattr("rrmlib.findings.patterns.open_judge", lambda s: Judge(s, load_prompt(s.format), Engine()))
    space: dict = {}
    with mpl.rc_context():
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), space)
                if "parameters" in cell["metadata"].get("tags", ()):
                    space.update(values)
    found = sorted(file.name.split(".")[1] for file in (tmp_path / "figures" / "p").glob(f"{name}.*.png"))
    assert found == sorted(figures)
    for file in (tmp_path / "runs" / "p" / "tables" / name).glob("*.csv"):
        assert file.read_text().count("\n") > 1 or file.stem == "false", file


def test_forced_judges_are_those_of_the_world():
    values = parameters_of(NOTEBOOKS / "rl.ipynb")
    assert tuple(values["forced"][1]) == BEHAVIOURS
    assert tuple(parameters_of(NOTEBOOKS / "world.ipynb")["forced"][1]) == BEHAVIOURS
