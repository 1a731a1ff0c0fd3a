"""A full disk."""

import json
import re
import subprocess

import pytest

from zoo_builder.building.build import Progress, build
from zoo_builder.building.runner import Local
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


@pytest.mark.system
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(
    zoo: Zoo, small_parts: None, workers: int, files_of, rebuilt, small_disk, tiny
) -> None:
    disk = small_disk("300k")
    root, notes = disk / "zoo", []
    with pytest.raises(InputError, match=r"the disk that holds .* is full: ") as refused:
        build(tiny(), root, device="cpu", runner=Local(workers), progress=Progress(note=notes.append))
    needed, free = (float(number) for number in re.findall(r"([\d.]+) KiB", str(refused.value).replace(",", "")))
    left = 10 - sum(json.loads(path.read_text())["runs"] for path in (root / "parts").glob("*.json"))
    size = sum(len(content) for name, content in files_of(zoo.root).items())
    assert needed * 1024 == pytest.approx(size * left / 10, rel=0.2)
    assert free < 300
    assert "finished parts are kept: free space and run the same command again" in str(refused.value)
    assert "will be full before the build ends" in notes[0]
    assert not list(disk.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    assert rebuilt(root)[0] == left
    assert files_of(root) == files_of(zoo.root)
