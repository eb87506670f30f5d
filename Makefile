# Every target makes the virtual environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Most tests wait for sockets and processes: more workers than cores.
PYTEST := -m pytest -n 3
# What fails beside two others, on a machine that is busy with them, is asked once more by itself.
ALONE := -m pytest -n 0 --last-failed --last-failed-no-failures none
# Pure arithmetic, programs of others, and commands of which test_cli, test_diffs and test_live have
# enough to tell whether an old typer or rich is to blame.
SAME := tests/unit/rollout tests/unit/shadow tests/functional/test_report.py
SAME += tests/functional/test_rolling.py tests/functional/test_demo_story.py tests/functional/test_deploy.py
SAME += tests/functional/test_remote.py tests/functional/test_write.py
SAME += tests/functional/test_overrides_seen.py
LOWEST = -o cache_dir=$(VENV)-lowest/.pytest_cache $(SAME:%=--ignore=%)
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench test-lowest format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

$(VENV)/.demo: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps httpbin
	rm -rf $(VENV)/lib/python*/site-packages/tests
	touch $@

$(VENV)-bench/.bench: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	touch $@

$(VENV)-lowest/.lowest: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV)-lowest $(VENV)-lowest/bin/uv pip install --quiet --compile-bytecode \
		--resolution lowest-direct -e '.[test]'
	$(VENV)-lowest/bin/uv pip install --quiet --no-deps -p $(VENV)-lowest httpbin==0.10.4
	touch $@

demo: $(VENV)/.demo  ## install, then serve the demo on real traffic
	$(BIN)/gateway demo

test: $(VENV)/.dev  ## run the tests
	$(BIN)/python $(PYTEST) || $(BIN)/python $(ALONE)

check: $(VENV)/.dev  ## format, lint, types, layers, the demo's config
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/gateway check config/gateway.yaml

test-lowest: $(VENV)-lowest/.lowest  ## run the tests on the lowest supported versions
	$(VENV)-lowest/bin/python $(PYTEST) $(LOWEST) || $(VENV)-lowest/bin/python $(ALONE) $(LOWEST)

bench: $(VENV)-bench/.bench  ## compare with the peers, side by side (needs wrk and nginx)
	$(VENV)-bench/bin/python -m tests.benchmarks --out tests/benchmarks --readme README.md

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-bench $(VENV)-lowest .mypy_cache .ruff_cache .pytest_cache
