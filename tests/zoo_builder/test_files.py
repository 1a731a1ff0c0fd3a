"""JSON files, and what JSON cannot hold."""

import math
from pathlib import Path

import pytest

from zoo_builder.files import write_json


@pytest.mark.parametrize("value", [math.nan, math.inf, [{"loss": -math.inf}]])
def test_numbers_that_json_cannot_hold_are_refused_with_the_name_of_the_file(tmp_path: Path, value: object) -> None:
    path = tmp_path / "record.json"
    path.write_text("as it was")
    with pytest.raises(
        ValueError, match=r"record.json cannot be written: .* not JSON compliant.*; write null, or omit it"
    ):
        write_json(path, {"value": value})
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
