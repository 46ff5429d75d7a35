# The whole dev loop. Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
SECONDS_OF_LOAD ?= 10
MINUTES ?= 30
SHAPE ?= all
SCALE ?= 1
SEED ?= $(shell date +%s)
DATA ?= data
# Of the quick tests many wait for processes that they started, so that a third one keeps two cores busy.
TEST_PROCESSES := $(or $(PROCESSES),3)
PROCESSES ?= 2
UI := web/ui
STATIC := web/penstock_web/static/index.html
PYTEST := $(BIN)/pytest
# Each process takes whole files: the tests of a file share its servers.
PARALLEL := -n $(PROCESSES) --dist loadfile
# Plugins that only heavy tests use, and that take a second to import.
UNUSED_PLUGINS := -p no:schemathesis -p no:locust
# Compiled modules are kept, also where the environment says otherwise: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
# Programs that come in wheels are found after those of the machine.
export PATH := $(PATH):$(CURDIR)/$(BIN)
UI_SOURCES := $(shell find $(UI)/src $(UI)/public -type f 2>/dev/null) $(UI)/package-lock.json $(UI)/index.html $(UI)/vite.config.ts

.DEFAULT_GOAL := help
.PHONY: help install setup up down dev check check-types check-unit check-lint test smoke test-all fault fault-soak demo-faults fuzz wandb-versions lint bench load load-compose plan-figures manifests kind-smoke wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.ready $(STATIC) ## a .venv with the `penstock` command, and the page built

setup: install $(VENV)/.dev ## the same with everything for development

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# What running needs, and nothing else. chDB names pandas and pyarrow, which the store never imports.
$(VENV)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Penstock needs Python 3.11: $(PYTHON) was not found (set PYTHON=…)"; exit 1; }
	@echo "Installing Penstock into $(VENV): about 800 MB on disk"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps chdb chdb-core
	@$(PYTHON) deploy/requirements.py server --without chdb | xargs -d '\n' $(PIP)
	@$(PIP) --no-deps -e .
	@touch $@

# What developing and testing needs.
$(VENV)/.dev: $(VENV)/.ready
	@echo "Installing what the tests and linters need: about 2 GB on disk"
	@$(PIP) -e '.[server,dev]'
	@touch $@

# What only the tests of deploy/ need.
$(VENV)/.deploy: $(VENV)/.dev
	@echo "Installing what the tests of deploy/ need: about 1 GB on disk"
	@$(PIP) -e '.[server,dev,deploy]'
	@touch $@

# What only the tests of training frameworks need.
$(VENV)/.frameworks: $(VENV)/.dev
	@echo "Installing what the tests of training frameworks need: about 1.5 GB on disk"
	@$(PIP) -e '.[server,dev,frameworks]'
	@touch $@

# Where the machine has no node that is new enough, it comes from a wheel, in an environment of its own.
# What building needs is removed again, unless this is an environment for development.
$(STATIC): $(VENV)/.ready $(UI_SOURCES)
	@echo "Building the page"
	@$(BIN)/python web/build_ui.py $(if $(wildcard $(VENV)/.dev),,--once)

up: install ## start all of Penstock (PORT=8080 DATA=data)
	@exec $(BIN)/penstock up --port $(PORT) --data $(DATA)

down: install ## stop what `penstock up --detach` started
	@$(BIN)/penstock down --data $(DATA)

dev: setup ## the same, with the page rebuilt whenever a source changes
	$(BIN)/python web/build_ui.py --watch & exec $(BIN)/penstock up --port $(PORT) --data $(DATA)

# Side by side: the type checker keeps one core busy for a minute where nothing is cached.
check: setup ## after every edit, in seconds: lint, types, unit tests
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target check-types check-unit check-lint

check-types:
	$(BIN)/mypy

check-lint: $(VENV)/.page-checked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tests/packaging/words.py

check-unit:
	$(PYTEST) tests/unit -m "not heavy" -q $(UNUSED_PLUGINS) $(PARALLEL)

# The page's types, lint and tests, again only after its sources or the API that they use changed.
$(VENV)/.page-checked: $(VENV)/.dev $(UI_SOURCES) $(shell find web/penstock_web -name '*.py')
	$(BIN)/python web/build_ui.py --check
	@touch $@

lint: setup ## format check, lint, words, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tests/packaging/words.py
	$(BIN)/mypy
	$(BIN)/python web/build_ui.py --check

test: setup ## everything that runs in a few minutes (PROCESSES=3)
	$(PYTEST) -m "not heavy" $(UNUSED_PLUGINS) -n $(TEST_PROCESSES) --dist loadfile

smoke: setup $(VENV)/.deploy ## a few of the heavy tests, of every suite
	$(PYTEST) -m smoke -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-all: setup $(VENV)/.deploy $(VENV)/.frameworks ## the rest too: browsers, kill -9, long ones (PROCESSES=2)
	$(PYTEST) $(PARALLEL)

fault: setup ## break every part once, under load; ends with a table and a ledger each
	$(BIN)/pytest tests/faults

fault-soak: setup ## random faults, two at a time, for MINUTES=30 (SEED=… REPORT=file.md)
	PYTHONPATH=tests $(BIN)/python -m faults.soak --minutes $(MINUTES) --seed $(SEED) $(if $(REPORT),--report $(REPORT))

demo-faults: setup ## watch training keep logging while everything around it is killed (a minute)
	$(BIN)/python -m loadtests.unbreakable

fuzz: setup ## hostile bytes and properties at full size, other cases each time (SCALE=10 SEED=7, or SEED= for the same)
	@echo "FUZZ_SEED=$(SEED)"
	FUZZ_SCALE=$(SCALE) FUZZ_SEED=$(SEED) $(PYTEST) $(PARALLEL) tests/fuzz
	FUZZ_SCALE=$(SCALE) FUZZ_SEED=$(SEED) $(PYTEST) $(PARALLEL) tests/unit -m hypothesis --timeout 600

wandb-versions: setup ## tests/wandb with the newest allowed wandb and the two series before (FILES=… VERSIONS="0.31.0 …" REPORT=file.md)
	$(BIN)/python tests/wandb/versions.py $(FILES) $(if $(VERSIONS),--versions $(VERSIONS)) $(if $(REPORT),--report $(REPORT))

bench: setup ## the table of docs/performance.md, measured on this machine
	$(BIN)/python -m benchmarks

load: setup ## a load over HTTP, then its ledger (SHAPE=steady|burst|sweep|noisy|all HOST=url KEY=…)
	@$(if $(KEY),PENSTOCK_API_KEY=$(KEY)) $(BIN)/python -m loadtests --shape $(SHAPE) --seconds $(SECONDS_OF_LOAD) $(if $(HOST),--host $(HOST))

load-compose: setup $(VENV)/.deploy ## the four shapes against the services of deploy/compose.yaml, as processes (SECONDS_OF_LOAD=15)
	$(BIN)/python -m loadtests.compose --shape $(SHAPE) --seconds $(SECONDS_OF_LOAD) --processes 2

plan-figures: setup ## measure what `penstock plan` calculates with, on this machine
	$(BIN)/python -m benchmarks --plan && $(BIN)/python -m benchmarks.scaling_doc

manifests: setup $(VENV)/.deploy ## render deploy/kubernetes from the chart in deploy/helm
	$(BIN)/python deploy/render.py

kind-smoke: ## install the chart into a kind cluster of its own and try it (needs docker, kind, kubectl, helm)
	deploy/kind_smoke.sh

wheel: setup ## build the wheel, install it into a bare environment, import it
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .
	$(PYTHON) -m venv build/bare && build/bare/bin/pip install --quiet dist/*.whl
	build/bare/bin/python -c "import penstock; print('penstock', penstock.__version__)"

clean: ## remove what was built
	rm -rf $(VENV) dist build web/penstock_web/static $(UI)/node_modules
