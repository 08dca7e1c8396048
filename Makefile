# Everything happens in .venv inside the checkout. A machine with python3 and make needs nothing else.

VENV     := .venv
PYTHON   := $(VENV)/bin/python
STAMP    := $(VENV)/.lwta-is-set-up
PYTHON3  ?= python3
WORKERS  ?= 2
# for uv, e.g. INSTALL_FLAGS=--torch-backend=cpu where the CUDA libraries are not wanted
INSTALL_FLAGS ?=
PYTEST   := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile
ROOMS    := pictures competition_layers training dissect lwta configs

# where this is set, every start of Python compiles torch anew: 15 s of processor time
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-gpu check lint types floors format bench clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP)  ## the environment, in .venv (other targets do this by themselves)

demo: $(STAMP)  ## train, name, explain and compare on the built-in scenes; ends with the report's path
	$(PYTHON) -m lwta demo

test: $(STAMP)  ## the tests that need no network and no patience (under 4 minutes on 2 cores)
	$(PYTEST)

test-slow: $(STAMP)  ## the slow tests: the wheel, whole runs, the data in ../shared
	$(PYTEST) -m "slow and not gpu and not network"

test-gpu: $(STAMP)  ## what only a GPU can show
	$(PYTHON) -m pytest -m gpu

check: lint types floors  ## lint, format, types, floors, links (make -k check shows all that is wrong, not the first alone)

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: $(STAMP)
	$(PYTHON) -m mypy

floors: $(STAMP)
	$(PYTHON) -m pytest -q tests/test_floors.py tests/test_docs.py

format: $(STAMP)  ## let ruff sort imports and format
	$(PYTHON) -m ruff check --fix --select I .
	$(PYTHON) -m ruff format .

bench: $(STAMP)  ## every script in benchmarks/, quickly
	@set -e; for script in $(shell grep -l __main__ benchmarks/*.py); do echo "== $$script"; $(PYTHON) $$script --quick; done

clean:  ## remove .venv, the demo and caches; runs/ stays, it is yours
	rm -rf $(VENV) build dist demo demo-out lightning_logs .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch and torchvision come from one resolution of pyproject.toml: installed apart they may not fit each other.
$(STAMP): pyproject.toml
	@test -x $(PYTHON) || $(MAKE) --no-print-directory -s venv
	@$(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m pip install --quiet --disable-pip-version-check uv || true
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; export PATH; \
	if command -v uv >/dev/null 2>&1 && uv pip install --python $(PYTHON) $(INSTALL_FLAGS) -e '.[dev]'; then :; \
	else echo "uv could not install it; trying pip"; $(PYTHON) -m pip install -e '.[dev]'; fi
	@touch $@

# Debian splits ensurepip off python3, so the plain way may leave half an environment behind.
.PHONY: venv
venv:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Expected Python 3.11 or newer but got $$($(PYTHON3) --version). Name another one: make PYTHON3=python3.12 ..."; exit 1; }
	@$(PYTHON3) -m venv $(VENV) >/dev/null 2>&1 && exit 0; rm -rf $(VENV); \
	uv venv --quiet $(VENV) >/dev/null 2>&1 && exit 0; rm -rf $(VENV); \
	$(PYTHON3) -m virtualenv --quiet $(VENV) >/dev/null 2>&1 && exit 0; rm -rf $(VENV); \
	$(PYTHON3) -m venv --without-pip $(VENV) && $(PYTHON3) -m pip --python $(PYTHON) install --quiet uv >/dev/null 2>&1 && exit 0; \
	rm -rf $(VENV); \
	echo "Expected a python3 that can make environments, but it has neither ensurepip, uv, virtualenv nor pip."; \
	echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1
