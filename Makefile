# Two commands are enough: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK   := $(BIN)/uv pip compile pyproject.toml --extra local --group build --generate-hashes --no-emit-index-url \
          --universal --python-version 3.11 --no-header --quiet

.DEFAULT_GOAL := help
.PHONY: help run dev demo test test-all bench bench-quick bench-soak bench-profile bench-failover bench-dialects check format lock web npm-clients docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

run: $(VENV)/.run web  ## start the router on http://localhost:3001 (a local model answers if there is no key)
	@exec $(BIN)/trunkline serve --local=auto

dev: $(VENV)/.run web  ## the same, restarting on every change
	@exec $(BIN)/trunkline serve --local=auto --reload

demo: $(VENV)/.run web  ## the local model, whatever keys are set
	@exec $(BIN)/trunkline demo

test: $(VENV)/.dev web npm-clients  ## every test that takes seconds
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: $(VENV)/.dev web npm-clients  ## every test, at full size
	TRUNKLINE_FULL=1 $(BIN)/python -m pytest

# What `bench`, `bench-soak` and `bench-dialects` find goes into docs/performance.md with ARGS=--write.
bench: $(VENV)/.dev  ## the router beside nginx and haproxy, and by itself, in five minutes
	$(BIN)/python bench/run.py $(ARGS)

bench-quick: $(VENV)/.dev  ## the router beside nginx and haproxy, in half a minute
	$(BIN)/python bench/run.py --quick $(ARGS)

bench-soak: $(VENV)/.dev  ## two hours of streams, of clients that leave, of providers that fail
	$(BIN)/python bench/run.py --parts=soak --soak=120 $(ARGS)

bench-profile: $(VENV)/.dev  ## where the CPU of a request and of a chunk goes
	$(BIN)/python bench/profiled.py $(ARGS)

bench-failover: $(VENV)/.dev  ## what a request costs whose first target fails
	$(BIN)/python bench/failover.py $(ARGS)

bench-dialects: $(VENV)/.dev  ## what the dialects cost
	$(BIN)/python bench/dialects.py $(ARGS)

check: $(VENV)/.dev  ## format, lint, types, import layers, generated docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/configuration_page.py --check
	$(BIN)/python scripts/dialects_page.py --check

format: $(VENV)/.dev  ## rewrite the code as the check wants it
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.dev  ## write the generated pages
	$(BIN)/python scripts/configuration_page.py
	$(BIN)/python scripts/dialects_page.py

lock: $(VENV)/.dev  ## resolve the dependencies again
	$(LOCK) --upgrade --output-file requirements.lock
	$(LOCK) --upgrade --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean:  ## remove what was made here
	rm -rf $(VENV) web/node_modules $(NPM_CLIENTS)/node_modules bench/build bench/results src/trunkline/web/* dist
	git checkout -- src/trunkline/web

# One environment. The lock is whole, so nothing else is resolved (pip would refuse an extra that a lock names without its
# brackets); hashes are checked; the package itself is installed editable, without a download.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trunkline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make run PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Trunkline and what it needs (hashes checked)..."
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing what the checks and tests need (hashes checked)..."
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

# The clients that npm has, for the acceptance tests: optional, as the page is.
NPM_CLIENTS := tests/acceptance/npm
npm-clients:
	@if ! command -v npm >/dev/null; then \
	  echo "npm is not installed: going on without the npm clients' tests."; \
	elif [ ! -f $(NPM_CLIENTS)/node_modules/.package-lock.json ] || \
	     [ $(NPM_CLIENTS)/package-lock.json -nt $(NPM_CLIENTS)/node_modules/.package-lock.json ]; then \
	  echo "Installing the npm clients (hashes checked)..."; \
	  (cd $(NPM_CLIENTS) && npm ci --loglevel=error && touch node_modules/.package-lock.json) || \
	    echo "The npm clients could not be installed: going on without their tests."; \
	fi

# The page is optional: without npm the router runs, and says where the page would be.
web:
	@if ! command -v npm >/dev/null; then \
	  echo "npm is not installed: going on without the page (Node 20.19 or newer builds it; see README)."; \
	elif [ web/package-lock.json -nt src/trunkline/web/index.html ] || \
	     [ -n "$$(find web -newer src/trunkline/web/index.html -type f -not -path '*/node_modules/*' 2>/dev/null | head -1)" ] || \
	     [ ! -f src/trunkline/web/index.html ]; then \
	  echo "Building the page..."; \
	  (cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build) || \
	    echo "The page could not be built: going on without it."; \
	fi
