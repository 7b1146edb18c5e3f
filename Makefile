# Two commands matter: `make demo` and `make test`. Everything else serves them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PLUGINS = $(wildcard plugins/*)
EDITABLE = -e . -e cli $(foreach plugin,$(PLUGINS),-e $(plugin))
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt
SOURCES = constraints.txt pyproject.toml cli/pyproject.toml $(wildcard plugins/*/pyproject.toml)

.PHONY: demo test test-slow test-gpu check format index docs bench clean

demo: $(VENV)/.installed
	$(BIN)/zoo sample shakespeare-nano --prompt "ROMEO:"

$(VENV)/.installed: $(SOURCES)
	@# Debian's python3 without python3-venv has no ensurepip: there pip itself fills the environment
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	    { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	      $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; }
	$(PIP) torch && $(PIP) $(EDITABLE)
	touch $@

$(VENV)/.tested: $(VENV)/.installed requirements-test.txt
	$(PIP) -r requirements-test.txt
	touch $@

$(VENV)/.benched: $(VENV)/.tested requirements-bench.txt
	$(PIP) -r requirements-bench.txt
	touch $@

test: $(VENV)/.tested
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.tested
	$(BIN)/python -m pytest -m gpu

check: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python -m zoo.registry.index --check

format: $(VENV)/.tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

index: $(VENV)/.installed
	$(BIN)/python -m zoo.registry.index

docs: $(VENV)/.installed
	$(BIN)/python tools/settings_table.py docs/training.md

bench: $(VENV)/.benched
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) dist build
