# Each goal makes .venv where there is none and installs just what it needs; a stamp in .venv says
# that it has, so a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: train test test-fast lint bench clean

train: .venv/installed-train
	$(BIN)/tinygrad-edu train --show

test: .venv/installed-test lint
	$(BIN)/python -m pytest -n auto

test-fast: .venv/installed-dev
	$(BIN)/python -m pytest -n auto tests tinygrad_edu lowering README.md CONTRIBUTING.md docs

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

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
