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
TOOLS := ab chromium curl dig groff h2load host ip iperf3 musl-gcc nmap node nsenter nstat openssl ping setpriv socat ss \
	tracepath traceroute tshark unshare wget wrk

# Where the core is compiled, with a copy of what the tests read.
COPY := build/compiled
COPIED := tunstack tests examples .ci pyproject.toml Makefile README.md CHANGELOG.md LICENSE docs build_core.py \
	hatch_build.py
# Not all tests: names, the applications, the command line and the benchmarks are the same code either way.
COMPILED_TESTS := $(addprefix tests/,behaviours blocking capture conversation ip ladder link path protocol \
	simulator/test_compiled.py simulator/test_soak.py socket tcp test_bridge.py udp virtual wire workers) \
	$(addprefix tests/kernel/test_,endings.py streams.py transfer.py udp.py)

# What the pages of the documentation were read as.
DOCTREES := build/doctrees
# When the documentation was built, with all commands run, or with those of pages that had changed.
DOCS_RUN := build/docs.run
DOCS_READ := build/docs.read

# Where bytecode is not kept, each process compiles all that it imports: twice the time of the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-compiled compile compiled-copy pure conformance snapshot soak flood bench bench-loss \
	instructions profile lint format docs man dist clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(or $(wildcard $(STAMP)),$(DEMO_STAMP)) ## from a name to a page over TLS, by curl, explained packet by packet
	@.ci/system-tools curl
	@$(BIN)/tunstack demo $(ARGS)

test: $(STAMP) pure ## all tests, of the source as it is
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --numprocesses 4 $(ARGS)

# The copy is where the core is compiled; what was compiled there before is not compiled again.
compiled-copy: $(STAMP)
	@.ci/system-tools gcc
	@mkdir -p $(COPY)
	@rm -rf $(addprefix $(COPY)/,$(COPIED))
	@cp -a $(COPIED) $(COPY)
	@find $(COPY)/tunstack -name '*.so' -delete
	$(BIN)/python build_core.py $(COPY)

compile: compiled-copy ## compile the core by mypyc, beside its source; test, instructions and clean undo it
	@cd $(COPY) && find . -name '*.so' -not -path './build/*' -print0 | tar -c --null -T - | tar -xC $(CURDIR)

pure: # what `make compile` has put beside the source is removed
	@rm -f *__mypyc.*.so
	@find tunstack -name '*.so' -delete

test-compiled: compiled-copy ## some of the tests, on a core that is compiled: in build/compiled
	@.ci/system-tools $(TOOLS)
	cd $(COPY) && PYTHONPATH=$(CURDIR)/$(COPY) $(CURDIR)/$(BIN)/python -m pytest \
		--numprocesses 4 -p no:cacheprovider $(or $(ARGS),$(COMPILED_TESTS))

conformance: $(STAMP) ## the requirements of the RFCs, and the tests that show them
	@.ci/system-tools $(TOOLS)
	$(BIN)/python -m pytest --conformance --quiet --numprocesses 4 $(ARGS)

snapshot: $(STAMP) ## renew the simulator's tables and plots, and notebooks, that the tests compare
	$(BIN)/python -m tests.simulator.verdict
	$(BIN)/python -m tests.simulator.cases
	$(BIN)/python -m tests.examples.test_notebooks
	$(BIN)/python -m tests.cli.top.pictures
	@git --no-pager diff --stat tests/simulator examples docs/_static/watch

flood: $(STAMP) ## flood a web server with 100,000 spoofed SYNs, and measure its service
	@.ci/system-tools ab
	@$(BIN)/python -m tests.attack.flood $(ARGS)

soak: $(STAMP) ## random runs of the simulator, of each family and kind: ARGS="--runs 10000", ARGS="--seed 7 --kind udp"
	$(BIN)/python -m tests.simulator.soak $(ARGS)

bench-loss: $(STAMP) ## goodput across lossy and fast paths, compared with the kernel's: ARGS="--quick --plot loss.svg"
	$(BIN)/tunstack bench-loss $(ARGS)

bench: $(STAMP) ## compare with kernel sockets; sixteen minutes, ARGS="--quick" for four
	@.ci/system-tools wrk ab iperf3
	@mkdir -p build
	$(BIN)/tunstack bench --json build/bench.json --plot build/bench.svg $(ARGS)

instructions: compiled-copy pure ## count the core's instructions by valgrind; renews the table for review
	@.ci/system-tools valgrind
	$(BIN)/python -m tests.instructions $(COPY)

profile: $(STAMP) ## profile the benchmark's server, below build/profile
	@.ci/system-tools wrk iperf3
	$(BIN)/python -m tunstack.bench.profiling build/profile $(ARGS)

lint: $(STAMP) ## check style, types, the layers' imports, and the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	@TUNSTACK_DOCS_KEEP_RUNS=1 $(MAKE) --no-print-directory $(DOCS_READ)

format: $(STAMP) ## format the source
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(DOCS_RUN) ## build the documentation in build/docs, with runs of today; warnings are errors

# Only if something has changed, folders as well: what was removed from one shows there. Pages that have
# not are not read again, but all are written: what has gone from one page is missed on the others.
# After an error all are read again, for the errors of each to be told again. For `make lint` commands
# are run again on pages only that have changed.
$(DOCS_RUN) $(DOCS_READ): $(STAMP) $(shell find docs/. tunstack/. tests/. examples/. *.md Makefile -name __pycache__ -prune -o -print) | pure
	@.ci/system-tools curl socat tshark
	$(BIN)/python -m sphinx -b html -n -W --keep-going -a -j auto -q -d $(DOCTREES) $(ARGS) docs build/docs || \
		{ rm -rf $(DOCTREES); exit 1; }
	@touch $(if $(TUNSTACK_DOCS_KEEP_RUNS),,$(DOCS_RUN)) $(DOCS_READ)

man: $(STAMP) ## the manual pages of the commands, in build/man
	$(BIN)/python -m tunstack.cli.manual build/man

dist: ## the sdist and the wheel, in dist, checked and installed in new environments
	@.ci/dist '$(PYTHON)'

clean: ## remove everything that make, the tools and the tests have created
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist *__mypyc.*.so
	find tunstack -name '*.so' -delete
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
