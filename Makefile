# Two commands matter: `make demo` and `make test`. `make` alone lists all of them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
NOTEBOOK := 01_quickstart.ipynb
# All of them are recorded, unless one is named: make record NOTEBOOK=02_approvals.ipynb
RECORDED := $(if $(filter file,$(origin NOTEBOOK)),$(notdir $(sort $(wildcard notebooks/*.ipynb))),$(NOTEBOOK))
# all: everything anew; new: only what the cassette lacks.
RECORD ?= all
JOBS ?= 2
PYTEST := $(PY) -m pytest

# JupyterLab wants to be told, and in a container everybody is root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"
export PYTHON UV

help: ## list the targets
	@printf 'make TARGET [PYTHON=python3.12] [UV=no]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

# ------------------------------------------------------------------------------------------------- what people run

demo: .venv/.demo ## run the quickstart, or NOTEBOOK=…, on a real model, and open it in JupyterLab (HEADLESS=1: print the answer)
	$(call say,the model's weights)
	@$(PY) -m agentnb.models.weights
	$(call say,$(NOTEBOOK) on the real model)
	@AGENTNB_MODE=live $(PY) tools/run_notebook.py notebooks/$(NOTEBOOK) build/$(NOTEBOOK)
ifndef HEADLESS
	@$(PY) -m nbformat.sign build/$(NOTEBOOK) >/dev/null  # what we have just run is trusted: its outputs keep their style
	$(call say,JupyterLab (Ctrl-C twice ends it))
	@AGENTNB_MODE=live $(PY) -m jupyterlab $(AS_ROOT) --LabApp.news_url=None build/$(NOTEBOOK)
endif

test: lint system kernels ## install and run every test, as .ci/run does
	$(call say,weights of the small local model)
	@$(PY) -m agentnb.models.weights smollm2
	$(call say,unit and property tests)
	@$(PYTEST) -n $(JOBS) --dist loadfile --ignore tests/bench --ignore tests/browser --ignore tests/traffic
	$(call say,a real JupyterLab in Chromium)
	@$(PYTEST) tests/browser || { echo "once more, what failed: a browser on a loaded machine"; $(PYTEST) --last-failed tests/browser; }
	$(call say,notebooks by replay: no key and no network)
	@AGENTNB_MODE=replay AGENTNB_NO_NETWORK=1 $(PYTEST) --nbval --nbval-current-env notebooks
	$(call say,all passed)

test-traffic: .venv/.dev ## recorded traffic of both providers, from the source distributions of well-known packages
	$(call say,source distributions with recorded traffic)
	@$(PY) -m tests.traffic.packages
	$(call say,what our adapters make of it)
	@$(PYTEST) tests/traffic

lint: .venv/.dev ## ruff, its formatter and mypy, without changing anything
	$(call say,ruff check)
	@$(PY) -m ruff check
	$(call say,ruff format --check)
	@$(PY) -m ruff format --check
	$(call say,mypy)
	@$(PY) -m mypy

format: .venv/.dev ## format, and mend what ruff can mend
	@$(PY) -m ruff format
	@$(PY) -m ruff check --fix

coverage: .venv/.dev kernels ## branch coverage of the tests
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest --ignore tests/bench --ignore tests/traffic
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

bench: build/venv-bench/.bench ## measure the loop's own cost against what it must reach
	$(call say,benchmarks)
	@build/venv-bench/bin/python -m pytest tests/bench -s

record: .venv/.demo ## record the notebooks' cassettes anew from the real model (RECORD=new: only what is missing), then their outputs from the cassettes
	$(call say,the model's weights)
	@$(PY) -m agentnb.models.weights
	@set -e; for notebook in $(RECORDED); do $(MAKE) "record/$$notebook"; done

# What was recorded for prompts that are asked no more would stay in the cassette for ever: it begins empty.
record/%: .venv/.demo
	$(call say,recording $*)
	@$(if $(filter new,$(RECORD)),:,rm -f notebooks/$(*:.ipynb=.cassette.jsonl))
	@AGENTNB_MODE=$(if $(filter new,$(RECORD)),new,record) $(PY) tools/run_notebook.py notebooks/$* notebooks/$*
	$(call say,replaying it once so that what it shows is what a replay shows)
	@AGENTNB_MODE=replay AGENTNB_NO_NETWORK=1 $(PY) tools/run_notebook.py notebooks/$* notebooks/$*

clean: ## remove all that make and the tests made (weights stay in the user's cache folder)
	rm -rf .venv build dist htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage* notebooks/.agentnb
	find agentnb tests tools notebooks -name __pycache__ -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------- what they need

# Installed again when pyproject.toml changes; `dev` includes `demo`.
.venv/.demo .venv/.dev: .venv/.%: pyproject.toml tools/install.sh
	$(call say,installing)
	@tools/install.sh $*
	@touch $@

# LangGraph, which the benchmarks run beside us, stays out of the tests' environment.
build/venv-bench/.bench: pyproject.toml tools/install.sh
	$(call say,installing)
	@VENV=build/venv-bench tools/install.sh bench
	@touch $@

system:
	$(call say,Chromium and strace for the tests)
	@tools/system.sh

kernels: .venv/.dev
	$(call say,kernels for the click tests)
	@$(PY) tools/kernels.py

.PHONY: help demo test test-traffic lint format coverage bench record clean system kernels
