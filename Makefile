# Two commands matter: `make tour` and `make test`. Each makes .venv first where it is missing.

PYTHON ?= python3
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)
BIN := .venv/bin

.PHONY: tour test lint types tests proofs pictures bench clean

tour: .venv/installed
	$(BIN)/gentle tour

test: lint types tests

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

tests: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The long evidence, of which `make test` runs a small seeded part.
proofs: .venv/installed-dev
	GENTLE_PROOFS=1 $(BIN)/python -m pytest -n 2 tests/laws tests/agree

# The figures of the pages of docs/: digits, certificates, coverage, time and memory beside other libraries; some hours.
# docs/engines.md needs root and iproute2 for networks of its own, and dask-ml, pyspark, Java and ray for the others.
PAGES = docs/exact.md docs/descent.md docs/reading.md docs/engines.md
bench: .venv/installed-dev
	$(BIN)/python docs/readme.py $(PAGES)
	cat $(PAGES)

# The pictures and the numbers that stand in the README.
pictures: .venv/installed
	$(BIN)/gentle tour --out docs/tour
	$(BIN)/python docs/readme.py README.md

# torch comes first and pinned: a range, or torch as another package's need, may bring CUDA with it.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv tour
