# The two commands: `make check` is the fast gate, `make test` proves everything. Both set up what they need.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
SETS ?= 5000
PYTEST := $(BIN)/python -m pytest
# Snapshots are compared, not rewritten, when several processes run tests; a worker that crashes ends the run, because
# xdist waits for ever for the groups of a worker it replaced.
PARALLEL := -n $(JOBS) --max-worker-restart=0 --inline-snapshot=disable

.PHONY: help venv packages api check lint types layers dependencies unit test e2e sets bench wrong-tokens demo clean

help:
	@echo 'make check   lint, types, layers, dependencies, unit tests (about a minute)'
	@echo 'make test    every test, with real Envoys; installs what it needs'
	@echo 'make e2e     only the end-to-end tests'
	@echo 'make sets    as many random legal meshes as SETS=… says (5000) against Envoy; a failure says how to repeat it'
	@echo 'make bench   the benchmarks'
	@echo 'make wrong-tokens   how long others wait while somebody tries 200 tokens a second for 30 seconds'
	@echo 'make demo    a whole mesh on this machine, to look at (kuma-demo); Ctrl-C ends it, ARGS=… are its flags'
	@echo 'make venv    $(VENV) with everything in it'
	@echo 'make clean   remove all that was made here'
	@echo 'JOBS=n sets how many tests run at once (now $(JOBS)), PYTHON=… which Python makes $(VENV)'

venv: $(VENV)/.installed api

$(VENV)/.installed: pyproject.toml build/hatch_build.py
	@echo 'setting up $(VENV)'
	@rm -rf $(VENV)
	@python=$$(PYTHON='$(PYTHON)' .ci/python) && "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

api: $(VENV)/.installed
	@$(BIN)/python build/generate_envoy_api.py --quiet

packages:
	@.ci/packages

# One target each, so that `make -k check` shows all that is wrong and not only the first.
check: lint types layers dependencies unit

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

layers: venv
	$(BIN)/lint-imports

dependencies: venv
	$(BIN)/deptry .

unit: venv
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-gate} $(PYTEST) $(PARALLEL) -m 'not slow' tests/unit

test: packages venv
	$(PYTEST) $(PARALLEL) --dist loadgroup tests

e2e: packages venv
	$(PYTEST) $(PARALLEL) --dist loadgroup tests/e2e

sets: packages venv
	RANDOM_SETS=$(SETS) $(PYTEST) $(PARALLEL) --dist loadgroup tests/policies/test_random_sets.py

bench: packages venv
	cd $(CURDIR) && PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.bench.run

wrong-tokens: venv
	cd $(CURDIR) && PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.bench.wrong_tokens

# Whoever only wants to look need not wait for the tools of developers; `make venv` replaces what is made here.
demo:
	@test -x $(BIN)/kuma-demo || { echo 'setting up $(VENV), about half a minute' && python=$$(PYTHON='$(PYTHON)' .ci/python) && \
		"$$python" -m venv --clear $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .; }
	@$(BIN)/kuma-demo $(ARGS)

clean:
	rm -rf $(VENV) dist src/kuma/envoy_api .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests build -name __pycache__ -type d -prune -exec rm -rf {} +
