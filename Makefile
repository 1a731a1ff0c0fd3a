# Every target sets itself up on first use: `.venv` in this clone, or a folder in the user's cache that clones share
# under CI=true (.ci/environment.py). Another interpreter: make PYTHON=/path/to/python3.12 test
PYTHON ?= python3
RUN := $(PYTHON) .ci/environment.py
# Two at a time; the tests of a file share what is costly to set up.
TESTS := pytest -n 2 --dist loadfile
# Where `make zoos` finds its data sets, and where it puts the zoos.
GENGAP_DATA ?= ../shared/data
ZOOS ?= ../zoos

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench zoos

help:
	@echo "make demo       train a small zoo, run every method on it, write a leaderboard (under 3 minutes)"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow tests alone"
	@echo "make check      formatting, lint, types, the leaderboard against its records, tests: what CI runs"
	@echo "make bench      the performance benchmarks"
	@echo "make zoos       build the zoos that results are reported on, or go on with them (hours)"

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
	@$(RUN) $(TESTS)

bench:
	@$(RUN) python tests/performance

zoos:
	@$(RUN) gengap zoo build cifar10-gs --models 3000 --epochs 20 --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/cifar10-gs
	@$(RUN) gengap zoo build fashion-gs --models 2000 --epochs 10 --data $(GENGAP_DATA)/torchvision --out $(ZOOS)/fashion-gs
	@$(RUN) gengap zoo build nin-cifar10-small --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/nin-cifar10-small
	@$(RUN) gengap zoo build nin-robust --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/nin-robust
	@$(RUN) gengap zoo build park-cifar10-gs --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/park-cifar10-gs
	@$(RUN) gengap zoo build disagreement-cifar10 --data $(GENGAP_DATA)/parquet/cifar10 --out $(ZOOS)/disagreement-cifar10
