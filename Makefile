# The handles of Informania. `make up` and `make test` set up themselves what they need.
.DEFAULT_GOAL := help
.PHONY: help up down status logs clean dev test check screenshots fmt setup lock
MAKEFLAGS += --no-print-directory

ARGS :=
PYTHON_TREES := backend auth/supertokens ops/native ops/quantconnect tests ui
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-package informania-backend
PROJECTS := $(addsuffix /pyproject.toml,backend backend/worker backend/paper auth/supertokens/devcore)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Set up and start everything; returns when all is healthy (PORT_BASE=18000: other ports)
	@scripts/run_all.sh up $(ARGS)

down: ## Stop everything and keep the data
	@scripts/run_all.sh down $(ARGS)

status: ## Show how each service fares (ARGS=--json)
	@scripts/run_all.sh status $(ARGS)

logs: ## Follow the logs (ARGS="api worker")
	@scripts/run_all.sh logs $(ARGS)

clean: ## Stop, remove what can be rebuilt, ask before data (YES=1: don't ask)
	@scripts/run_all.sh clean $(ARGS)

dev: ## Like up; the API restarts when its code changes
	@scripts/run_all.sh up --reload $(ARGS)

test: setup ## Run the tests (ARGS="backend/tests/unit -k price")
	@PYTHON= scripts/build_zig_lmdb.sh
	@.venv/bin/pytest -c backend/pyproject.toml --rootdir=. --numprocesses 2 --dist loadgroup $(ARGS)

check: setup ## Check style, types, contracts, SQL and shell
	@scripts/check.sh

screenshots: setup ## Take pictures of the pages into .run/screenshots, to look at
	@PYTHON= scripts/build_zig_lmdb.sh
	@PYTHONPATH=tests .venv/bin/python tests/e2e/screenshots.py

fmt: setup ## Format Python, shell and Zig
	@.venv/bin/ruff format --config backend/pyproject.toml $(wildcard $(PYTHON_TREES))
	@.venv/bin/shfmt --indent 2 --case-indent --write scripts
	@.venv/bin/python -m ziglang fmt backend/zig-lmdb/build.zig backend/zig-lmdb/src backend/zig-lmdb/tests

setup: ## Make the environment of the tests and checks
	@scripts/init_dev.sh --dev

lock: setup ## Compile the hashed requirements anew
	@$(COMPILE) $(PROJECTS) backend/requirements.in --output-file backend/requirements.txt
	@$(COMPILE) ui/streamlit/requirements.in --output-file ui/streamlit/requirements.txt
	@$(COMPILE) backend/requirements-dev.in --output-file backend/requirements-dev.txt
