"""A zoo's size costs neither memory while it is built nor time when one model of it is read."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "performance" / "bench_store.py"


@pytest.mark.slow
def test_memory_is_that_of_a_part_and_one_of_10000_models_is_read_at_once(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("bench_store", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    peaks = {models: script.built(models, tmp_path / str(models))[0] for models in script.MODELS}
    # The table of runs and the manifest are all that grows: about 2 KiB for each model.
    assert peaks[1_000] - peaks[100] < 16
    assert peaks[10_000] - peaks[100] < 64
    taken = script.reading(tmp_path / "10000")
    assert taken["Zoo.open"] < 300
    assert max(milliseconds for what, milliseconds in taken.items() if "one model" in what) < 2 * 2
