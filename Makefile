# `make` alone lists what there is. Nothing has to be installed first but Python 3.11 or newer.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
PORT ?= 8000
# Variables given as `make demo INPUT=… DATABASE_URL=…` reach the programs through the environment, safe from the shell.
export PORT
export WHOLE
ifdef BROKER
export BROKER_URL := $(BROKER)
endif

.PHONY: help demo test attack lint run bench mutation soak examples venv dev-venv services clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name text; \
	    do printf '  make %-9s %s\n' "$$name" "$$text"; done

demo: venv ## run the reliable team example; INPUT=… BROKER=amqp://… DATABASE_URL=… are optional
	@$(PY) examples/reliable_team_example.py

test: services dev-venv ## style, types, layers, tests, in ten minutes; WHOLE=1 all tests on both databases; ARGS="-k name" for pytest
	@bash scripts/test.sh $(ARGS)

attack: services dev-venv ## attack everything with every payload, and write the table in docs/security.md; ARGS=…
	@$(PY) -m tests.attack.run $(ARGS)

lint: dev-venv ## style and types only
	@.venv/bin/ruff check . && .venv/bin/ruff format --check --output-format concise . && .venv/bin/mypy && .venv/bin/lint-imports --no-logo

run: venv ## web, worker and relay on http://127.0.0.1:8000 (PORT=…); embedded without DATABASE_URL= and BROKER=
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) scripts/first_admin.py
	@# honcho kills after 5 s, so a worker drains for less.
	@NEXUS_DRAIN_TIMEOUT=$${NEXUS_DRAIN_TIMEOUT:-3} PATH="$$PWD/.venv/bin:$$PATH" exec .venv/bin/honcho start --port $(PORT)

bench: services venv ## measure the throughput on private servers; ARGS=…
	@$(PY) -m bench $(ARGS)

mutation: dev-venv ## plant small faults at random places, and count how many the tests find; ARGS=…
	@$(PY) -m tests.mutation $(ARGS)

soak: services venv ## kill, suspend and wipe servers and workers under load, and count what is lost; ARGS=…
	@$(PY) -m bench.soak $(ARGS)

examples: venv ## run every example
	@for example in examples/*.py; do echo "== $$example"; $(PY) "$$example" < /dev/null; done

venv:
	@bash scripts/venv.sh runtime

dev-venv:
	@bash scripts/venv.sh dev

services:
	@bash scripts/services.sh

clean: ## remove .venv and caches; var/, which holds the messages, stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
