"""Running a notebook: parameters are checked before anything runs, and only a whole result is moved into place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from rrmlib import lab
from rrmlib.params import ParameterError
from rrmlib.run import inputs, named, resolve, run_notebook, sources

ROOT = Path(__file__).parents[1]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A small checkout of its own, with one notebook that writes a figure and fails when told to."""
    parameters = new_code_cell('profile: str = "p"\nfail: bool = False\nvalue: int = 1\nout: str = ""')
    parameters.metadata["tags"] = ["parameters"]
    cells = [
        parameters,
        new_code_cell("from rrmlib.artefact import Place\nfrom rrmlib.params import check\np = check(globals())"),
        new_code_cell('stem = Place(p.profile, "demo", p.out).figure("a")'),
        new_code_cell('stem.with_name(stem.name + ".txt").write_text(str(p.value))'),
        new_code_cell('assert not p.fail, "told to"'),
    ]
    for folder in ("notebooks", "params/p"):
        (tmp_path / folder).mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), tmp_path / "notebooks/demo.ipynb")
    (tmp_path / "params/p/demo.yaml").write_text("value: 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_results_are_moved_only_when_every_cell_succeeded(checkout):
    target = run_notebook("demo", profile="p", quiet=True)
    figure = checkout / "figures/p/demo.a.txt"
    assert figure.read_text() == "2"
    assert target == checkout / "runs/p/notebooks/demo.ipynb"
    record = json.loads(target.with_suffix(".run.json").read_text())
    assert record["parameters"]["value"] == 2
    assert {"commit", "dirty", "python", "versions", "seconds"} <= set(record)
    before = target.read_bytes()

    (checkout / "params/p/demo.yaml").write_text("fail: true\nvalue: 3\n")
    with pytest.raises(RuntimeError, match=r"cell \d+ failed: AssertionError: told to; see .*demo\.failed\.ipynb"):
        run_notebook("demo", profile="p", quiet=True)
    assert figure.read_text() == "2"
    assert target.read_bytes() == before
    assert (checkout / "runs/p/notebooks/demo.failed.ipynb").is_file()
    assert not list((checkout / "runs/p/notebooks").glob(".demo*")), "no staging folder is left"


def test_a_run_with_parameters_of_its_own_is_no_run_of_the_profile(checkout):
    run_notebook("demo", profile="p", quiet=True)
    target = run_notebook("demo", profile="p", given={"value": 3}, quiet=True)
    assert (checkout / "figures/p/demo.a.txt").read_text() == "2"
    assert (checkout / "runs/p/custom/figures/demo.a.txt").read_text() == "3"
    assert target == checkout / "runs/p/custom/notebooks/demo.ipynb"
    with pytest.raises(RuntimeError, match="told to"):
        run_notebook("demo", profile="p", given={"fail": True}, quiet=True)
    assert (checkout / "runs/p/custom/notebooks/demo.failed.ipynb").is_file()
    run_notebook("demo", profile="p", given={"value": 4}, quiet=True)
    assert not (checkout / "runs/p/custom/notebooks/demo.failed.ipynb").exists()


@pytest.mark.parametrize(
    ("given", "says"), [({"valeu": 3}, "unknown parameter 'valeu'"), ({"value": "3"}, "'value': expected int")]
)
def test_a_wrong_parameter_stops_before_anything_runs(checkout, given, says):
    with pytest.raises(ParameterError, match=says):
        run_notebook("demo", profile="p", given=given, quiet=True)
    assert not (checkout / "runs").exists()
    assert not (checkout / "figures").exists()


def test_a_wrong_parameter_file_is_named(checkout):
    (checkout / "params/p/demo.yaml").write_text("valeu: 2\n")
    with pytest.raises(ParameterError, match=r"demo\.yaml: unknown parameter 'valeu'"):
        resolve("demo", profile="p")
    with pytest.raises(ParameterError, match="profile 'q' does not run notebook 'demo'"):
        resolve("demo", profile="q")
    with pytest.raises(ParameterError, match="not a plain name"):
        resolve("demo", profile="../q")
    for name in ("profile", "out"):
        with pytest.raises(ParameterError, match=f"'{name}' is set by the run itself"):
            resolve("demo", profile="p", given={name: "x"})


@pytest.mark.parametrize(("name", "value"), [("valeu", "3"), ("value", "x")])
def test_plain_papermill_stops_at_a_wrong_parameter_too(checkout, name, value):
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        "notebooks/demo.ipynb",
        "o.ipynb",
        "-p",
        name,
        value,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ParameterError" in result.stderr
    assert not (checkout / "figures").exists()


def test_a_changed_library_module_makes_a_notebook_stale():
    found = sources("evaluation")
    assert ROOT / "rrmlib/figures/evaluation.py" in found
    assert ROOT / "rrmlib/engines/qwen2.py" in found, "imported inside a function"
    assert ROOT / "rrmlib/run.py" not in found
    assert found == sorted(found)


def test_data_and_models_are_inputs(tmp_path):
    for name in ("data/a.json", "data/sub/b.json", "model/config.json", "judge.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    model = {"name": "m", "engine": "qwen2", "model": f"path:{tmp_path / 'model'}"}
    prompt = {"prompt_file": str(tmp_path / "judge.toml"), "prompt_sha256": "0" * 64}
    found = inputs({"data": str(tmp_path / "data"), "judges": [model | prompt]})
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "data/a.json",
        "data/sub/b.json",
        "judge.toml",
        "model/config.json",
    ]


def test_the_tables_do_not_depend_on_the_hash_seed(tmp_path):
    """Sets, dict views and notes in another order must not reach a byte of what is written."""
    code = """
import sys
from rrmlib.benchmarks import benchmark
from rrmlib.params import JudgeSpec
from rrmlib.score import evaluate
from rrmlib.store import Store
judges = [{"name": "longest", "engine": "heuristic", "model": "heuristic:longest"}]
judges.append({"name": "t", "engine": "qwen2", "model": "tiny:test", "format": "rewardbench2_ratings",
               "max_tokens": 3, "temperature": 1.0})
with Store(":memory:") as store:
    result = evaluate(benchmark("builtin"), [JudgeSpec.parse(j) for j in judges], store, limit=6, quiet=True)
    store.export(sys.argv[1])
print(result.digest())
for table in (result.accuracy(), result.coverage(), result.position(), result.ranking(), result.differences()):
    print(table.to_csv())
"""
    said = []
    for seed in ("1", "2"):
        export = tmp_path / f"{seed}.jsonl"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(export)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        said.append((result.stdout, export.read_bytes()))
    assert said[0] == said[1]


def test_the_workflow_reruns_what_is_stale_and_nothing_else(tmp_path):
    """On a copy of the checkout: run, nothing to do, no executed notebook, other notebooks, changed library source."""
    copy = tmp_path / "copy"
    for name in ("notebooks", "params", "rrmlib"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", copy)
    (copy / "params/smoke/lab.yaml").unlink()  # its workflow is tested in test_lab.py
    profile = "seeds: [0]\nthreads: 1\nneeds_recorded: false\nnotebooks: {evaluation: 300}\n"
    (copy / "params/smoke/profile.yaml").write_text(profile)
    environment = {**os.environ, "PYTHONPATH": str(copy)}

    def plan(*more: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--config", "profile=smoke", *more]
        result = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    assert "evaluation" in plan()
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--config", "profile=smoke"],
        cwd=copy,
        check=True,
        capture_output=True,
        env=environment,
    )
    assert "Nothing to be done" in plan()
    assert "profile smoke has no world; it has: evaluation" in plan("notebooks=evaluation world", code=1)
    executed = copy / "runs/smoke/notebooks/evaluation.ipynb"
    aside = executed.rename(copy / "aside.ipynb")
    assert "rule evaluation" in plan("notebooks=evaluation")  # figures may have come with the checkout
    aside.rename(executed)
    source = copy / "rrmlib/stats.py"
    source.write_text(source.read_text() + "\n# changed\n")
    assert "evaluation" in plan()
    figures = sorted(p.name for p in (copy / "figures/smoke").iterdir())
    assert len(figures) == 12
    outputs = [o for c in json.loads(executed.read_text())["cells"] for o in c.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4, "a reader sees every figure"


@pytest.mark.parametrize("profile", ["smoke", "laptop", "study"])
def test_what_the_labs_notebooks_read_is_named_by_their_parameters(profile, monkeypatch):
    monkeypatch.chdir(ROOT)
    each = lab.load(profile, 0)
    for notebook in ("world", "rl", "distillation"):
        p = resolve(notebook, profile=profile)
        forced = [f"{p.get('model', p.get('base'))}.{how}" for how in p.get("forced", [])]
        read = {*p.get("names", []), *p.get("sampled", []), *p.get("lists", []), *p.get("meta_of", []), *forced}
        judges, models = named(p, each)
        assert {name for name in read if name in each.judges} <= set(judges)
    assert "base-s" in models  # a parent, for the cost of its children
    assert "base-s" not in judges
    assert "grm-s" in judges
    assert "grm-s" not in named(resolve("rl", profile=profile), each)[0]


def test_what_is_read_of_some_seeds_is_asked_of_no_others(monkeypatch):
    monkeypatch.chdir(ROOT)
    labs = [lab.load("study", seed) for seed in range(3)]
    p = resolve("ablation", profile="study") | {"seeds": [0, 1], "arm_seeds": [1], "few_seeds": [2], "size_seeds": [0]}
    asked = [set(named(p, each)[0]) for each in labs]
    assert ["rrm-s" in each for each in asked] == [True, True, True], "a contrast, and where noise begins"
    assert ["direct-s" in each for each in asked] == [True, True, True]
    assert ["plain-s" in each for each in asked] == [False, True, False]
    assert ["own-s" in each for each in asked] == [False, False, True]
    assert ["rrm-xs" in each for each in asked] == [True, False, False]
    of_one = [named(resolve("rl", profile="study"), each) for each in labs]
    assert "rrm-s" in of_one[0][0]
    assert of_one[1:] == [([], [])] * 2, "notebook rl reads seed 0"


def test_pools_budgets_and_candidates_are_read_by_the_notebooks_that_name_them(monkeypatch):
    monkeypatch.chdir(ROOT)
    each = lab.load("laptop", 0)
    scaling, multi = (named(resolve(name, profile="laptop"), each) for name in ("scaling", "multi_response"))
    assert {"rrm-s.pool", "grm-s.pool", "rrm-s.b0", "rrm-s.b108", "direct-s", "scalar-s"} <= set(scaling[0])
    assert {"base-s", "meta-s"} <= set(scaling[1])
    assert multi[0] == ["rrm-s.pairs", "scalar-s.candidates"]
