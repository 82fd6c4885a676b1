# Jarvis: `make up` deploys three servers in a box and the cloud on them; `make test` tests all of it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
# Compiled modules start much faster; some machines forbid writing them by default.
unexport PYTHONDONTWRITEBYTECODE
# A step with its name and its time. `set -e` does not see what fails before an `&&`.
step = @start=$$SECONDS; printf '==> %s\n' '$(1)'; $(2) || exit; printf '    %s: %d s\n' '$(1)' $$((SECONDS - start))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: tools artifacts lab ## the lab and the cloud on it; says where it is
	@$(PY) -m toolchain.workspace up

.PHONY: down
down: bootstrap ## remove all that `make up` made, except for caches
	@$(PY) -m lab down
	@$(PY) -m toolchain.workspace forget
	@echo "The lab and its cloud are gone; the caches stay (make clean)."

.PHONY: clean
clean: down ## the same, and this checkout's tools, virtual environment and the caches
	@rm -rf .jarvis .venv "$${XDG_CACHE_HOME:-$$HOME/.cache}/jarvis"
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: bootstrap
bootstrap: ## Debian packages and the virtual environment
	@toolchain/bootstrap.sh

.PHONY: tools
tools: bootstrap ## every pinned tool
	$(call step,tools,$(PY) -m toolchain install)

.PHONY: artifacts
artifacts: bootstrap ## the host release and the container images
	$(call step,artifacts,$(PY) -m toolchain artifacts)

.PHONY: lab
lab: bootstrap ## three servers in a box
	$(call step,lab,$(PY) -m lab up)

.PHONY: drift
drift: ## what on servers, in Kubernetes and in Keystone is another than what was deployed (ARGS=--json; docs/operating.md)
	@if [ -z "$${PULUMI_BACKEND_URL:-}" ] && [ -f .jarvis/env ]; then . .jarvis/env; fi; \
		$(PY) -m jarvis.drift $(ARGS)

.PHONY: mirror
mirror: tools artifacts ## all built artifacts as the folder $(DIR), for JARVIS_MIRROR on another machine
	@$(PY) -m toolchain mirror "$(or $(DIR),mirror)"

.PHONY: check
check: lint types shellcheck gate ## the fast gate: format, lint, types, shellcheck, unit and golden tests; without root

.PHONY: lint
lint: bootstrap ## format and lint
	$(call step,format and lint,.venv/bin/ruff format --check -q --no-cache . && .venv/bin/ruff check -q --no-cache .)

.PHONY: types
types: bootstrap ## types, by mypy
	$(call step,types,.venv/bin/mypy)

.PHONY: shellcheck
shellcheck: bootstrap ## shell scripts
	$(call step,shellcheck,shellcheck $$(git ls-files '*.sh' tests/run tests/gate .ci/run))

.PHONY: gate
gate: bootstrap ## unit and golden tests
	$(call step,unit tests,tests/gate)

.PHONY: test
test: ## every test, the real deployment included
	@tests/run

.PHONY: test-vm
test-vm: tools artifacts ## one virtual machine as an installer leaves it, with every role; slow without KVM
	@toolchain/bootstrap.sh toolchain/apt-vm.txt
	@$(PY) -m pytest -q tests/vm

.PHONY: test-faults
test-faults: tools artifacts ## power and processes taken away under load; written to .jarvis/faults.json
	@$(PY) -m tests.faults

.PHONY: test-rotations
test-rotations: tools artifacts ## every counter of `rotations` by itself, twice, under load
	@$(PY) -m pytest -q tests/lab/each_counter.py

.PHONY: audit
audit: tools artifacts ## a deployment looked at by others' tools (docs/audits.md); fails on what is new
	@$(PY) -m tests.audits

.PHONY: bench
bench: tools artifacts ## the figures of the documents, printed and written to .jarvis/bench.json
	@$(PY) -m tests.bench

.PHONY: golden
golden: bootstrap ## write the golden graphs anew; review the diff
	@JARVIS_GOLDEN=write $(PY) -m pytest -q tests/golden tests/unit/test_catalogue.py

.PHONY: openapi
openapi: tools ## write anew what the golden tests know of Kubernetes' API, by the pinned API server
	@$(PY) tests/plugins/kubernetes/record_openapi.py

.PHONY: schema
schema: bootstrap ## write the JSON schema of the configuration anew
	@$(PY) -m jarvis.config.schema >jarvis/config/environment.schema.json

.PHONY: lock
lock: bootstrap ## resolve the Python dependencies of pyproject.toml anew
	@.venv/bin/uv pip compile pyproject.toml --extra dev --generate-hashes --python-version 3.11 \
		--no-emit-find-links --no-emit-index-url --quiet --output-file requirements.txt
