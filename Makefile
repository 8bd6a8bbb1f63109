# `make` alone says what there is. Needed: make, Python 3.11 or newer, a C compiler; Node.js with npm for the JavaScript
# client's tests and those in a browser, which are left out without it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JS := tests/wire/js tests/browser

# The JavaScript dependencies are wanted only where they are declared and can be installed.
ifneq ($(shell command -v npm),)
JS_READY := $(patsubst %/package-lock.json,%/node_modules/.ready,$(wildcard $(JS:=/package-lock.json)))
endif

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Build .venv from the lock file (again whenever the lock or pyproject.toml changes)

.PHONY: demo
demo: $(READY) ## Watch the four answers to a second message, offline (SERVE=1: keep the server running)
	$(BIN)/turnkeeper demo $(if $(SERVE),--serve)

.PHONY: test
test: $(READY) $(JS_READY) ## Run the tests (ARGS="tests/unit -k lifecycle": only those)
	$(BIN)/python -m pytest $(ARGS)

.PHONY: test-long
test-long: $(READY) $(JS_READY) ## Run the tests that take minutes
	$(BIN)/python -m pytest -m long --timeout 1800 $(ARGS)

.PHONY: check format lint types imports budget
check: format lint types imports budget ## Check format, lint, types, import rules and length budgets

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(READY)
	$(BIN)/lint-imports

budget: $(READY)
	$(BIN)/python scripts/budget.py

.PHONY: bench
bench: $(READY) ## Measure (ARGS: what to hand to python -m bench)
	$(BIN)/python -m bench $(ARGS)

.PHONY: lock
lock: ## Bring the lock files in line with pyproject.toml; needs uv (UPGRADE=1: to the newest versions)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --group dev --extra postgres --extra redis --constraints requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --extra postgres --extra redis --constraints requirements-dev.lock --output-file deploy/requirements.lock

.PHONY: clean
clean: ## Remove everything make has made, .venv too
	rm -rf $(VENV) $(JS:=/node_modules) dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

COMPILE = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header $(if $(UPGRADE),--upgrade)

# The first of these that is new enough. A name can exist and still not run (version managers leave such shims).
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13 python3.14,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Turnkeeper needs Python 3.11 or newer; there is none on the PATH." \
		"Install one, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made: $(PYTHON) -m venv $(VENV) failed." \
		"On Debian and Ubuntu the package python3-venv is needed." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(JS:=/node_modules/.ready): %/node_modules/.ready: %/package.json %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
