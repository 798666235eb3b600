# What a developer runs. `make help` lists it; tools/bootstrap.py makes the environments.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python that is new enough and complete; otherwise tools/bootstrap.py says what is
# missing. Under pyenv a name may exist and not run, so each is tried.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python3.14; do \
	if $$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$p; exit; fi; done; echo python3)

export FILEFLUX_CACHE_DIR ?= $(CURDIR)/.cache

RUN := .venv/bin/python
BOOTSTRAP := $(PYTHON) tools/bootstrap.py
PYTEST := $(RUN) -m pytest
ARGS ?=
COMPOSE ?=
SEED ?=
ROUNDS ?= 3

.PHONY: help
help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

## Use

.PHONY: demo
demo: ## Run the whole system here, store and fetch real files through it, compare every byte
	@$(BOOTSTRAP) run demo-client kafka
	@.venv/bin/fileflux demo --client-python .venv-clients/bin/python $(ARGS)

.PHONY: dev
dev: ## Run the whole system in the foreground (ARGS="--port 0 --json")
	@$(BOOTSTRAP) run kafka
	@.venv/bin/fileflux dev $(ARGS)

.PHONY: up
up: ## Run the compose file; secrets are made once, in secrets/ (COMPOSE="-f … -f …")
	@$(PYTHON) tools/make_secrets.py
	docker compose $(COMPOSE) up --build --detach
	@docker compose $(COMPOSE) wait demo; code=$$?; \
		docker compose $(COMPOSE) logs --no-log-prefix --tail 20 demo; exit $$code

.PHONY: down
down: ## Stop the compose file; data stays
	docker compose $(COMPOSE) down

## Develop

.PHONY: setup
setup: ## The environment for developers, hash-locked, in .venv; Kafka's jars in the cache
	@$(BOOTSTRAP) dev kafka

.PHONY: clients
clients: ## The S3 clients that tests drive, in .venv-clients
	@$(BOOTSTRAP) run clients

.PHONY: format
format: setup ## Format and fix what can be fixed
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

.PHONY: lint
lint: setup ## Format, lint, types, imports, spelling
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	.venv/bin/lint-imports
	.venv/bin/codespell

.PHONY: check
check: lint ## Lint, tidy and unit tests: before every push
	$(PYTEST) tests/tidy tests/unit $(ARGS)

.PHONY: lock
lock: setup ## Resolve all locks again (needs uv on PATH); read the difference
	tools/lock_requirements.sh
	$(RUN) tools/lock_kafka.py

## Test

.PHONY: sqlcheck
sqlcheck: setup ## CockroachDB's own parser, for the tests of our SQL (minutes the first time)
	@$(RUN) tools/deploy_tools.py sqlcheck

# Two at a time: those with real processes wait for them most of the time, the others compute.
SUITES := fault-sample integration-tests other-tests client-suites rebuild-sample deploy-sample
REBUILD_DEV := tests/integration/console/test_rebuild_dev.py
SAMPLE := -m "not large and not soak and not deploy"

.PHONY: test
test: lint clients sqlcheck deploy-tools ## The whole test suite, as CI runs it
	@echo "$(SUITES): two at a time, each printed when it ends" >&2
	@$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going $(SUITES)

.PHONY: $(SUITES)
fault-sample:
	$(PYTEST) tests/fault $(SAMPLE) $(ARGS)
integration-tests:
	$(PYTEST) tests/integration $(SAMPLE) --ignore=$(REBUILD_DEV) $(ARGS)
other-tests:
	$(PYTEST) $(SAMPLE) --ignore=tests/fault --ignore=tests/integration --ignore=tests/clients \
		--ignore=tests/deploy $(ARGS)
client-suites:
	$(PYTEST) tests/clients $(SAMPLE) $(ARGS)
	@$(MAKE) --no-print-directory s3-suite
deploy-sample:
	$(PYTEST) tests/deploy $(SAMPLE) $(ARGS)
rebuild-sample: # It waits until the seals of the last change have expired.
	$(PYTEST) $(REBUILD_DEV) $(ARGS)

.PHONY: test-unit
test-unit: setup ## Decisions and formats, nothing real
	$(PYTEST) tests/unit tests/tidy $(ARGS)

.PHONY: test-contract
test-contract: setup ## One suite per port, on twins and on real parts
	$(PYTEST) tests/contract $(ARGS)

.PHONY: test-integration
test-integration: setup ## Services against real Kafka, PostgreSQL, ZFS
	$(PYTEST) tests/integration $(ARGS)

.PHONY: test-s3
test-s3: setup clients s3-suite ## Every S3 operation through real clients, by HTTP and HTTPS
	$(PYTEST) tests/clients $(ARGS)

# The clients' own Python: boto3 as any user has it, and nothing of FileFlux.
.PHONY: s3-suite
s3-suite:
	$(RUN) tools/with_cluster.py -- .venv-clients/bin/python -m pytest tests/s3 $(ARGS)
	$(RUN) tools/with_cluster.py --tls -- .venv-clients/bin/python -m pytest tests/s3 $(ARGS)

.PHONY: test-fault
test-fault: setup ## Kill, pause, fill, wipe, at length (SEED=… replays, ROUNDS=… of each fault)
	FILEFLUX_FAULT_SEED="$(SEED)" FILEFLUX_FAULT_ROUNDS="$(ROUNDS)" $(PYTEST) tests/fault -m "not large" $(ARGS)

.PHONY: test-security
test-security: setup ## Signatures, key confusion, hostile requests, at length
	$(PYTEST) tests -m security $(ARGS)

.PHONY: test-large
test-large: setup clients ## Objects of gigabytes
	$(PYTEST) tests -m large $(ARGS)

.PHONY: test-simulation
test-simulation: setup ## The simulated system (SEED=… replays a failure)
	FILEFLUX_SIMULATION_SEED="$(SEED)" $(PYTEST) tests/simulation $(ARGS)

.PHONY: deploy-tools
deploy-tools: setup ## What checks the deployment's files (minutes the first time)
	@$(BOOTSTRAP) deploy
	@$(RUN) tools/deploy_tools.py helm tofu promtool

.PHONY: check-deploy
check-deploy: deploy-tools deploy-sample ## Charts, Terraform, playbooks, rules, Compose: what is fast, as CI runs it

.PHONY: test-deploy
test-deploy: deploy-tools clients ## The same at length, with more tools (an hour to build them the first time)
	$(PYTEST) tests/deploy $(ARGS)

.PHONY: bench
bench: setup ## Speed, with the machine's ceilings and a plot (ARGS="--endpoint …" measures any S3)
	$(RUN) -m tests.bench.bench $(ARGS)

.PHONY: docs
docs: setup ## Make the reference pages from the code; check links and spelling
	$(RUN) tools/make_reference.py
	.venv/bin/codespell docs README.md ARCHITECTURE.md CONTRIBUTING.md GLOSSARY.md
	$(PYTEST) tests/tidy

.PHONY: monitoring
monitoring: setup ## Make the chart's rules and dashboards; refuses metrics that do not exist
	$(RUN) -m tools.monitoring.make

.PHONY: release-schemas
release-schemas: setup ## Keep today's schemas as released (schemas/v1); refuses a broken promise
	$(RUN) -m tools.release_schemas

.PHONY: clean
clean: ## Remove environments and caches, keep data
	rm -rf .venv .venv-clients .venv-go .venv-deploy .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
