# The commands of this project. Each does its own set-up; a second run starts in seconds.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ANALYSERS := .venv-infra/.ready tests/infra/kusto/node_modules/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup check quick test infra lint format types demo run bench clean

help: ## Show what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready local/azurite/node_modules/.ready ## Install everything the other commands need

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@echo "Installing the Python packages into $(VENV) (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

# Checkov has an environment of its own, because it pins old versions of much that the vault uses. It pins an old
# parser too, which cannot read the functions and lambdas of the templates: it is given the one that the tests use.
.venv-infra/.ready: requirements-infra.txt requirements-dev.txt
	@echo "Installing Checkov into .venv-infra (about a minute, once)"
	@test -x .venv-infra/bin/python || $(PYTHON) -m venv .venv-infra
	@.venv-infra/bin/python -m pip install --quiet -r requirements-infra.txt
	@.venv-infra/bin/python -m pip install --quiet --no-deps $$(grep -o '^pycep-parser==[0-9.]*' requirements-dev.txt)
	@touch $@

tests/infra/kusto/node_modules/.ready: tests/infra/kusto/package-lock.json $(VENV)/.ready
	@cd tests/infra/kusto && PATH="$(abspath $(BIN)):$$PATH" npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

local/azurite/node_modules/.ready: local/azurite/package-lock.json $(VENV)/.ready
	@echo "Installing Azurite into local/azurite (half a minute, once)"
	@cd local/azurite && PATH="$(abspath $(BIN)):$$PATH" npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

check: lint types test ## Everything that must hold before a change lands

quick: setup ## The fast tests: rules and services, without servers
	@$(BIN)/python -m pytest -q -n 2 -m "not slow"

test: setup $(ANALYSERS) ## All tests, against the local cloud's real parts
	@$(BIN)/python -m pytest -q -n 2

infra: setup $(ANALYSERS) ## Check the templates of the infrastructure and the workflows
	@$(BIN)/python -m pytest -q tests/infra

lint: setup ## Format and lint
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

format: setup ## Put the code in its form
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

types: setup ## Check the types
	@$(BIN)/mypy

demo: setup ## Tell the vault's story over real HTTP, then stop
	@$(BIN)/python -m local demo

run: setup ## Start the local cloud and stay
	@$(BIN)/python -m local up

bench: setup ## Measure; prints a table and writes JSON
	@$(BIN)/python -m bench

clean: ## Remove what the commands made
	rm -rf $(VENV) .venv-infra .local .cache local/azurite/node_modules tests/infra/kusto/node_modules
