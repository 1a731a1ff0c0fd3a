"""The speed of the scores: `python tests/performance/bench_scoring.py`. Medians and ranges of interleaved repeats."""

import os
import resource
import time
from itertools import product

import numpy as np
import scipy.stats

from benchmark.scoring.bootstrap import bootstrap_tau, resample
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.floors import NoiseFloor, random_measures
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.pgdl import bootstrap_pgdl, pgdl_score
from benchmark.scoring.robust import bootstrap_robust, robust_sign_error
from benchmark.scoring.scorecard import scorecard


def models(n, methods=1):
    rng = np.random.default_rng(n)
    target = rng.random(n)
    return target + rng.random((methods, n)), target


def grid(values, seeds=1, methods=60):
    """Measures, the gap, and the hyperparameters of a factorial grid with these numbers of values."""
    hyperparameters = np.repeat(list(product(*map(range, values))), seeds, axis=0)
    measures, noise = models(len(hyperparameters), methods)
    effects = hyperparameters @ np.arange(1, len(values) + 1) / (max(values) * len(values) ** 2)
    return measures + effects, 0.1 * noise + effects, hyperparameters


def tau_draws(predictions, target):
    return bootstrap_tau(predictions, target, resample(len(target)))


def cases():
    """(what, seconds allowed or None, repeats, function); neighbours with equal repeats are interleaved."""
    (large,), target = models(30_000)
    tied, tied_target = large.round(1), target.round(2)
    board, board_target = models(1_500, methods=60)
    (small,), small_target = models(300)
    huge, huge_target = models(30_000)
    plain, seeded = grid([3] * 7), grid([10] * 3, seeds=10)
    four, plain_weights = (plain[0][:4], *plain[1:]), resample(3**7, draws=200)
    # As large as the competition's first task, with its one-valued hyperparameter.
    competition = grid([3, 2, 1, 2, 2, 2, 2], methods=15)
    weights, seeded_weights = resample(96), resample(10_000, np.repeat(np.arange(1_000), 10))
    return [
        ("tau, n = 30,000", 0.020, 15, lambda: kendall_tau(large, target)),
        ("the same, scipy", None, 15, lambda: scipy.stats.kendalltau(large, target)),
        ("tau with ties, n = 30,000", 0.020, 15, lambda: kendall_tau(tied, tied_target)),
        ("the same, scipy", None, 15, lambda: scipy.stats.kendalltau(tied, tied_target)),
        (
            "noise floor of tau, n = 1,500",
            None,
            5,
            lambda: NoiseFloor.of([kendall_tau(m, board_target).value for m in random_measures(np.arange(1_500))]),
        ),
        (
            "2,000 draws, 1 method, n = 300",
            None,
            5,
            lambda: tau_draws(small[None], small_target),
        ),
        (
            "2,000 draws, 60 methods, n = 1,500",
            10,
            3,
            lambda: tau_draws(board, board_target),
        ),
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
        ("2,000 draws of pgdl, 15 x 96 models", None, 2, lambda: bootstrap_pgdl(*competition, weights)),
        ("2,000 draws of K, 15 x 96 models", None, 2, lambda: bootstrap_conditional_mi(*competition, weights)),
        ("200 draws of pgdl, 4 x 2,187 models", None, 1, lambda: bootstrap_pgdl(*four, plain_weights)),
        ("200 draws of K, 4 x 2,187 models", None, 1, lambda: bootstrap_conditional_mi(*four, plain_weights)),
        ("2,000 draws of Psi, 15 x 96 models", None, 2, lambda: bootstrap_granulated(*competition, weights)),
        ("scorecard with floors, 15 x 96 models", 60, 2, lambda: scorecard(*competition)),
        (
            "2,000 draws of robust, 60 x 10,000",
            None,
            1,
            lambda: bootstrap_robust(*seeded, 10_000, seeded_weights),
        ),
        (
            "2,000 draws, 1 method, n = 30,000",
            None,
            3,
            lambda: tau_draws(huge, huge_target),
        ),
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
