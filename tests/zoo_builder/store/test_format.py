"""Parts and manifests survive their files, and damage is noticed."""

import json
from pathlib import Path

import pytest

from zoo_builder.errors import InputError
from zoo_builder.store.format import (
    File,
    Part,
    PlannedPart,
    finished_part,
    read_manifest,
    read_sidecar,
    sidecar_path,
    write_manifest,
)
from zoo_builder.store.zoo import Zoo


def test_a_part_survives_json(zoo: Zoo) -> None:
    for part in zoo.parts:
        assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part
        assert read_sidecar(zoo.root, part.name) == part
        assert part.bytes == sum((zoo.root / name).stat().st_size for name in part.files)


def test_an_imported_part_may_lack_population_engines_and_outputs() -> None:
    files = {"weights/part-00000.safetensors": {"sha256": "ab", "bytes": 3}}
    part = Part.from_json({"name": "part-00000", "first_run": 0, "runs": 2, "rows": 2, "files": files})
    assert part.files == {"weights/part-00000.safetensors": File("ab", 3)}
    assert (part.engines, part.population, part.has("outputs")) == ((), "", False)
    assert part.weights_hash == "ab"


def test_a_finished_part_is_as_planned_whole_and_of_the_population(copied: Path) -> None:
    part = read_sidecar(copied, "part-00001")
    assert finished_part(copied, part.planned, part.population) == part
    assert finished_part(copied, part.planned, "another") is None
    assert finished_part(copied, PlannedPart(part.name, part.first_run, part.runs - 1), part.population) is None
    (copied / part.file("outputs")).write_bytes(b"")
    assert finished_part(copied, part.planned, part.population) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "1", '{"schema": 2}', '{"schema": 2, "digest": ""}'])
def test_a_damaged_sidecar_is_none(copied: Path, content: str) -> None:
    sidecar_path(copied, "part-00001").write_text(content)
    assert read_sidecar(copied, "part-00001") is None


def test_a_manifest_needs_a_recipe_or_a_source(copied: Path) -> None:
    manifest = read_manifest(copied)
    del manifest["recipe"]
    write_manifest(copied, manifest)
    with pytest.raises(InputError, match=r"zoo.json has neither a recipe nor a source"):
        read_manifest(copied)
