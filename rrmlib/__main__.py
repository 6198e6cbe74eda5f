"""The command line `rrm`: thin words over the same functions that notebooks call.

Results go to stdout (with `--json -` nothing else does), everything said to people to stderr. Errors are one line,
exit code 1 (2 for wrong usage, 130 for Ctrl-C); that not one judgment of a judge could be read is one too. Files are
written whole or not at all, and that they can be written is found out before any model is called; what a model says is
always kept in a store.

    rrm judge builtin --model path:MODEL --store traces.sqlite --out judgments.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrmlib import __version__
from rrmlib.benchmarks import NAMES, benchmark
from rrmlib.benchmarks.rows import DataError, data_path, first_prompts
from rrmlib.params import JudgeSpec, ParameterError, load_yaml, parse_assignments

if TYPE_CHECKING:
    from rrmlib.benchmarks.base import Benchmark
    from rrmlib.benchmarks.rows import Loaded
    from rrmlib.lab import Lab
    from rrmlib.score import Result

HEURISTICS = ("random", "first", "longest", "shortest")
ENDING = 60  # characters of an answer that could not be read
LARGEST = 100_000_000  # bytes of judgments in one page: a browser has to hold them all
STORE = "rrm-traces.sqlite"  # of `rrm judge` with a model and without --store: what was generated was paid for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Known failures become one line on stderr."""
    from rrmlib.engines.base import EngineError
    from rrmlib.store import StoreError

    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `rrm score ... | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has nowhere to go
        return 1
    except (DataError, EngineError, StoreError, ValueError, OSError, RuntimeError) as e:
        message = f"{e.filename}: {e.strerror}" if isinstance(e, OSError) and e.filename else str(e)
        print(f"rrm: error: {' '.join(message.split()) or type(e).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as e:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what a stopped notebook leaves unawaited
        print("; ".join(["rrm: stopped", *map(str, e.args)]), file=sys.stderr)
        return 130


def _judge(options: argparse.Namespace) -> int:
    from rrmlib.judge import open_judge, run, write_judgments
    from rrmlib.judgment import State
    from rrmlib.score import known, limited, score
    from rrmlib.store import Store

    spec = _spec(options)
    kept = options.store or ("" if spec.engine == "heuristic" else STORE)
    _check_targets(kept, options.out, options.json)
    known(spec.model)
    bench = benchmark(options.benchmark)
    loaded = bench.load(data_path(options.data), strict=not options.lenient)
    items = first_prompts(loaded.items, options.limit)
    _say(loaded, bench, *limited(items, loaded.items, options.limit))
    judge = open_judge(spec)
    if kept and not options.store:
        print(f"store: {kept} (choose another with --store)", file=sys.stderr)
    try:
        with Store(kept or ":memory:") as store:
            done = run(judge, items, store, benchmark=bench.name)
    except KeyboardInterrupt:
        where = f"what was generated is in {kept}, the same command resumes"
        raise KeyboardInterrupt(where if kept else "nothing was kept (no --store)") from None
    finally:
        judge.engine.close()
    print(done.summary(), file=sys.stderr)
    for judgment in [j for j in done.judgments if j.state is State.TOO_LONG][:1]:
        print(f"too long: {done.too_long}, for example {judgment.item}: {judgment.reading.note}", file=sys.stderr)
    if options.out:
        write_judgments(Path(options.out), done.judgments)
        print(f"judgments written to {options.out}", file=sys.stderr)
    result = score(bench, items, done.judgments)
    _show(result, loaded, options.json)
    if result.judgments and not result.coverage["read"]:  # a table that looks like any other, and says nothing
        print(f"rrm: error: {_unread(result, spec, kept)}", file=sys.stderr)
        return 1
    return 0


def _score(options: argparse.Namespace) -> int:
    from rrmlib.judge import open_judge, read_judgments, run
    from rrmlib.score import limited, score
    from rrmlib.store import Store

    _check_targets(options.json)
    bench = benchmark(options.benchmark)
    loaded = bench.load(data_path(options.data), strict=not options.lenient)
    items = first_prompts(loaded.items, options.limit)
    _say(loaded, bench, *limited(items, loaded.items, options.limit))
    if not options.judgments:
        spec = _heuristic(options.judge or "longest")
        print(f"no --judgments given: scoring the heuristic judge {spec.name!r}", file=sys.stderr)
        with Store(":memory:") as store:
            judgments = list(run(open_judge(spec), items, store, quiet=True).judgments)
        _show(score(bench, items, judgments), loaded, options.json)
        return 0
    from rrmlib.viewer.view import is_store

    if is_store(Path(options.judgments)):
        again = "the `rrm judge` that filled it scores them, without a model call; its --out writes them as JSONL"
        raise ValueError(f"{options.judgments}: a trace store, not a file of judgments: {again}")
    found = read_judgments(Path(options.judgments), bench, loaded.items)
    names = sorted({j.judge for j in found})
    if options.judge and options.judge not in names:
        raise ValueError(f"{options.judgments}: no judge {options.judge!r}; there are: {', '.join(names) or 'none'}")
    if options.judge:
        found = [j for j in found if j.judge == options.judge]
    elif len(names) != 1:
        said = ", ".join(names) or "none"
        raise ValueError(f"{options.judgments}: judgments of one judge expected, found {said}; choose with --judge")
    wanted = {item.id for item in items}
    judgments = [j for j in found if j.item in wanted]
    if left := len(found) - len(judgments):
        print(f"limit: {left} judgments of other items left out", file=sys.stderr)
    try:
        result = score(bench, items, judgments)
    except DataError as e:
        lack = wanted - {j.item for j in judgments}
        hint = "; judgments made with --limit are scored with the same --limit" if lack else ""
        raise DataError(f"{options.judgments}: {e}{hint}") from None
    _show(result, loaded, options.json)
    return 0


def _parse(options: argparse.Namespace) -> int:
    from rrmlib.judgment import Judgment, Order
    from rrmlib.parse import parse

    text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8", errors="surrogateescape")
    reading = parse(options.parser, text, options.finish, opens_think=options.opens_think, n=options.n)
    order = Order(tuple(range(options.n)))
    judgment = Judgment(
        item="-", order=order, sample=0, judge="-", key="", text="", finish=options.finish, tokens=-1, reading=reading
    )
    row = judgment.to_row()
    print(json.dumps({name: row[name] for name in ("state", "choice", "strength", "values", "note")}))
    return 0


def _export(options: argparse.Namespace) -> int:
    from rrmlib.store import Store, StoreError

    if not Path(options.store).is_file():
        raise StoreError(f"{options.store}: no such store")
    if options.salvage:  # without opening it: what is damaged may be the header
        from rrmlib.salvage import save

        lost = save(Path(options.store), Path(options.out))
    else:
        with Store(options.store, readonly=True) as store:
            lost = store.export(Path(options.out))
    left_out = f"; {lost} damaged rows left out" if lost else ""
    print(f"{options.store}: exported to {options.out}{left_out}", file=sys.stderr)
    return 0


def _import(options: argparse.Namespace) -> int:
    from rrmlib.store import Store

    with Store(options.store) as store:
        store.import_(Path(options.file))
        print(f"{options.file}: imported into {options.store}", file=sys.stderr)
    return 0


def _view(options: argparse.Namespace) -> int:
    from rrmlib.viewer.filters import Query
    from rrmlib.viewer.page import remote_page, write
    from rrmlib.viewer.serve import Server
    from rrmlib.viewer.view import View, is_store, items_of, stored

    _check_targets(options.out)
    if options.data and not options.benchmark:
        raise ValueError("--data is the file of a benchmark: say which with --benchmark")
    if not options.out and (options.filter or options.limit):
        raise ValueError("--filter and --limit choose what goes into a file: give --out, or choose in the page")
    bench = benchmark(options.benchmark) if options.benchmark else None
    loaded = bench.load(data_path(options.data), strict=True) if bench else None
    given = {bench.name: loaded.items} if bench and loaded else {}
    if bench and loaded:
        _say(loaded, bench)
    query = Query(filters=tuple(options.filter), judges=tuple(options.judge), benchmark=bench.name if bench else None)
    with tempfile.TemporaryDirectory(prefix="rrm-view-") as folder:
        path = Path(options.store)
        if path.exists() and not is_store(path):
            path = stored(path, Path(folder), bench, loaded.items if loaded else ())
            kept = "" if options.out else "; notes last until you stop (rrm import makes a store of an export)"
            print(f"{options.store}: read as judgments{kept}", file=sys.stderr)
        find = items_of(path, given=given)
        view = View(path, find, judges=options.judge)
        there = view.meta()["benchmarks"]
        if bench and there and bench.name not in there:
            raise ValueError(f"{options.store}: no judgments of {bench.name}; there are some of {', '.join(there)}")
        if options.out:
            document = view.document(query, limit=options.limit, most=LARGEST)
            written = write(document, options.out, title=Path(options.store).name)
            size = written.stat().st_size / 1e6
            kept = f", your notes on {len(document['notes']):,} of them" if document["notes"] else ""
            items = f"{len(document['items']):,} item{'' if len(document['items']) == 1 else 's'}"
            print(f"{options.out}: {items}{kept}, {size:.1f} MB", file=sys.stderr)
            for note in filter(None, [document["note"]]):
                print(f"note: {note}", file=sys.stderr)
            if not bench and not all(item["responses"] for item in document["items"]):
                print(
                    "note: --benchmark (and --data) says what items are that the store does not know", file=sys.stderr
                )
            return 0
        with Server(view, remote_page(Path(options.store).name), port=options.port) as server:
            print(server.address, flush=True)
            print("serving to this machine only, until Ctrl-C", file=sys.stderr)
            if options.open:
                import webbrowser

                webbrowser.open(server.address)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()
    return 0


def _run(options: argparse.Namespace) -> int:
    from rrmlib.artefact import root
    from rrmlib.run import run_notebook

    given = parse_assignments(options.parameter)
    for name, who in {"profile": "--profile", "out": "the run itself"}.items():
        if name in given:
            raise ParameterError(f"-p {name}=...: {name} is set by {who}")
    try:
        target = run_notebook(options.notebook, profile=options.profile, given=given, quiet=options.quiet)
    except KeyboardInterrupt:
        store = root() / "runs" / options.profile / "traces.sqlite"
        where = [f"what was generated is in {store}, the same command resumes"] if store.is_file() else []
        raise KeyboardInterrupt(*where) from None
    print(target)
    return 0


def _lab(options: argparse.Namespace) -> int:
    from rrmlib import lab as room
    from rrmlib.origins import ship

    lab = room.load(options.profile, options.seed)
    fresh = options.fresh or room.fresh_asked()
    names = options.name
    if options.what in ("train", "judge", "ship") and not names:
        known = lab.judges if options.what == "judge" else lab.models
        raise ValueError(f"rrm lab {options.what}: which? {', '.join(known) or 'there are none'}")
    if options.what == "list":
        rows = [("name", "recipe", "from", "state"), *overview(lab)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            print("  ".join(f"{text:{width}}" for text, width in zip(row, widths)).rstrip())
    elif options.what == "world":
        print(room.world(lab, fresh=fresh))
    for name in names:
        if options.what == "train":
            print(room.train(lab, name, fresh=fresh))
        elif options.what == "judge":
            print(room.judge(lab, name, fresh=fresh))
        elif options.what == "ship":
            print(ship(lab, name))
    return 0


# ---------------------------------------------------------------------------------------------------------------


def overview(lab: Lab) -> list[tuple[str, str, str, str]]:
    """(name, recipe or model, from, state) of every model and judge; state is made, shipped, stale or missing."""
    from rrmlib.artefact import about
    from rrmlib.origins import shipped

    def state(mark: Path, name: str = "") -> str:
        if mark.is_file():
            return "shipped" if about(mark.parent).get("shipped") else "made"
        if name and shipped(lab, name):
            return "shipped"
        return "stale" if mark.parent.is_dir() else "missing"

    rows = [("world", "", "", state(lab.world_mark()))]
    for name, model in lab.models.items():
        rows.append((name, str(model.recipe["recipe"]), " ".join(model.parents), state(lab.mark(name), name)))
    for name, entry in lab.judges.items():
        rows.append((name, "judge", entry.spec.model, state(lab.judged_mark(name))))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rrm",
        description="Judge, score and read reward reasoning models.",
        epilog="example: rrm score builtin --judge longest --json -",
    )
    parser.add_argument("--version", action="version", version=f"rrm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str, example: str) -> argparse.ArgumentParser:
        shape = argparse.RawDescriptionHelpFormatter  # an example stays on the line that is pasted
        sub = commands.add_parser(name, help=text, description=text, epilog=example, formatter_class=shape)
        sub.set_defaults(command=function)
        return sub

    def benchmark_options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("benchmark", choices=NAMES, metavar="BENCHMARK", help=", ".join(NAMES))
        sub.add_argument("--data", default="", metavar="PATH", help="the benchmark's file or folder, in its own format")
        sub.add_argument("--lenient", action="store_true", help="set bad rows aside and count them instead of stopping")
        sub.add_argument("--json", default="", metavar="FILE", help="write the result as JSON; - for stdout")
        limit = "only the first N prompts, each with all its items, so more than N items where a prompt has several"
        sub.add_argument("--limit", type=_count, default=0, metavar="N", help=f"{limit} (0: all)")

    sub = command(
        "judge",
        _judge,
        "Put a judge to a benchmark and score it; what the store holds is not generated again.",
        "example: rrm judge builtin --judge longest",
    )
    benchmark_options(sub)
    sub.add_argument(
        "--judge", metavar="SPEC", help=f"a YAML file with a judge spec, or one of {', '.join(HEURISTICS)}"
    )
    sub.add_argument(
        "--model", default="", help="path:DIR, hf:ORG/NAME, lab:NAME, or the name a server knows; instead of --judge"
    )
    sub.add_argument("--engine", help="qwen2, hf, vllm, openai or scalar (with --model: hf)")
    sub.add_argument("--format", help="prompt format (with --model: rrm)")
    fields = (
        "any other field of a judge spec: samples, temperature, max_tokens, orders, think_budget, ...; may be repeated"
    )
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=fields)
    sub.add_argument("--store", default="", metavar="FILE", help=f"SQLite trace store (with a model: {STORE})")
    sub.add_argument("--out", default="", metavar="FILE", help="write the judgments as JSONL")

    sub = command(
        "score",
        _score,
        "Score judgments by the benchmark's official rule, with intervals and coverage.",
        "example: rrm score builtin --judge longest --json -",
    )
    benchmark_options(sub)
    sub.add_argument("--judgments", default="", metavar="PATH", help="the source's own files, or JSONL of `rrm judge`")
    sub.add_argument("--judge", default="", help="without --judgments: a heuristic; with: which judge of the file")

    sub = command(
        "parse",
        _parse,
        "Read one judge text (a file or - for stdin) and print the reading.",
        "example: printf 'It is B. [[B]]' | rrm parse direct -",
    )
    sub.add_argument("parser", help="rrm, rm_r1, direct, grm, judgebench_arena, ...")
    sub.add_argument("file", help="a text file, or - for stdin")
    sub.add_argument("--finish", default="stop", choices=("stop", "length", "error", "too_long", ""))
    sub.add_argument("--opens-think", action="store_true", help="the chat template opened the thinking")
    sub.add_argument("--n", type=int, default=2, help="number of responses shown")

    made = "rrm judge builtin --judge longest --store t.sqlite && rrm export t.sqlite t.parquet"
    sub = command("export", _export, "Write a store to one .parquet or .jsonl file.", f"example: {made}")
    sub.add_argument("store", metavar="STORE")
    sub.add_argument("out", metavar="PATH")
    sub.add_argument("--salvage", action="store_true", help="leave out what is damaged instead of stopping")

    example = f"example: {made} && rrm import t.parquet copy.sqlite"
    sub = command("import", _import, "Read an export into a store.", example)
    sub.add_argument("file", metavar="PATH")
    sub.add_argument("store", metavar="STORE")

    example = "rrm judge builtin --judge longest --store t.sqlite && rrm view t.sqlite --out t.html"
    text = "Read what judges wrote, side by side: in the browser, or as one HTML file."
    sub = command("view", _view, text, f"example: {example}")
    sub.add_argument("store", metavar="STORE", help="a trace store, its export, or JSONL of `rrm judge --out`")
    what = "whose items these are, where the store does not tell (it knows builtin and the lab's); in a file only these"
    sub.add_argument("--benchmark", default="", choices=NAMES, metavar="NAME", help=what)
    sub.add_argument("--data", default="", metavar="PATH", help="the benchmark's file or folder, in its own format")
    sub.add_argument("--judge", action="append", default=[], metavar="NAME", help="only this judge; may be repeated")
    sub.add_argument("--port", type=_count, default=0, metavar="N", help="to serve at (default: a free one)")
    sub.add_argument("--open", action="store_true", help="open the address in a browser")
    sub.add_argument("--out", default="", metavar="FILE", help="write one HTML file that needs no server instead")
    some = "with --out: only items such as disagree, flipped, wrong, unparsed; repeated: all required"
    sub.add_argument("--filter", action="append", default=[], metavar="NAME", help=some)
    sub.add_argument("--limit", type=_count, default=0, metavar="N", help="with --out: only the first N items (0: all)")

    example = "example (in the checkout): rrm run evaluation --profile laptop"
    sub = command("run", _run, "Execute one notebook with the parameters of a profile.", example)
    sub.add_argument("notebook")
    sub.add_argument("--profile", default="laptop")
    sub.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="read as YAML")
    sub.add_argument("--quiet", action="store_true", help="do not show the cells' output")

    example = "example (in the checkout): rrm lab list --profile laptop"
    sub = command("lab", _lab, "Make the models of the laptop lab, and let its judges judge.", example)
    what = "list: what there is; world, train, judge: make what is stale, parents first; ship: put it into the library"
    sub.add_argument("what", choices=("list", "world", "train", "judge", "ship"), metavar="WHAT", help=what)
    sub.add_argument(
        "name", nargs="*", metavar="NAME", help="models (train, ship) or judges of params/PROFILE/lab.yaml"
    )
    sub.add_argument("--profile", default="laptop")
    sub.add_argument("--seed", type=_count, default=0, metavar="K", help="of world and training (default 0)")
    sub.add_argument("--fresh", action="store_true", help="make it again, from nothing (or set RRM_FRESH=1)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 0 or more")
    return int(text)


def _spec(options: argparse.Namespace) -> JudgeSpec:
    """The judge of `rrm judge`: what --judge or --model says, then --engine, --format and --set, none of it twice."""
    if bool(options.judge) == bool(options.model):
        raise ValueError("give either --judge (a YAML file or a heuristic) or --model")
    base: dict[str, Any]
    given = {name: getattr(options, name) for name in ("engine", "format") if getattr(options, name)}
    if options.model:
        where, base = "--model", {"name": options.model.rstrip("/").rpartition("/")[2], "engine": "hf"}
        given["model"] = options.model
    elif options.judge in HEURISTICS:
        where, base = f"--judge {options.judge}", {"name": options.judge, "engine": "heuristic"}
        given["model"] = f"heuristic:{options.judge}"
    elif not Path(options.judge).exists():  # a heuristic with a slip, as often as a file
        raise ParameterError(f"--judge {options.judge}: no such file; heuristic judges: {', '.join(HEURISTICS)}")
    else:
        where, base = options.judge, load_yaml(options.judge)
        if not isinstance(base, dict):
            raise ParameterError(f"{where}: expected a mapping of judge fields, found {type(base).__name__}")
    stated = parse_assignments(options.set, given)
    if unknown := [name for name in stated if name not in JudgeSpec.model_fields]:
        raise ParameterError(f"--set {unknown[0]}: no field of a judge; there are: {', '.join(JudgeSpec.model_fields)}")
    return JudgeSpec.parse(base | stated, where)


def _heuristic(name: str) -> JudgeSpec:
    if name not in HEURISTICS:
        raise ValueError(f"unknown heuristic judge {name!r}; known: {', '.join(HEURISTICS)}")
    return JudgeSpec.parse({"name": name, "engine": "heuristic", "model": f"heuristic:{name}"})


def _check_targets(*targets: str) -> None:
    """Find out before anything is paid for that every file can be written. Raises ValueError that names it."""
    seen: set[Path] = set()
    for path in (Path(target) for target in targets if target not in ("", "-")):
        if path.resolve() in seen:
            raise ValueError(f"{path} is to be written twice; give each output a file of its own")
        seen.add(path.resolve())
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "Is a directory")
            if path.is_file():
                path.open("ab").close()
            if path.is_file() or not path.exists():
                folder = path.resolve().parent
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
        except OSError as e:
            reason = "its folder is a file" if isinstance(e, FileExistsError) else e.strerror
            raise ValueError(f"{path}: cannot be written: {reason}") from None


def _unread(result: Result, spec: JudgeSpec, store: str) -> str:
    """What to say where not one judgment could be read: their states, how one of them ends, and what to do."""
    from rrmlib.judgment import State
    from rrmlib.viewer.records import readable

    states = {state: count for state, count in result.coverage.items() if count}
    most = max(states, key=lambda state: states[state])
    one = next(j for j in result.judgments if j.state == most)
    advice = {
        State.UNPARSED: f"does the model answer as format {spec.format!r} asks? try another --format",
        State.TRUNCATED: f"raise max_tokens, check opens_think (--set), try another --format than {spec.format!r}",
        State.ERROR: "the same command tries again",
    }
    listed = ", ".join(f"{count} {state}" for state, count in states.items())
    text = readable(one)[0].rstrip()
    end = f"ends in {text[-ENDING:]!a}" if text else "is empty"
    why = f" ({one.reading.note})" if one.reading.note else ""
    said = [
        f"not one of {len(result.judgments)} judgments could be read ({listed}): the numbers are no accuracy",
        f"for example, the answer to {one.item!a:.80} {end}{why}",
    ]
    said += [advice[one.state]] if one.state in advice else []
    said += [f"whole answers: rrm view {store}"] if store else []
    return "; ".join(said)


def _say(loaded: Loaded, bench: Benchmark, *more: str) -> None:
    """What a load repaired or set aside, and more lines, on stderr. Raises DataError where no item is left."""
    if not loaded.items:
        aside = f": {len(loaded.quarantine)} set aside, the first: {loaded.quarantine[0]}" if loaded.quarantine else ""
        raise DataError(f"no row can be used{aside}; is this data of benchmark {bench.name!r}? needed: {bench.files}")
    for line in (*(f"note: {note}" for note in loaded.notes), *more):
        print(line, file=sys.stderr)
    for problem in loaded.quarantine[:5]:
        print(f"set aside: {problem}", file=sys.stderr)
    if len(loaded.quarantine) > 5:
        print(f"set aside: {len(loaded.quarantine)} rows in all", file=sys.stderr)


def _show(result: Result, loaded: Loaded, target: str) -> None:
    """JSON where asked for (to stdout or a file), else a short table. Raises OSError that names the file."""
    from rrmlib.artefact import write_whole

    aside = {"rows": len(loaded.quarantine), "first": str(loaded.quarantine[0]) if loaded.quarantine else None}
    data = result.as_json() | {"quarantine": aside, "notes": [str(note) for note in loaded.notes]}
    text = json.dumps(data, indent=1, allow_nan=False)
    if target == "-":
        print(text)
        return
    if target:
        write_whole(Path(target), lambda temporary: temporary.write_text(text + "\n", "utf-8"))
    print(_table(result))


def _table(result: Result) -> str:
    from rrmlib.score import caveats

    def percent(value: float) -> str:
        return "    -" if value != value else f"{100 * value:5.1f}"

    lines = [f"{result.benchmark.title}: {result.judge}, {len(result.items)} items, {len(result.judgments)} judgments"]
    lines.append(f"{'':24}  official      95 % interval   wrong   half  excluded")
    for part in ("", *result.official.by):
        e = result.estimate(part=part)
        others = [result.aggregates[rule] for rule in ("wrong", "half", "excluded")]
        wrong, half, excluded = (percent(a.by.get(part, float("nan")) if part else a.value) for a in others)
        head = f"{part or 'overall':24.24}     {percent(e.value)}   [{percent(e.lo)}, {percent(e.hi)}]"
        lines.append(f"{head}   {wrong}  {half}     {excluded}")
    lines += [f"note: {caveat}" for caveat in caveats([result])]
    states = ", ".join(f"{count} {state}" for state, count in result.coverage.items() if count or state == "read")
    lines.append(f"coverage: {states} of {len(result.judgments)}")
    for name, e in result.position.items():
        lines.append(f"{name.replace('_', ' ')}: {percent(e.value)} [{percent(e.lo)}, {percent(e.hi)}], n = {e.n}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
