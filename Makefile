# A fresh machine needs Python 3.10 or newer and nothing else: `make eval` does the rest.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := harness tests benchmarks

.PHONY: setup eval test test-slurm test-attack attack-table check fmt golden schema retrain-tiny clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "harness needs Python 3.10 or newer, this is " + sys.version.split()[0] + "; name another: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The main job. Another one: make eval ARGS='--model R_101_FPN_3x'
eval: setup
	$(BIN)/harness eval $(ARGS)

test: setup
	$(BIN)/python -m pytest -m 'not attack' $(ARGS)

# On a real SLURM cluster that is started for it; where SLURM is missing it says what to install.
test-slurm: setup
	$(BIN)/python -m pytest tests/slurm $(ARGS)

# Hostile and damaged inputs (docs/robustness.md). Longer fuzzing: ATTACK_BUDGET=20 make test-attack
test-attack: setup
	$(BIN)/python -m pytest tests/attack -q -n 2 --timeout 180 $(ARGS)

# The same, and its table of trials and faults in docs/robustness.md.
attack-table: setup
	$(BIN)/python -m pytest tests/attack -q -n 2 --timeout 180 --attack-table docs/robustness.md $(ARGS)

check: setup
	$(BIN)/ruff check $(wildcard $(SOURCES))
	$(BIN)/ruff format --check $(wildcard $(SOURCES))
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/guards

fmt: setup
	$(BIN)/ruff check --fix $(wildcard $(SOURCES))
	$(BIN)/ruff format $(wildcard $(SOURCES))

# Rewrites the recorded numbers the tests compare with. Read the diff before you commit it.
golden: setup
	$(BIN)/python -m tests.golden.rewrite

# Writes docs/schema again after a change of the lock's or the record's types.
schema: setup
	$(BIN)/python -m harness.files.schemas docs/schema

# Trains the embedded model anew, as it was trained: two hours on one core, half of it on two.
retrain-tiny: setup
	$(BIN)/harness train --model tiny --init none --seed 1 --ema 0.999 --clip-gradients 10 $(ARGS)

# What the build made. Never what you downloaded or measured.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
