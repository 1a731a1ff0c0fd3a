# Every target sets up its environment on first use: `.venv` in this clone, or under CI=true a folder in the user's
# cache that clones share (.ci/environment.py). To use another interpreter: make PYTHON=/path/to/python3.12 test
PYTHON ?= python3
RUN := $(PYTHON) .ci/environment.py
# Two processes; the tests of a file stay together because they share costly fixtures.
TESTS := pytest -n 2 --dist loadfile
# The folders of data sets and zoos for `make zoos`.
GENGAP_DATA ?= ../shared/data
ZOOS ?= ../zoos

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench zoos

help:
	@echo "make demo       train a small zoo, run every method on it, write a leaderboard (3 to 4 minutes)"
	@echo "make test       run the tests, without the slow ones and those of attacks, faults and kills (8 minutes at most)"
	@echo "make test-slow  run only the slow tests"
	@echo "make check      run what CI runs: formatting, lint, types, leaderboards against their records, tests;"
	@echo "                those of attacks on the sandbox, faults of the machine, signals and kills too (15 minutes)"
	@echo "make bench      run the performance benchmarks"
	@echo "make zoos       build the zoos of the reported results (hours; resumable)"

demo:
	@$(RUN) gengap demo

test:
	@$(RUN) $(TESTS)

test-slow:
	@$(RUN) pytest -m slow

check:
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) pyright
	@$(RUN) gengap leaderboard results --check results/LEADERBOARD.md
	@$(RUN) gengap leaderboard results --across complexity --check results/COMPLEXITY.md
	@$(RUN) $(TESTS) -m "not slow"

bench:
	@$(RUN) python tests/performance

zoos:
	@$(RUN) gengap zoo build cifar10-gs --models 3000 --epochs 20 --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/cifar10-gs
	@$(RUN) gengap zoo build fashion-gs --models 2000 --epochs 10 --data $(GENGAP_DATA)/torchvision --out $(ZOOS)/fashion-gs
	@$(RUN) gengap zoo build nin-cifar10-small --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/nin-cifar10-small
	@$(RUN) gengap zoo build nin-robust --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/nin-robust
	@$(RUN) gengap zoo build park-cifar10-gs --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/park-cifar10-gs
	@$(RUN) gengap zoo build disagreement-cifar10 --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/disagreement-cifar10
