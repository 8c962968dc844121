# The commands of the house. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.set-up
SEED ?=
RUNTIME ?=
PYTEST := $(BIN)/python -m pytest
SOURCES := src tests bench scripts examples templates

.PHONY: help setup demo test test-systems check bench wire-counts lock docs clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(SETUP) ## make .venv with the locked dependencies and the package in it
$(SETUP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Batchyard needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(SETUP)

demo: setup ## call variants on a real genome, from reads to VCF, on a service of its own (SEED=n repeats a run, RUNTIME=container runs it in an image made here)
	$(BIN)/python examples/variant-calling/run.py --out demo-out $(if $(SEED),--seed $(SEED)) $(if $(RUNTIME),--runtime $(RUNTIME))

test: setup ## all tests (those that need a missing system component say so and are skipped)
	$(PYTEST) -n 2 --dist worksteal tests

test-systems: ## install the system components that tests use (Debian: apt, as root)
	.ci/systems

check: setup ## format, lint, types, house rules, unit tests, short simulation; under a minute
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(PYTEST) -q -n 2 tests/house tests/core tests/engine tests/store tests/wire tests/simulation/test_short.py

bench: setup ## measure beside peers, in the same run; prints ratios
	$(BIN)/python -m bench

docs: setup ## write the generated pages anew
	$(BIN)/python scripts/make_docs.py

wire-counts: setup ## run all tests and note which operations and members they exercise over the wire
	BATCHYARD_WRITE_WIRE_COUNTS=1 $(PYTEST) -n 2 --dist worksteal tests
	$(BIN)/python scripts/make_docs.py

lock: ## choose newer dependencies and lock them
	$(BIN)/python -m uv pip compile --quiet --no-header --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	  --extra demo --extra dev --python-version 3.11 pyproject.toml --output-file requirements.lock

clean: ## remove what was made
	rm -rf $(VENV) .clients demo-out .pytest_cache .mypy_cache .ruff_cache
