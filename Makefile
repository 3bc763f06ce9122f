# Needs python3.11 or newer and a package registry that pip reaches. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST = $(BIN)/python -m pytest $(ARGS)
PROTO := protos/turnkeep/v1/conversation.proto
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-package turnkeep-client --system-certs \
	--custom-compile-command "make lock" $(UPGRADE)

.PHONY: help run setup test test-unit test-history test-rpc test-cli test-faults bench protos protos-check lock \
	sync-client sync-client-check lint format types image image-check

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running

run: .venv/.complete ## serve on TURNKEEP_LISTEN (127.0.0.1:50051), history in ./data/mongodb
	@export TURNKEEP_REFLECTION=$${TURNKEEP_REFLECTION:-1}; \
	export TURNKEEP_LOG_FORMAT=$${TURNKEEP_LOG_FORMAT:-console}; \
	if [[ -z $${OPENAI_API_KEY:-}$${TURNKEEP_MODEL:-}$${TURNKEEP_CHAIN:-} ]]; then \
	  export TURNKEEP_MODEL=parrot; \
	  echo "No OPENAI_API_KEY: the parrot model repeats each question. Set the key for a real one." >&2; \
	fi; \
	exec $(BIN)/turnkeep-server

setup: .venv/.complete ## make .venv, with the server, the client and every tool

# Only when what is to be installed has changed. Kept up to date, not made anew: a server that runs
# from it goes on. `rm -rf .venv` for one with nothing left over.
.venv/.complete: requirements-dev.txt client/pyproject.toml server/pyproject.toml scripts/venv
	@scripts/venv .venv requirements-dev.txt client server
	@touch $@

# --- testing

test: .venv/.complete ## all tests, a process a core
	@$(PYTEST) --numprocesses auto --dist loadfile tests

test-unit: .venv/.complete ## no database: the parts alone, and the test kit itself
	@$(PYTEST) tests/unit

test-history: .venv/.complete ## the history's contract on every backend, on real servers
	@$(PYTEST) tests/history

test-rpc: .venv/.complete ## a real server and a real client
	@$(PYTEST) tests/rpc

test-cli: .venv/.complete ## the command `turnkeep`, in a terminal and in pipes
	@$(PYTEST) --numprocesses auto --dist loadfile tests/cli

test-faults: .venv/.complete ## kills, partitions, overload
	@$(PYTEST) tests/faults

bench: .venv/.complete ## what grows and what does not, as ratios within one run
	@$(BIN)/python -m benchmarks.tokens
	@$(BIN)/python -m benchmarks.list_sessions
	@$(BIN)/python -m benchmarks.context
	@$(BIN)/python -m benchmarks.summaries

# --- checking

lint: .venv/.complete ## code, proto and Dockerfile
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@$(BIN)/hadolint Dockerfile

format: .venv/.complete ## put code and proto into shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/buf format --write

types: .venv/.complete ## mypy --strict
	@$(BIN)/mypy

# --- generated files

protos: .venv-protos/.complete ## make client/turnkeep/v1 from the proto
	@scripts/protos client

protos-check: .venv-protos/.complete ## fail if client/turnkeep/v1 is not what the proto says
	@scripts/protos --check client

sync-client: .venv/.complete ## make client/turnkeep/sync from the asynchronous client
	@$(BIN)/python scripts/sync_client.py client/turnkeep

sync-client-check: .venv/.complete ## fail if client/turnkeep/sync is not what it would make
	@$(BIN)/python scripts/sync_client.py --check client/turnkeep

.venv-protos/.complete: requirements-protos.txt scripts/venv
	@scripts/venv .venv-protos requirements-protos.txt
	@touch $@

lock: .venv/.complete ## pin all dependencies; UPGRADE=--upgrade takes newer ones
	@$(LOCK) server/pyproject.toml --output-file requirements.txt
	@$(LOCK) server/pyproject.toml client/pyproject.toml --extra embedded --extra cli --extra langchain \
	  --group pyproject.toml:dev \
	  --constraint requirements.txt --output-file requirements-dev.txt
	@$(LOCK) --group pyproject.toml:build --constraint requirements-dev.txt \
	  --output-file requirements-build.txt
	@$(LOCK) --group pyproject.toml:protos --output-file requirements-protos.txt

# --- the container image

image: ## build the container image turnkeep:latest
	docker build --tag turnkeep .

image-check: .venv/.complete ## build the image, run it, call it; root on Debian, no docker needed
	@$(BIN)/python -m tests.image.check
