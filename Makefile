# The commands of this project. Each does its own set-up; a second run starts in seconds.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup check quick test lint format types demo run bench clean

help: ## Show what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready local/azurite/node_modules/.ready ## Install everything the other commands need

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@echo "Installing the Python packages into $(VENV) (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

local/azurite/node_modules/.ready: local/azurite/package-lock.json $(VENV)/.ready
	@echo "Installing Azurite into local/azurite (half a minute, once)"
	@cd local/azurite && PATH="$(abspath $(BIN)):$$PATH" npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

check: lint types test ## Everything that must hold before a change lands

quick: setup ## The fast tests: rules and services, without servers
	@$(BIN)/python -m pytest -q -n 2 -m "not slow"

test: setup ## All tests, against the local cloud's real parts
	@$(BIN)/python -m pytest -q -n 2

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
	rm -rf $(VENV) .local .cache local/azurite/node_modules
