# Two commands do everything on a fresh machine: `make nightly` and `make test`.
# Needed from the system: Python 3.11, 3.12 or 3.13 with venv and headers, git, make, gcc.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup nightly test check format lint types imports tests up down nights bench bench-full \
	lock clean

# A shim can exist and fail, so each candidate is run, not only looked up.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3; do \
	$$candidate -c '$(SUITABLE)' >/dev/null 2>&1 && { echo $$candidate; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip
LOCKED := --no-deps --require-hashes -r requirements.lock
STAMP := .venv/installed
LONG := mission killed_nights two_nights

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed" \
		"(Debian: apt-get install python3 python3-venv python3-dev)" >&2; exit 2; }
	@command -v gcc >/dev/null || { echo "gcc is needed (Debian: apt-get install gcc)" >&2; exit 2; }
	@echo "setting up .venv with $$($(PYTHON) --version); this takes a few minutes once"
	$(PYTHON) -m venv --clear .venv
	@awk '/^[^ ]/ {its = /^uv==/} its' requirements.lock >.venv/uv.txt
	$(PIP) install -qq --no-deps --require-hashes -r .venv/uv.txt
	@index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2>/dev/null || true)}}"; \
	if test -n "$$index"; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(BIN)/uv pip install -q --python $(BIN)/python $(LOCKED) || \
		{ echo "uv could not install; pip does" >&2; $(PIP) install -qq --no-compile $(LOCKED); }
	$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib lethe flows || true # on all cores
	@touch $@

nightly: $(STAMP) ## Run two nights on a generated shop: promote, erase, retrain, verify, destroy
	@$(BIN)/lethe init
	@$(BIN)/lethe sample
	@$(BIN)/lethe night
	@$(BIN)/lethe sample --next-day
	@! test -s .lethe/requests/erase.txt || $(BIN)/lethe erase --file .lethe/requests/erase.txt
	@! test -s .lethe/requests/object.txt || $(BIN)/lethe object --file .lethe/requests/object.txt
	@rm -f .lethe/requests/erase.txt .lethe/requests/object.txt
	@$(BIN)/lethe night
	@$(BIN)/lethe status

test: check ## Set up, then check everything and run all tests

check: format lint types imports tests ## Format, lint, types, import contracts, doctests, tests

format: $(STAMP)
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff . | head -50; exit 1; }

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .

types: $(STAMP)
	@$(BIN)/mypy --no-error-summary

imports: $(STAMP)
	@$(BIN)/lint-imports --no-cache | tail -3

tests: $(STAMP)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations 15

up: $(STAMP) ## Start PostgreSQL, MLflow, Prefect and a worker on loopback, in the background
	@$(BIN)/lethe init >/dev/null
	@$(BIN)/lethe up

down: $(STAMP) ## End what `make up` started
	@$(BIN)/lethe down

nights: $(STAMP) ## Run only the long tests: the mission, a night killed at each step, two at once
	@$(BIN)/python -m pytest -q $(LONG:%=tests/nights/test_%.py)

# Peers are for the benchmarks alone: in no lock, and in no environment but theirs.
PEERS := build/peers
RECTOOLS := build/rectools/bin/python
LENSKIT := build/lenskit/bin/python
MEASURE = PYTHONPATH=$(PEERS) $(BIN)/python -m

$(PEERS)/installed: $(STAMP)
	@echo "installing the benchmarks' peers into $(PEERS)"
	$(BIN)/python -m pip install -qq --no-deps --target $(PEERS) irspack 'fastprogress<1.1' colorlog \
		polars polars-runtime-32 duckdb
	@touch $@

$(RECTOOLS): $(STAMP)
	$(PYTHON) -m venv --clear build/rectools
	$(RECTOOLS) -m pip install -qq rectools optuna

$(LENSKIT): $(STAMP) # with torch: gigabytes
	$(PYTHON) -m venv --clear build/lenskit
	$(LENSKIT) -m pip install -qq lenskit optuna

bench: $(PEERS)/installed ## Measure beside peers, the short forms, into docs/benchmarks.md; ten minutes
	@$(BIN)/python benchmarks/night.py --short
	@$(MEASURE) benchmarks.evaluation
	@$(MEASURE) benchmarks.recommending --users 20000
	@$(MEASURE) benchmarks.data_path
	@$(MEASURE) benchmarks.scan
	@$(MEASURE) benchmarks.tuning --budget 30 --seeds 1 --sets ml-100k shop

bench-full: $(PEERS)/installed $(RECTOOLS) $(LENSKIT) ## The same at full size; hours
	@$(BIN)/python benchmarks/night.py
	@$(MEASURE) benchmarks.orchestration
	@$(BIN)/python benchmarks/nights.py
	@$(MEASURE) benchmarks.evaluation
	@$(MEASURE) benchmarks.recommending
	@$(MEASURE) benchmarks.data_path 1000000 10000000 100000000
	@$(MEASURE) benchmarks.history 10000000
	@$(MEASURE) benchmarks.forgetting
	@$(MEASURE) benchmarks.scan
	@$(MEASURE) benchmarks.shortened
	@$(MEASURE) benchmarks.knobs
	@$(MEASURE) benchmarks.scaling
	@$(MEASURE) benchmarks.tuning --python rectools=$(RECTOOLS) --python lenskit=$(LENSKIT)

lock: $(STAMP) ## Resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra stack --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url -o requirements.lock

clean: ## Remove .venv and caches; never a workspace's data or keys
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
