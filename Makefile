# `make demo` and `make test` first install all they need into .venv.
PYTHON ?= python3
# cpu: PyTorch's CPU build, 0.2 GB, if its own package index is reachable; without hashes, since the
# wheels there are others than those that are locked.
TORCH ?= default
# Tests that run in parallel.
JOBS ?= 2
# Without bytecode, every process recompiles torch and timm: 10 s instead of 3.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test test-rest test-all fuzz lint format locks pins audit sbom clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/installed ## Draw a synthetic data set and run the whole pipeline on it (4 to 8 minutes on 2 cores).
	.venv/bin/python -m pipelines.local --recipe demo $(ARGS)

# Tests that need a server, a Docker engine or a browser, or start and kill processes for minutes.
REST := processes or s3 or containers or browser or gpu
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: .venv/installed ## Run the fast tests, in a minute and a half; ARGS=tests/tagging for some of them.
	$(PYTEST) -m "not (slow or $(REST))"

test: .venv/installed ## Run all tests that need only this machine; ARGS=--durations=20 shows the slowest.
	$(PYTEST) -m "not ($(REST))"

test-rest: .venv/installed ## Run the rest: S3, containers, browser, multi-process; REST=s3 for some of them.
	$(PYTEST) -m "$(REST)"

test-all: test test-rest ## Run all tests.

N ?= 100000
fuzz: .venv/installed ## Read N damaged images, archives and tables, N / 5 recipes; SEED=1 for others. 2 hours for 100,000.
	for kind in mutations archive_mutations text_mutations; do \
		.venv/bin/python -m tests.ingest.$$kind $(N) $(or $(SEED),0) || exit 1; done
	.venv/bin/python -m tests.pipelines.recipe_mutations $$(($(N) / 5)) $(or $(SEED),0)

lint: .venv/installed ## Check formatting, style and types.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: .venv/installed ## Format the code.
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Lock files name no package index, so that they work behind any mirror.
COMPILE := .venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
OF_PROJECT := $(COMPILE) pyproject.toml
locks: .venv/uv ## Update the lock files to the newest versions that pyproject.toml allows.
	$(OF_PROJECT) --all-extras --group dev --output-file requirements.lock
	$(OF_PROJECT) --extra text --output-file docker/text.lock --constraint requirements.lock
	$(OF_PROJECT) --extra train --output-file docker/train.lock --constraint requirements.lock
	$(OF_PROJECT) --extra launcher --output-file docker/launcher.lock --constraint requirements.lock
	$(OF_PROJECT) --extra text --extra embedding --output-file docker/embedding.lock --constraint requirements.lock
	echo uv | $(COMPILE) - --output-file docker/installer.lock

BASE := python:3.11-slim
pins: ## Pin the images' base to what its tag is now; needs docker buildx and the registry.
	digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' $(BASE)) && \
		echo "$$digest" | grep -qxE 'sha256:[0-9a-f]{64}' && \
		sed -i -E "s|^ARG BASE=.*|ARG BASE=$(BASE)@$$digest|" docker/Dockerfile

# In environments of their own, which uv keeps.
AUDIT := .venv/bin/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip --progress-spinner off
audit: .venv/uv ## Look for known flaws of what the lock files hold; needs PyPI's database of them.
	for lock in requirements.lock docker/*.lock; do $(AUDIT) --requirement $$lock || exit 1; done

SBOM := .venv/bin/uv tool run --from cyclonedx-bom@7.5.0 cyclonedx-py requirements
sbom: .venv/uv ## Write what the images hold of Python packages, as CycloneDX, to build/sbom.
	mkdir -p build/sbom
	for image in text train embedding launcher; do \
		$(SBOM) --output-reproducible --output-file build/sbom/$$image.cdx.json docker/$$image.lock || exit 1; done

clean: ## Delete the environment and all runs.
	rm -rf .venv runs

.venv/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "no venv module: apt install python3-venv, then make again" >&2; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement docker/installer.lock
	@touch $@

.venv/installed: .venv/uv requirements.lock
ifeq ($(TORCH),default)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes \
		--requirement requirements.lock
else
	.venv/bin/uv pip install --quiet --python .venv/bin/python --torch-backend $(TORCH) \
		--no-verify-hashes --constraint requirements.lock --group dev .[text,embedding,train,launcher,export,pipelines]
	.venv/bin/uv pip uninstall --quiet --python .venv/bin/python webly
endif
	@touch $@
