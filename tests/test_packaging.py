"""The wheel holds the packages and nothing else, and every file that states the version states the same one."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo_builder", "baselines", "benchmark")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from a copy, because setuptools writes into the source folder."""
    copy = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    subprocess.run([*pip, "--wheel-dir", "dist"], cwd=copy, check=True)
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    files = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files


def test_the_wheel_brings_command_and_license(wheel):
    information = f"gengap-{PROJECT['version']}.dist-info"
    assert "gengap = benchmark.commands.main:main" in wheel.read(f"{information}/entry_points.txt").decode()
    assert "Apache License" in wheel.read(f"{information}/licenses/LICENSE").decode()


def test_dependencies_have_lower_bounds_and_no_pins():
    extras = PROJECT["optional-dependencies"].values()
    for requirement in [*PROJECT["dependencies"], *(row for rows in extras for row in rows)]:
        assert re.fullmatch(r"gengap\[\w+\]|[\w-]+(\[\w+\])?>=[\d.]+", requirement), requirement


def test_citation_and_changelog_name_the_version():
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
