# Each target first installs what it needs: a virtual environment in .venv, and system programs.
#
#   ARGS     more arguments for pytest or for the demo:   make test ARGS="-k handshake"
#            the number of SYNs, and their rate:          make flood ARGS="20000 5000"
#   PYTHON   the interpreter of .venv:                    make test PYTHON=python3.12

BIN := .venv/bin
STAMP := .venv/.made-with
# The demo needs the extra `cli` only, and uses the whole environment if there is one.
DEMO_STAMP := .venv/.made-for-the-demo-with
made-with := $(or $(file <$(STAMP)),$(file <$(DEMO_STAMP)))
PYTHON ?= $(or $(firstword $(made-with)),python3)

# The programs that the tests run.
TOOLS := ab curl dig groff h2load host ip iperf3 musl-gcc nmap node nsenter nstat openssl ping setpriv socat ss \
	tracepath traceroute tshark unshare wget wrk

.DEFAULT_GOAL := help
.PHONY: help demo test conformance snapshot soak flood bench bench-loss instructions profile lint format man dist clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(or $(wildcard $(STAMP)),$(DEMO_STAMP)) ## from a name to a page over TLS, by curl, explained packet by packet
	@.ci/system-tools curl
	@$(BIN)/tunstack demo $(ARGS)

test: $(STAMP) ## all tests
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --numprocesses 4 $(ARGS)

conformance: $(STAMP) ## the requirements of the RFCs, and the tests that show them
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --conformance --quiet --numprocesses 4 $(ARGS)

snapshot: $(STAMP) ## renew the simulator's tables and plots, and notebooks, that the tests compare
	$(BIN)/python -m tests.simulator.verdict
	$(BIN)/python -m tests.simulator.cases
	$(BIN)/python -m tests.examples.test_notebooks
	@git --no-pager diff --stat tests/simulator examples

flood: $(STAMP) ## flood a web server with 100,000 spoofed SYNs, and measure its service
	@.ci/system-tools ab
	@$(BIN)/python -m tests.attack.flood $(ARGS)

soak: $(STAMP) ## random runs of the simulator, of each family and kind: ARGS="--runs 10000", ARGS="--seed 7 --kind udp"
	$(BIN)/python -m tests.simulator.soak $(ARGS)

bench-loss: $(STAMP) ## goodput across lossy and fast paths, compared with the kernel's: ARGS="--quick --plot loss.svg"
	$(BIN)/tunstack bench-loss $(ARGS)

bench: $(STAMP) ## compare with kernel sockets; five minutes, ARGS="--quick" for one
	@.ci/system-tools wrk ab iperf3
	@mkdir -p build
	$(BIN)/tunstack bench --json build/bench.json --plot build/bench.svg $(ARGS)

instructions: $(STAMP) ## count the core's instructions by valgrind; renews the table for review
	@.ci/system-tools valgrind
	$(BIN)/python -m tests.instructions

profile: $(STAMP) ## profile the benchmark's server, below build/profile
	@.ci/system-tools wrk iperf3
	$(BIN)/python -m tunstack.bench.profiling build/profile $(ARGS)

lint: $(STAMP) ## check style, types, and the layers' imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(STAMP) ## format the source
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

man: $(STAMP) ## the manual pages of the commands, in build/man
	$(BIN)/python -m tunstack.cli.manual build/man

dist: ## the sdist and the wheel, in dist, checked and installed in new environments
	@.ci/dist '$(PYTHON)'

clean: ## remove everything that make, the tools and the tests have created
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# Another interpreter or folder creates a new environment; a newer pyproject.toml updates it.
ifneq ($(made-with) $(wildcard $(BIN)/python),$(PYTHON) $(CURDIR) $(BIN)/python)
.PHONY: $(STAMP) $(DEMO_STAMP)
$(STAMP) $(DEMO_STAMP): clear := --clear
endif

$(STAMP): extra := dev
$(DEMO_STAMP): extra := cli
$(STAMP) $(DEMO_STAMP): pyproject.toml .ci/venv
	@.ci/venv '$(PYTHON)' $(extra) $(clear)
	@echo '$(PYTHON) $(CURDIR)' >$@
