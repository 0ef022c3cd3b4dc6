# `make demo` and `make test` need nothing but python3 and make: they set up .venv themselves, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread a process: the tests run in two processes, and are small.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=1

.PHONY: help demo figures test check docs results results-check bench-ingest bench-plan bench-speed setup clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

setup: $(READY)  ## a virtual environment with everything, in .venv

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON): install Python 3.11 or newer, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old: FoMo needs Python 3.11 or newer; say make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	echo "installing FoMo and what it needs into $(VENV) (some minutes the first time)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --compile -c constraints.txt -e '.[dev,operator]'
	$(BIN)/python -m compileall -q src
	touch $@

demo: $(READY)  ## forecast a made-up city with the shipped weights: a figure and a table in output/demo
	@$(BIN)/fomo demo

figures: demo  ## the demo's figure into docs/, with fewer colours so that it is small
	@mkdir -p docs/figures
	$(BIN)/python -c 'from PIL import Image; Image.open("output/demo/forecast.png").convert("RGB").quantize(128).save("docs/figures/demo.png", optimize=True)'

test: check  ## everything that CI runs: check, then the tests in two processes
	@$(ONE_THREAD) $(BIN)/python -m pytest -n 2

check: $(READY)  ## ruff, mypy and the layers
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

results: $(READY)  ## every rival beside FoMo, from the data of FOMO_DATA: hours, goes on where it was killed
	@$(BIN)/fomo scoreboard recipes/scoreboard.toml

results-check: $(READY)  ## score one row in fifty of the scoreboard again; fails beyond the row's interval
	@$(BIN)/fomo scoreboard recipes/scoreboard.toml --check

ROWS ?= 28800000
bench-ingest: $(READY)  ## an operator of ROWS rows to a city, beside the bare group-by; the last line is JSON
	@$(BIN)/python benchmarks/ingest.py --rows $(ROWS)

bench-speed: $(READY)  ## how long forecasts take beside the floor, and what few steps cost; the last line is JSON
	@$(BIN)/python benchmarks/speed.py

bench-plan: $(READY)  ## how long plans take on 10,000 made-up cells; the last line is JSON
	@$(BIN)/python benchmarks/plan.py speed

docs: $(READY)  ## run every example of README.md and docs/, and follow their links
	@$(ONE_THREAD) $(BIN)/python -m pytest tests/test_documents.py

clean:  ## remove what make and the demo made, not .venv
	@rm -rf output/demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
