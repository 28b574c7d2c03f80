# A fresh machine needs Python 3.10 or newer and nothing else: `make eval` does the rest.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := harness tests benchmarks scripts

# Test processes; auto is one a core.
JOBS ?= auto

# Compiled modules are kept, whatever the shell says: without them every test process and every
# child compiles the package and rewrites the assertions of all tests once more.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup eval test test-slow test-long test-slurm test-attack test-gpu test-all attack-table check docs fmt golden \
	schema configuration retrain-tiny clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "harness needs Python 3.10 or newer, this is " + sys.version.split()[0] + "; name another: make setup PYTHON=python3.12")'
	@echo 'installing into .venv: some minutes and about 6 GB, most of it torch with its CUDA libraries'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The main job. Another one: make eval ARGS='--model R_101_FPN_3x'
eval: setup
	$(BIN)/harness eval $(ARGS)

# What a change needs at every step: in parallel, in random order. One process: make test JOBS=0
test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --ignore tests/attack -m 'not slow and not long and not attack' $(ARGS)

# What is slow by nature: a SLURM cluster, a browser, whole builds, every benchmark once.
test-slow: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m 'slow and not long' $(ARGS)

# Minutes each: the variants of what the slow tests prove on others.
test-long: setup
	$(BIN)/python -m pytest -n $(JOBS) -m 'long' $(ARGS)

# Of those only the tests on a SLURM cluster; where SLURM is missing it says what to install.
test-slurm: setup
	$(BIN)/python -m pytest tests/slurm $(ARGS)

# What only a GPU can show; each test is skipped where torch sees none.
test-gpu: setup
	$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)
	$(BIN)/python -m pytest tests/nn/kernels $(ARGS)

test-all: test test-slow test-long test-attack

# Hostile and damaged inputs (docs/robustness.md); slow ones are in test-slow. Longer fuzzing: ATTACK_BUDGET=20 make test-attack
test-attack: setup
	$(BIN)/python -m pytest tests/attack -q -m 'not slow' -n $(JOBS) --timeout 180 $(ARGS)

# The same, and its table of trials and faults in docs/robustness.md.
attack-table: setup
	$(BIN)/python -m pytest tests/attack -q -n $(JOBS) --timeout 180 --attack-table docs/robustness.md $(ARGS)

check: setup
	$(BIN)/ruff check $(wildcard $(SOURCES))
	$(BIN)/ruff format --check $(wildcard $(SOURCES))
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/guards

# The reference site in build/docs/site: the documents, the command line, the Python API.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python scripts/build_docs.py

fmt: setup
	$(BIN)/ruff check --fix $(wildcard $(SOURCES))
	$(BIN)/ruff format $(wildcard $(SOURCES))

# Rewrites the recorded numbers the tests compare with. Read the diff before you commit it.
golden: setup
	$(BIN)/python -m tests.golden.rewrite

# Writes docs/schema again after a change of the lock's or the record's types.
schema: setup
	$(BIN)/python scripts/write_schemas.py docs/schema
	$(BIN)/python scripts/write_keywords.py

# Writes docs/configuration.md again after a change of a setting.
configuration: setup
	$(BIN)/python scripts/write_configuration.py docs/configuration.md

# Trains the embedded model again, as it was trained: two hours on one core, half of it on two.
retrain-tiny: setup
	$(BIN)/harness train --model tiny --init none --seed 1 --ema 0.999 --clip-gradients 10 $(ARGS)

# What the build made. Never what you downloaded or measured.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
