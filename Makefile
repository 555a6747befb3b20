# `make demo` and `make test` do everything on a fresh machine with Python >= 3.11 and make, set-up included.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
LOCKS  := $(wildcard constraints/*.txt)
DOCS   := $(VENV)/.docs

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-more test-slow fuzz test-gpu validate lint format bench notebooks docs docs-serve docs-test hooks lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY)  ## make .venv with the tested versions (once)

$(READY): pyproject.toml scripts/setup.sh $(LOCKS)
	@PYTHON="$(PYTHON)" sh scripts/setup.sh $(VENV)
	@touch $@

demo: $(READY)  ## main job: simulate a small electrolyte, write pictures and a summary to demo_output/
	$(BIN)/jaxelyte demo --output demo_output

# Most of their time is compilation, which takes half as long without optimisation; test-slow runs with it.
test: $(READY)  ## the tests (some 7 minutes on 2 cores)
	XLA_FLAGS="--xla_backend_optimization_level=0 $$XLA_FLAGS" $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-more: $(READY)  ## further variants and statistics, which continuous integration runs too (some 5 minutes)
	XLA_FLAGS="--xla_backend_optimization_level=0 $$XLA_FLAGS" $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "more and not slow"

test-slow: $(READY)  ## the tests left out of both for their time
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "slow and not gpu and not validation"
	$(BIN)/python -m pytest tests/observables tests/dynamics/test_resume.py  # rounding: once more as runs are compiled

fuzz: $(READY)  ## 3,000 damaged files through every reader (some 3 minutes)
	$(BIN)/python tests/fuzz/run.py --inputs 3000

test-gpu: $(READY)  ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu

validate: $(READY)  ## reproduce published results (minutes to hours; needs published data)
	$(BIN)/python -m pytest -m validation

lint: $(READY)  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)  ## rewrite the code in the house format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(READY)  ## speed of force calls and molecular dynamics, as JSON in benchmarks/output/
	$(BIN)/python benchmarks/md.py --output benchmarks/output/md.json

notebooks: $(READY)  ## execute all notebooks; the results go to notebooks/output/
	$(BIN)/python scripts/notebooks.py

docs: $(DOCS)  ## build the documentation in site/, warnings are errors (some 15 s, the first time a minute more)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-serve: $(DOCS)  ## show the documentation at http://127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

docs-test: $(DOCS)  ## open every page of the documentation and a report in a headless browser (some 4 minutes)
	$(BIN)/python -m pytest tests/test_site.py -m "slow or not slow"

$(DOCS): $(READY)
	PYTHON="$(PYTHON)" EXTRAS=docs sh scripts/setup.sh $(VENV)
	@touch $@

hooks: $(READY)  ## install the git hooks and the filter that strips notebook outputs
	$(BIN)/pre-commit install
	git config filter.nbstripout.clean "$(BIN)/nbstripout"
	git config filter.nbstripout.smudge cat
	git config diff.ipynb.textconv "$(BIN)/nbstripout -t"

lock: pyproject.toml  ## resolve the dependencies afresh with PYTHON and pin them in constraints/
	sh scripts/lock.sh $(PYTHON)

clean:  ## remove caches and outputs, keep .venv
	rm -rf demo_output site notebooks/output benchmarks/output build dist .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf
