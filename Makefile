# make figures [PROFILE=laptop|recorded|smoke]   train what is stale, run the notebooks of a profile, redraw figures/
#              FRESH=1                            all of it from nothing, also what came with the library
#              NOTEBOOKS="world rl"               only these and what they need
# make test                                       set up and run the tests
# make lab                                        JupyterLab on the notebooks
# make test-browser                               the reader in a real browser (Chromium, node)
# make test-vllm                                  vLLM's own environment, its engine and server (CPU)
# Every target does all set-up it needs, in .venv and .venv-vllm; nothing is installed outside the checkout (but see
# tests/browser.sh: as root it installs Chromium where there is none).
PYTHON  ?= python3
PROFILE ?= laptop
JOBS    ?= 2
VENV    := .venv
BIN     := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: figures test lint lab test-browser test-vllm clean
.DELETE_ON_ERROR:

$(VENV)/.installed: environment.yml constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("rrmlib needs Python 3.11 or newer: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/- pip:/,$$p' environment.yml | sed -e 1d -e 's/^ *- //' -e 's|constraints.txt|../constraints.txt|' > $(VENV)/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -c constraints.txt -e .
	touch $@

figures: $(VENV)/.installed
	$(if $(FRESH),RRM_FRESH=1) $(BIN)/snakemake --cores $(JOBS) --rerun-incomplete --quiet rules reason host \
	  --config profile=$(PROFILE) $(if $(NOTEBOOKS),notebooks="$(NOTEBOOKS)") $(if $(FRESH),--forceall)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m "not vllm" -n $(JOBS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-browser: $(VENV)/.installed
	sh tests/browser.sh

test-vllm:
	sh tests/vllm.sh test

lab: $(VENV)/.installed
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

clean:
	rm -rf .snakemake build *.egg-info runs/smoke figures/smoke  # other runs hold traces that were paid for
