"""Building on a Ray cluster of two nodes, which runs in processes of its own on this machine."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmark.commands.main import main
from zoo_builder.building.build import build
from zoo_builder.building.runner import Ray
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import load_recipe
from zoo_builder.store.verify import problems
from zoo_builder.store.zoo import Zoo

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster()
for _ in range(2):
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
print(cluster.address)
print(*(raylet.process.pid for node in cluster.list_all_nodes() for raylet in node.all_processes["raylet"]), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


class Cluster(NamedTuple):
    address: str
    raylets: set[int]

    def tasks(self) -> list[int]:
        """The worker processes that train a part now."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                    if parent in self.raylets and (folder / "cmdline").read_text().startswith("ray::_run_on_ray"):
                        found.append(int(folder.name))
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Cluster(process.stdout.readline().strip(), set(map(int, process.stdout.readline().split())))
        process.stdin.close()


def gengap_build(address: str, out: Path, models: int, epochs: int) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "benchmark.commands.main",
        "zoo",
        "build",
        "digits",
        "--device",
        "cpu",
        "--out",
        out.name,
    ]
    command += ["--models", str(models), "--epochs", str(epochs), "--runner", "ray", "--address", address]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # Into a relative folder: the tasks run where the cluster was started.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=out.parent
    )


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def contents(root: Path) -> dict[str, bytes]:
    kinds = (".parquet", ".safetensors", ".tmp")
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.suffix in kinds}


def test_a_killed_worker_loses_nothing_and_the_zoo_is_that_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    with gengap_build(cluster.address, tmp_path / "ray", models=96, epochs=4) as process:
        wait_until(cluster.tasks)
        os.kill(cluster.tasks()[0], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    local = build(load_recipe("digits").cut(96, 4), tmp_path / "local", device="cpu")
    assert contents(tmp_path / "ray") == contents(local.root)
    assert Zoo.open(tmp_path / "ray").weights_hash == local.weights_hash
    assert list(problems(tmp_path / "ray")) == []
    assert "96/96 models" in said
    assert re.search(r"[1-9]\d*/384 ", said), "no epoch was counted"


@pytest.mark.slow
def test_ctrl_c_stops_the_tasks(cluster: Cluster, tmp_path: Path) -> None:
    with gengap_build(cluster.address, tmp_path / "zoo", models=64, epochs=2000) as process:
        wait_until(lambda: len(cluster.tasks()) == 2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished parts" in said
    wait_until(lambda: not cluster.tasks(), seconds=15)
    assert contents(tmp_path / "zoo") == {}


def test_an_address_where_nothing_answers_is_said_within_20_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    out = str(tmp_path / "zoo")
    assert main(["zoo", "build", "digits", "--out", out, "--runner", "ray", "--address", "127.0.0.1:1"]) == 2
    assert time.monotonic() - started < 20
    said = capsys.readouterr().err
    assert said.startswith("gengap: error: no Ray cluster answers at 127.0.0.1:1 (nothing in 10 s): expected the host:")
    assert said.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_without_ray_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--runner ray needs Ray: install it with `pip install 'gengap\[ray\]'`"):
        build(load_recipe("digits").cut(4, 1), tmp_path / "zoo", device="cpu", runner=Ray())
    assert not (tmp_path / "zoo").exists()


def test_a_node_that_does_not_share_the_folder_writes_nothing(tmp_path: Path) -> None:
    class Elsewhere:
        """Trains a part where the folder of the build is not to be seen."""

        here = False

        def run(self, parts, data, progress, gpu):
            (tmp_path / "zoo").rename(tmp_path / "seen by the driver alone")
            yield parts[0](data, progress)

    with pytest.raises(
        InputError, match=r"zoo is not the folder here \(.*\) that the build was started on: --out must"
    ):
        build(load_recipe("digits").cut(4, 1), tmp_path / "zoo", device="cpu", runner=Elsewhere())
    assert not (tmp_path / "zoo").exists()
