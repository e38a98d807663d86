# Every target only calls a command that can be called by hand. `make help` lists them.
SHELL := bash
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup test test-fast check demo train mar serve mlflow lock

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## make .venv from the pinned requirements, tests and tools included
	scripts/setup_env.sh --dev

test: setup  ## all tests, with a real TorchServe and a real MLflow server
	$(PYTHON) -m pytest tests

test-fast: setup  ## unit and integration tests: no Java, no server
	$(PYTHON) -m pytest tests/unit tests/integration tests/test_project.py

check: setup  ## ruff, formatting, mypy strict, shellcheck
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy handler training scripts
	.venv/bin/shellcheck scripts/*.sh .ci/run

demo: setup  ## the whole chain on synthetic data: train, promote, package, serve, score
	$(PYTHON) -m scripts.demo

train: setup  ## train on KonIQ-10k and promote if better; ARGS="--backbone resnet18 ..."
	$(PYTHON) -m training.train --alias staging $(ARGS)

mar: setup  ## build and prove the archive of the staging version; ARGS="--version 3"
	$(PYTHON) -m scripts.build_mar $(ARGS)

serve:  ## serve the staging version; ARGS="--detach"
	scripts/run_torchserve.sh $(ARGS)

mlflow: setup  ## MLflow's pages over the embedded registry (or MLFLOW_TRACKING_URI, a database), on port 5000
	.venv/bin/mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --port 5000

lock:  ## compile the pinned requirements anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header tests/requirements.in -o tests/requirements.txt
	for part in training torchserve; do uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -c tests/requirements.txt \
	  $$part/requirements.in -o $$part/requirements.txt; done
