SHELL := /bin/sh
.DEFAULT_GOAL := help
BENCHES := bench-import bench-learning bench-simulated bench-training bench-ingest bench-features bench-pipeline \
	bench-serving bench-scale
.PHONY: help setup demo up down status test lint types format lock docs chaos fuzz bench clean $(BENCHES)

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make or update the environment in .venv
	@sh deploy/setup.sh

demo: setup ## the whole loop on simulated people; leaves the product running
	@.venv/bin/rapport demo

up: setup ## start the product
	@.venv/bin/rapport up

down: setup ## stop it
	@.venv/bin/rapport down

status: setup ## what runs where
	@.venv/bin/rapport status

test: setup ## every check and test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup ## ruff and import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports

types: setup ## mypy
	@.venv/bin/mypy

format: setup ## write the code the way ruff wants it
	@.venv/bin/ruff check --fix --quiet .
	@.venv/bin/ruff format --quiet .

lock: setup ## resolve requirements.lock anew
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra dev pyproject.toml --output-file requirements.lock >/dev/null

docs: setup ## dbt's own pages of every model, in .rapport/dbt/target/index.html; the generated pages in docs/
	@.venv/bin/python -m orchestration.lib.doc_pages

chaos: setup ## kills, late commits and full disks, at length
	@CHAOS=full .venv/bin/python -m pytest -m chaos

fuzz: setup ## inputs made by chance, FUZZ_SECONDS (600) a decoder, each within a limit of time and memory
	@FUZZ=full .venv/bin/python -m pytest -s -m fuzz tests/fuzz

bench: $(BENCHES) ## all of them, an hour and a half

bench-import: setup ## import of a history, beside COPY
	@.venv/bin/python -m tests.benchmarks.bench_import

bench-learning: setup ## the models on data nobody here wrote (DATA=folder)
	@.venv/bin/python -m tests.benchmarks.bench_learning

bench-simulated: setup ## the models beside what could be known of simulated people
	@.venv/bin/python -m tests.benchmarks.bench_simulated

bench-training: setup ## all models of a large tenant, and of a hundred small ones
	@.venv/bin/python -m tests.benchmarks.bench_training

bench-ingest: setup ## PostgreSQL to the warehouse, beside the bare stream
	@.venv/bin/python -m tests.benchmarks.bench_ingest

bench-features: setup ## as-of retrieval and the online store, beside their limits
	@.venv/bin/python -m tests.benchmarks.bench_features

bench-pipeline: setup ## the whole graph, beside dbt and training alone
	@.venv/bin/python -m tests.benchmarks.bench_pipeline

bench-serving: setup ## predictions beside MLflow's server, the no-op and the model itself
	@.venv/bin/python -m tests.benchmarks.bench_serving

bench-scale: setup ## 1, 5 and 20 million messages, then one more day (half an hour, 40 GB)
	@.venv/bin/python -m tests.benchmarks.bench_scale

clean: setup ## stop the product and forget its state (.rapport)
	@.venv/bin/rapport down
	@rm -rf .rapport
