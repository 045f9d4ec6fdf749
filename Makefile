# `make help` lists the targets. Everything runs in .venv, which is created if it is missing.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

# The first of these that is Python 3.10 to 3.13; override with `make PYTHON=/path/to/python run`.
VERSION_OK := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.13 python3.11 python3.10 python)

# One worker more than cores, because browsers and servers are waited for; the tests of one file stay
# together, since they share a server. The longest files begin first (tests/conftest.py), which
# xdist's own order, by number of tests, would undo.
WORKERS := $(shell expr 1 + `nproc 2>/dev/null || echo 1`)
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

TASK ?=
MINUTES ?= 2
DATA ?=
BENCHMARKS ?=
TO ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-long perf check lint-js format starters bench-starters screenshots bench performance faults memory soak space install install-dev clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_STAMP)  ## serve the app on port 7860 (settings such as VISION_HUB_PORT or SHARE=1: docs/settings.md)
	@$(PY) app.py

test: $(DEV_STAMP)  ## run all tests except performance goals and the few of test-long (ARGS="-k segment" selects some)
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-fast: $(DEV_STAMP)  ## run only quick tests that need no browser
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow and not perf and not long and not browser" $(ARGS)

test-long: $(DEV_STAMP)  ## run the few proofs that take half a minute or more each
	$(PY) -m pytest -m long $(ARGS)

perf: $(DEV_STAMP)  ## run the performance goals, on an idle machine
	$(PY) -m pytest -m perf $(ARGS)

check: $(DEV_STAMP)  ## formatting, lint, types, layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@find demos -name "*.pyi" -delete  # stubs that Gradio writes at import; mypy would believe stale ones
	$(PY) -m mypy
	$(PY) -m pytest tests/test_architecture.py

lint-js: $(RUN_STAMP)  ## lint the page's JavaScript with ESLint (needs Node and, the first time, the network)
	$(PY) -m scripts.lint_js

format: $(DEV_STAMP)  ## format the code and apply the linter's fixes
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

starters: $(DEV_STAMP)  ## train a starter into runs/: TASK=denoise MINUTES=2 DATA=folder (see training/DATA.md)
	@test -n "$(TASK)" && test -n "$(DATA)" || { \
	  echo "Name a task and a folder of pictures, for example:"; \
	  echo "  make starters TASK=denoise MINUTES=2 DATA=pictures"; exit 2; }
	$(PY) -m training.$(subst -,_,$(TASK)) --data "$(DATA)" --minutes $(MINUTES) \
	  $(if $(BENCHMARKS),--benchmarks "$(BENCHMARKS)") $(ARGS)

bench-starters: $(DEV_STAMP)  ## measure the starters: DATA=folder BENCHMARKS=folder
	@test -n "$(DATA)" && test -n "$(BENCHMARKS)" || { \
	  echo "Name the folder described in training/DATA.md, and the one with set5, set14 and cbsd68:"; \
	  echo "  make bench-starters DATA=data BENCHMARKS=benchmark-pictures"; exit 2; }
	$(PIP) install -q -c constraints.txt -r requirements-bench.txt
	$(PY) -m benchmarks.starters --data "$(DATA)" --benchmarks "$(BENCHMARKS)" $(ARGS)

screenshots: $(DEV_STAMP)  ## remake the pictures in docs/images (needs Chromium)
	$(PY) -m scripts.screenshots
	$(PY) -m scripts.lesson_pictures

bench: $(DEV_STAMP)  ## measure startup, first result and second click (idle machine)
	$(PY) -m benchmarks.startup
	$(PY) -m benchmarks.segment
	$(PY) -m benchmarks.serve --device sim

performance: $(DEV_STAMP)  ## measure serving speed and write docs/performance.md
	-$(PY) -m benchmarks.serve --device sim --write
	-$(PY) -m benchmarks.serve --device cpu --write
	-$(PY) -m benchmarks.segment --write
	-$(PY) -m benchmarks.serve --device cuda --write

faults: $(DEV_STAMP)  ## break the app in every known way; writes the table in docs/reliability.md
	$(PY) -m benchmarks.faults --write

memory: $(DEV_STAMP)  ## measure memory for large pictures; writes the table in docs/reliability.md
	$(PY) -m benchmarks.memory --write

soak: $(DEV_STAMP)  ## eight visitors for five minutes; writes the report in docs/reliability.md
	$(PY) -m benchmarks.soak --write

space: $(DEV_STAMP)  ## make the folder of a Hugging Face Space; TO=owner/name uploads it
	$(PY) -m scripts.space $(TO) $(ARGS)

install: $(RUN_STAMP)  ## only install the requirements of `make run`
install-dev: $(DEV_STAMP)  ## only install the requirements of `make test`

clean:  ## remove .venv and tool caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PY):
	@found=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(VERSION_OK)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Vision Hub needs Python 3.10, 3.11, 3.12 or 3.13, and none was found"; \
	  echo "(tried: $(CANDIDATES)). Install one, or name it: make PYTHON=/path/to/python run"; \
	  exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python could not create a virtual environment; on Debian and Ubuntu install the package"; \
	  echo "python3-venv: sudo apt-get install python3-venv"; exit 1; }

$(RUN_STAMP): requirements.txt constraints.txt | $(PY)
	@echo "Installing dependencies; the first time takes minutes, because PyTorch is large."
	$(PIP) install -c constraints.txt -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements.txt requirements-dev.txt constraints.txt | $(PY)
	@echo "Installing test dependencies; the first time takes minutes, because PyTorch is large."
	$(PIP) install -c constraints.txt -r requirements-dev.txt
	@touch $@ $(RUN_STAMP)
