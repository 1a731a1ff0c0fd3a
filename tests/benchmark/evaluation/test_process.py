"""Jobs; the processes themselves are in the tests of selection (descriptions) and of evaluate (answers)."""

from dataclasses import replace

from benchmark.evaluation.methods import builtin_methods
from benchmark.evaluation.process import Job


def test_a_job_is_trusted_if_all_of_its_methods_are_built_in() -> None:
    method = builtin_methods()["path-norm"]
    own = replace(method, reference="mine.py:mine", name="mine")
    assert Job((method,), "weights").trusted
    assert not Job((own,), "weights").trusted
    assert not Job((method, own), "weights").trusted
