PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# Stamps: what runs Celadon is installed, and what its tests and checks need besides.
INSTALLED := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Tests mostly wait, so a few processes share two cores; tests that load, kill or judge a whole stack run one at a time.
SIDE_BY_SIDE := --numprocesses 3 --dist worksteal
ON_ONE_STACK := --numprocesses 3 --dist worksteal

# Model servers with a directory below tests/servers/models, each of which is installed below this one.
SERVERS := .servers
INSTALLED_SERVERS := $(patsubst tests/servers/models/%/requirements.lock,$(SERVERS)/%/.installed,\
  $(wildcard tests/servers/models/*/requirements.lock))

.DEFAULT_GOAL := help

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): requirements.lock pyproject.toml celadon/gateway/descriptors_build.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(INSTALLED)
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

install: $(DEVELOPMENT) ## Install Celadon and all pinned dependencies, those of its tests too, into .venv

demo: $(INSTALLED) ## Watch three switches under live traffic on a whole local stack
	$(BIN)/celadon demo

format: $(DEVELOPMENT) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(DEVELOPMENT) ## Check format, lint, types and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## All checks, unit and workflow tests, one end-to-end test (under 5 minutes)
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "smoke or not (stack or parts or servers)"

rest: $(DEVELOPMENT) ## What 'make check' leaves out: with it, each test runs once
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "parts and not (stack or smoke)"
	$(BIN)/python -m pytest $(ON_ONE_STACK) -m "stack and (shared and not exclusive) and not smoke"
	$(BIN)/python -m pytest -m "stack and not (shared and not exclusive) and not smoke"

test: $(DEVELOPMENT) ## The whole suite
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not (stack or servers)"
	$(BIN)/python -m pytest $(ON_ONE_STACK) -m "stack and (shared and not exclusive)"
	$(BIN)/python -m pytest -m "stack and not (shared and not exclusive)"

$(SERVERS)/%/.installed: tests/servers/models/%/requirements.lock
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

test-servers: $(DEVELOPMENT) $(INSTALLED_SERVERS) ## Roll out real model servers from PyPI under load (about 11 minutes)
	$(BIN)/python -m pytest -m servers

chaos: $(DEVELOPMENT) ## Strike rollouts at every moment by every death, under load (12 to 30 minutes)
	$(BIN)/python -m tests.chaos --json chaos.json

bench: $(DEVELOPMENT) ## Run all benches and keep their tables in bench/results (about 25 minutes)
	$(BIN)/python -m bench

security: $(DEVELOPMENT) ## Attack Celadon from outside, as docs/security.md rules out (some attacks only as root)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not stack" tests/security
	$(BIN)/python -m pytest -m stack tests/security

sabotage: $(DEVELOPMENT) ## Break each rule in a copy, and see a test turn red (about 8 minutes)
	$(BIN)/python -m tests.sabotage --json sabotage.json

invariants: $(DEVELOPMENT) ## Tell many new stories of rollouts and check every invariant (about 20 minutes)
	$(BIN)/python -m pytest -q tests/invariants -k many --stories 500

clean: ## Remove the virtual environment and everything that was generated
	rm -rf $(VENV) $(SERVERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -f celadon/gateway/descriptors.binpb
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help install demo format lint check rest test test-servers chaos bench security sabotage invariants clean
