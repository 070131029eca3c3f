# Nothing but make and Python 3.11 is needed; the rest goes into .venv by itself.
#
#   make test PYTHON=python3.13    with another Python (after `make clean`)
#   make test TESTS='-k sqlite'    some of the tests
#   make test WORKERS=0            in this process, for a debugger

PYTHON  ?= python3
WORKERS ?= 2
TESTS   ?=

VENV := .venv
BIN  := $(VENV)/bin

# What was installed last, so that a second `make` starts at once.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak check bench bench-peers bench-scale format clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Watch an agent record itself into SQLite, and read its history back
	@$(BIN)/python examples/demo.py

test: $(DEV) ## Run every test, on memory, SQLite and a real PostgreSQL
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

soak: $(DEV) ## Try the tests of chance twenty times as hard, for many minutes
	CURIO_SOAK=20 $(BIN)/python -m pytest -n $(WORKERS) --timeout 1800 \
		tests/backends tests/faults tests/properties $(TESTS)

check: $(DEV) ## Check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/project/test_layers.py

bench: $(DEV) ## Measure against the bare drivers
	$(BIN)/python benchmarks/core.py

bench-peers: $(DEV) ## Measure against other libraries, installed into .venv-peers
	$(BIN)/python benchmarks/peers

bench-scale: $(DEV) ## Measure on tables of up to ten million rows: 7 GB of disk
	$(BIN)/python benchmarks/scale.py

format: $(DEV) ## Put the source into its format
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(RUN) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not: try make PYTHON=python3.11" >&2; \
		exit 1; \
	}
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
