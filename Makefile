# `make` lists what there is. Every target makes the environment that it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test test-slow gpu-check lint clean

help:  ## list these targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv, with everything that developers need

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Spezia needs Python 3.11 or newer; this is $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## fine-tune MiniLM on the example; ARGS=--new runs it afresh
	$(BIN)/spezia run examples/feedback/study.yaml $(ARGS)

# one thread each: two workers of one thread do more on two cores than one of two
test: install  ## run the tests, but for the slow ones; ARGS=... goes to pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal $(ARGS)

test-slow: install  ## run the slow tests: whole studies, real kills, the built wheel
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist worksteal $(ARGS)

# without an environment of ours: it must run where nothing can be installed
gpu-check:  ## check and measure on this machine's GPU with PYTHON; ARGS="--out FILE"
	$(PYTHON) benchmarks/gpu_check $(ARGS)

lint: install  ## check formatting, ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove the environment, the demo's studies and what builds leave
	rm -rf $(VENV) .spezia build dist
