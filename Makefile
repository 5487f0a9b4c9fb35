# `make demo` runs the whole story on this machine; `make test` is what CI runs. Both set themselves up: Python 3.11 to
# 3.13, git and make are enough. Without a usable uv on PATH a private one is put into .uv/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# No Python is ever downloaded: the first of these that is installed and has the right version is taken.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; (3, 11) <= sys.version_info[:2] < (3, 14) or sys.exit(1); print(sys._base_executable)' \
	2>/dev/null && break; done)
UV := $(shell uv cache dir >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)

export UV_PYTHON := $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

.PHONY: help python setup demo team test lint format schema reference templates conformance clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

python:
	@test -n "$(PYTHON)" || { echo "Conceptry needs Python 3.11, 3.12 or 3.13 on PATH." >&2; exit 1; }

.uv/bin/uv: | python
	@echo "Getting uv into .uv/ ..."
	@rm -rf .uv
	@$(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.8'

setup: python $(filter .uv/bin/uv,$(UV)) ## Install into .venv/ what uv.lock says
	@echo "Installing into .venv/ what uv.lock says (2.8 GB the first time) ..."
	@$(UV) sync --quiet --frozen --all-extras --compile-bytecode

demo: setup ## Run the whole story, from pictures in git to a served concept; flags: make demo ARGS="--root DIR"
	@$(UV) run --no-sync conceptry demo $(ARGS)

team: setup ## Run a team's set-up on this machine: PostgreSQL, Prefect, Hub, TLS, two workers; flags: make team ARGS="--root DIR"
	@$(UV) run --no-sync conceptry team up $(ARGS)

test: lint ## Lint, types and tests, as CI does; flags for pytest: make test ARGS="-k plan"
	@echo "Running the tests ..."
	@$(UV) run --no-sync pytest -n auto --dist worksteal $(ARGS)

lint: setup ## Lint, format and types only
	@echo "Checking style and types ..."
	@$(UV) run --no-sync ruff check --quiet
	@$(UV) run --no-sync ruff format --quiet --check
	@$(UV) run --no-sync mypy --no-error-summary

conformance: setup ## Run the tests of huggingface_hub itself against the local Hub; flags for pytest: ARGS="-k branch"
	@$(UV) run --no-sync python -m benchmarks.conformance $(ARGS)

format: setup ## Apply the fixes and the format of ruff
	@$(UV) run --no-sync ruff check --quiet --fix
	@$(UV) run --no-sync ruff format --quiet

schema: setup ## Regenerate the JSON Schemas, after a change of conceptry/ or of trainer/metrics.py
	@$(UV) run --no-sync python -c 'import json; from conceptry.concept import json_schema; \
	print(json.dumps(json_schema(), indent=2, ensure_ascii=False))' > concepts/concept.schema.json
	@$(UV) run --no-sync python -c 'import json; from conceptry.actions import plan_schema; \
	print(json.dumps(plan_schema(), indent=2, ensure_ascii=False))' > docs/plan.schema.json
	@$(UV) run --no-sync python -c 'import json; from conceptry.policy import policy_schema; \
	print(json.dumps(policy_schema(), indent=2, ensure_ascii=False))' > docs/conceptry.schema.json
	@$(UV) run --no-sync python -c 'import json; from trainer.metrics import metrics_schema; \
	print(json.dumps(metrics_schema(), indent=2, ensure_ascii=False))' > docs/metrics.schema.json
	@$(UV) run --no-sync python -c 'import json; from conceptry.bases import bases_schema; \
	print(json.dumps(bases_schema(), indent=2, ensure_ascii=False))' > docs/bases.schema.json

reference: setup ## Write docs/reference.md again, after a change of commands, settings, events or reasons
	@$(UV) run --no-sync python -m cli.reference > docs/reference.md

templates: setup ## Record the templates of Space and handler as they are; see TEMPLATES_REVISION in tasks/space/render.py
	@$(UV) run --no-sync python -m tasks.space

clean: ## Remove the environment, the caches and the demo's folder
	@rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis .conformance demo
