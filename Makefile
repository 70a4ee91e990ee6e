# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs: system packages where apt may be used, then .venv/ from constraints.txt.

PYTHON ?= python3
# PyTorch's default build for Linux brings gigabytes of CUDA. Its public index of CPU builds is
# https://download.pytorch.org/whl/cpu: give that here to avoid them.
TORCH_INDEX_URL ?=
PYTEST_OPTIONS ?=
# Tests run in so many processes, each file in one of them.
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
DEMO_OPTIONS ?=
BENCH_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTENSIONS := $(VENV)/.extensions
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile
TORCH_OPTIONS := $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))
C_FILES = $(shell git ls-files '*.c' '*.h' | grep -v '^tests/golden/')

.DEFAULT_GOAL := help
.PHONY: help system venv demo test test-all coverage covered lint format bench wheel clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

system:
	@tools/system_packages.sh $(PYTHON)

# The build tools come from the lock too, so that nothing is downloaded for an isolated build.
$(INSTALLED): constraints.txt pyproject.toml setup.py | system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "picobnn needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the Python packages of constraints.txt (takes a while the first time)"
	@$(PIP) setuptools Cython
	@PICOBNN_PURE=1 $(PIP) --no-build-isolation $(TORCH_OPTIONS) --editable '.[train,report,dev]'
	@touch $@

# Built in place; without a C compiler this only warns, is tried again next time, and the numpy executor is used.
$(EXTENSIONS): $(wildcard sim/*.pyx sim/*.pxd sim/*.h) setup.py $(INSTALLED)
	@echo "Building the extensions"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@for source in sim/_*.pyx; do ls $${source%.pyx}.*.so >/dev/null 2>&1 || exit 0; done; touch $@

venv: $(INSTALLED) $(EXTENSIONS)  ## create or refresh .venv/

demo: venv  ## train, prune, compile, compare, run on an emulated core; prints the summary and the report's path
	@$(BIN)/picobnn demo $(DEMO_OPTIONS)

test: venv  ## the tests (all but those marked slow or device)
	@$(PYTEST) $(PYTEST_OPTIONS)

test-all: venv  ## the slow tests too
	@$(PYTEST) -m "not device" $(PYTEST_OPTIONS)

coverage: venv  ## the tests, then their line coverage per file, at least 90 %
	@$(PYTEST) --cov --cov-report= $(PYTEST_OPTIONS)
	@$(MAKE) --no-print-directory covered

# The trainer is left out: its loops run in the demo and in the slow tests.
covered: venv  ## the line coverage of the last run that recorded it
	@$(BIN)/coverage report --include='picobnn/*,codegen/*,sim/*,harness/*' --fail-under=90

lint: venv  ## ruff, mypy, clang-format, cython-lint, codespell; all run, then any failure counts
	@failed=0; run() { echo "$$*" | cut -c 1-80; "$$@" || failed=1; }; PATH="$(CURDIR)/$(BIN):$$PATH"; \
	run ruff check .; \
	run ruff format --check .; \
	run mypy; \
	run clang-format --dry-run --Werror $(C_FILES); \
	run cython-lint sim; \
	run codespell $$(git ls-files); \
	exit $$failed

format: venv  ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(C_FILES),$(BIN)/clang-format -i $(C_FILES))

bench: venv  ## the figures of the README, made again
	@tools/system_packages.sh --fashion-mnist $(PYTHON)
	@$(BIN)/python bench/chain.py $(BENCH_OPTIONS)

wheel: venv  ## sdist and wheel into dist/
	@rm -rf build dist
	@$(BIN)/python -m build --no-isolation --outdir dist .

clean:  ## remove what was built, keep .venv/ and runs/
	rm -rf build dist picobnn.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f sim/*.so $(EXTENSIONS)

distclean: clean  ## remove .venv/ too
	rm -rf $(VENV)
