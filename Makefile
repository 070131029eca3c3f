# Only make and Python 3.11 are required; the rest is installed into .venv.
#
#   make test PYTHON=python3.13    with another Python (after `make clean`)
#   make test TESTS='-k search'    some of the tests
#   make test WORKERS=0            in this process, for a debugger
#   make test BACKENDS=sqlite      on some of the backends

PYTHON  ?= python3
# More than processors: some tests wait for a deadline.
WORKERS ?= 3
TESTS   ?=

# The backends of a test run; `all` adds SQLite in memory, older PostgreSQL and ClickHouse.
BACKENDS ?= memory,sqlite,postgres18
export CURIO_TEST_BACKENDS = $(BACKENDS)

VENV := .venv
BIN  := $(VENV)/bin

PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Marks the last installation, so that a second `make` starts at once. Without compiling all of its
# dependencies, pip takes half the time: what is imported is compiled then.
RUN := $(VENV)/.installed-run
CONSOLE := $(VENV)/.installed-console
DEV := $(VENV)/.installed-dev
ALL := $(VENV)/.installed-all
# Frameworks of agents need versions of packages of their own.
OTEL := .venv-otel

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-otel demo-console demo-scale quick test test-all matrix faults soak check docs grafana lint bench bench-archive bench-replica bench-console bench-peers bench-scale bench-sessions otlp-peers vendor pictures console-golden format clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Watch an agent record itself into SQLite, and read its history back
	@$(BIN)/python examples/demo.py

demo-otel: $(OTEL)/.installed ## Watch agents of three frameworks being recorded by OpenTelemetry
	@$(OTEL)/bin/python examples/opentelemetry/demo.py

demo-console: $(CONSOLE) ## Open the web console on a million events of made-up agents: 1.5 GB
	@$(BIN)/curio-persistence console --demo 1000000 --db-path console-demo.db

demo-scale: $(ALL) ## Ask ten million events in ClickHouse (EVENTS=100000 is smaller): 4 GB
	@$(BIN)/python benchmarks/demo_scale.py --events $(or $(EVENTS),10000000)

quick: BACKENDS := memory,sqlite
quick: lint ## The inner loop, a minute: format, lint, and tests that need no server
	$(PYTEST) -q -m 'not slow' tests/unit tests/conformance tests/project/test_layers.py $(TESTS)

test: $(DEV) ## Run the tests, on memory, SQLite and PostgreSQL 18
	$(PYTEST) -m 'not thorough' $(TESTS)

test-all: BACKENDS := all
test-all: $(ALL) $(OTEL)/.installed ## Run every test on every backend
	$(PYTEST) $(TESTS)

matrix: BACKENDS := matrix
matrix: $(ALL) $(OTEL)/.installed ## Run every test, all of the contract on the oldest server too
	$(PYTEST) $(TESTS)

faults: BACKENDS := all
faults: $(DEV) ## Run the tests of crashes, outages and full disks, on every backend
	$(PYTEST) tests/faults $(TESTS)

soak: BACKENDS := all
soak: $(DEV) ## Run randomised tests with twenty times the iterations, for many minutes
	CURIO_SOAK=20 $(PYTEST) --timeout 1800 tests/backends tests/faults tests/properties $(TESTS)

docs: $(ALL) ## Build the documentation as a site, in build/site
	$(BIN)/python -m sphinx --quiet --fail-on-warning --conf-dir docs --doctree-dir build/doctrees . build/site
	@echo "build/site/docs/index.html"

grafana: $(DEV) ## Run the dashboard and the alert rules on a real Prometheus; needs npm too
	$(BIN)/python -m pytest tests/project/test_grafana.py $(TESTS)

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check: lint ## Check format, lint, types and layers
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/project/test_layers.py

bench: $(DEV) ## Measure against the bare drivers
	$(BIN)/python benchmarks/core.py

bench-archive: $(ALL) ## Measure questions to an archive of ten million events: a GB of disk
	$(BIN)/python benchmarks/archive.py

bench-replica: $(DEV) ## Measure questions to a replica of ten million events: four GB of disk
	$(BIN)/python benchmarks/replica.py

bench-console: $(CONSOLE) $(DEV) ## Measure the console on a million events: 1.5 GB of disk
	$(BIN)/python benchmarks/console.py

bench-peers: $(DEV) ## Measure against other libraries, installed into .venv-peers
	$(BIN)/python benchmarks/peers

bench-sessions: $(DEV) ## Measure imports of sessions: 1 GB of disk; CCUSAGE= names that program
	$(BIN)/python benchmarks/sessions.py $(if $(CCUSAGE),--ccusage $(CCUSAGE))

bench-scale: $(DEV) ## Measure on tables of up to ten million rows: 7 GB of disk
	$(BIN)/python benchmarks/scale.py

otlp-peers: $(DEV) ## Prove exports by OTLP on Phoenix and MLflow, installed into .venv-otlp-peers: 1.3 GB
	$(BIN)/python -m tests.support.otlp_peers

vendor: $(DEV) ## Fetch the console's scripts, fonts and icons from npm, and check them
	$(BIN)/python -m tests.support.vendoring

pictures: $(DEV) ## Take the pictures of README and docs anew, on the million events
	$(BIN)/python -m tests.support.pictures console-demo.db

console-golden: $(DEV) ## Keep anew what the console's pages look like, for the tests
	$(BIN)/python -m tests.support.looks

format: $(DEV) ## Format the source
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

clean: ## Remove the environment and everything built
	rm -rf .venv .venv-* build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable .
	@touch $@

$(CONSOLE): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[console]'
	@touch $(RUN) $@

$(DEV): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[dev]'
	@touch $(RUN) $(CONSOLE) $@

$(ALL): setup.py setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[full]'
	@touch $(RUN) $(CONSOLE) $(DEV) $@

$(OTEL)/.installed: setup.py setup.cfg examples/opentelemetry/requirements.txt
	$(PYTHON) -m venv --clear $(OTEL)
	$(OTEL)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		--editable '.[server]' --requirement examples/opentelemetry/requirements.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not: try make PYTHON=python3.11" >&2; \
		exit 1; \
	}
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
