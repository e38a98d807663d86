# Every target only calls a command that can be called by hand. `make help` lists them.
SHELL := bash
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup test test-fast test-avx2 test-docker fuzz api-fuzz check demo train mar serve deploy up sbom mlflow \
  reproduce-biq2021 bench bench-quick reliability soak lock

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# Where it is set, each Python of a test compiles torch and MLflow anew: half a minute instead of
# five seconds, many times.
unexport PYTHONDONTWRITEBYTECODE

UNIT := tests/unit tests/test_*.py
BOTH_CORES := --numprocesses 2 --dist loadfile

setup:  ## make .venv from the pinned requirements, tests and tools included
	scripts/setup_env.sh --dev

test: setup  ## all tests, with a real TorchServe and a real MLflow server
	$(PYTHON) -m tests.side_by_side

test-fast: setup  ## unit tests: no server, three minutes
	$(PYTHON) -m pytest $(UNIT) $(BOTH_CORES)

# A machine without AVX-512 and bf16, made of any: what limits torch, oneDNN, numpy and OpenVINO.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 WITHOUT_BF16=1
NUMERIC := $(addprefix tests/unit/test_,fast_layers.py model.py runtime.py losses.py logit_map.py \
  second_task.py preprocessing.py golden_inputs.py handler.py train_parts.py) \
  $(addprefix tests/integration/test_,export.py precision.py train.py)

test-avx2: setup  ## the tests of numbers once more, as a CPU without AVX-512 and bf16 computes
	@if grep -q avx512 /proc/cpuinfo; then set -x; $(AVX2) $(PYTHON) -m pytest $(NUMERIC) $(BOTH_CORES); \
	else echo "this CPU has no AVX-512: make test has computed so already"; fi

test-docker: setup  ## build the images, run the whole compose file, swap, stop; needs Docker
	$(PYTHON) -m pytest tests/docker

fuzz: setup  ## 20,000 damaged files through the decoder; ARGS="--runs 200000 --seed 1"
	$(PYTHON) -m tests.attack.fuzz $(ARGS)

api-fuzz: setup  ## 10,000 requests made from /openapi.json, to a server that runs; ARGS="--url URL"
	$(PYTHON) -m tests.attack.api_fuzz $(ARGS)

check: setup  ## ruff, formatting, mypy strict, shellcheck
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy console handler training scripts web docker/*.py benchmarks/*.py benchmarks/reliability/*.py
	.venv/bin/shellcheck scripts/*.sh .ci/run

demo: setup  ## the whole chain on synthetic data: train, promote, package, serve, score
	$(PYTHON) -m scripts.demo

train: setup  ## train on KonIQ-10k and promote if better; ARGS="--backbone resnet18 ..."
	$(PYTHON) -m training.train --alias staging $(ARGS)

BIQ2021 := data/biq2021
WEIGHTS := imagenet
SHIPPED := runs/shipped-biq2021
FIRST := $(SHIPPED)-first
SECOND := $(SHIPPED)-second
RECIPE := --dataset biq2021 --data-dir $(BIQ2021) --backbone mobilenet_v2 --norm frozen \
  --damaged-pairs 1 --order-weight 2 --crop-px 440 --experiment biq2021
# A run that has ended keeps no state: it is not repeated. One that was interrupted goes on.
RUN = test -e $(1)/best/model.json -a ! -e $(1)/state.pt || \
  $(PYTHON) -m training.train $(RECIPE) --out $(1) $(if $(wildcard $(1)/state.pt),--resume)

reproduce-biq2021: setup  ## the shipped model from the raw pictures; BIQ2021=FOLDER WEIGHTS=FILE
	$(call RUN,$(FIRST)) --weights $(WEIGHTS) --epochs 5 --lr 5e-5
	$(call RUN,$(SECOND)) --weights $(WEIGHTS) --epochs 5 --lr 5e-5 --damage camera
	$(call RUN,$(SHIPPED)) --weights $(SECOND)/best/model.safetensors --keep-head \
	  --teacher $(FIRST)/best --epochs 1 --lr 2e-5 --head-lr-factor 2 --damage camera
	$(PYTHON) -m training.evaluate --model $(SHIPPED)/best --dataset biq2021 \
	  --data-dir $(BIQ2021) --split test --out $(SHIPPED)/test.json

mar: setup  ## build and prove the archive of the staging version; ARGS="--version 3"
	$(PYTHON) -m scripts.build_mar $(ARGS)

serve:  ## serve the staging version; ARGS="--detach"
	scripts/run_torchserve.sh $(ARGS)

deploy: setup  ## make the running server serve the staging version; ARGS="--watch"
	$(PYTHON) -m scripts.deploy sync $(ARGS)

up:  ## the whole system in containers: registry, server, front, side-car, Prometheus
	scripts/run_torchserve.sh --docker

sbom: setup  ## what an image holds, as CycloneDX JSON; ARGS="--image iqa-sidecar"
	$(PYTHON) -m scripts.sbom $(ARGS)

mlflow: setup  ## MLflow's pages over the embedded registry (or MLFLOW_TRACKING_URI, a database), on port 5000
	.venv/bin/mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --port 5000

bench: setup  ## this server, the limit and the alternatives in one run, 40 minutes; ARGS="--resume"
	scripts/setup_env.sh --bench
	$(PYTHON) -m benchmarks.bench $(ARGS)
	$(PYTHON) -m benchmarks.report

bench-quick: setup  ## a look at speed in two minutes; ARGS="--only iqa"
	scripts/setup_env.sh --bench
	$(PYTHON) -m benchmarks.bench --quick $(ARGS)
	$(PYTHON) -m benchmarks.report --results build/bench-quick/results.json --out build/bench-quick

reliability: setup  ## 25 swaps and ten faults under load, 30 minutes
	$(PYTHON) -m benchmarks.reliability swaps $(ARGS)
	$(PYTHON) -m benchmarks.reliability faults $(ARGS)
	$(PYTHON) -m benchmarks.reliability report

soak: setup  ## an hour of constant load; ARGS="--minutes 10": does memory grow?
	$(PYTHON) -m benchmarks.soak $(ARGS)

lock:  ## compile the pinned requirements anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header tests/requirements.in -o tests/requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header tests/kubernetes/requirements.in -o tests/kubernetes/requirements.txt
	for part in training training/dvc torchserve torchserve/front web docker/front docker/mlflow docker/no-torch docker/sidecar-slim docker/score scripts/batch training/networks; do uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -c tests/requirements.txt \
	  $$part/requirements.in -o $$part/requirements.txt; done
