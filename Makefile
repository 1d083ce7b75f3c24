# Everything a contributor runs. Needs Python 3.11 or later and make; the rest is fetched
# into .venv, locked and checked by hash.

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-growth soak docs clean

help:
	@echo "make demo   run the exporter against an S3 and SQS of this machine's own, no AWS account"
	@echo "make test   run the tests"
	@echo "make check  lint, types, import contracts, generated texts"
	@echo "make bench  print what log files, the page and the start cost, beside the least they could"
	@echo "make bench-growth   the same as files, series and remembered ids grow"
	@echo "make soak   run the demo for half an hour, print how its memory grows and whether it counts right"
	@echo "make docs   write the generated tables, dashboards and parts of the chart, and draw the pictures of changed ones (needs Prometheus)"

# The lock file names every package the program and its tests use, with its hashes. uv itself
# is fetched once, at a fixed version, by the pip that comes with Python, and the build backend
# at the version that pyproject.toml allows.
$(VENV)/.synced: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with make PYTHON=...")'
	@echo "Setting up $(VENV), which takes a moment the first time."
	@test -x $(VENV)/bin/uv || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install --quiet uv==$(UV_VERSION); }
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(VENV)/bin/uv sync --quiet --locked --all-extras --inexact
	@touch $@

DEMO_ARGS ?=
demo: $(VENV)/.synced
	@$(RUN) -m exporter demo $(DEMO_ARGS)

# The tests run in one process more than there are cores, since some only wait; TEST_ARGS=-n0
# leaves them in one. With REQUIRE_ALL nothing is left out, and it is measured which branches the
# tests take, for which they need half as long again.
TEST_ARGS ?=
WORKERS = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST = pytest -n $(WORKERS) --dist worksteal $(TEST_ARGS)
test: $(VENV)/.synced
ifdef REQUIRE_ALL
	@$(RUN) -m coverage erase
	@$(RUN) -m coverage run -m $(PYTEST)
	@$(RUN) -m coverage combine --quiet
	@$(RUN) -m coverage report --format=total | sed 's/^/branch coverage, percent: /'
	@$(RUN) -m coverage report > /dev/null || { $(RUN) -m coverage report; exit 1; }
else
	@$(RUN) -m $(PYTEST)
endif

check: $(VENV)/.synced
	@$(VENV)/bin/uv lock --check --quiet
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check --quiet
	@$(RUN) -m mypy
	@PYTHONPATH=. $(VENV)/bin/lint-imports
	@$(RUN) -m docs.reference --check
	@$(RUN) -m grafana.source.write --check
	@$(RUN) -m docs.chart --check

BENCH_ARGS ?=
bench: $(VENV)/.synced
	@$(RUN) -m tests.bench $(BENCH_ARGS)

bench-growth: $(VENV)/.synced
	@$(RUN) -m tests.bench.growth $(BENCH_ARGS)

SOAK_ARGS ?=
soak: $(VENV)/.synced
	@$(RUN) -m tests.bench.soak $(SOAK_ARGS)

docs: $(VENV)/.synced
	@$(RUN) -m docs.reference
	@$(RUN) -m tests.bench.plots docs/growth.json
	@$(RUN) -m grafana.source.write
	@$(RUN) -m docs.chart
	@$(RUN) -m docs.pictures

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
