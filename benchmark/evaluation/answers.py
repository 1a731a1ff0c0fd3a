"""``Answer``: the outcome of one method, whether computed in a process, read from a zoo, or a control."""

from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.methods import Method


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """The outcome of one method on one task.

    Attributes:
        status: one of ``benchmark.records.STATUSES``.
        reason: why the status is not "ok".
        log: the end of what a failed method printed.
        seconds, peak_memory_mib: what the answer took; the memory is None where no process was started.
        values: float64 [test models]; None where there is nothing to score.
        reasons: why a value is NaN, a remark on it, or None, one per test model.
        errors: float64 [test models], standard errors of the values; None where they are not known.
    """

    method: Method
    status: str = "ok"
    reason: str | None = None
    log: str | None = None
    seconds: float
    peak_memory_mib: float | None = None
    values: np.ndarray | None = None
    reasons: list[str | None] | None = None
    errors: np.ndarray | None = None
