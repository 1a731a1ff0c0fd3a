"""How fast the scores are: `python tests/performance/bench_scoring.py`. Medians and ranges of interleaved repeats."""

import os
import resource
import time
from itertools import product

import numpy as np
import scipy.stats

from benchmark.scoring.bootstrap import bootstrap_tau
from benchmark.scoring.conditional_mi import conditional_mi
from benchmark.scoring.floors import noise_floor
from benchmark.scoring.granulated import granulated_tau
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.pgdl import pgdl_score
from benchmark.scoring.robust import robust_sign_error


def models(n, entrants=1):
    rng = np.random.default_rng(n)
    target = rng.random(n)
    return target + rng.random((entrants, n)), target


def grid(values, axes, seeds=1):
    """60 measures, the gap, and the hyperparameters of a factorial grid."""
    hyperparameters = np.repeat(list(product(range(values), repeat=axes)), seeds, axis=0)
    measures, noise = models(len(hyperparameters), entrants=60)
    effects = hyperparameters @ np.arange(1, axes + 1) / (values * axes**2)
    return measures + effects, 0.1 * noise + effects, hyperparameters


def cases():
    """(what, seconds allowed or None, repeats, function); neighbours with equal repeats are interleaved."""
    (large,), target = models(30_000)
    tied, tied_target = large.round(1), target.round(2)
    board, board_target = models(1_500, entrants=60)
    (small,), small_target = models(300)
    huge, huge_target = models(30_000)
    plain, seeded = grid(3, axes=7), grid(10, axes=3, seeds=10)
    return [
        ("tau, n = 30,000", 0.020, 15, lambda: kendall_tau(large, target)),
        ("the same, scipy", None, 15, lambda: scipy.stats.kendalltau(large, target)),
        ("tau with ties, n = 30,000", 0.020, 15, lambda: kendall_tau(tied, tied_target)),
        ("the same, scipy", None, 15, lambda: scipy.stats.kendalltau(tied, tied_target)),
        (
            "noise floor of tau, n = 1,500",
            None,
            5,
            lambda: noise_floor(lambda m: kendall_tau(m, board_target).value, 1_500),
        ),
        ("2,000 draws, 1 entrant, n = 300", None, 5, lambda: bootstrap_tau(small[None], small_target)),
        ("2,000 draws, 60 entrants, n = 1,500", 10, 3, lambda: bootstrap_tau(board, board_target)),
        ("pgdl, 60 measures, 2,187 models", None, 2, lambda: pgdl_score(*plain)),
        ("K, 60 measures, 2,187 models", None, 2, lambda: conditional_mi(*plain)),
        ("Psi, 60 measures, 2,187 models", None, 2, lambda: granulated_tau(*plain)),
        (
            "pgdl, K and Psi together",
            20,
            2,
            lambda: (pgdl_score(*plain), conditional_mi(*plain), granulated_tau(*plain)),
        ),
        ("robust error, 60 measures, n = 10,000", 60, 2, lambda: robust_sign_error(*seeded, 10_000)),
        ("2,000 draws, 1 entrant, n = 30,000", None, 3, lambda: bootstrap_tau(huge, huge_target)),
    ]


def main():
    seconds = {}
    rows = cases()
    for repeats in sorted({row[2] for row in rows}, reverse=True):
        for _ in range(repeats):
            for index, (_, _, wanted, function) in enumerate(rows):
                if wanted == repeats:
                    start = time.perf_counter()
                    function()
                    seconds.setdefault(index, []).append(time.perf_counter() - start)
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    print(f"{'':<38}{'median':>10}{'fastest':>10}{'slowest':>10}{'target':>10}  [ms]")
    for index, (what, allowed, _, _) in enumerate(rows):
        taken = 1000 * np.array(seconds[index])
        target = f"{1000 * allowed:.0f}" if allowed else ""
        print(f"{what:<38}{np.median(taken):>10.1f}{taken.min():>10.1f}{taken.max():>10.1f}{target:>10}")
    # Of everything above, in the units of Linux (KiB).
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, target 2")


if __name__ == "__main__":
    main()
