"""Typed parameters: judge specs, model addresses, and the parameters of a notebook.

A notebook declares its parameters once, in its `parameters` cell, as annotated assignments (`seed: int = 0`). That
cell is the schema: `rrm run` reads it before anything runs, and `check(globals())` in the notebook's next cell
applies it again, since papermill by itself only warns of an unknown parameter and never looks at a type. A
parameter called `judges` holds judge specs and is validated as such.

Left out: building engines (`judge.py`), executing notebooks (`run.py`).

    >>> JudgeSpec.parse({"name": "longest", "engine": "heuristic", "model": "heuristic:longest"}).orders
    'both'
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from rrmlib.artefact import root

ADDRESSES = (
    "heuristic:NAME, hf:ORG/NAME[@REVISION], path:DIR, tiny:SIZE, lab:NAME[@PROFILE/SEED], recorded:PATH, "
    "or the name a server knows"
)
PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # names that become parts of paths
PROFILE = "laptop"  # of a lab model whose address names none
# Lab models that come with the library.
SHIPPED = {"base-s": Path(__file__).parent / "world" / "base-s"}


class ParameterError(ValueError):
    """A parameter is unknown, missing or mistyped. One line: where, what was wrong, what is allowed."""


class JudgeSpec(BaseModel):
    """One judge: what is asked (format), of which model through which engine, how often and in which orders.

    `model`: heuristic:{random,first,longest,shortest}; hf:ORG/NAME[@REVISION]; path:DIR; tiny:SIZE (untrained, made on
    the spot); lab:NAME[@PROFILE/SEED], trained here by `rrm lab train` (lab:base-s comes with the library);
    recorded:PATH, a file of recorded judgments below the data folder; for engine openai the name the server knows.
    `orders`: "both" shows every item in both orders, "single" once, placed by a hash of its content.
    `prompt_file` replaces our wording by an external file, pinned by `prompt_sha256`. `opens_think` overrides the
    format's claim that the chat template opens the thinking. `prefill` is what the judge's turn begins with, whether it
    likes it or not. `think_budget`: after so many tokens the thinking is closed and the verdict asked for, in at most
    `answer_tokens` more (`budget.py`; 0: no thinking at all); `conclude` asks for it in place of the format's own
    closing, for models that need other words to come to an end. `template_args` go to the chat template; `options` to
    the engine's constructor; for engine recorded, {judge: NAME} says which judge of files that hold several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    model: str = Field(min_length=1)
    engine: Literal["qwen2", "hf", "vllm", "openai", "scalar", "heuristic", "recorded"]
    format: str = "rrm"
    orders: Literal["both", "single"] = "both"
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=4096, ge=1)
    think_budget: int | None = Field(default=None, ge=0)
    answer_tokens: int = Field(default=32, ge=1)
    conclude: str = ""
    seed: int = 0
    stop: tuple[str, ...] = ()
    prefill: str = ""
    prompt_file: str = ""
    prompt_sha256: str = ""
    opens_think: bool | None = None
    template_args: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """Engines that read no prompt have one format; YAML lists and integers stand for tuples and floats."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if data.get("engine") in ("heuristic", "scalar"):
            data.setdefault("format", "scores")
        if isinstance(data.get("stop"), list):
            data["stop"] = tuple(data["stop"])
        for name in ("temperature", "top_p"):
            if type(data.get(name)) is int:
                data[name] = float(data[name])
        return data

    @model_validator(mode="after")
    def _consistent(self) -> JudgeSpec:
        scheme = self.model.partition(":")[0]
        wanted: tuple[str, ...] = {"heuristic": ("heuristic",), "recorded": ("recorded",)}.get(self.engine, ())
        if self.engine in ("qwen2", "hf", "vllm", "scalar"):
            wanted = ("hf", "path", "lab") + (("tiny",) if self.engine != "vllm" else ())
        if wanted and (scheme not in wanted or ":" not in self.model):
            raise ValueError(f"model {self.model!r} does not fit engine {self.engine!r}; models are {ADDRESSES}")
        if scheme == "lab" and "lab" in wanted:
            lab_address(self.model)
        if self.engine == "openai" and not isinstance(self.options.get("base_url"), str):
            where = "options={base_url: http://127.0.0.1:8000/v1}"
            raise ValueError(f"engine openai needs the server's address: options need base_url (--set {where!r})")
        if self.think_budget is not None and self.engine not in ("qwen2", "hf", "vllm", "openai"):
            raise ValueError(f"engine {self.engine!r} does not think: it takes no think_budget")
        if self.prompt_file and not self.prompt_sha256:
            raise ValueError("prompt_file needs prompt_sha256: an external prompt is pinned by its content")
        return self

    @classmethod
    def parse(cls, data: Any, where: str = "judge") -> JudgeSpec:
        """From a mapping. Raises ParameterError in one line that names the field."""
        if isinstance(data, JudgeSpec):
            return data
        try:
            return cls.model_validate(data)
        except ValidationError as e:
            raise ParameterError(f"{where}: {_first(e)}") from None


def lab_address(address: str, profile: str = "", seed: int = 0) -> str:
    """A model address with its profile and seed: "lab:rrm-s" -> "lab:rrm-s@laptop/0"; any other scheme as it is.

    `profile` and `seed` hold where the address names none. Raises ParameterError for a malformed address.
    """
    if not address.startswith("lab:"):
        return address
    parts = re.fullmatch(rf"lab:({PLAIN})(?:@({PLAIN})(?:/(\d+))?)?", address)
    if parts is None:
        raise ParameterError(f"model {address!r}: expected lab:NAME or lab:NAME@PROFILE/SEED")
    named = parts[2] is not None
    return f"lab:{parts[1]}@{parts[2] or profile or PROFILE}/{int(parts[3] or 0) if named else seed}"


def lab_place(address: str) -> tuple[str, str, int]:
    """(name, profile, seed) of a lab address. Raises ParameterError."""
    name, _, where = lab_address(address).removeprefix("lab:").partition("@")
    profile, _, seed = where.partition("/")
    return name, profile, int(seed)


def lab_folder(address: str) -> Path:
    """The folder of a lab model: the one trained in this checkout, else the one that came with the library.

    Raises ParameterError, with the command that makes it, where there is neither.
    """
    name, profile, seed = lab_place(address)
    try:
        folder = root() / "runs" / profile / f"seed{seed}" / "models" / name
    except FileNotFoundError:
        folder = Path()
    if (folder / "config.json").is_file():
        return folder
    if name in SHIPPED and (SHIPPED[name] / "config.json").is_file():
        return SHIPPED[name]
    command = f"rrm lab train {name} --profile {profile} --seed {seed}"
    where = "in the checkout: " if folder == Path() else ""
    raise ParameterError(f"model {address!r} is not trained yet; {where}{command}")


def load_yaml(path: str | Path) -> Any:
    """A YAML file, safely. Raises ParameterError with file and line."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as e:
        raise ParameterError(f"{path}: cannot be read: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ParameterError(f"{path}: not UTF-8 at byte {e.start}") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ParameterError(f"{where}: not valid YAML: {getattr(e, 'problem', None) or _one_line(e)}") from None
    except (ValueError, RecursionError) as e:  # a date such as 2001-99-99; brackets without end
        raise ParameterError(f"{path}: not valid YAML: {_one_line(e)}") from None


# ---------------------------------------------------------------------------------------------------------------
# Notebook parameters

_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[float]": list[float],
    "list[dict]": list[dict[str, Any]],
    "dict": dict[str, Any],
}


def schema(source: str, where: str = "parameters cell") -> dict[str, tuple[str, Any]]:
    """name -> (type, default) of a parameters cell. Raises ParameterError on anything but `name: type = literal`."""
    declared: dict[str, tuple[str, Any]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise ParameterError(f"{where}, line {node.lineno}: only `name: type = value` is allowed here")
        kind = ast.unparse(node.annotation)
        if kind not in _TYPES:
            raise ParameterError(f"{where}, line {node.lineno}: type {kind} is none of {', '.join(_TYPES)}")
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise ParameterError(f"{where}, line {node.lineno}: the default must be a literal") from None
        declared[node.target.id] = (kind, default)
    return declared


def validate(declared: Mapping[str, tuple[str, Any]], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Defaults overlaid with `given`, every value checked. Raises ParameterError for an unknown or mistyped one."""
    for name in given:
        if name not in declared:
            raise ParameterError(f"{where}: unknown parameter {name!r}; known: {', '.join(declared)}")
    values = {name: given.get(name, default) for name, (_, default) in declared.items()}
    for name, (kind, _) in declared.items():
        if kind == "float" and type(values[name]) is int:
            values[name] = float(values[name])
        try:
            TypeAdapter(_TYPES[kind]).validate_python(values[name], strict=True)
        except ValidationError as e:
            raise ParameterError(f"{where}: parameter {name!r}: expected {kind}, {_first(e)}") from None
    for index, spec in enumerate(values.get("judges", ())):
        JudgeSpec.parse(spec, f"{where}: judges[{index}]")
    names = [spec["name"] for spec in values.get("judges", ())]
    if len(set(names)) != len(names):
        raise ParameterError(f"{where}: two judges share a name: {', '.join(names)}")
    return values


_IPYTHON = {"In", "Out", "exit", "quit", "open", "get_ipython"}


def check(namespace: Mapping[str, Any]) -> types.SimpleNamespace:
    """Call as `p = check(globals())` right after the parameters cell: the parameters, typed, or a ParameterError.

    Everything in the namespace that is plain data and is not declared (annotated) there was injected by papermill
    under a name that the notebook does not know.
    """
    names = namespace.get("__annotations__", {})
    declared = {}
    for name, kind in names.items():
        text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        declared[name] = (str(kind) if isinstance(kind, types.GenericAlias) else text, namespace[name])
    plain = (str, int, float, bool, list, dict, tuple, type(None))
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in _IPYTHON and isinstance(value, plain)
    }
    return types.SimpleNamespace(**validate(declared, given, "notebook parameters"))


def parse_assignment(text: str) -> tuple[str, Any]:
    """`name=value` from a command line; the value is read as YAML. Raises ParameterError."""
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise ParameterError(f"{text!r}: expected NAME=VALUE")
    try:
        return name, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ParameterError(f"{text!r:.80}: the value is not valid YAML: {_one_line(e)}") from None


def parse_assignments(texts: Sequence[str], taken: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every `name=value`, on top of what is `taken` already. Raises ParameterError where a name is given twice."""
    values = dict(taken or {})
    for text in texts:
        name, value = parse_assignment(text)
        if name in values:
            raise ParameterError(f"{text!r:.80}: {name} is given twice")
        values[name] = value
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    shown = f", found {detail['input']!r:.60}" if detail["type"] != "missing" and where else ""
    return f"{where}: {message}{shown}" if where else f"{message}"
