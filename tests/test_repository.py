"""The repository's own promises: layers, dependencies stated twice, clean notebooks, declared parameters."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from rrmlib import lab
from rrmlib.params import load_yaml
from rrmlib.run import parameters_of, resolve, sources

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LAYERS = [
    {"comparison", "judgment"},
    {"prompt", "parse", "stats", "position", "patterns", "vote", "vote_sums", "stopping", "spending", "budget"}
    | {"tournament", "schedulers", "rating", "rating_fit", "simulation", "commitment"},
    {"engines", "store", "exchange", "benchmarks", "artefact", "params", "progress", "tiny", "salvage", "allocator"},
    {"judge", "contest", "poll", "score", "world", "train", "rewards", "lab", "origins", "findings", "probe"}
    | {"ingredients"},
    {"figures", "claims", "viewer"},
    {"run", "__main__"},
]


def layer(module: str) -> int:
    """The layer of rrmlib.<module>..., by its first name."""
    name = module.split(".")[1]
    found = [i for i, names in enumerate(LAYERS) if name in names]
    assert found, f"{module} has no layer: add it to the contract"
    return found[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "rrmlib" else {node.module}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "rrmlib").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_its_layer_or_lower(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    names = {name for name in imported(path) if name.startswith("rrmlib.") and name != "rrmlib.__version__"}
    if module == "rrmlib.__init__":
        assert not names, "rrmlib re-exports nothing"
        return
    for name in names:
        assert layer(name) <= layer(module), f"{module} (L{layer(module)}) imports {name} (L{layer(name)})"
    assert len(path.read_text().splitlines()) <= 600, f"{path}: more than one reading holds"
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path}: a module opens with what it is for"


def test_the_core_imports_nothing_heavy():
    code = "import sys, rrmlib.__main__, rrmlib.parse, rrmlib.prompt, rrmlib.stats, rrmlib.judge, rrmlib.store\n"
    code += "print([m for m in ('torch', 'transformers', 'vllm', 'datasets', 'trl', 'matplotlib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_environment_and_pyproject_state_the_same_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    stated = {*project["project"]["dependencies"], *project["build-system"]["requires"]}
    for extra in project["project"]["optional-dependencies"].values():
        stated |= set(extra)
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    assert pip[0] == "-c constraints.txt"
    assert set(pip[1:]) == stated
    assert len(pip) == len(stated) + 1


def test_every_dependency_is_pinned_and_vllm_is_not_among_them():
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        name = re.match(r"[\w.-]+", line).group().lower().replace("_", "-")
        assert name in pins, f"{name} is not in constraints.txt"
        assert "vllm" not in name
    assert pins["torch"] == "2.13.0"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stripped_short_and_typed(path):
    notebook = json.loads(path.read_text())
    assert len(notebook["cells"]) <= 16
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert "profile" in parameters_of(path)
    assert sources(path.stem), "a notebook depends on the library"


@pytest.mark.parametrize("profile", sorted(p.parent.name for p in (ROOT / "params").glob("*/profile.yaml")))
def test_every_profile_holds_valid_parameters(profile):
    stated = load_yaml(ROOT / "params" / profile / "profile.yaml")
    assert set(stated) == {"seeds", "threads", "needs_recorded", "notebooks"}
    for file in (ROOT / "params" / profile).glob("*.yaml"):
        if file.stem not in ("profile", "lab"):
            assert file.stem in stated["notebooks"]
            assert resolve(file.stem, profile=profile)["profile"] == profile
        elif file.stem == "lab":
            assert lab.load(profile).models


def test_sources_follow_imports_into_packages():
    names = {path.name for path in sources("evaluation")}
    assert {"score.py", "judge.py", "judgebench.py", "stats.py", "rrm.v1.toml", "builtin.jsonl"} <= names
    assert "__main__.py" not in names


def test_no_recorded_data_is_committed():
    """Whatever lies in the shared folder stays there: no tracked file of ours has a name of it."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert not [
        name for name in tracked if "judge_model=" in name or "testset-v1" in name or name.startswith("shared/")
    ]
