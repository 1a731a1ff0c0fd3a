"""Settings of all tests: one thread, reproducible draws in CI, checked tensor axes, and the folders of real data."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"  # for child processes; see torch.set_num_threads below

import beartype  # noqa: F401, imported here so that the TYPE_CHECKING below affects only the stack module
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

import zoo_builder.networks.architecture
import zoo_builder.networks.dropout

# Processes of a background shell ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)

# No deadline: a first example may compile or load something. Failures outside CI are kept in .hypothesis/.
settings.register_profile("gengap", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("gengap")

# jaxtyping is not a dependency of the package, so only type checkers import the annotations of the stacked axes. Here
# they are imported at runtime, and every call is checked against them.
with mock.patch("typing.TYPE_CHECKING", True), install_import_hook("zoo_builder.networks.stack", "beartype.beartype"):
    import zoo_builder.networks.stack  # noqa: F401


def folder(variable: str, content: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set; it names the folder of {content}")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def gengap_data() -> Path:
    """Real images: parquet/cifar10, parquet/usps, torchvision/MNIST, torchvision/FashionMNIST."""
    return folder("GENGAP_DATA", "real data sets")


@pytest.fixture(scope="session")
def gengap_tables() -> Path:
    """Published tables: the models, measures and official scores of PGDL's first task."""
    return folder("GENGAP_TABLES", "published tables")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of some size, such as "300k" or "1m,nr_inodes=5", and returns its folder."""
    folder = tmp_path / "disk"

    def mounted(size: str) -> Path:
        if os.geteuid() != 0:
            pytest.skip("mounting a small disk needs root")
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this machine does not let root mount a tmpfs")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
