# Everything a newcomer needs. Each target makes what it needs; only Python 3.11, git and make are assumed.

PYTHON ?= python3.11
SOAK_MINUTES ?= 60
# Two more than there are cores: the end-to-end tests, with which half of them begin, wait for most of their time.
WORKERS ?= $(shell expr $$(nproc) + 2)
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/uv/bin/uv
STAMP := $(VENV)/.homeostat-installed
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 20

.PHONY: help demo test soak hosts check bench system-deps lock clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(STAMP)  ## run the whole loop on a real service
	PATH="$(CURDIR)/.tools/uv/bin:$$PATH" $(BIN)/homeostat demo

# A live change looks through all of its process, and what all tests load makes that ten times as long: those of the
# agent are a run of their own. With PYTEST_ARGS there is one run of what they say.
test: $(STAMP)  ## run all tests
ifneq ($(PYTEST_ARGS),)
	$(PYTEST) $(PYTEST_ARGS)
else
	failed=0; $(PYTEST) --ignore tests/unit/agent || failed=1; $(PYTEST) tests/unit/agent || failed=1; exit $$failed
endif

soak: $(STAMP)  ## run the real system at load for SOAK_MINUTES (60) with random kills, then the tests marked `matrix`
	PYTHONPATH=tests $(BIN)/python -m soak --minutes $(SOAK_MINUTES)
	$(BIN)/python -m pytest -m matrix $(PYTEST_ARGS)

hosts: $(STAMP)  ## play the whole loop on every kind of program, server and interpreter (docs/reference/hosts.md)
	PATH="$(CURDIR)/.tools/uv/bin:$$PATH" $(BIN)/python -m pytest -m "" tests/e2e/test_hosts.py tests/e2e/test_hub_pythons.py $(PYTEST_ARGS)

check: $(STAMP)  ## lint, types, layers, architecture tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/arch

bench: $(STAMP)  ## measure, each figure beside its peer or limit; renews docs/BENCHMARKS.md
	$(BIN)/python -m bench --write

system-deps:  ## Debian packages for the full test suite (root); never needed for the demo
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends bubblewrap prometheus python3 python3-venv

lock: .tools/uv/bin/uv  ## resolve the dependencies anew
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade --quiet -o requirements.lock

$(STAMP): requirements.lock pyproject.toml agent/pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --python $(VENV) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(VENV) --no-deps -e .
	@# The wheel of homeostat carries a copy of the agent (docs/adr/0002); here its sources are wanted.
	rm -rf $(VENV)/lib/python3.*/site-packages/homeostat_agent
	$(UV) pip install --quiet --python $(VENV) --no-deps -e agent
	@# Where PYTHONDONTWRITEBYTECODE is set, each of some hundred programs of the tests would compile anew.
	$(BIN)/python -m compileall -q src agent/src
	@touch $@

.tools/uv/bin/uv:
	$(PYTHON) -m venv .tools/uv
	.tools/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

clean:  ## remove what the targets made
	rm -rf $(VENV) .tools dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
