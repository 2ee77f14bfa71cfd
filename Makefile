# make run and make test do all the set-up they need: an environment of their own, from the lock.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The BigQuery emulator of the tests: it needs Python 3.13 and another DuckDB than ours, so it lives apart.
EMULATOR := .venv-bigquery
EMULATOR_READY := $(EMULATOR)/.ready
# MkDocs and its theme share nothing with the package.
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready
# What looks at the dependencies shares nothing with them either.
AUDIT := .venv-audit
AUDIT_READY := $(AUDIT)/.ready
# Nor does the server that the service is compared with.
SERVERS := .venv-mlserver
SERVERS_READY := $(SERVERS)/.ready
LOCKS := requirements.lock deploy/requirements.lock nba_ml/serving/requirements.lock nba_ml/serving/requirements-catboost.lock
PORT ?= 3000

# Nothing leaves the machine: no usage statistics, no look for updates.
export DAGSTER_DISABLE_TELEMETRY := yes
export DAGSTER_DG_UPDATE_CHECK_ENABLED := 0

# Some images set it. Then every process compiles the package anew, and the tests' hundreds of processes all of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run backfill check test test-fast emulator lint bench mlserver drills loop ui clouds challengers docs audit sbom lock clean mutants chaos

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## The environment (the other targets make it when it is needed)

$(READY): requirements.lock pyproject.toml
	@python=""; \
	for candidate in python3 python3.13 python3.12 python3.11; do \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "nba_ml needs Python 3.11, 3.12 or 3.13, and found none: install python3.13 (or 3.11) and run make again." >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then echo "$$python cannot make a virtual environment: install its venv package (on Debian: apt install python3-venv) and run make again." >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python --version) ..."; \
	rm -rf $(VENV); $$python -m venv $(VENV)
	@# --no-deps: the lock is complete, and leaves out on purpose what XGBoost would pull in for several GPUs.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## Train, check and publish the last month's model on the shipped data
	@$(BIN)/nba-ml run

backfill: $(READY) ## The whole chain for every month, where it is missing
	@$(BIN)/nba-ml backfill --only-missing

check: $(READY) ## The asset checks of the last month that has a model
	@$(BIN)/nba-ml check

# Dagster opens, syncs and closes its database for every event, tens of thousands of times: 20 ms each on a disk, half of
# one in memory. So the tests' files are kept there, where 6 GB of it are free.
define IN_MEMORY
if [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print $$4}')" -gt 4000000 ] 2>/dev/null && \
  [ "$$(awk '/^MemAvailable/ {print $$2}' /proc/meminfo 2>/dev/null)" -gt 6000000 ] 2>/dev/null; then \
  export TMPDIR="$$(mktemp -d /dev/shm/nba_ml_tests_XXXXXX)"; chmod 755 "$$TMPDIR"; trap 'rm -rf "$$TMPDIR"' EXIT; \
fi
endef

test: $(READY) emulator ## All tests (SELECT="slow and not e2e": some of them, by their markers)
	@$(IN_MEMORY); $(BIN)/python -m pytest $(if $(SELECT),-m "$(SELECT)")

test-fast: $(READY) ## The unit tests, in a minute: no server, no browser, no other process (COVERAGE=1: with its floor)
	@$(IN_MEMORY); $(BIN)/python -m pytest -m unit $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

emulator: ## The BigQuery emulator's environment, where there is a Python 3.13 (the tests say if not)
	@if [ -e $(EMULATOR_READY) ] && [ ! .ci/bigquery-emulator.lock -nt $(EMULATOR_READY) ]; then exit 0; fi; \
	python=""; \
	for candidate in python3.13 python3 "$$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python3.13 2>/dev/null | tail -1)"; do \
	  if [ -n "$$candidate" ] && $$candidate -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "No Python 3.13 was found: the tests against a BigQuery emulator will be skipped."; exit 0; fi; \
	echo "Setting up $(EMULATOR) with $$($$python --version) ..."; \
	rm -rf $(EMULATOR); $$python -m venv $(EMULATOR); \
	$(EMULATOR)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/bigquery-emulator.lock; \
	mkdir $(EMULATOR)/home; \
	HOME="$$PWD/$(EMULATOR)/home" $(EMULATOR)/bin/python -c 'from duckdb_extensions import import_extension as put; [put(name) for name in ("icu", "ducklake", "spatial")]'; \
	touch $(EMULATOR_READY)

lint: $(READY) ## Lint, format, types, which package may import which, and whether what is imported is declared
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@NO_COLOR=1 $(BIN)/deptry nba_ml
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --package nba_ml --package nba_ml_tests

bench: $(READY) emulator $(if $(MLSERVER),mlserver) ## Time and memory against simpler programs (MLSERVER=1 PARTS="chain rows" SMALL=1)
	@$(BIN)/python -m nba_ml_tests.benchmarks $(PARTS) $(if $(SMALL),--small) $(if $(MLSERVER),--mlserver $(SERVERS)/bin/python) \
	  $$([ -e $(EMULATOR_READY) ] || echo --without clouds)

mlserver: $(SERVERS_READY) ## FastAPI and MLServer in an environment of their own, to compare the service with

$(SERVERS_READY): .ci/mlserver.lock $(READY)
	@echo "Setting up $(SERVERS) ..."; rm -rf $(SERVERS); $(BIN)/python -m venv $(SERVERS)
	@$(SERVERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/mlserver.lock
	@touch $@

drills: $(READY) ## Plant leaks in real months, and see which check catches each
	@$(BIN)/python -m nba_ml_tests.leaks

chaos: $(READY) ## Commands and a service under faults for ten minutes (MINUTES=30 SEED=2)
	@$(IN_MEMORY); NBA_ML_CHAOS_MINUTES=$(or $(MINUTES),10) NBA_ML_CHAOS_SEED=$(or $(SEED),1) \
	  $(BIN)/python -m pytest -n 0 -s nba_ml_tests/chaos

mutants: $(READY) ## Plant faults in a copy, and see whether the tests find them (AREA=planner SAMPLE=40 SEED=1)
	@$(BIN)/python -m nba_ml_tests.mutants $(AREA) --sample $(or $(SAMPLE),40) --seed $(or $(SEED),1)

loop: $(READY) emulator challengers ## From BigQuery to a served, rolled out, rolled back model, on emulators
	@$(BIN)/python -m nba_ml_tests.cloud.full_loop

ui: $(READY) ## Dagster's web UI on 127.0.0.1:PORT
	@$(BIN)/nba-ml ui --port $(PORT)

clouds: $(READY) emulator ## Try it on emulators of BigQuery and Cloud Storage: the chain, then the web UI
	@$(BIN)/python -m nba_ml_tests.cloud.demo --port $(PORT)

challengers: $(READY) ## LightGBM and CatBoost for the asset of that name (a hundred megabytes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/challengers.lock

docs: $(DOCS_READY) ## The documentation site, in docs/site; a broken link or anchor is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --config-file docs/mkdocs.yml
	@if grep -rnoE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^">]+' docs/site --include='*.html'; then \
	  echo "These pages load something from another server." >&2; exit 1; \
	fi

$(DOCS_READY): .ci/docs.lock $(READY)
	@echo "Setting up $(DOCS) ..."; rm -rf $(DOCS); $(BIN)/python -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/docs.lock
	@touch $@

audit: $(AUDIT_READY) ## Known vulnerabilities of what the locks pin (asks the package index)
	@for lock in $(LOCKS); do $(AUDIT)/bin/pip-audit --disable-pip --require-hashes --requirement $$lock; done

sbom: $(AUDIT_READY) ## Bills of materials (CycloneDX) of the package and of the service's image, in dist/
	@mkdir -p dist
	@$(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON \
	  -o dist/nba_ml.cdx.json requirements.lock
	@$(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON \
	  -o dist/nba-ml-serving.cdx.json nba_ml/serving/requirements.lock
	@ls dist/*.cdx.json

$(AUDIT_READY): .ci/audit.lock $(READY)
	@echo "Setting up $(AUDIT) ..."; rm -rf $(AUDIT); $(BIN)/python -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/audit.lock
	@touch $@

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --overrides .ci/lock-overrides.txt --extra dev --custom-compile-command "make lock" \
	  pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --overrides .ci/lock-overrides.txt --extra dev --extra challengers -c requirements.lock \
	  --custom-compile-command "make lock" pyproject.toml -o .ci/challengers.lock
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --overrides .ci/lock-overrides.txt --extra kubernetes -c requirements.lock \
	  --custom-compile-command "make lock" pyproject.toml deploy/requirements.in -o deploy/requirements.lock
	uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" .ci/bigquery-emulator.in -o .ci/bigquery-emulator.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --overrides .ci/lock-overrides.txt -c requirements.lock --custom-compile-command "make lock" \
	  nba_ml/serving/requirements.in -o nba_ml/serving/requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --overrides .ci/lock-overrides.txt -c .ci/challengers.lock --custom-compile-command "make lock" \
	  nba_ml/serving/requirements-catboost.in -o nba_ml/serving/requirements-catboost.lock
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" --group docs -o .ci/docs.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" .ci/audit.in -o .ci/audit.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --overrides .ci/lock-overrides.txt --custom-compile-command "make lock" .ci/mlserver.in -o .ci/mlserver.lock

clean: ## Remove the environment and the caches; the home (.nba_ml) stays
	rm -rf $(VENV) $(EMULATOR) $(DOCS) $(AUDIT) $(SERVERS) dist docs/site .mypy_cache .ruff_cache .pytest_cache .hypothesis
