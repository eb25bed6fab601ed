PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): requirements.lock pyproject.toml celadon/gateway/descriptors_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

install: $(INSTALLED) ## Install Celadon and its pinned dependencies into .venv

demo: $(INSTALLED) ## Watch three switches under live traffic on a whole local stack
	$(BIN)/celadon demo

format: $(INSTALLED) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED) ## Check format, lint, types and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## All checks, unit and workflow tests, one end-to-end test (under 5 minutes)
	$(BIN)/python -m pytest -q -m "smoke or not (stack or parts)"

test: $(INSTALLED) ## The whole suite
	$(BIN)/python -m pytest

clean: ## Remove the virtual environment and everything that was generated
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -f celadon/gateway/descriptors.binpb
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help install demo format lint check test clean
