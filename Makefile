# Each target does its own set-up; all that is needed is Python 3.11 or newer, pip and make.
#
#   make demo        show the library at work; SERVE=1 keeps the server running
#   make test        lint, types, tests, coverage: about a quarter of an hour on two processors; at the end, why
#                    a test was skipped, which tests were slow, and the time; ARGS="-k name -x" goes to pytest;
#                    the core is tested twice: compiled, if there is a compiler, and in pure Python
#   make sanitize    the tests of the core with the extension module built with AddressSanitizer and UBSan
#   make test-quick  the core, what adapters share, the rules on imports, and the contract on asyncio and
#                    threads: under two minutes on two processors; without lint, types and coverage
#   make test-all    the tests on every CPython found; SKIP="3.11 3.12" leaves some out
#   make lint        format, lint and types alone
#   make features    run the tests of the adapters' contract and write docs/features.md by their results
#   make peers       install what of other languages the tests talk to, where there is npm and Go; tests
#                    of what is missing are skipped
#   make bench       compare servers, clients and cores of several libraries, in an environment of their own
#                    (.venv-bench), and write docs/benchmarks.md: about ten minutes on two idle processors;
#                    FULL=1 measures everything: some hours; needs gcc
#   make conformance  run Autobahn's cases with all servers and clients, of this library and of others, in the
#                    environment of the benchmarks, and write docs/conformance.md: more than an hour on two
#                    idle processors; MESSAGES=100 for fewer messages in a case (1000) on permessage-deflate;
#                    CONTINUE=1 goes on with a run that was stopped; ARGS="adapters.trio aiohttp*" for some
#   make bench-verify  check that all of these servers and clients do their work
#   make bench-counts  run the benchmarks of this library alone, each with few connections; each prints
#                    tables. As bench/NAME.py, most take a number of connections: see their first lines
#   make soak        peers that leave while messages are streamed, and interrupted threads, ten thousand
#                    times each; then what all adapters have in common, 100 times on each runtime, half of
#                    them on busy processors; up to the first failure: five hours, on two of them;
#                    RUNS=3 RUNTIMES="trio threading" for fewer, ARGS="--first 51" to go on with the last part
#   make adversarial play hostile input against the servers of several libraries, and write
#                    docs/adversarial.md: some minutes
#   make clean       remove what these commands made
#
# PYTHON=/path/to/python chooses the interpreter of the virtual environment. Tests run in PROCESSES=4
# processes, of which most wait most of the time; with PROCESSES=0 in one, as a debugger wants it.

PYTHON ?= python3
PROCESSES ?= 4
VENV := .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/peers
RUNS ?= 100
SOAKED = $(if $(RUNTIMES),--runtimes '$(RUNTIMES)')
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

BENCH_VENV := .venv-bench
BENCH_RUN = $(BENCH_VENV)/bin/python bench/run.py
BENCH_RESULTS := bench/results/results.jsonl
BENCH_SHORT := --seconds 0.4
BENCH_FULL := --full --seconds 1 --rounds 3 --attempts 3

REPORT = -rfEs --durations=15 --durations-min=2
STARTED := $(shell date +%s)
TELL_TIME = @echo "make $@: $$(( $$(date +%s) - $(STARTED) )) seconds"

.PHONY: demo test sanitize test-quick test-all lint features peers bench bench-verify bench-counts conformance soak adversarial clean

demo: $(VENV)/.package
	$(BIN)/python docs/demo/demo.py

test: lint
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) --cov --cov-report= $(ARGS)
	WSPROTO_CORE_PURE=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) \
		--cov --cov-append --cov-report= tests/core tests/property $(ARGS)
	WSPROTO_CORE_PURE=1 RUNTIMES=asyncio $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) \
		--cov --cov-append --cov-report= tests/adapters/contract $(ARGS)
	$(BIN)/coverage report --include='wsproto_core/*' --fail-under=100
	$(BIN)/coverage report --include='adapters/*' --fail-under=95
	$(TELL_TIME)

sanitize: $(VENV)/.tools
	.ci/sanitize $(BIN)/python -n $(PROCESSES) --dist worksteal $(REPORT) -p no:cacheprovider \
		--ignore tests/core/test_embedding.py tests/core tests/property \
		tests/adapters/test_asyncio_speedups.py tests/adapters/test_asyncio_cancellation.py $(ARGS)
	$(TELL_TIME)

test-quick: $(VENV)/.tools
	RUNTIMES='asyncio threading' $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) \
		--ignore tests/core/test_embedding.py --ignore tests/adapters/shared/test_routing_steps.py \
		tests/test_imports.py tests/core tests/adapters/shared tests/adapters/contract $(ARGS)
	$(TELL_TIME)

test-all:
	PYTHON='$(PYTHON)' SKIP='$(SKIP)' .ci/test-all -n $(PROCESSES) --dist worksteal $(ARGS)

lint: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p wsproto_core -p adapters
	MYPYPATH=docs/demo $(BIN)/mypy docs/demo docs/examples docs/generate.py docs/features.py
	MYPYPATH=bench $(BIN)/mypy bench

features: $(VENV)/.tools
	$(BIN)/python docs/features.py -n $(PROCESSES) --dist worksteal $(ARGS)

peers: $(VENV)/.tools
	.ci/peers $(PEERS)

bench: $(BENCH_VENV)/.peers
	rm -f $(BENCH_RESULTS)
	$(BENCH_RUN) all $(if $(FULL),$(BENCH_FULL),$(BENCH_SHORT)) --output $(BENCH_RESULTS) $(ARGS)
	$(BENCH_RUN) report --output $(BENCH_RESULTS) --page docs/benchmarks.md
	$(TELL_TIME)

bench-verify: $(BENCH_VENV)/.peers
	$(BENCH_RUN) verify $(ARGS)

bench-counts: $(VENV)/.tools
	$(BIN)/python bench/bomb.py
	$(BIN)/python bench/broadcast.py
	$(BIN)/python bench/structured_round_trip.py
	$(BIN)/python bench/threading_round_trip.py
	$(BIN)/python bench/compression_settings.py 100
	$(BIN)/python bench/idle_connections.py 1000
	$(BIN)/python bench/fairness.py 1024
	$(BIN)/python bench/growth.py
	$(BIN)/python bench/calls.py
	$(BIN)/python bench/opening_calls.py
	$(BIN)/python bench/idle_objects.py

conformance: $(VENV)/.tools $(BENCH_VENV)/.peers
	$(if $(CONTINUE),,rm -f build/conformance.jsonl)
	PYTHONPATH=bench $(BENCH_VENV)/bin/python -m tests.conformance.run \
		$(if $(MESSAGES),--messages $(MESSAGES)) $(ARGS)
	$(TELL_TIME)

soak: $(VENV)/.tools
	$(BIN)/python -m tests.soak.streaming --runs $(RUNS)00 $(SOAKED)
	$(BIN)/python -m tests.soak.interruptions --runs $(RUNS)00 $(SOAKED)
	$(BIN)/python -m tests.adapters.contract.soak --runs $(RUNS) $(SOAKED) $(ARGS)

adversarial: $(BENCH_VENV)/.peers
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install 'pytest>=9' hypothesis
	$(BENCH_VENV)/bin/python -m tests.adversarial.compare --page docs/adversarial.md

clean:
	rm -rf $(VENV) .venv-bench* .venvs bench/load/bin bench/results build dist
	rm -rf *.egg-info htmlcov .coverage .coverage.*
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: the virtual environment, the package with its extension module, then the tools of the tests.

PACKAGE := pyproject.toml setup.py $(wildcard wsproto_core/_speedups/*.[ch] adapters/asyncio/_speedups/*.[ch])

$(VENV)/pyvenv.cfg:
	.ci/venv '$(PYTHON)' $(VENV)

$(VENV)/.package: $(VENV)/pyvenv.cfg $(PACKAGE)
	$(PIP) install --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.package tests/requirements.txt
	$(PIP) install --requirement tests/requirements.txt
	@touch $@

# The environment of the benchmarks: the package, and what it is compared with.

$(BENCH_VENV)/pyvenv.cfg:
	.ci/venv '$(PYTHON)' $(BENCH_VENV)

$(BENCH_VENV)/.peers: $(BENCH_VENV)/pyvenv.cfg $(PACKAGE) bench/requirements.txt
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --editable . \
		--requirement bench/requirements.txt
	@touch $@
