# Every target makes its own environment first. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
.DEFAULT_GOAL := help
.PHONY: help quickstart test devices text families bench-export bench-large bench-profile bench-targets bench-quantize bench-calibrate bench-language-model bench-generate check-genai bench-quantize-large bench-quantize-switches bench-quantize-rules bench-distill bench-prune bench-search sweep sweep-apps bench-serve deploy-killed deploy-test docs check format clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgeopt needs Python 3.11 or later; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(INSTALLED)  ## digits: from a trained teacher to a verified int8 bundle, about two minutes
	$(BIN)/edgeopt run quickstart

test: $(INSTALLED)  ## the whole test suite, and the share of lines that it runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

text: $(INSTALLED)  ## the recipe text-classification at full length (needs EDGEOPT_DATA; minutes)
	$(BIN)/edgeopt run text-classification

devices: $(INSTALLED)  ## what the tests on other providers need: OpenVINO, the QNN emulator, a browser's and Node's runtime, emulated arm64
	for target in openvino-cpu qnn-htp-emulated browser-wasm node-cpu arm64-emulated; do $(BIN)/edgeopt targets install $$target || exit 1; done

families: $(INSTALLED)  ## docs/families.md: every family and task exported and compared (half an hour)
	$(BIN)/python benchmarks/export/families.py

bench-export: $(INSTALLED)  ## latency of every family beside other exporters' graphs (making them takes an hour, measuring eight minutes); OPTIMUM= interpreter
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.export.latency_table export
	$(if $(OPTIMUM),$(OPTIMUM) benchmarks/export/optimum_graphs.py build/latency)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.export.latency_table measure --output docs/latency.md

bench-large: $(INSTALLED)  ## peak memory of exporting a model of 3 GB (3 minutes, 8 GB of disk)
	$(BIN)/python -m benchmarks.export.large --work build/large

bench-profile: $(INSTALLED)  ## does the profiler tell A from A, and A from B? (a quiet machine, 16 minutes at most)
	$(BIN)/python -m benchmarks.profile

bench-targets: $(INSTALLED)  ## one model on every target that is here, reports in build/bench-targets (a quiet machine, 4 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.profile.targets --data $${EDGEOPT_DATA:-../shared/data}

bench-quantize: $(INSTALLED)  ## accuracy and speed beside onnxruntime's own quantizer; peers by NNCF= and OLIVE= interpreters
	$(BIN)/python -m benchmarks.quantize --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-quantize $(if $(NNCF),--nncf $(NNCF)) $(if $(OLIVE),--olive $(OLIVE))

bench-calibrate: $(INSTALLED)  ## time and memory of calibrating beside onnxruntime, NNCF, Olive (five minutes; NNCF= and OLIVE= as above)
	$(BIN)/python -m benchmarks.quantize.race --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-calibrate $(if $(NNCF),--nncf $(NNCF)) $(if $(OLIVE),--olive $(OLIVE))

bench-language-model: $(INSTALLED)  ## weights alone as 8 and 4 bits: perplexity, size and speed of a small language model (10 minutes)
	$(BIN)/python -m benchmarks.quantize.language_model --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-language-model

bench-generate: $(INSTALLED)  ## a language model in this engine and in peers (FOLDERS= ours; PEERS="--genai PYTHON FOLDER …": python -m benchmarks.generate --help)
	$(BIN)/python -m benchmarks.generate $(foreach folder,$(FOLDERS),--ours $(folder)) $(PEERS)
	$(BIN)/python -m benchmarks.generate --threads 2 $(foreach folder,$(FOLDERS),--ours $(folder)) $(PEERS)

check-genai: $(INSTALLED)  ## onnxruntime-genai loads what export and quantize write (GENAI= an interpreter that has it)
	EDGEOPT_GENAI=$(GENAI) $(BIN)/python -m pytest -q tests/export/test_genai_runtime.py

bench-quantize-large: $(INSTALLED)  ## static int8 and int4 weights of a 2.2 GB model: seconds and peak memory (7 GB of memory and of disk)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quantize.large --work build/bench-quantize-large

bench-quantize-switches: $(INSTALLED)  ## what each switch of the quantization gains on real models (a quiet machine, 20 minutes; half if again)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quantize.switches --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-switches --time --reuse

bench-quantize-rules: $(INSTALLED)  ## every target's rules on text, image and audio networks, on the CPU provider (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quantize.rules --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-rules

bench-distill: $(INSTALLED)  ## students of the text classifier by kind and loss, three seeds each (needs EDGEOPT_DATA; fixed steps, up to 6 hours, resumable)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.distill --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-distill
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.distill.cache --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-distill-cache

bench-prune: $(INSTALLED)  ## pruned models by row (20 minutes each, resumable), then latency and predictions on a quiet machine (needs EDGEOPT_DATA)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.prune train --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-prune
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.prune prepare --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-prune
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.prune measure --data $${EDGEOPT_DATA:-../shared/data} --work build/bench-prune
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.prune.predicted $${EDGEOPT_DATA:-../shared/data}/sst2_teacher

sweep: $(INSTALLED)  ## look for faults: generated graphs by every scheme and target, torch modules, damaged files (an hour)
	$(BIN)/python -m benchmarks.sweep.graphs
	$(BIN)/python -m benchmarks.sweep.modules
	$(BIN)/python -m benchmarks.sweep.readers

sweep-apps: $(INSTALLED)  ## damaged bundles and inputs through apps, 10 minutes each; NODE= and CPP= are projects after make setup, BUNDLE= for Python
	$(BIN)/python -m benchmarks.sweep.apps python $(BUNDLE)
	$(BIN)/python -m benchmarks.sweep.apps node $(NODE)
	$(BIN)/python -m benchmarks.sweep.apps cpp $(CPP)

bench-search: $(INSTALLED)  ## a search beside random search with the same time, int8 alone and the shipped recipe, on the text classifier (needs EDGEOPT_DATA; 15 minutes, then a quiet machine)
	for way in search random int8 recipe; do OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.search $$way --work build/bench-search || exit 1; done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.search measure --work build/bench-search

bench-serve: $(INSTALLED)  ## load on a generated server (PROJECT=, after make setup): throughput, and p95 against its bound at 80 % load
	$(BIN)/python -m benchmarks.deploy.load $(PROJECT)

deploy-killed: $(INSTALLED)  ## kill an update of a Linux project (PROJECT=) at every system call that touches files (strace; 10 minutes)
	$(BIN)/python -m benchmarks.deploy.killed $(PROJECT)

deploy-test: $(INSTALLED)  ## docs/deploy-test.md: every platform's app with every bundle, installed from the registries; BUNDLES= names others (an hour)
	$(BIN)/python -m benchmarks.deploy --work build/deploy-test --output docs/deploy-test.md $(BUNDLES)

docs: $(INSTALLED)  ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: $(INSTALLED)  ## lint, format, types, sizes, help texts, reference pages, links and wording
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py
	$(BIN)/python tools/check_mirror.py
	$(BIN)/python tools/check_readme.py
	$(BIN)/python -m tools.write_reference
	$(BIN)/python tools/check_links.py
	$(BIN)/python tools/check_language.py

format: $(INSTALLED)  ## format the sources, and write the help texts in the README and the reference pages
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .
	$(BIN)/python tools/check_readme.py --write
	$(BIN)/python -m tools.write_reference --write

clean:  ## remove the environment and everything made by runs and tools
	rm -rf $(VENV) runs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
