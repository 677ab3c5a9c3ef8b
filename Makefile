# The front door. `make` alone lists what there is; the work is in setup/*.sh, one idea per file.

# Where the server's Python libraries and the package delc live.
PREFIX ?= /usr/local
# The PostgreSQL to build for. Debian 12: 15, Debian 13: 17, unless told otherwise.
PG_CONFIG := $(shell PG_CONFIG='$(PG_CONFIG)' setup/pg-config.sh)
# torch and the other libraries: `venv` (from the package index) or `debian` (from apt, on Debian 13 and later).
LIBRARIES ?= $(shell setup/python-libraries.sh)
# Which torch, and pip's options, for instance to choose a CPU or a CUDA build.
TORCH ?= torch==2.13.0
PIP_OPTIONS ?=
# The private server: its folder (default /var/lib/delc, or ~/.local/state/delc for ordinary users), port and database.
DELC_STATE ?=
DELC_PORT ?= 5488
DATABASE ?= delc
# What to test, and more of pytest's options: make test TESTS=tests/log PYTEST_OPTIONS=-x
TESTS ?= tests
PYTEST_OPTIONS ?=
# Processes that test side by side, each with a cluster of its own: one for each processor, at most four, for all tests.
WORKERS ?= $(if $(filter tests,$(TESTS)),$(shell n=$$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc); echo $$((n < 4 ? n : 4))),0)
# Where `make test-debian13` keeps its Debian (3 GB).
DEBIAN13 ?= /var/tmp/delc-debian13
BENCHMARKS ?= $(sort $(wildcard bench/bench_*.py))

package := $(PREFIX)/lib/delc/python
venv := $(PREFIX)/lib/delc/venv
ifeq ($(LIBRARIES),venv)
PYTHON := $(venv)/bin/python
python_version = $(shell /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DELC_PYTHON_PATH = $(package):$(venv)/lib/python$(python_version)/site-packages
else
PYTHON := /usr/bin/python3
DELC_PYTHON_PATH = $(package)
endif

server := PG_CONFIG='$(PG_CONFIG)' DELC_STATE='$(DELC_STATE)' DELC_PORT='$(DELC_PORT)' DELC_DATABASE='$(DATABASE)'

.PHONY: help
help: ## list the targets
	@echo "delc: the deep-learning life cycle inside PostgreSQL"; echo
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 22

.PHONY: run
run: product ## set everything up, start the private server and show the tour
	@$(server) PYTHON='$(PYTHON)' setup/tour.sh

.PHONY: test
test: product tools-test ## set everything up and run the tests (TESTS=tests/log for some)
	@PG_CONFIG='$(PG_CONFIG)' $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_OPTIONS) $(TESTS)

.PHONY: up
up: product ## start the private server, with the extension in database delc
	@$(server) setup/server.sh up

.PHONY: down
down: ## stop the private server
	@$(server) setup/server.sh down

.PHONY: reset
reset: product ## make the private server anew; what is stored there is lost
	@$(server) setup/server.sh reset

.PHONY: psql
psql: up ## open psql on the private server
	@eval "$$($(server) setup/server.sh env)" && exec "$$($(PG_CONFIG) --bindir)/psql"

.PHONY: env
env: ## print how to reach the private server: eval "$(make -s env)"
	@$(MAKE) --no-print-directory up >&2
	@$(server) setup/server.sh env

.PHONY: bench
bench: product tools-test tools-bench ## run the benchmarks
	@PG_CONFIG='$(PG_CONFIG)' setup/bench.sh '$(PYTHON)' $(BENCHMARKS)

.PHONY: install
install: product ## install into an existing server (PG_CONFIG=…), and say what to do there
	@PG_CONFIG='$(PG_CONFIG)' setup/installed.sh

.PHONY: test-debian13
test-debian13: ## make a Debian 13 in a folder of its own and run the tests there (needs root)
	@PG_CONFIG='$(PG_CONFIG)' LIBRARIES=$(LIBRARIES) \
		setup/debian13.sh '$(DEBIAN13)' TESTS='$(TESTS)' PYTEST_OPTIONS='$(PYTEST_OPTIONS)'

.PHONY: lint
lint: product tools-lint ## check the code: ruff, mypy, shellcheck, pgspot
	@setup/lint.sh '$(PYTHON)' extension/delc--*.sql

.PHONY: docs
docs: up ## write docs/reference.md and docs/layers.md anew
	@eval "$$($(server) setup/server.sh env)" && $(PYTHON) docs/make_reference.py ''
	@PYTHONPATH=python $(PYTHON) -m delc.networks.manual > docs/layers.md

.PHONY: sanitize
sanitize: packages ## run the type's tests under a memory checker
	@$(MAKE) -C extension sanitize PG_CONFIG='$(PG_CONFIG)'

.PHONY: clean
clean: ## remove what was built here (not what is installed)
	@test ! -x '$(PG_CONFIG)' || $(MAKE) -s -C extension clean PG_CONFIG='$(PG_CONFIG)' with_llvm=no
	@rm -rf build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

# What the targets above share; each step looks at what is there and returns at once when nothing is missing.

# Steps build on one another and share folders.
.NOTPARALLEL:

.PHONY: packages libraries product tools-test tools-bench tools-lint
packages:
	@setup/packages.sh '$(PG_CONFIG)' $(LIBRARIES) server
	@setup/pgvector.sh '$(PG_CONFIG)'

libraries: packages
ifeq ($(LIBRARIES),venv)
	@setup/venv.sh '$(venv)' '$(TORCH)' '$(PIP_OPTIONS)' setup/requirements.txt
endif

product: libraries
	@setup/extension.sh '$(PG_CONFIG)' '$(DELC_PYTHON_PATH)'
	@setup/python-package.sh python/delc '$(package)/delc' '$(PYTHON)'

tools-test: libraries
	@setup/packages.sh '$(PG_CONFIG)' $(LIBRARIES) test
ifeq ($(LIBRARIES),venv)
	@setup/venv.sh '$(venv)' '$(TORCH)' '$(PIP_OPTIONS)' setup/requirements-test.txt
	@setup/pretrained.sh '$(venv)' '$(PIP_OPTIONS)'
endif

tools-bench: libraries
ifeq ($(LIBRARIES),venv)
	@setup/venv.sh '$(venv)' '$(TORCH)' '$(PIP_OPTIONS)' setup/requirements-bench.txt
endif

tools-lint: libraries
	@setup/packages.sh '$(PG_CONFIG)' $(LIBRARIES) lint
ifeq ($(LIBRARIES),venv)
	@setup/venv.sh '$(venv)' '$(TORCH)' '$(PIP_OPTIONS)' setup/requirements-lint.txt
endif
