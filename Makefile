# Each target does its own set-up first: a virtual environment in .venv, and the programs it needs.
#
#   ARGS     more arguments for pytest or for the demo:   make test ARGS="-k handshake"
#            how many SYNs, and how many a second:        make flood ARGS="20000 5000"
#   PYTHON   the interpreter to make .venv with:          make test PYTHON=python3.12

BIN := .venv/bin
STAMP := .venv/.made-with
# The demo needs the command line only: it makes do with less, where there is not more anyway.
DEMO_STAMP := .venv/.made-for-the-demo-with
made-with := $(or $(file <$(STAMP)),$(file <$(DEMO_STAMP)))
PYTHON ?= $(or $(firstword $(made-with)),python3)

# What the tests run, beside Python.
TOOLS := ab curl ip iperf3 nmap nsenter nstat ping setpriv socat ss tshark unshare wrk

.DEFAULT_GOAL := help
.PHONY: help demo test conformance snapshot soak flood bench bench-loss instructions profile lint format clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(or $(wildcard $(STAMP)),$(DEMO_STAMP)) ## one curl of tunstack's web server, and the exchange explained
	@.ci/system-tools curl
	@$(BIN)/tunstack demo $(ARGS)

test: $(STAMP) ## all tests
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 $(ARGS)

conformance: $(STAMP) ## what the RFCs require, and which tests show it
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --conformance --quiet --numprocesses auto --maxprocesses 4 $(ARGS)

snapshot: $(STAMP) ## renew the simulator's tables and plots, which the tests compare
	$(BIN)/python -m tests.simulator.verdict
	$(BIN)/python -m tests.simulator.cases
	@git --no-pager diff --stat tests/simulator

flood: $(STAMP) ## what 100,000 spoofed SYNs do to a web server
	@.ci/system-tools ab
	@$(BIN)/python -m tests.attack.flood $(ARGS)

soak: $(STAMP) ## random runs of the simulator: ARGS="--runs 10000", ARGS="--seed 7"
	$(BIN)/python -m tests.simulator.soak $(ARGS)

bench-loss: $(STAMP) ## goodput across lossy and fast paths beside the kernel's own: ARGS="--quick --plot loss.svg"
	$(BIN)/tunstack bench-loss $(ARGS)

bench: $(STAMP) ## tunstack beside kernel sockets; five minutes, ARGS="--quick" for one
	@.ci/system-tools wrk ab iperf3
	@mkdir -p build
	$(BIN)/tunstack bench --json build/bench.json --plot build/bench.svg $(ARGS)

instructions: $(STAMP) ## instructions that the core takes, by valgrind; renews the table for review
	@.ci/system-tools valgrind
	$(BIN)/python -m tests.instructions

profile: $(STAMP) ## where the time goes: profiles of the benchmark's server, below build/profile
	@.ci/system-tools wrk iperf3
	$(BIN)/python -m tunstack.bench.profiling build/profile $(ARGS)

lint: $(STAMP) ## style, types, and which layer imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(STAMP) ## put the source in its canonical form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove all that make, the tools and the tests have made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# A new interpreter or another place makes a new environment; a new pyproject.toml updates it.
ifneq ($(made-with) $(wildcard $(BIN)/python),$(PYTHON) $(CURDIR) $(BIN)/python)
.PHONY: $(STAMP) $(DEMO_STAMP)
$(STAMP) $(DEMO_STAMP): clear := --clear
endif

$(STAMP): extra := dev
$(DEMO_STAMP): extra := cli
$(STAMP) $(DEMO_STAMP): pyproject.toml .ci/venv
	@.ci/venv '$(PYTHON)' $(extra) $(clear)
	@echo '$(PYTHON) $(CURDIR)' >$@
