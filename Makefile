# Everything from a clean clone: `make demo` to see it work, `make test` to check it.
#
#   PYTHON=/path/to/python3.12   which interpreter to build .venv from (CPython 3.11 to 3.13)
#   JOBS=2                       test processes
#
# On Linux without a GPU: the plain build of torch brings along some gigabytes of CUDA libraries. To avoid them, set
# PIP_EXTRA_INDEX_URL to the CPU index that the install page of pytorch.org names, before the first `make`; pip then
# prefers that build of the same version. With a GPU there is nothing to set.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
CONSTRAINED := $(BIN)/python -m pip install -qq -c constraints.txt

# Two torch threads fight over a busy machine, at up to 80 times the cost.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/installed-dev  ## a virtual environment in .venv, with all that development needs

.PHONY: demo
demo: $(VENV)/installed  ## train curious agents and plain ones on a sparse task, and show who finds the reward
	@$(BIN)/vime demo

.PHONY: test
test: $(VENV)/installed-dev  ## every test, the slow ones too (15 minutes on 2 cores)
	@$(BIN)/python -m pytest -n $(JOBS)

.PHONY: check
check: lint types  ## style, types and the quick tests (3 minutes on 2 cores)
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

.PHONY: lint
lint: $(VENV)/installed-dev  ## style alone (ruff)
	@$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/installed-dev  ## types alone (pyright; fetches Node.js where there is none)
	@$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: clean
clean:  ## remove .venv, caches and builds, but no run
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that runs, is a CPython we know, and can make a virtual environment.
FIND_PYTHON = for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python); do \
	if "$$python" -c 'import ensurepip, sys, venv; \
	sys.exit(sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	then echo "$$python"; exit; fi; done

$(VENV)/created:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "make: no CPython 3.11, 3.12 or 3.13 with its venv module was found$(if $(PYTHON), at $(PYTHON))." >&2; \
		echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$python" --version)."; \
	"$$python" -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt $(VENV)/created
	@echo "Installing vime and what it needs (about 1 GB without CUDA; some minutes the first time)."
	@$(CONSTRAINED) -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt $(VENV)/created
	@echo "Installing vime and what its development needs (about 1 GB without CUDA; some minutes the first time)."
	@$(CONSTRAINED) -e '.[dev]'
	@touch $(VENV)/installed $@
