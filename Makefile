# `make help` lists the targets. Everything runs in .venv, which is made when it is missing.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

# The first of these that is Python 3.10 to 3.13; `make PYTHON=/path/to/python run` decides it.
VERSION_OK := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.13 python3.11 python3.10 python)

# As many workers as there are cores; the tests of one file stay together, since they share a server.
SIDE_BY_SIDE := -n auto --dist loadfile

TASK ?=
MINUTES ?= 2
DATA ?=
BENCHMARKS ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-fast perf check format starters bench-starters screenshots bench performance faults memory soak install install-dev clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_STAMP)  ## serve the hub on port 7860 (VISION_HUB_PORT, VISION_HUB_HOST, SHARE=1, … from the environment)
	@$(PY) app.py

test: $(DEV_STAMP)  ## run every test but those of speed (ARGS="-k segment" picks some)
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-fast: $(DEV_STAMP)  ## run those that need no browser and take no more than seconds
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow and not perf and not browser" $(ARGS)

perf: $(DEV_STAMP)  ## run the tests of speed, on a machine that does nothing else
	$(PY) -m pytest -m perf $(ARGS)

check: $(DEV_STAMP)  ## formatting, lint, types, layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@find demos -name "*.pyi" -delete  # stubs that Gradio writes at import; mypy would believe stale ones
	$(PY) -m mypy
	$(PY) -m pytest tests/test_architecture.py

format: $(DEV_STAMP)  ## format the code and mend what the linter can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

starters: $(DEV_STAMP)  ## train a starter into runs/: TASK=denoise MINUTES=2 DATA=folder (see training/DATA.md)
	@test -n "$(TASK)" && test -n "$(DATA)" || { \
	  echo "Say what to train and on which pictures, for example:"; \
	  echo "  make starters TASK=denoise MINUTES=2 DATA=pictures"; exit 2; }
	$(PY) -m training.$(subst -,_,$(TASK)) --data "$(DATA)" --minutes $(MINUTES) \
	  $(if $(BENCHMARKS),--benchmarks "$(BENCHMARKS)") $(ARGS)

bench-starters: $(DEV_STAMP)  ## measure the starters: DATA=folder BENCHMARKS=folder
	@test -n "$(DATA)" && test -n "$(BENCHMARKS)" || { \
	  echo "Name the folder that the model cards tell of, and the one with set5, set14 and cbsd68:"; \
	  echo "  make bench-starters DATA=data BENCHMARKS=benchmark-pictures"; exit 2; }
	$(PIP) install -q -c constraints.txt -r requirements-bench.txt
	$(PY) -m benchmarks.starters --data "$(DATA)" --benchmarks "$(BENCHMARKS)" $(ARGS)

screenshots: $(DEV_STAMP)  ## take the pictures in docs/images again (needs Chromium)
	$(PY) -m scripts.screenshots

bench: $(DEV_STAMP)  ## measure the start, the first answer and a second click (idle machine)
	$(PY) -m benchmarks.startup
	$(PY) -m benchmarks.segment
	$(PY) -m benchmarks.serve --device sim

performance: $(DEV_STAMP)  ## measure how fast the hub serves, and write docs/performance.md
	-$(PY) -m benchmarks.serve --device sim --write
	-$(PY) -m benchmarks.serve --device cpu --write
	-$(PY) -m benchmarks.segment --write
	-$(PY) -m benchmarks.serve --device cuda --write

faults: $(DEV_STAMP)  ## break the hub in every known way; the table goes into docs/reliability.md
	$(PY) -m benchmarks.faults --write

memory: $(DEV_STAMP)  ## what a large picture takes in each endpoint; the table goes into docs/reliability.md
	$(PY) -m benchmarks.memory --write

soak: $(DEV_STAMP)  ## eight visitors for five minutes; the report goes into docs/reliability.md
	$(PY) -m benchmarks.soak --write

install: $(RUN_STAMP)  ## only install what `make run` needs
install-dev: $(DEV_STAMP)  ## only install what `make test` needs

clean:  ## remove .venv and what the tools left behind
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
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python could not make a virtual environment; on Debian and Ubuntu the package"; \
	  echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }

$(RUN_STAMP): requirements.txt constraints.txt | $(PY)
	@echo "Installing what the hub needs; the first time this takes minutes, for PyTorch is large."
	$(PIP) install -c constraints.txt -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements.txt requirements-dev.txt constraints.txt | $(PY)
	@echo "Installing what the tests need; the first time this takes minutes, for PyTorch is large."
	$(PIP) install -c constraints.txt -r requirements-dev.txt
	@touch $@ $(RUN_STAMP)
