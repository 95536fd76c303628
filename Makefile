# `make help` lists the targets. Everything happens in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# Where pip should look for a CPU build of torch, for example: make serve TORCH_ARGS="--index-url <an index of CPU wheels>".
TORCH_ARGS ?=
TORCH   = torch==2.13.0
CONSTRAINTS = deploy/constraints.txt
APT     = apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=5 install -y --no-install-recommends chromium

.DEFAULT_GOAL := help
.PHONY: help setup serve demo test test-all fuzz browser check fix proto bench bench-translation bench-llm bench-asr bench-live load failure overload peers clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Create .venv and install everything, pinned

# torch first and alone: later requirements then find it installed, and pip never fetches a GPU build in its place.
$(VENV)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Chorale needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch, then the rest: a few minutes, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_ARGS) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

serve: setup ## Serve the bundled models on a local Ray cluster (Ctrl-C stops)
	$(BIN)/chorale serve

demo: setup ## Pages for the running server, on port 7860
	$(BIN)/chorale demo

# Two files at a time, which share fixtures within them.
test: setup check browser ## The whole suite, a local Ray cluster included, and `make check`
	$(BIN)/pytest -n 2 --dist loadfile

test-all: setup check browser ## The same, and what takes longest: exports of all kinds, the bundled models' scores
	$(BIN)/pytest -m ""

fuzz: setup ## The property tests with fresh random examples (make test draws the same ones each time)
	$(BIN)/pytest -m hypothesis --hypothesis-profile=random

# As root on Debian (a container, a CI machine) only: elsewhere nothing outside .venv is touched, and its tests skip.
browser: ## Chromium for the tests of the pages, where this may install it
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	echo "Installing Chromium for the tests of the pages."; \
	(timeout 120 $(APT) || { timeout 30 apt-get update; timeout 120 $(APT); }) >/dev/null 2>&1 || \
	echo "Chromium could not be installed: the tests of the pages will be skipped."; fi

check: setup ## Lint, types, import layers, protos and generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	set -e; for recipe in $(sort $(dir $(wildcard models/recipes/*/*.py))); do $(BIN)/mypy $$recipe; done
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check

fix: setup ## Repair what can be repaired: format, imports, generated code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python proto/generate.py

proto: setup ## Generate services/pb from proto/
	$(BIN)/python proto/generate.py

bench: setup ## Benchmarks: JSON, Markdown and plot in loadtests/results
	$(BIN)/chorale bench

bench-translation: setup ## Sentences per second beside CTranslate2 and transformers, in loadtests/results
	$(BIN)/python -m loadtests.translation

bench-llm: setup ## Tokens per second beside transformers and peft, in loadtests/results
	$(BIN)/python -m loadtests.llm

# A folder of recordings of speech; without it, the task's own example is said again and again.
CLIPS ?=
bench-live: setup ## Speech recognition: recordings, and how soon live results are there, in loadtests/results
	$(BIN)/python -m loadtests.live $(if $(CLIPS),--clips $(CLIPS))

bench-asr: setup ## Clips per second of Whisper beside faster-whisper and openai-whisper (make peers), in loadtests/results
	$(BIN)/python -m loadtests.asr

PROFILE ?= laptop
load: setup ## A load profile against the running server (PROFILE=laptop): report in build/load, fails on a missed SLO
	$(BIN)/python -m loadtests.load $(PROFILE)

overload: setup ## Offer three times the capacity: goodput and latency in loadtests/results
	$(BIN)/python -m loadtests.overload

failure: setup ## Kill processes under load: what is lost, in loadtests/results
	$(BIN)/python -m loadtests.failure

peers: setup ## Install the peers' environments for make bench and make bench-asr
	$(BIN)/python -m loadtests.peers.install

clean: ## Remove the environment and caches
	rm -rf $(VENV) .venv-peers build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
