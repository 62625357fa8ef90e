# Every target sets up what it needs, into .venv, and does so once: see tools/setup.sh.
# PYTHON=… names the Python to make .venv with; TESTS=… the tests that `test-all` runs,
# EXTRAS=… the extras that `release-check` installs, all by default.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-

export PYTHON

# A process that a test forks has imported mediakeep before it is measured. Coverage warns of that, and
# pytest would make an error of the warning, in the child.
QUIET := -W ignore::coverage.exceptions.CoverageWarning

# Each process has servers of its own, so that more of them do not always gain.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo assistant test soak test-all lint api bench bench-peers docs release-check clean
.PRECIOUS: $(READY)%

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(READY)core ## watch a bot's turn with real media, on disk and in the books
	@$(BIN)/python examples/demo.py

assistant: $(READY)core ## watch an assistant whose workers are killed in the middle of their work
	@$(BIN)/python -m examples.assistant

test: $(READY)test ## run the tests and the examples in the docstrings, with branch coverage
	$(BIN)/pytest $(QUIET) $(PARALLEL) --cov --cov-report=term --doctest-modules src/mediakeep tests

soak: $(READY)test ## kill processes at random for 2,000 rounds, and run the long tests (many minutes)
	$(BIN)/python -m tests.crashes.soak --rounds 2000
	$(BIN)/python -m tests.fleet.soak --rounds 500
	$(BIN)/pytest -m soak tests

test-all: ## run the tests on each Python from 3.11 to 3.14 that is on this machine
	@tools/test-all.sh $(TESTS)

lint: $(READY)lint ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict src

api: $(READY)lint ## agree to the public surface as it is now: tests/data/api.txt and contracts.txt
	@$(BIN)/python tools/api_surface.py --write

bench: $(READY)bench ## measure against peers and write docs/benchmarks.md (some minutes)
	$(BIN)/python -m benchmarks --write

bench-peers: $(READY)peers ## measure the peers of docs/comparison.md and write their page (some minutes)
	$(BIN)/python -m benchmarks.peers --write

docs: $(READY)docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

release-check: $(READY)release ## build into dist/, and check it in fresh environments, each extra alone (some minutes)
	$(BIN)/python tools/release_check.py $(EXTRAS)

clean: ## remove all that these targets have made, .venv too
	rm -rf .venv .venv-3.* site dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY)%: pyproject.toml tools/setup.sh
	@tools/setup.sh $(VENV) $*
