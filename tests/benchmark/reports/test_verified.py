import numpy as np

from benchmark.records import read_records
from benchmark.reports.verified import mistake


def test_a_score_that_needs_more_than_predictions_is_not_computed(small, tmp_path):
    target, names = np.linspace(0, 1, 12), [f"{i}" for i in range(12)]
    scores = {name: {"value": 0.9, "low": 0.8, "high": 1.0} for name in ("psi", "tau")}
    for headline in scores:
        small(tmp_path, {headline: target}, target, names, headline=headline, scores=scores)
    found = {record.method: mistake(record) for record in read_records(tmp_path)}
    assert found == {"psi": None, "tau": "it says tau 0.900, and its predictions give 1.000: run the method again"}
