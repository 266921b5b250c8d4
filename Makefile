# Two doors: `make demo` and `make test`. Both install all they need into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
MINUTES ?= 8
OUT ?= demo

.PHONY: demo test test-slow bench bench-demo bench-laws bench-ladders lint fix size docs clean

demo: $(VENV)/.demo
	$(BIN)/forescale demo --minutes $(MINUTES) --out $(OUT)

test: lint
	$(BIN)/python -m pytest -q -m "not slow" -n 2

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

fix: $(VENV)/.dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.fit

bench-demo: $(VENV)/.dev
	$(BIN)/python -m benchmarks.demo

bench-laws: $(VENV)/.dev
	$(BIN)/python -m benchmarks.laws
	$(BIN)/python -m benchmarks.hyper --write
	$(BIN)/python -m benchmarks.suggest --write
	$(BIN)/python -m benchmarks.watch

bench-ladders: $(VENV)/.dev
	$(BIN)/python -m benchmarks.ladders

size:
	@for room in src/forescale/*/ src/forescale/*.py; do \
	  printf '%6d  %s\n' $$(find $$room -name '*.py' -exec cat {} + | wc -l) $$room; done | sort -rn
	@printf '%6d  %s\n' $$(find tests -name '*.py' -exec cat {} + | wc -l) tests/

docs: $(VENV)/.dev
	$(BIN)/python -m forescale.cli.docs

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

# The pinned torch goes first: as an exact pin it resolves to a build without CUDA where one is offered.
$(VENV)/.base: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	touch $@

$(VENV)/.demo: $(VENV)/.base pyproject.toml
	$(PIP) -e '.[report,train,corpus]'
	touch $@

$(VENV)/.dev: $(VENV)/.base pyproject.toml
	$(PIP) -e '.[dev]'
	touch $(VENV)/.demo $@
