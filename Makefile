# Every target sets itself up on first use: `.venv` in this clone, or a folder in the user's cache that clones share
# under CI=true (.ci/environment.py). Another interpreter: make PYTHON=/path/to/python3.12 test
PYTHON ?= python3
RUN := $(PYTHON) .ci/environment.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench

help:
	@echo "make demo       train a small zoo, run every entrant on it, write a leaderboard (under 3 minutes)"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow tests alone"
	@echo "make check      formatting, lint, types, the leaderboard against its records, tests: what CI runs"
	@echo "make bench      the performance benchmarks"

demo:
	@$(RUN) gengap demo

test:
	@$(RUN) pytest

test-slow:
	@$(RUN) pytest -m slow

check:
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) pyright
	@$(RUN) gengap leaderboard results --check results/LEADERBOARD.md
	@$(RUN) pytest

bench:
	@$(RUN) python tests/performance
