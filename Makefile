# make demo   see networks grow: the figure of analyses/tau_core_evolution.py, from embedded data
# make test   style, types, import rules, tests with doctests and coverage, the docs
# make figures  draw all figures and tables of docs/results.md again from the histories in docs/data
# make docs   the pages of docs/ as a site in site/, to be read from there

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Small tensors: several threads a process only get in each other's way.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint types imports unit docs figures clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.runtime
	$(BIN)/python analyses/tau_core_evolution.py

test: lint types imports docs unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

# Two processes, each with whole files, which share what their tests make once.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile

unit: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site/index.html"

figures: $(VENV)/.runtime
	$(BIN)/python analyses/results.py

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage

# The stamps are made last, so that an install that was cut short starts again.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing topograph into $(VENV) (once, a few minutes)"
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --editable '.[dev,docs]'
	@touch $@
