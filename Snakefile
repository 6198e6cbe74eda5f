# The lab's models and judges (params/<profile>/lab.yaml), each by `rrm lab`, and the notebooks of a profile, each by
# papermill through `rrm run`. A model is made again when its recipe, a parent, or what the code of the world or of
# training does has changed: all that is in its key, and the key in the name of the file that a rule makes, so no clock
# is asked. A notebook reruns when its parameters, its own text, any library source that it imports, or any data or
# model that it reads has changed.
#   make figures PROFILE=laptop          everything that is stale
#   make figures NOTEBOOKS="world rl"    of these notebooks
#   .venv/bin/snakemake -n --cores 1     what would run, and why
#   .venv/bin/snakemake --executor slurm -j 50 --config profile=study
import re
import sys
from pathlib import Path

from rrmlib import lab
from rrmlib.benchmarks.rows import DataError, data_dir
from rrmlib.params import load_yaml
from rrmlib.run import inputs, named, resolve, sources

PROFILE = config.get("profile", "laptop")
profile = load_yaml(f"params/{PROFILE}/profile.yaml")
NOTEBOOKS = [name for name in profile["notebooks"] if Path(f"params/{PROFILE}/{name}.yaml").is_file()]
if chosen := config.get("notebooks", "").split():  # some of them, and what they need
    if unknown := set(chosen) - set(NOTEBOOKS):
        raise WorkflowError(f"profile {PROFILE} has no {', '.join(sorted(unknown))}; it has: {', '.join(NOTEBOOKS)}")
    NOTEBOOKS = chosen
PARAMETERS = {name: resolve(name, profile=PROFILE) for name in NOTEBOOKS}
FIGURES = {
    "evaluation": ["coverage", "sections", "position", "ranking"],
    "world": ["leaks", "base", "behaviours"],
    "distillation": ["oracles", "sections", "contrasts", "curves", "meta"],
    "rl": ["sections", "contrasts", "curves", "thinking", "behaviours", "gain"],
    "ablation": ["arms", "controls", "grm", "contrasts", "sizes", "noise"],
    "scaling": ["votes", "soft", "ties", "published", "budgets", "spending", "frontier", "difficulty"],
    "multi_response": ["judgments", "tokens", "simulation", "growth"],
    "recorded": ["votes", "resolution", "ratings"],
    "patterns": ["rates", "length"],
}
# Judges that are asked for test-time compute alone: pools, budgets, candidates.
COMPUTE = re.compile(r"\.(pool|b\d+|pairs|candidates)")
if profile["needs_recorded"]:
    try:
        data_dir()
    except DataError as e:
        raise WorkflowError(f"profile {PROFILE}: {e}")
HAS_LAB = Path(f"params/{PROFILE}/lab.yaml").is_file()
if HAS_LAB:  # recorded judges cannot be asked
    FIGURES["patterns"] += ["commitment", "steps", "following"]
LABS = {str(seed): lab.load(PROFILE, seed) for seed in profile["seeds"]} if HAS_LAB else {}
LAB = "{sys.executable} -m rrmlib lab"
SAID = "> {log} 2>&1 || (tail -n 5 {log} >&2; exit 1)"


def figures(name):
    return expand(f"figures/{PROFILE}/{name}.{{figure}}.{{kind}}", figure=FIGURES[name], kind=["png", "pdf", "json"])


def kept(paths):
    """Outputs that a failed run leaves as they were (the gallery is in git)."""
    return [update(path) for path in paths]


def here(path):
    return str(path.relative_to(Path.cwd()))


def needs(notebook):
    """The marks of the lab's judges and models that a notebook's parameters name, of every seed of the profile."""
    found = []
    for each in LABS.values():
        judges, models = named(PARAMETERS[notebook], each)
        found += [each.judged_mark(name) for name in judges] + [each.mark(name) for name in models]
    return [here(mark) for mark in found]


# Notebook distillation computes longest: what it reads is made first, and the rest beside it.
FIRST = set(needs("distillation")) if "distillation" in NOTEBOOKS else set()
# Jobs of a higher number begin earlier. Pools and budgets come before all judges, and then the notebook that reads
# them: it takes longest, and candidates and their notebook fit beside it. Other notebooks wait until there is nothing
# else to run.
POOLS, SCALING, NOTEBOOK = 1001, 1000, -10


def urgency(seed, model, marks):
    """The more models are made before or after this one, the earlier; then whether FIRST has one of the marks."""
    each = LABS[seed]
    related = 0
    if model:
        related = len(each.ancestors(model)) + sum(model in each.ancestors(other) for other in each.models)
    return 2 * related + any(here(mark) in FIRST for mark in marks)


rule all:
    input:
        [figures(name) for name in NOTEBOOKS],
        [f"runs/{PROFILE}/notebooks/{name}.ipynb" for name in NOTEBOOKS],  # figures alone come with the checkout


# The whole lab of a profile, with or without notebooks: snakemake lab --cores 2 --config profile=study
rule lab:
    input:
        [here(each.mark(name)) for each in LABS.values() for name in each.models],
        [here(each.judged_mark(name)) for each in LABS.values() for name in each.judges],


wildcard_constraints:
    seed=r"\d+",
    key="[0-9a-f]{16}",


# `ancient`: that a parent's file is newer says nothing; a parent made from something else has another name.
rule lab_world:
    output: update(f"runs/{PROFILE}/seed{{seed}}/world/.key-{{key}}.json")
    log: f"runs/{PROFILE}/log/world.seed{{seed}}.{{key}}.txt"
    shell: LAB + " world --profile {PROFILE} --seed {wildcards.seed} " + SAID


rule lab_model:
    input:
        lambda w: ancient(here(LABS[w.seed].world_mark())),
        lambda w: [ancient(here(LABS[w.seed].mark(name))) for name in LABS[w.seed].models[w.name].parents],
    output: update(f"runs/{PROFILE}/seed{{seed}}/models/{{name}}/.key-{{key}}.json")
    log: f"runs/{PROFILE}/log/{{name}}.seed{{seed}}.{{key}}.txt"
    threads: lambda w: max(profile["threads"], LABS[w.seed].models[w.name].recipe.get("parts", 1))
    priority: lambda w: urgency(w.seed, w.name, [LABS[w.seed].mark(w.name)])
    shell: LAB + " train {wildcards.name} --profile {PROFILE} --seed {wildcards.seed} " + SAID


# All judges of a model in one process, which takes seconds to start; those of each kind of COMPUTE apart.
ASKED = {}
for seed, each in LABS.items():
    for name in each.judges:
        compute = (COMPUTE.search(name) or [""])[0].rstrip("0123456789")
        ASKED.setdefault((seed, each.judge_model(name), compute), []).append(name)

for (seed, model, compute), names in ASKED.items():

    rule:
        name: f"lab_judges_{names[0]}_seed{seed}"
        input:
            ancient(here(LABS[seed].world_mark())),
            [ancient(here(LABS[seed].mark(model)))] if model else [],
        output: kept([here(LABS[seed].judged_mark(name)) for name in names])
        params:
            names=names,
            seed=seed,
        log: f"runs/{PROFILE}/log/judge.{names[0]}.seed{seed}.txt"
        threads: profile["threads"]
        priority: POOLS if compute in (".pool", ".b") else urgency(seed, model, map(LABS[seed].judged_mark, names)) - 1
        shell: LAB + " judge {params.names} --profile {PROFILE} --seed {params.seed} " + SAID


for notebook in NOTEBOOKS:

    rule:
        name: notebook
        input:
            needs(notebook),
            notebook=f"notebooks/{notebook}.ipynb",
            parameters=f"params/{PROFILE}/{notebook}.yaml",
            library=sources(notebook),
            data=inputs(PARAMETERS[notebook]),
        output:
            kept(figures(notebook)),
            executed=f"runs/{PROFILE}/notebooks/{notebook}.ipynb",
        params:
            values=PARAMETERS[notebook],
        log: f"runs/{PROFILE}/log/{notebook}.txt"
        threads: profile["threads"]
        priority: SCALING if notebook == "scaling" else NOTEBOOK
        resources: runtime=f"{profile['notebooks'][notebook]}s"
        shell: "{sys.executable} -m rrmlib run {rule} --profile {PROFILE} " + SAID
