# Each target does its own set-up; all that is needed is Python 3.11 or newer, pip and make.
#
#   make demo        show the library at work; SERVE=1 keeps the server running
#   make test        lint, types, tests, coverage: about a quarter of an hour on two processors; at the end, why
#                    a test was skipped, which tests were slow, and the time; ARGS="-k name -x" goes to pytest;
#                    the core is tested twice: compiled, if there is a compiler, and in pure Python;
#                    THOROUGH=1 for tests that take long and whose kind shorter ones try, too;
#                    CONTRACT="asyncio trio" for the adapters' contract on some runtimes alone;
#                    SANITIZED=1 leaves the compiled half of the core to `make sanitize`
#   make sanitize    the tests of the core with the extension module built with AddressSanitizer and UBSan
#   make test-quick  the core, what adapters share, the rules on imports, and the contract on asyncio and
#                    threads: under two minutes on two processors; without lint, types and coverage
#   make test-all    the tests on every CPython found; SKIP="3.11 3.12" leaves some out
#   make test-min    the tests of what uses other packages with the oldest versions that are allowed of
#                    everything that the package and its tests need, on the oldest CPython found or on
#                    VERSION=3.12, in .venvs/minimal
#   make audit       look for known vulnerabilities in everything that the package and its tests need, at the
#                    latest versions; needs https://pypi.org
#   make lint        format, lint and types alone
#   make docs        build the site of the documentation in build/docs/html, with warnings as errors, in an
#                    environment of its own (.venv-docs): under a minute
#   make screenshots take the pictures of the chat's page in docs/screenshots, by a headless Chromium
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
#   make bench-topics  compare topics on several processes with other libraries, up to 20,000 connections:
#                    about half an hour on two idle processors; needs gcc, redis-server and nats-server;
#                    ARGS="--processes 4 --subscribers 20000" for some
#   make flat-memory  watch the memory of servers and clients, with 1,000 idle connections and under load, at
#                    the same time, and print its slope: an hour after a warm-up of ten minutes;
#                    TIME=60 for another number of seconds, ARGS="--adapter trio --phases idle"
#   make soak        peers that leave while messages are streamed, leaks, and interrupted threads, ten thousand
#                    times each; then what all adapters have in common, 100 times on each runtime, half of
#                    them on busy processors; up to the first failure: five hours, on two of them;
#                    RUNS=3 RUNTIMES="trio threading" for fewer, ARGS="--first 51" to go on with the last part
#   make simulate    a million connections between two cores, in virtual time, each by a seed; a failure prints
#                    its seed: half an hour on two idle processors; RUNS=1000 for fewer, ARGS="--first 7000000"
#                    for others; then conversations of the adapters on asyncio, trio and anyio, each on a
#                    thousandth as many schedules
#   make mutants     change the modules of the core that matter most, one place at a time, and see whether
#                    their tests fail; write docs/mutants.md: some minutes on two idle processors;
#                    MODULES="frames closing" for some
#   make adversarial play hostile input against the servers of several libraries, and write
#                    docs/adversarial.md: some minutes
#   make fuzz        search for inputs that break a rule, with atheris and libFuzzer: TIME=600 seconds in total,
#                    ARGS="uri frames" for some targets; fuzz/README.md
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

FUZZ_VENV := .venv-fuzz

DOCS_VENV := .venv-docs

REPORT = -rfEs --durations=15 --durations-min=2
# Tests of the core that call nothing in C: those of HTTP and of the opening handshake, which use h11.
WITHOUT_C = handshake headers http opening_client opening_server proxy public_names reconnect redirects \
	request_forms states uri
# Tests of the adapters that use other packages, of which there are old versions.
WITH_PACKAGES = asgi contract otel shared testing
PYTEST = $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) $(if $(THOROUGH),,-m "not thorough")
STARTED := $(shell date +%s)
TELL_TIME = @echo "make $@: $$(( $$(date +%s) - $(STARTED) )) seconds"

.PHONY: demo test sanitize test-quick test-all test-min audit lint docs screenshots features peers bench bench-verify bench-counts bench-topics flat-memory conformance soak simulate mutants adversarial fuzz clean

demo: $(VENV)/.package
	$(BIN)/python docs/demo/demo.py

# Coverage counts where it says something and costs little: what talks to other programs runs without it, and the
# core is covered by its tests in pure Python. ARGS may leave nothing of a part (5).
test: lint
	$(PYTEST) --ignore tests/adapters $(WITHOUT_C:%=--ignore tests/core/test_%.py) \
		$(if $(SANITIZED),--ignore tests/core --ignore tests/property) $(ARGS) || [ $$? = 5 ]
	$(if $(CONTRACT),RUNTIMES='$(CONTRACT)') $(PYTEST) --cov --cov-report= tests/adapters $(ARGS) || [ $$? = 5 ]
	WSPROTO_CORE_PURE=1 $(PYTEST) --cov --cov-append --cov-report= tests/core $(ARGS) || [ $$? = 5 ]
	WSPROTO_CORE_PURE=1 RUNTIMES=asyncio $(PYTEST) --cov --cov-append --cov-report= tests/adapters/contract $(ARGS) \
		|| [ $$? = 5 ]
	$(BIN)/coverage report --include='wsproto_core/*' --fail-under=100
	$(BIN)/coverage report --include='adapters/*' --fail-under=95
	$(TELL_TIME)

sanitize: $(VENV)/.tools
	.ci/sanitize $(BIN)/python -n $(PROCESSES) --dist worksteal $(REPORT) -p no:cacheprovider \
		$(WITHOUT_C:%=--ignore tests/core/test_%.py) --ignore tests/core/test_embedding.py \
		tests/core tests/property/test_halves.py tests/property/test_messages.py \
		tests/adapters/test_asyncio_speedups.py tests/adapters/test_asyncio_cancellation.py $(ARGS)
	$(TELL_TIME)

test-quick: $(VENV)/.tools
	RUNTIMES='asyncio threading' $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(REPORT) \
		--ignore tests/core/test_embedding.py --ignore tests/adapters/shared/test_routing_steps.py \
		tests/test_imports.py tests/core tests/adapters/shared tests/adapters/contract $(ARGS)
	$(TELL_TIME)

test-all:
	PYTHON='$(PYTHON)' SKIP='$(SKIP)' .ci/test-all -n $(PROCESSES) --dist worksteal $(ARGS)

test-min:
	PYTHON='$(PYTHON)' VERSION='$(VERSION)' .ci/test-min -n $(PROCESSES) --dist worksteal \
		--ignore tests/adapters/asgi/test_uvicorn_own.py -m "not thorough" \
		tests/test_imports.py $(WITHOUT_C:%=tests/core/test_%.py) tests/core/test_permessage_deflate.py \
		$(WITH_PACKAGES:%=tests/adapters/%) $(ARGS)
	$(TELL_TIME)

audit: $(VENV)/.tools
	.ci/venv '$(PYTHON)' .venvs/audit
	.venvs/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit
	$(BIN)/python .ci/audit.py "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		.venvs/audit/bin/pip-audit

lint: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p wsproto_core -p adapters -m wsproto_core_pytest
	$(BIN)/mypy -p fuzz
	MYPYPATH=docs/demo $(BIN)/mypy docs/demo docs/examples docs/generate.py docs/features.py docs/screenshots.py
	$(BIN)/mypy examples
	MYPYPATH=bench $(BIN)/mypy bench

docs: $(DOCS_VENV)/.tools
	$(DOCS_VENV)/bin/python -m sphinx -q -W --keep-going -n -c docs -d build/docs/cache . build/docs/html
	@echo "build/docs/html/index.html"

screenshots: $(VENV)/.tools
	$(BIN)/python -m docs.screenshots

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
	$(BIN)/python bench/topics.py --subscribers 1,100 --seconds 0.5

bench-topics: $(BENCH_VENV)/.peers
	$(BENCH_VENV)/bin/python bench/topics.py $(ARGS)
	$(TELL_TIME)

flat-memory: $(VENV)/.tools
	$(BIN)/python bench/flat_memory.py $(if $(TIME),--time $(TIME)) $(ARGS)

conformance: $(VENV)/.tools $(BENCH_VENV)/.peers
	$(if $(CONTINUE),,rm -f build/conformance.jsonl)
	PYTHONPATH=bench $(BENCH_VENV)/bin/python -m tests.conformance.run \
		$(if $(MESSAGES),--messages $(MESSAGES)) $(ARGS)
	$(TELL_TIME)

soak: $(VENV)/.tools
	$(BIN)/python -m tests.soak.streaming --runs $(RUNS)00 $(SOAKED)
	$(BIN)/python -W error -m tests.soak.leaks --runs $(RUNS)00 $(SOAKED)
	$(BIN)/python -m tests.soak.interruptions --runs $(RUNS)00 $(SOAKED)
	$(BIN)/python -m tests.adapters.contract.soak --runs $(RUNS) $(SOAKED) $(ARGS)

simulate: RUNS := $(if $(filter file,$(origin RUNS)),1000000,$(RUNS))
simulate: $(VENV)/.tools
	$(BIN)/python -m tests.simulation --runs $(RUNS) --processes 2 $(ARGS)
	SCHEDULES=$$(( ($(RUNS) + 999) / 1000 )) $(BIN)/python -m pytest -n 2 $(REPORT) \
		tests/simulation/test_adapters.py -k test_schedules

mutants: $(VENV)/.tools
	$(BIN)/python -m tests.mutants $(ARGS) $(MODULES)
	$(TELL_TIME)

adversarial: $(BENCH_VENV)/.peers
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install 'pytest>=9' hypothesis
	$(BENCH_VENV)/bin/python -m tests.adversarial.compare --page docs/adversarial.md

fuzz: TIME ?= 600
fuzz: $(FUZZ_VENV)/.fuzzer
	$(FUZZ_VENV)/bin/python -m fuzz run --seconds $(TIME) $(ARGS)

clean:
	rm -rf $(VENV) .venv-bench* .venv-docs .venv-fuzz .venvs bench/load/bin bench/results build dist
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

# The environment of the fuzzer, which has no wheels for other versions.

$(FUZZ_VENV)/pyvenv.cfg:
	.ci/venv "$$($(PYTHON) .ci/pythons.py | grep -E '^3\.1[2-4] ' | tail -1 | cut -d ' ' -f 2-)" $(FUZZ_VENV)

$(FUZZ_VENV)/.fuzzer: $(FUZZ_VENV)/pyvenv.cfg $(PACKAGE)
	$(FUZZ_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --editable . atheris==3.1.0
	@touch $@

# The environment of Sphinx, of which an older Python has older versions with other warnings.

$(DOCS_VENV)/pyvenv.cfg:
	.ci/venv "$$($(PYTHON) .ci/pythons.py | tail -1 | cut -d ' ' -f 2-)" $(DOCS_VENV)

$(DOCS_VENV)/.tools: $(DOCS_VENV)/pyvenv.cfg docs/requirements.txt
	$(DOCS_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --requirement docs/requirements.txt
	@touch $@
