# The commands of this repository. `make` alone lists them.
# PYTHON=/path/to/python3.12 picks the Python that .venv is made with; any of 3.11 to 3.13 will do.

SHELL := /bin/sh
PYTHON ?=
VENV := .venv
RUN := $(VENV)/bin
SEEDS ?= 500
FIRST ?= 0

.DEFAULT_GOAL := help
.PHONY: help up down test test-compiled test-fast test-campaigns check bench compiled sim format clean install

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 20

up: install  ## Install and compile what is missing, start the local stack, take a demonstration payment
	@$(RUN)/python -P -m ops.compiled || true
	@$(RUN)/tally up

down:  ## Stop the local stack; its data stays in var/
	@if [ -x $(RUN)/tally ]; then $(RUN)/tally down; else echo "Nothing is installed, so nothing runs."; fi

test: compiled  ## Run the whole suite, on servers of its own
	@$(RUN)/python -m pytest -n 3 --dist loadgroup -m "not campaign"

test-campaigns: test-compiled  ## Run the tests that take a minute or more each, one after the other
	@$(RUN)/python -m pytest -m campaign

test-compiled: compiled  ## Run what needs no server of ours in the compiled form of the code
	@form=$$($(RUN)/python -P -m ops.compiled --path) || exit 1; \
		PYTHONPATH="$$form" $(RUN)/python -P -m pytest -n 2 --dist loadgroup \
		-p no:cacheprovider -m "not campaign" tests/unit tests/contract tests/simulation

test-fast: install  ## Run the unit tests alone: no servers, a few seconds
	@$(RUN)/python -m pytest -x -q -n 2 --dist worksteal --hypothesis-profile=fast tests/unit

check: install  ## Lint, formatting, types, import contracts
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports

bench: compiled  ## Measure beside baselines, in the short form (two minutes): shows that it works
	@$(RUN)/tally bench --short

sim: install  ## Simulate faults by seed: SEEDS=500, FIRST=0 (where to go on)
	@$(RUN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST)

compiled: install  ## Compile the modules that every payment goes through, where a C compiler is at hand
	@$(RUN)/python -P -m ops.compiled

format: install  ## Format the code
	@$(RUN)/ruff check --fix-only .
	@$(RUN)/ruff format .

clean:  ## Remove caches and builds; neither var/ nor .venv/
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find . -path ./.venv -prune -o -path ./var -prune -o -type d -name __pycache__ -exec rm -rf {} +

install:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh ./bootstrap.sh
