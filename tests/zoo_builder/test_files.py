"""JSON files and what JSON cannot hold; files that others made."""

import math
import os
from pathlib import Path

import pytest

from zoo_builder.errors import InputError
from zoo_builder.files import inside, read_json, write_json


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 200_000, "its brackets are nested too deeply"),
        ('{"a":' * 200_000, "its brackets are nested too deeply"),
        ("[NaN]", "it holds NaN, which is not JSON"),
        ("[-Infinity]", "it holds -Infinity, which is not JSON"),
        ("9" * 5000, "Exceeds the limit"),
        ("{", "Expecting"),
        ("1" * 2_000_000, "it has 2,000,000 bytes, expected at most 1,000,000"),
    ],
)
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_json(tmp_path / "file", largest=1_000_000)
    assert len(str(caught.value)) < 200


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="it is a pipe or a device"):
        read_json(tmp_path / "file", largest=10)


@pytest.mark.parametrize("name", ["../file", "/etc/passwd", "a/../../file", "out/file", "loop"])
def test_names_and_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "zoo"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "in").symlink_to("weights")
    assert inside(root, "in/file") == root / "in" / "file"
    with pytest.raises(InputError, match="leads out of the folder"):
        inside(root, name)
