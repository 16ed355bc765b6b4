# Everything runs from .venv, which the targets make as they need it. Needs Python 3.11 with venv, and a C++ compiler for
# the tests of torch.compile.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARED_DATA := $(abspath ../shared/data)
ifneq ($(wildcard $(SHARED_DATA)),)
export QUICKSTUDY_DATA ?= $(SHARED_DATA)
endif

.PHONY: demo test lint bench readme docs outputs picture clean

demo: $(VENV)/.core
	$(BIN)/quickstudy compare glyphs-compare --out runs/demo --resume

# Shapes in signatures are checked in the first run of the tests; the second is for what such checks would stop.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
	QUICKSTUDY_CHECK_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check --quiet src tests benchmarks docs
	$(BIN)/ruff format --check --quiet src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/sampler.py
	$(BIN)/python benchmarks/maml_step.py
	$(BIN)/python benchmarks/maml_images.py
	$(BIN)/python benchmarks/meta_gradient_memory.py
	$(BIN)/python benchmarks/incontext_tokens.py
	$(BIN)/python benchmarks/balancing.py
	$(BIN)/python benchmarks/seconds_to_97.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/tables_regression.py

# The tables of README.md and of the pages in docs/, from the cards in results/.
readme: $(VENV)/.dev
	for page in README.md docs/*.md docs/*/*.md; do $(BIN)/python -m quickstudy.reporting.readme $$page results; done

# The picture of a report, from the card of the demo. Needs a Chromium.
picture: $(VENV)/.core
	$(BIN)/python docs/picture.py results/glyphs-compare.json docs/report.png

# The site, build/docs/index.html. A warning is an error. What the pages print is made anew by `make outputs`.
docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs build/docs

outputs: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/docs/pages.py

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint,docs]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint,docs,bench]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
