"""The command line: JSON on stdout and nothing else, errors in one line, examples in --help that run."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rrmlib.__main__ import main
from rrmlib.benchmarks.builtin import FILE
from rrmlib.comparison import Order
from rrmlib.judge import Run
from rrmlib.judgment import Judgment
from rrmlib.parse import parse
from rrmlib.store import Store

ROOT = Path(__file__).parents[1]
UNTRAINED = ("--engine", "qwen2", "--model", "tiny:test", "--format", "direct_compact", "--set", "max_tokens=4")

COMMANDS = ("judge", "score", "parse", "export", "import", "view", "run", "lab")


def rrm(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_score_prints_json_and_nothing_else(capsys):
    code, out, err = rrm(capsys, "score", "builtin", "--judge", "longest", "--json", "-")
    assert code == 0
    result = json.loads(out)
    assert {"benchmark", "n", "overall", "by", "coverage", "consistency"} <= set(result)
    assert set(result["overall"]) >= {"official", "wrong", "half", "excluded", "interval"}
    low, high = result["overall"]["interval"]
    assert 0 <= low <= result["overall"]["official"] <= high <= 1
    assert result["coverage"]["read"] == result["coverage"]["total"] == 2 * result["n"]
    assert result["consistency"] == 1.0  # a rule that never looks at the place
    assert set(result["by"]) == {"chat", "chat_hard", "safety", "reasoning"}
    assert "longest" in err


def test_always_first_is_half_right_and_never_consistent(capsys):
    _, out, _ = rrm(capsys, "score", "builtin", "--judge", "first", "--json", "-")
    result = json.loads(out)
    assert result["overall"]["official"] == 0.5
    assert result["consistency"] == 0.0
    assert result["position"]["first_preference"]["value"] == 1.0


def test_judge_writes_judgments_that_score_reads_back(capsys, tmp_path):
    out = tmp_path / "j.jsonl"
    store = tmp_path / "s.sqlite"
    arguments = ("judge", "builtin", "--judge", "longest", "--store", str(store), "--out", str(out), "--json", "-")
    code, first, err = rrm(capsys, *arguments)
    assert code == 0
    assert "160 model calls" in err
    code, again, err = rrm(capsys, *arguments)
    assert "0 model calls, 160 from the store" in err
    assert again == first
    code, scored, _ = rrm(capsys, "score", "builtin", "--judgments", str(out), "--json", "-")
    assert json.loads(scored) == json.loads(first)


def test_a_store_is_no_file_of_judgments_and_says_how_to_score_it(capsys, tmp_path):
    store = str(tmp_path / "s.sqlite")
    assert rrm(capsys, "judge", "builtin", "--judge", "first", "--store", store)[0] == 0
    code, _, err = rrm(capsys, "score", "builtin", "--judgments", store)
    assert code == 1
    assert f"{store}: a trace store, not a file of judgments: the `rrm judge` that filled it scores them" in err


def test_export_and_import_keep_everything(capsys, tmp_path):
    store, folder, copy = (str(tmp_path / name) for name in ("s.sqlite", "x.parquet", "c.sqlite"))
    assert rrm(capsys, "judge", "builtin", "--judge", "first", "--store", store, "--limit", "4")[0] == 0
    assert rrm(capsys, "export", store, folder)[0] == 0
    assert rrm(capsys, "import", folder, copy)[0] == 0
    _, _, err = rrm(capsys, "judge", "builtin", "--judge", "first", "--store", copy, "--limit", "4")
    assert "0 model calls" in err


def test_parse_reads_one_text(capsys, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("thinking </think> \\boxed{Assistant 2}")
    code, out, _ = rrm(capsys, "parse", "rrm", str(path))
    assert (code, json.loads(out)["choice"]) == (0, "second")
    path.write_text("\\boxed{Assis")
    assert json.loads(rrm(capsys, "parse", "rrm", str(path), "--finish", "length")[1])["state"] == "truncated"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("score builtin --judge nobody", "unknown heuristic"),
        ("score judgebench --data /nowhere.jsonl", "/nowhere.jsonl"),
        ("score builtin --data /dev/null", "/dev/null: is not a regular file"),
        ("score builtin --judgments nosuch", "nosuch: does not exist"),
        ("score judgebench --data /dev/null", "/dev/null is not a regular file"),
        ("judge builtin", "--judge"),
        ("judge builtin --judge /nowhere.yaml", "/nowhere.yaml"),
        ("judge builtin --judge longst", "longst: no such file; heuristic judges: random, first, longest, shortest"),
        ("judge builtin --model path:/nowhere", "there is no folder /nowhere"),
        ("judge builtin --model m --engine openai", "options need base_url (--set 'options={base_url: http://"),
        ("judge builtin --judge first --store /dev/null/s.sqlite", "/dev/null/s.sqlite: cannot be written"),
        ("judge builtin --judge first --out /dev/null/x", "/dev/null/x: cannot be written"),
        ("judge builtin --judge first --out /", "/: cannot be written: Is a directory"),
        ("judge builtin --judge first --json /", "/: cannot be written: Is a directory"),
        ("score builtin --json /proc/x", "/proc/x: cannot be written"),
        ("judge builtin --judge first --out x --json x", "x is to be written twice"),
        ("judge builtin --judge random --set nonsense=1", "--set nonsense: no field of a judge; there are: name, "),
        ("judge builtin --judge random --set options={x:1}", "options"),
        ("judge builtin --judge random --set seed=1 --set seed=2", "seed is given twice"),
        ("judge builtin --judge random --set model=heuristic:first", "model is given twice"),
        ("judge builtin --judge random --format rrm", "'rrm' does not fit engine 'heuristic'"),
        ("judge builtin --judge random --engine hf", "does not fit engine 'hf'"),
        ("judge builtin --model m --format rrm --set format=grm", "format is given twice"),
        ("judge builtin --engine qwen2 --model lab:nosuch", "in the checkout: rrm lab train nosuch"),
        ("export /nowhere.sqlite x", "no such store"),
        ("parse nope /dev/null", "nope"),
        ("run nope", "no notebook 'nope'"),
        ("run evaluation --profile nope", "nope"),
        ("run evaluation -p sead=1", "unknown parameter 'sead'"),
        ("run evaluation -p limit=x", "'limit': expected int"),
        ("run evaluation -p profile=smoke", "profile is set by --profile"),
        ("run evaluation -p out=x", "out is set by the run"),
        ("run evaluation -p limit=1 -p limit=2", "limit is given twice"),
    ],
)
def test_an_error_is_one_line_on_stderr(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(ROOT if arguments.startswith("run") else tmp_path)
    code, out, err = rrm(capsys, *arguments.split(" "))
    assert code == 1
    assert out == ""
    assert says in err
    assert err.startswith("rrm: error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- name: x", "expected a mapping"),
        ("", "expected a mapping"),
        ("name: x", "model: Field required"),
        ("1: 2", "name: Field required"),
        ("[" * 5000, "not valid YAML"),
        ("name: 2001-99-99", "not valid YAML"),
        ("&a [*a]", "expected a mapping"),
    ],
)
def test_a_judge_file_that_is_none_is_refused_in_one_line(capsys, tmp_path, text, says):
    path = tmp_path / "j.yaml"
    path.write_text(text)
    code, _, err = rrm(capsys, "judge", "builtin", "--judge", str(path))
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"rrm: error: {path}")
    assert says in err


def test_flags_and_set_apply_to_a_judge_file_and_to_a_heuristic(capsys, tmp_path):
    path, out = tmp_path / "j.yaml", tmp_path / "j.jsonl"
    path.write_text("{name: l, engine: heuristic, model: heuristic:longest}")
    for judge in (str(path), "longest"):
        arguments = ("judge", "builtin", "--judge", judge, "--set", "orders=single", "--out", str(out), "--limit", "3")
        assert rrm(capsys, *arguments)[0] == 0
        assert len(out.read_text().splitlines()) == 3
    code, _, err = rrm(capsys, "judge", "builtin", "--judge", str(path), "--engine", "qwen2")
    assert (code, "does not fit engine 'qwen2'" in err) == (1, True)


def test_what_a_model_says_is_kept_without_being_asked_to(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = rrm(capsys, "judge", "builtin", *UNTRAINED, "--limit", "1")
    assert code == 1  # an untrained model writes nothing that can be read
    assert "store: rrm-traces.sqlite (choose another with --store)" in err
    assert "Loading weights" not in err
    with Store(tmp_path / "rrm-traces.sqlite", readonly=True) as store:
        assert store.counts()["generations"] == 2
    assert "0 model calls, 2 from the store" in rrm(capsys, "judge", "builtin", *UNTRAINED, "--limit", "1")[2]
    (tmp_path / "rrm-traces.sqlite").unlink()
    assert rrm(capsys, "judge", "builtin", "--judge", "first")[0] == 0
    assert not (tmp_path / "rrm-traces.sqlite").exists()  # rules of thumb cost nothing


def test_a_judge_of_which_nothing_could_be_read_is_an_error_beside_its_table(capsys, tmp_path):
    """A row of numbers looks like any other; nobody should take what an unreadable judgment is worth for a result."""
    arguments = ("judge", "builtin", *UNTRAINED, "--limit", "1", "--store", str(tmp_path / "s.sqlite"))
    code, out, err = rrm(capsys, *arguments)
    assert code == 1
    assert "coverage: 0 read" in out
    said = err.splitlines()[-1]
    assert said.startswith("rrm: error: not one of 2 judgments could be read (2 truncated): the numbers are no acc")
    assert re.search(r"; for example, the answer to '\S+' ends in '.+' \(.+\); ", said)
    assert "try another --format than 'direct_compact'" in said
    assert said.endswith(f"rrm view {tmp_path / 's.sqlite'}")
    assert said.isascii()
    assert said.isprintable()
    code, out, _ = rrm(capsys, *arguments, "--json", "-")
    assert (code, json.loads(out)["coverage"]["read"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "finish", "words"),
    [
        ("b\ufffd\x1b[31m\n\nred\u202e", "stop", r"ends in 'b\ufffd\x1b[31m\n\nred\u202e'"),
        ("x" * 500 + " and on", "length", " and on'"),
        (
            '[{"text": "", "finish": "stop", "error": ""}, {"text": "so", "finish": "stop", "error": ""}]',
            "stop",
            r"-\nso'",
        ),
        (" ", "stop", " is empty"),
    ],
)
def test_the_end_of_an_answer_that_could_not_be_read_is_escaped_and_short(capsys, monkeypatch, text, finish, words):
    reading = parse("direct", text, finish)
    plain = {"sample": 0, "judge": "j", "key": "", "text": text, "finish": finish, "tokens": 1, "reading": reading}

    def said(judge, items, store, **_):
        made = [Judgment(item=item.id, order=order, **plain) for item in items for order in (Order.AB, Order.BA)]
        return Run(tuple(made), 1, 0, 0, 1, 1.0, ())

    monkeypatch.setattr("rrmlib.judge.run", said)
    code, _, err = rrm(capsys, "judge", "builtin", "--judge", "first", "--limit", "1")
    line = err.splitlines()[-1]
    assert code == 1
    assert words in line
    assert line.isprintable()
    assert len(line) < 400
    assert ("raise max_tokens" if finish == "length" else "answer as format 'scores' asks?") in line


def test_a_target_that_cannot_be_written_is_found_before_any_call(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("rrmlib.judge.run", lambda *_, **__: pytest.fail("judged first"))
    for flag in ("--out", "--json", "--store"):
        code, _, err = rrm(capsys, "judge", "builtin", "--judge", "first", flag, str(FILE / "x"))
        assert (code, f"{FILE / 'x'}: cannot be written" in err) == (1, True)


@pytest.mark.parametrize("arguments", [(*UNTRAINED, "--store", "s.sqlite"), UNTRAINED, ("--judge", "first")])
def test_what_is_said_of_an_interrupted_run_is_true(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("rrmlib.judge.run", interrupted)
    code, _, err = rrm(capsys, "judge", "builtin", *arguments)
    assert code == 130
    store = "s.sqlite" if "--store" in arguments else "rrm-traces.sqlite"
    if "--judge" in arguments:
        assert err == "rrm: stopped; nothing was kept (no --store)\n"
    else:
        assert err.endswith(f"rrm: stopped; what was generated is in {store}, the same command resumes\n")
        assert Path(store).is_file()


def test_an_interrupted_notebook_is_one_line_too(capsys, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for folder in ("notebooks", "params", "runs/p"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rrmlib.run.run_notebook", interrupted)
    assert rrm(capsys, "run", "demo", "--profile", "p") == (130, "", "rrm: stopped\n")
    store = tmp_path / "runs/p/traces.sqlite"
    store.touch()
    said = f"rrm: stopped; what was generated is in {store}, the same command resumes\n"
    assert rrm(capsys, "run", "demo", "--profile", "p") == (130, "", said)


@pytest.mark.parametrize("command", ["judge builtin --judge first", "score builtin --judge first"])
def test_a_negative_limit_is_wrong_usage(capsys, command):
    with pytest.raises(SystemExit) as e:
        main([*command.split(), "--limit", "-3"])
    assert e.value.code == 2
    assert "--limit: '-3': expected a whole number, 0 or more" in capsys.readouterr().err


def test_judgments_of_a_limited_run_are_scored_with_the_same_limit(capsys, tmp_path):
    out = str(tmp_path / "j.jsonl")
    _, judged, _ = rrm(capsys, "judge", "builtin", "--judge", "longest", "--limit", "8", "--out", out, "--json", "-")
    code, scored, err = rrm(capsys, "score", "builtin", "--judgments", out, "--limit", "8", "--json", "-")
    assert (code, json.loads(scored)) == (0, json.loads(judged))
    assert err == "limit: only the first 8 prompts, each with all its items: 8 of 80 items\n"
    code, scored, err = rrm(capsys, "score", "builtin", "--judgments", out, "--limit", "5", "--json", "-")
    assert (code, json.loads(scored)["n"]) == (0, 5)
    said, left = err.splitlines()
    assert "first 5 prompts" in said
    assert left == "limit: 6 judgments of other items left out"
    code, _, err = rrm(capsys, "score", "builtin", "--judgments", out, "--judge", "logest")
    assert (code, err) == (1, f"rrm: error: {out}: no judge 'logest'; there are: longest\n")
    code, _, err = rrm(capsys, "score", "builtin", "--judgments", out)
    assert code == 1
    assert f"{out}: 72 of 80 items have no judgment" in err
    assert "--limit" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["judge", "score"])
def test_a_limit_counts_prompts_and_says_how_many_items_they_have(capsys, tmp_path, command):
    said = {"first": "4", "second": "5", "label": "first"}
    rows = [{"id": f"{n}-{i}", "query": f"2 + {n} = ?", **said} for n in range(3) for i in range(2)]
    path = tmp_path / "b.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (command, "pairs", "--judge", "first", "--data", str(path), "--json", "-", "--limit")
    code, out, err = rrm(capsys, *arguments, "2")
    assert (code, json.loads(out)["n"]) == (0, 4)
    assert "limit: only the first 2 prompts, each with all its items: 4 of 6 items\n" in err
    assert "limit" not in rrm(capsys, *arguments, "3")[2], "nothing is left out"
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "first N prompts, each with all its items" in " ".join(capsys.readouterr().out.split())


def test_rows_set_aside_are_in_the_json(capsys, tmp_path):
    path = tmp_path / "b.jsonl"
    path.write_text("".join(FILE.read_text("utf-8").splitlines(keepends=True)[:3]) + "{\n[]\n")
    arguments = ("score", "builtin", "--judge", "first", "--data", str(path), "--json", "-")
    code, out, _ = rrm(capsys, *arguments, "--lenient")
    result = json.loads(out)
    assert (code, result["n"], result["notes"]) == (0, 3, [])
    assert result["quarantine"]["rows"] == 2
    assert result["quarantine"]["first"].startswith(f"{path}:4: not valid JSON")
    path.write_text("{\n[]\n")
    code, out, err = rrm(capsys, *arguments, "--lenient")
    assert (code, out) == (1, "")
    assert f"no row can be used: 2 set aside, the first: {path}:1: not valid JSON" in err
    assert "; is this data of benchmark 'builtin'? needed: rows {id, section" in err
    assert err.count("\n") == 1
    path.write_text(FILE.read_text("utf-8"))
    assert json.loads(rrm(capsys, *arguments)[1])["quarantine"] == {"rows": 0, "first": None}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """A disk that is full, made by a limit on the size of files: what stood there stays, and nothing lies about."""

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    for flag in ("--out", "--json"):
        target = tmp_path / "t"
        target.write_text("before")
        command = [sys.executable, "-m", "rrmlib", "judge", "builtin", "--judge", "longest", flag, str(target)]
        done = subprocess.run(command, preexec_fn=small, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"rrm: error: {target}: File too large"
        assert target.read_text() == "before"
        assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_a_pipe_is_written_and_a_link_followed(capsys, tmp_path):
    """Renaming over them would replace the pipe (as root: a device) by a file."""
    link, real, pipe = tmp_path / "link", tmp_path / "real", tmp_path / "pipe"
    link.symlink_to(real)
    os.mkfifo(pipe)
    for flag in ("--out", "--json"):
        assert rrm(capsys, "judge", "builtin", "--judge", "first", flag, str(link))[0] == 0
        assert link.is_symlink()
        with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
            assert rrm(capsys, "judge", "builtin", "--judge", "first", flag, str(pipe))[0] == 0
            assert reader.communicate(timeout=20)[0] == real.read_bytes()
        assert pipe.is_fifo()


def test_a_cap_that_leaves_no_room_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("judge", "builtin", "--engine", "qwen2", "--model", "tiny:test", "--format", "direct_compact")
    code, _, err = rrm(capsys, *arguments, "--limit", "1", "--out", "j.jsonl")
    assert code == 1
    assert "not one of 2 judgments could be read (2 too_long): the numbers are no accuracy" in err
    assert re.search(r"too long: .*: prompt \d+ \+ max_tokens 4096 > context 1024: lower max_tokens", err)
    assert "lower max_tokens" in json.loads(Path("j.jsonl").read_text().splitlines()[0])["note"]


def test_a_bad_data_file_is_named_with_line_and_field(capsys, tmp_path):
    path = tmp_path / "judgebench.jsonl"
    path.write_text('{"pair_id": "x"}\n')
    code, _, err = rrm(capsys, "score", "judgebench", "--data", str(path))
    assert code == 1
    assert f"{path}:1" in err
    assert "field" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_runs(capsys, monkeypatch, tmp_path, command):
    """As a reader would paste it into an empty folder; those of `run` and `lab` in a checkout, here with the shortest
    profile."""
    with pytest.raises(SystemExit) as e:
        main([command, "--help"])
    assert e.value.code == 0
    example = re.search(r"^example(?: \(in the checkout\))?: (.*rrm " + command + ".*)$", capsys.readouterr().out, re.M)
    assert example is not None
    if command in ("run", "lab"):
        for folder in ("notebooks", "params"):
            shutil.copytree(ROOT / folder, tmp_path / folder)
    line = example[1].replace("--profile laptop", "--profile smoke")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    done = subprocess.run(["sh", "-ec", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if command == "parse":
        assert json.loads(done.stdout)["choice"] == "second"


def test_the_example_of_the_whole_help_runs(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--help"])
    line = re.search(r"^example: rrm (.*)$", capsys.readouterr().out, re.M)
    assert line is not None
    command = [sys.executable, "-m", "rrmlib", *line[1].split()]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_whoever_reads_only_the_beginning_hears_no_error():
    command = f"{sys.executable} -m rrmlib score builtin --judge longest --json - | true"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "no --judgments given: scoring the heuristic judge 'longest'\n"


def test_wrong_usage_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as e:
        main(["score", "nope"])
    assert e.value.code == 2
