"""The command line: `main` and one file per verb."""

import os

# Read when numpy is imported. Threads of OpenBLAS that share their cores with other processes wait for each other: a
# Gaussian process on 600 models took 28 s in place of 1 s. Rounding differs with their number, too, and a score should
# not.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
