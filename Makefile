# Every target works on a machine that has only Python >= 3.11: the first makes .venv from the pinned
# constraints, later ones reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A file's tests stay in one process, with the runs that they share; slow files come first. The processes that
# tests start compile the package once.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest \
	--numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

.PHONY: demo test quick docs setup check format clean

demo: $(VENV)/.installed
	$(BIN)/altuna fit

test: $(VENV)/.tested
	$(PYTEST)

# What a change needs: all tests but those marked slow.
quick: $(VENV)/.tested
	$(PYTEST) -m "not slow"

check: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MKDOCS)
	$(PYTEST)

docs: $(VENV)/.tested
	$(MKDOCS)

setup: $(VENV)/.tested

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(INSTALL) --editable '.[demo,export,hf,icons,sensors,wandb,docs,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
