"""Tasks of a Ray cluster change no bit of a zoo, and stop with the build."""

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

from zoo_builder.building import ray_runner
from zoo_builder.building.build import build
from zoo_builder.building.ray_runner import Ray
from zoo_builder.building.verify import faults
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import load_recipe
from zoo_builder.store.zoo import Zoo

pytestmark = pytest.mark.system

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
        """The worker processes that are training a part."""
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


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was never true"
        time.sleep(0.02)


def test_a_killed_ray_worker_changes_no_bit(
    cluster: Cluster, tmp_path: Path, builder, tiny, small_parts, files_of
) -> None:
    """The build gets a relative folder: the tasks run where the cluster was started."""
    with builder(tiny(16, 40), tmp_path / "ray", address=cluster.address) as process:
        wait_until(lambda: cluster.tasks() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        os.kill(cluster.tasks()[0], signal.SIGKILL)
        printed, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    local = build(tiny(16, 40), tmp_path / "local", device="cpu")
    assert files_of(tmp_path / "ray") == files_of(local.root)
    assert Zoo.open(tmp_path / "ray").weights_hash == local.weights_hash
    assert list(faults(tmp_path / "ray")) == []
    assert printed.count("part") == 4
    assert sum(map(int, re.findall(r"epoch (\d+)", printed))) > 0, "no epoch was counted"


@pytest.mark.slow
def test_ctrl_c_stops_ray_tasks(cluster: Cluster, tmp_path: Path, builder, tiny, files_of) -> None:
    with builder(tiny(16, 5000), tmp_path / "zoo", address=cluster.address) as process:
        wait_until(lambda: len(cluster.tasks()) == 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    wait_until(lambda: not cluster.tasks(), seconds=15)
    assert not [name for name in files_of(tmp_path / "zoo") if name.endswith((".parquet", ".safetensors", ".tmp"))]


def test_an_address_without_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_runner.ANSWER_SECONDS <= 10
    monkeypatch.setattr(ray_runner, "ANSWER_SECONDS", 1)
    refused = r"no Ray cluster answers at 127\.0\.0\.1:1 \(nothing in 1 s\): expected the host:port"
    with pytest.raises(InputError, match=refused):
        Ray("127.0.0.1:1")


def test_without_ray_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"the Ray runner needs Ray: install it with `pip install 'gengap\[ray\]'`"):
        build(load_recipe("digits").cut(4, 1), tmp_path / "zoo", device="cpu", runner=Ray())
    assert not (tmp_path / "zoo").exists()
