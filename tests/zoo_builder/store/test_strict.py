"""Manifests that anybody may have written, with a digest that holds: refused in one line, and nothing is written."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo_builder.building.build import build
from zoo_builder.building.verify import faults
from zoo_builder.errors import InputError
from zoo_builder.store.format import MANIFEST, SIDECARS, read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo


def of_part(**values: object) -> Callable[[dict], object]:
    return lambda manifest: manifest["parts"][0].update(values)


def of_file(path: str, **values: object) -> Callable[[dict], object]:
    entry = {"sha256": "ab", "bytes": 10**6} | values
    return lambda manifest: manifest["parts"][0].update(files={path: entry})


def of_plan(**values: object) -> Callable[[dict], object]:
    return lambda manifest: manifest["plan"][0].update(values)


def of(**values: object) -> Callable[[dict], object]:
    return lambda manifest: manifest.update(values)


BROKEN = [
    *(of_part(name=name) for name in ("../../../x", "/tmp/x", "..", "a/b", "", "x\n", 3, None, "a" * 300)),
    *(
        of_file(path)
        for path in (
            "../../../x",
            "/etc/passwd",
            "weights/../../x",
            "weights/part-00001.safetensors",
            "outputs/../part-00000.safetensors",
            "outputs/part-00000.safetensors",
            "outputs/a/b/part-00000.safetensors",
            "zoo.json",
            "",
        )
    ),
    of_file("weights/part-00000.safetensors", bytes=-1),
    of_file("weights/part-00000.safetensors", bytes="many"),
    of_file("weights/part-00000.safetensors", sha256=None),
    of_file("weights/part-00000.safetensors", mode=0o777),
    of_part(runs=0),
    of_part(runs=True),
    of_part(runs=2**60),
    of_part(rows="8"),
    of_part(rows=10**9),
    of_part(first_run=-1),
    of_part(seconds="long"),
    of_part(engines="native"),
    of_part(engines=["\x1b[2J"]),
    of_part(files=[]),
    of_part(population=3),
    of_part(another=3),
    of_plan(name="../../../x"),
    of_plan(runs=-1),
    of_plan(first_run=5),
    of_plan(another=5),
    of(plan={}),
    of(plan=[3]),
    of(parts=[]),
    of(parts=[3]),
    of(parts={}),
    of(name=None),
    of(name="\x1b[2Jtiny"),
    of(name="a" * 1000),
    of(complete="yes"),
    of(recipe=[]),
    of(data=[]),
    of(data={"name": "digits"}),
    of(versions=None),
    of(architectures=[]),
    lambda manifest: manifest["data"].update(train_images="many"),
    lambda manifest: manifest["data"].update(location=3),
    lambda manifest: manifest["data"].update(size="small"),
]


def is_one_line(error: pytest.ExceptionInfo) -> bool:
    return len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 500


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_a_manifest_of_another_form_is_refused(copied: Path, tiny, number: int) -> None:
    manifest = read_manifest(copied)
    BROKEN[number](manifest)
    write_manifest(copied, manifest)
    before = sorted(copied.parent.rglob("*"))
    for use in (Zoo.open, lambda root: list(faults(root)), lambda root: build(tiny(), root, device="cpu")):
        with pytest.raises(InputError, match=r"zoo.json is not a manifest that gengap writes|has no weights") as error:
            use(copied)
        assert is_one_line(error)
    assert sorted(copied.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ({}, "input_shape"),
        ([], "not an architecture"),
        ({"input_shape": [1, 8, 8], "layers": []}, "not an architecture"),
        ({"input_shape": [1, 8, 8], "layers": [{"layer": "Bomb"}]}, "Bomb"),
        ({"input_shape": [1, 8, 8], "layers": [{"layer": "Conv", "channels": 3, "stride": 0}]}, "stride is 0"),
        ({"input_shape": [1, 8, 8], "layers": [{"layer": "Conv", "channels": 3}]}, "it ends with an image"),
        ({"input_shape": [1, 8, 8], "layers": [{"layer": "Linear", "features": [3]}]}, r"features is \[3\]"),
        ({"input_shape": [1, 8, "8"], "layers": [{"layer": "Linear", "features": 3}]}, "not an architecture"),
        (
            {"input_shape": [1, 8, 8], "layers": [{"layer": "Conv", "channels": 3, "padding": 10**9}]},
            "would need .* of memory",
        ),
    ],
)
def test_an_architecture_that_is_none_is_refused(copied: Path, architecture: object, words: str) -> None:
    manifest = read_manifest(copied)
    key = next(iter(manifest["architectures"]))
    manifest["architectures"][key] = architecture
    write_manifest(copied, manifest)
    with pytest.raises(InputError, match=f"{key}' is not an architecture that gengap writes: .*{words}|{words}"):
        _ = Zoo.open(copied).table
    with pytest.raises(InputError, match="is not an architecture") as error:
        list(faults(copied))
    assert is_one_line(error)


def test_networks_that_do_not_fit_their_data_are_refused(copied: Path) -> None:
    manifest = read_manifest(copied)
    manifest["architectures"]["00000000"] = {
        "input_shape": [3, 32, 32],
        "layers": [{"layer": "Linear", "features": 7}],
    }
    write_manifest(copied, manifest)
    with pytest.raises(InputError, match=r"read images 3x32x32 of 7 classes, those of .*'digits' are 1x8x8 of 10"):
        Zoo.open(copied).data()


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, '{"schema": 2, "a": NaN}', "\xff", ""])
def test_json_that_is_none_is_a_damaged_manifest(copied: Path, tiny, text: str) -> None:
    """A damaged manifest is built again from finished parts, whose sidecars may be damaged, too."""
    (copied / MANIFEST).write_bytes(text.encode("latin-1"))
    for use in (Zoo.open, lambda root: list(faults(root))):
        with pytest.raises(InputError, match=r"zoo.json is damaged \(.*\): run the same `gengap zoo build`") as error:
            use(copied)
        assert is_one_line(error)
    for path in (copied / SIDECARS).iterdir():
        path.write_bytes(text.encode("latin-1"))
    assert len(build(tiny(), copied, device="cpu").table) == 20


@pytest.mark.parametrize("name", [MANIFEST, "weights", "weights/part-00001.safetensors", "outputs/digits"])
def test_a_link_out_of_the_zoo_is_refused(copied: Path, tiny, name: str) -> None:
    elsewhere = copied.parent / "elsewhere"
    (copied / name).rename(elsewhere)
    (copied / name).symlink_to(elsewhere)
    content = sorted(elsewhere.rglob("*")) or elsewhere.read_bytes()
    with pytest.raises(InputError, match=f"{name}.* leads out of the folder"):
        Zoo.open(copied)
    with pytest.raises(InputError, match=f"{name} is a link|leads out of the folder"):
        build(tiny(12), copied, device="cpu")
    assert (sorted(elsewhere.rglob("*")) or elsewhere.read_bytes()) == content


def test_a_manifest_that_is_a_pipe_is_not_waited_for(copied: Path) -> None:
    (copied / MANIFEST).unlink()
    os.mkfifo(copied / MANIFEST)
    with pytest.raises(InputError, match=r"zoo.json cannot be read \(it is a pipe or a device\)"):
        Zoo.open(copied)


def test_a_sidecar_that_leads_elsewhere_is_no_sidecar(copied: Path, tiny) -> None:
    from zoo_builder.store import format as zoo_format

    (copied / MANIFEST).unlink()
    path = copied / SIDECARS / "part-00000.json"
    sidecar = json.loads(path.read_text())
    del sidecar["digest"]
    sidecar["files"] = {"../../../etc/passwd": {"sha256": "ab", "bytes": 3}}
    path.write_text(json.dumps(sidecar | {"digest": zoo_format._digest(sidecar)}))
    assert zoo_format.read_sidecar(copied, "part-00000") is None
    assert build(tiny(), copied, device="cpu").parts[0].has("weights")
