# Everything below builds .venv from the locks by itself: it needs GNU make and Python 3.11 or later, and no torch
# unless it says so. Another Python: make PYTHON=python3.12 <target>.
PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-core lint docs lock clean
.DELETE_ON_ERROR:

help:
	@echo "make install   the histocyte command in $(BIN) (no torch)"
	@echo "make demo      segment the bundled slide into demo/ (no torch)"
	@echo "make test      all tests, with torch"
	@echo "make test-core the demo and the tests that need no torch, in an environment without it"
	@echo "make lint      style, types and the floors of ARCHITECTURE.md"
	@echo "make docs      the documentation as a site, in site/"
	@echo "make lock      resolve pyproject.toml again; UPGRADE=--upgrade takes the newest versions"
	@echo "make clean     remove everything that make has made"

install: $(VENV)/core.stamp

demo: $(VENV)/core.stamp
	$(BIN)/histocyte demo -o demo

test: $(VENV)/torch.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS)

# An environment of its own, so that nothing of torch is there whatever was made before.
test-core:
	$(PYTHON) scripts/core_tests.py --environment $(VENV)-core --workers $(WORKERS)

lint: $(VENV)/torch.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/dev.stamp
	$(BIN)/zensical build --clean --strict

lock: $(VENV)/bootstrap.stamp
	$(BIN)/python scripts/lock.py $(UPGRADE)

clean:
	rm -rf $(VENV) $(VENV)-core demo site .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# uv is quick but does not read pip's own settings; where it finds no registry, pip may know one.
define install_lock
$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps --only-binary :all: --require-hashes -r $(1) \
	|| $(BIN)/python -m pip install -q --no-deps --only-binary :all: --require-hashes -r $(1)
endef

$(VENV)/bootstrap.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "histocyte needs Python 3.11 or later, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; \
		exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@touch $@

$(VENV)/core.stamp: $(VENV)/bootstrap.stamp requirements.lock pyproject.toml
	$(call install_lock,requirements.lock)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp requirements-dev.lock
	$(call install_lock,requirements-dev.lock)
	@touch $@

# First a build that the machine itself offers to pip (find-links), which is often for CPU; else the registry's, which
# on Linux does not load without CUDA's libraries.
TORCH := $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-torch.lock

$(VENV)/torch.stamp: $(VENV)/dev.stamp requirements-torch.lock requirements-cuda.lock
	$(TORCH) --no-index 2>$(VENV)/torch.log || $(TORCH)
	$(BIN)/python -c 'import torch' 2>$(VENV)/torch.log || { $(call install_lock,requirements-cuda.lock); }
	@touch $@
