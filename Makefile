# `make demo` and `make test` set up all they need in .venv, once.
PYTHON ?= python3
# cpu: a torch of 0.2 GB without CUDA, where PyTorch's own package index can be reached.
TORCH ?= default
UV_VERSION := 0.13.9
# Tests at a time.
JOBS ?= 2
# Without bytecode every process compiles torch and timm anew: 10 s in place of 3.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test test-rest test-all lint format locks clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/installed ## Draw a data set and run the whole pipeline on it (6 to 9 minutes on 2 cores).
	.venv/bin/python -m pipelines.local --recipe demo $(ARGS)

# What needs a server, an engine or a browser, or starts and kills processes for minutes.
REST := processes or s3 or containers or browser or gpu
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: .venv/installed ## Test what takes no second, in one or two minutes; ARGS=tests/tagging for a part.
	$(PYTEST) -m "not (slow or $(REST))"

test: .venv/installed ## Test all that this machine alone can; ARGS=--durations=20 shows the slowest.
	$(PYTEST) -m "not ($(REST))"

test-rest: .venv/installed ## Test the rest: S3, containers, browsers, several processes; REST=s3 for a part.
	$(PYTEST) -m "$(REST)"

test-all: test test-rest ## Test everything.

lint: .venv/installed ## Check format, style and types.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy --strict components pipelines

format: .venv/installed ## Format the code.
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Locks name no package index, so that they serve behind any mirror.
COMPILE := .venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml
locks: .venv/uv ## Lock the newest versions that pyproject.toml allows.
	$(COMPILE) --all-extras --group dev --output-file requirements.lock
	$(COMPILE) --extra text --output-file docker/text.lock --constraint requirements.lock
	$(COMPILE) --extra train --output-file docker/train.lock --constraint requirements.lock
	$(COMPILE) --extra launcher --output-file docker/launcher.lock --constraint requirements.lock
	$(COMPILE) --extra text --extra embedding --output-file docker/embedding.lock --constraint requirements.lock

clean: ## Remove the environment and all runs.
	rm -rf .venv runs

.venv/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "no venv module: apt install python3-venv, then make again" >&2; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/installed: .venv/uv requirements.lock
ifeq ($(TORCH),default)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --requirement requirements.lock
else
	.venv/bin/uv pip install --quiet --python .venv/bin/python --torch-backend $(TORCH) \
		--no-verify-hashes --constraint requirements.lock --group dev .[text,embedding,train,launcher,pipelines]
	.venv/bin/uv pip uninstall --quiet --python .venv/bin/python webly
endif
	@touch $@
