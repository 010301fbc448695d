# make run: the main job on the embedded digits. make test: the whole suite. make clean: undo.
PYTHON ?= python3
BIN := .venv/bin
# Tests run in as many processes as there are cores, in another order each time:
# PYTEST_ARGS="--randomly-seed=N" repeats an order, PYTEST_ARGS="-n 0 -x" takes one process.
PYTEST_ARGS ?=

.PHONY: run test lint bench clean
run: .venv/installed
	$(BIN)/augment run

test: .venv/installed
	$(BIN)/python -m pytest -n logical --maxprocesses 8 $(PYTEST_ARGS)

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

# beside diffusers and others, some hours: see tests/bench/bench.py --help for parts of it
bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python tests/bench/bench.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv results/runs build *.egg-info .hypothesis .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
