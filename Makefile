# The handles of Informania. `make up` and `make test` set up themselves what they need.
.DEFAULT_GOAL := help
.PHONY: help up down status logs clean dev test test-pgbouncer test-timescale test-sql docs test-load check screenshots fmt setup lock ci-sync test-compose bench bench-count bench-reads test-api-fuzz \
	test-contract test-crash test-restore
MAKEFLAGS += --no-print-directory
# Hundreds of processes start in a run of the tests; none need compile what another has.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.run/pycache

ARGS :=
CONTRACT = --histories $(or $(HISTORIES),1000) --seed $(or $(SEED),1) \
	$(if $(REPLAY),--replay $(REPLAY))
PYTHON_TREES := backend auth/supertokens ops/native ops/quantconnect tests ui
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-package informania-backend
PROJECTS := $(addsuffix /pyproject.toml,backend backend/worker backend/paper auth/supertokens/devcore)

PYTEST := .venv/bin/pytest -c backend/pyproject.toml --rootdir=. --numprocesses 2 --dist loadgroup
INTEGRATION := backend/tests/integration
SQL_TESTS = $(wildcard $(addprefix $(INTEGRATION)/test_,sp_*.py reporting*.py audit_chain.py \
	equity_samples.py market_data.py master_data.py migrations.py rights.py seed.py token_user.py))
POOLED_TESTS = $(wildcard $(INTEGRATION)/test_api_*.py $(INTEGRATION)/test_identity_*.py) \
	$(wildcard $(INTEGRATION)/test_reporting*.py) $(INTEGRATION)/test_login_page.py \
	$(INTEGRATION)/test_token_user.py
READERS := $(addprefix ui/streamlit/tests/test_,ro_db.py pages_database.py)
TIMESCALE_IMAGE ?= timescale/timescaledb:2.19.3-pg17

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

test-pgbouncer: setup ## The API and the reads through a real PgBouncer (PGBOUNCER_BIN or _IMAGE)
	@PYTHON= scripts/build_zig_lmdb.sh
	@TEST_POOLER=1 $(PYTEST) $(POOLED_TESTS) $(READERS) backend/tests/pooler $(ARGS)
	@TEST_POOLER=1 TEST_POOLER_SIZE=1 $(PYTEST) $(READERS) $(ARGS)

test-timescale: setup ## The SQL tests on TimescaleDB (TIMESCALE_IMAGE=, or empty and PG_BIN=)
	@TEST_POSTGRES_IMAGE=$(TIMESCALE_IMAGE) TEST_POSTGRES_PRELOAD=timescaledb \
		$(PYTEST) $(SQL_TESTS) backend/tests/timescale $(ARGS)

test-sql: setup ## The SQL tests on another Postgres (POSTGRES_IMAGE=postgres:17, or PG_BIN=)
	@TEST_POSTGRES_IMAGE=$(POSTGRES_IMAGE) $(PYTEST) $(SQL_TESTS) $(ARGS)

test-crash: setup ## Kill everything at every step, then compare books (SEEDS="1 2 3" ORDERS=200)
	@PYTHON= scripts/build_zig_lmdb.sh
	@.venv/bin/python tests/crash/harness.py --seeds $(or $(SEEDS),1 2 3) --orders $(or $(ORDERS),200) \
		$(ARGS)

test-load: setup ## Put load on it, then check the books (USERS=20 SECONDS=30; URL=: one that runs)
	@PYTHON= scripts/build_zig_lmdb.sh
	@.venv/bin/python tests/load/run.py --users $(or $(USERS),20) --seconds $(or $(SECONDS),30) \
		--url "$(URL)" $(if $(DEMO),--demo $(DEMO))

bench: setup ## Measure how placing compares, as ratios within one run (ARGS="--rounds 5 ROW")
	@PYTHON= scripts/build_zig_lmdb.sh
	@.venv/bin/python tests/bench/run.py $(ARGS)

bench-count: setup ## Count what Postgres executes for one order, by Debian's valgrind (ARGS="place.sql")
	@.venv/bin/python tests/bench/instructions.py $(ARGS)

bench-reads: setup ## Measure what row security and ten million rows cost (ARGS="reads_orders")
	@.venv/bin/python tests/bench/reads.py $(ARGS)

test-compose: setup ## Run the platform in containers and test it there (ARGS="caddy nginx pgbouncer")
	@scripts/test_compose.sh $(ARGS)

test-api-fuzz: setup ## Ask the API what nobody would, as each role (SECONDS=60 FUZZ_SEED=1)
	@FUZZ_SECONDS=$(or $(SECONDS),60) .venv/bin/pytest -c backend/pyproject.toml --rootdir=. \
		$(INTEGRATION)/test_api_fuzz.py $(ARGS)

test-restore: setup ## Lose a database under load and get it back; prints RPO and RTO (ORDERS=3000)
	@.venv/bin/python tests/restore/run.py --orders $(or $(ORDERS),3000)

test-contract: setup ## Books, figures, matching, QuantConnect's wire against foreign code (HISTORIES=1000 SEED=1; REPLAY=FILE)
	@scripts/init_contract.sh
	@$(if $(REPLAY),,.venv/bin/python tests/contract/run_clients.py)
	@$(if $(filter-out matching-%,$(notdir $(REPLAY))),,.venv/bin/python tests/contract/run_matching.py $(CONTRACT))
	@$(if $(filter matching-%,$(notdir $(REPLAY))),,.venv/bin/python tests/contract/run.py $(CONTRACT))

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
	@$(COMPILE) tests/contract/requirements.in --output-file tests/contract/requirements.txt
	@$(subst 3.11,3.12,$(COMPILE)) tests/contract/requirements-mcp.in \
		--output-file tests/contract/requirements-mcp.txt

docs: setup ## Write the generated parts of docs/data_model.md anew
	@UPDATE_DOCS=1 $(PYTEST) --numprocesses 0 $(INTEGRATION)/test_data_model.py

ci-sync: ## Copy the workflows to where GitHub looks
	@mkdir --parents .github/workflows
	@cp ops/ci/github-actions/*.yml .github/workflows/
