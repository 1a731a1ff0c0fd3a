"""How fast the scores are: `python tests/performance/bench_scoring.py`. Medians and ranges of interleaved repeats."""

import os
import time

import numpy as np
import scipy.stats

from benchmark.scoring.bootstrap import bootstrap_tau
from benchmark.scoring.floors import noise_floor
from benchmark.scoring.kendall import kendall_tau


def models(n, entrants=1):
    rng = np.random.default_rng(n)
    target = rng.random(n)
    return target + rng.random((entrants, n)), target


def cases():
    """(what, seconds allowed or None, repeats, function); neighbours with equal repeats are interleaved."""
    (large,), target = models(30_000)
    tied, tied_target = large.round(1), target.round(2)
    board, board_target = models(1_500, entrants=60)
    (small,), small_target = models(300)
    huge, huge_target = models(30_000)
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


if __name__ == "__main__":
    main()
