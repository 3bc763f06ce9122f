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

.PHONY: help run setup test test-unit test-history test-rpc test-client test-langchain test-cli test-faults test-full \
	torture torture-quick torture-stock mutants \
	fuzz interop interop-clients bench fairness protos protos-check docs docs-check sync-client \
	sync-client-check lock lint format types image image-check \
	kubernetes compose-check sbom audit licences licences-check

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running

run: .venv/.complete ## serve on TURNKEEP_LISTEN (127.0.0.1:50051), history in ./data/mongodb
	@case $${TURNKEEP_LISTEN:-localhost:} in localhost:*|127.*|"[::1]:"*|unix:*) \
	  export TURNKEEP_REFLECTION=$${TURNKEEP_REFLECTION:-1};; esac; \
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

# In the order of the folders: by itself xdist begins with the files of most tests, and all those that
# take half a minute each are left to the end.
test: .venv/.complete ## all tests, three processes on two cores
	@$(PYTEST) --numprocesses auto --dist loadfile --no-loadscope-reorder tests

test-unit: .venv/.complete ## no database: the parts alone, and the test kit itself
	@$(PYTEST) tests/unit

test-history: .venv/.complete ## the history's contract on every backend, on real servers
	@$(PYTEST) tests/history

test-rpc: .venv/.complete ## a real server and a real client
	@$(PYTEST) tests/rpc

test-client: .venv/.complete ## the Python clients, on a real server that fails as it is told
	@$(PYTEST) tests/client

test-langchain: .venv/.complete ## LangChain programs, and a thousand messages there and back
	@$(PYTEST) tests/langchain

test-cli: .venv/.complete ## the command `turnkeep`, in a terminal and in pipes
	@$(PYTEST) --numprocesses auto --dist loadfile tests/cli

test-faults: .venv/.complete ## kills, partitions, overload
	@$(PYTEST) tests/faults

test-full: .venv/.complete ## the fault tests that have a larger size, in that size
	@$(PYTEST) --full --numprocesses auto --dist loadfile \
	  tests/faults/test_cut_connections.py tests/faults/test_rolling_restarts.py \
	  tests/faults/test_fail_command.py tests/rpc/test_backup.py

TORTURE := $(BIN)/python -m tests.faults.torture

torture: .venv/.complete ## every promise attacked for about an hour; the report goes to docs/evidence
	@$(TORTURE) --full --jobs 2 --report docs/evidence

torture-quick: .venv/.complete ## the same in minutes, without a report
	@$(TORTURE) --quick --jobs 4

mutants: .venv/.complete ## the suite must catch wrong versions of the service; table in docs/evidence
	@$(BIN)/python -m tests.faults.torture.mutation --write $(ARGS)

torture-stock: .venv/.complete ## the same attacks on stock LangChain behind the same RPCs; it breaks
	-@$(TORTURE) --full --service stock-aio --report docs/evidence
	-@$(TORTURE) --full --service stock-threads --report docs/evidence

fuzz: .venv/.complete ## random bytes and bodies, a million and more; what fails is kept and replayed
	@$(BIN)/python -m tests.fuzz --report docs/evidence/fuzz.md $(ARGS)

# Apart from `make test`, which needs neither Node nor Go. What cannot be had here is skipped, and says so.
interop: .venv/.complete ## Node, Go, grpcurl and buf curl against a real server
	-@$(MAKE) --keep-going --jobs 2 interop-clients
	@$(PYTEST) -rfE tests/interop

bench: .venv/.complete ## against stock LangChain and the bare parts; ARGS=--quick for a minute of it
	@$(BIN)/python -m benchmarks $(ARGS)

fairness: .venv/.complete ## one tenant at 20 times its limit beside another; five minutes
	@$(BIN)/python -m benchmarks.fairness $(ARGS)

# --- the clients in other languages, made once: examples/node/node_modules and build/interop

INTEROP := build/interop
NODE_MODULES := examples/node/node_modules/.package-lock.json
GRPCURL_VERSION := v1.9.4
# Static, and without what only a debugger reads.
GO := CGO_ENABLED=0 GOFLAGS=-buildvcs=false go
GO_LINK := -trimpath -ldflags='-s -w'

interop-clients: $(if $(shell command -v npm),$(NODE_MODULES)) \
	$(if $(shell command -v go),$(INTEROP)/turnkeep-go $(INTEROP)/grpcurl)

$(NODE_MODULES): examples/node/package.json examples/node/package-lock.json examples/node/.npmrc
	@cd examples/node && npm ci --no-audit --no-fund
	@touch $@

$(INTEROP)/turnkeep-go: $(wildcard examples/go/*.go examples/go/go.* examples/go/buf.*) $(PROTO) | .venv/.complete
	@rm -f $@
	@cd examples/go && PATH="$$PATH:$(CURDIR)/$(BIN)" $(GO) generate
	@cd examples/go && $(GO) build $(GO_LINK) -o $(CURDIR)/$@

$(INTEROP)/grpcurl: Makefile
	@rm -f $@
	@GOBIN=$(CURDIR)/$(INTEROP) $(GO) install $(GO_LINK) \
	  github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)

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

API_DOCS = $(BIN)/buf build --output - | $(BIN)/python scripts/api_docs.py

docs: .venv/.complete ## make docs/api.md from the proto's comments
	@$(API_DOCS) > docs/api.md

docs-check: .venv/.complete ## fail if docs/api.md is not what the proto says
	@$(API_DOCS) | diff --unified docs/api.md - || \
	  { echo "error: docs/api.md is not what protos/ says: run 'make docs' and commit" >&2; exit 1; }

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
	@$(LOCK) --group pyproject.toml:release --output-file requirements-release.txt

# --- what a release is looked at with

.venv-release/.complete: requirements-release.txt scripts/venv
	@scripts/venv .venv-release requirements-release.txt
	@touch $@

# What the image holds, and nothing else.
SERVER_ENV := build/server
$(SERVER_ENV)/.complete: requirements.txt | .venv/.complete
	@$(BIN)/uv venv --quiet --clear $(SERVER_ENV)
	@$(BIN)/uv pip install --quiet --system-certs --python $(SERVER_ENV)/bin/python \
	  --require-hashes --requirement requirements.txt
	@touch $@

sbom: .venv-release/.complete $(SERVER_ENV)/.complete ## build/sbom.cdx.json: what the image is made of
	@.venv-release/bin/cyclonedx-py environment $(SERVER_ENV)/bin/python \
	  --pyproject server/pyproject.toml --mc-type application --output-reproducible \
	  --output-format JSON --output-file build/sbom.cdx.json
	@$(BIN)/python scripts/sbom_matches.py build/sbom.cdx.json requirements.txt

# What callers and operators get. The tools, too: make audit AUDITED="$$(echo requirements*.txt)"
AUDITED := requirements.txt

audit: .venv-release/.complete ## known vulnerabilities of what is pinned
	@scripts/audit .venv-release/bin/pip-audit $(AUDITED)

LICENCES = $(BIN)/python scripts/licences.py .venv-release/bin/pip-licenses $(SERVER_ENV)/bin/python

licences: .venv-release/.complete $(SERVER_ENV)/.complete ## make docs/licences.md from what is installed
	@$(LICENCES) > docs/licences.md

licences-check: .venv-release/.complete $(SERVER_ENV)/.complete ## fail on another licence, or another page
	@$(LICENCES) --check docs/licences.md

# --- deploying

kubernetes: .venv/.complete ## make the PrometheusRule from the alerts
	@$(BIN)/python scripts/prometheus_rule.py deploy/prometheus/alerts.yaml \
	  > deploy/kubernetes/components/monitoring/prometheus-rule.yaml

# The specification's own library: no docker needed.
COMPOSE_VERSION := v2.16.2
$(INTEROP)/compose-spec: Makefile
	@mkdir -p $(INTEROP)/compose
	@GOBIN=$(CURDIR)/$(INTEROP)/compose $(GO) install $(GO_LINK) \
	  github.com/compose-spec/compose-go/v2/cmd@$(COMPOSE_VERSION)
	@mv $(INTEROP)/compose/cmd $@

compose-check: $(if $(shell command -v go),$(INTEROP)/compose-spec) ## compose.yaml by the specification
ifneq ($(shell command -v go),)
	@$(INTEROP)/compose-spec compose.yaml >/dev/null
	@$(INTEROP)/compose-spec compose.yaml compose.secure.yaml >/dev/null
	@echo "compose.yaml and compose.secure.yaml: valid"
else
	@echo "!! SKIPPED: compose.yaml was NOT checked by the specification, for want of Go" >&2
endif

# --- the container image

# The commit's time, so that the same commit is the same image (with a BASE named by its digest).
image: ## build the container image turnkeep:latest
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker buildx build --tag turnkeep \
	  --output type=docker,rewrite-timestamp=true .

image-check: .venv/.complete ## build the image, run it, call it; root on Debian, no docker needed
	@$(BIN)/python -m tests.image.check
