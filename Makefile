# Each goal makes .venv where there is none and installs just what it needs; a stamp in .venv says
# that it has, so a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin
# As many processes as cores run tests; with several threads each they would wait for one another.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: train test test-fast test-all lint bench mutation-check conformance clean

train: .venv/installed-train
	$(BIN)/tinygrad-edu train --show

test: .venv/installed-test lint
	$(PYTEST)

test-fast: .venv/installed-dev
	$(PYTEST) -m "not slow" tests tinygrad_edu lowering README.md CONTRIBUTING.md docs

# Many more drawn samples than `test`; takes an hour or so.
test-all: .venv/installed-test lint
	REFERENCE_EXAMPLES=100 $(PYTEST)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

# Every operation and gradient made wrong, one at a time: the reference suite must notice.
mutation-check: .venv/installed-test
	$(BIN)/python -W ignore -m reference_tests.mutation

# How close every operation comes to every framework: docs/conformance.md.
conformance: .venv/installed-test
	$(BIN)/python -W ignore -m reference_tests.conformance

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed-train: pyproject.toml | .venv/bin/python
	$(INSTALL) ".[cli,plot]"
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(INSTALL) ".[dev]"
	touch $@ .venv/installed-train

.venv/installed-test: pyproject.toml | .venv/bin/python
	$(INSTALL) ".[dev,reference]"
	touch $@ .venv/installed-dev .venv/installed-train
