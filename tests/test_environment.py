"""The script behind the Makefile: finished environments are reused, half-made ones are not, unused ones go."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "environment.py"
PROJECT = {
    "name": "gengap",
    "dependencies": ["torch>=2"],
    "optional-dependencies": {"test": ["pytest>=8"], "dev": ["gengap[test]", "ruff>=0.8"]},
    "scripts": {"gengap": "benchmark.commands.main:main"},
}


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    """The script as a module that makes empty environments, one file each, and lists them in ``made``."""
    spec = importlib.util.spec_from_file_location("environment", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = []

    def make(folder: Path, project: dict, afresh: bool) -> None:
        assert module.state_file(folder).read_text() == module.BUILDING
        made.append((folder.name, afresh))
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "gengap").touch()

    monkeypatch.setattr(module, "make", make)
    monkeypatch.setattr(module, "made", made, raising=False)
    return module


def test_requirements_name_everything_but_the_package_itself(script):
    assert script.requirements(PROJECT, "dev") == ["torch>=2", "ruff>=0.8", "pytest>=8"]


def test_the_key_follows_what_is_installed_alone(script):
    key = script.environment_key(PROJECT)
    assert key == script.environment_key({**PROJECT, "version": "2"})
    assert key != script.environment_key({**PROJECT, "dependencies": ["torch>=3"]})


def test_a_finished_environment_is_used_again_and_an_outdated_one_brought_up_to_date(script, tmp_path):
    folder = tmp_path / ".venv"
    for key in ("1", "1", "2"):
        os.close(script.prepare(folder, key, PROJECT))
    assert script.made == [(".venv", False), (".venv", False)]


def test_a_half_made_environment_is_made_afresh(script, tmp_path):
    folder = tmp_path / ".venv"
    os.close(script.prepare(folder, "1", PROJECT))
    script.state_file(folder).write_text(script.BUILDING)  # as a killed process leaves it, see the fixture
    os.close(script.prepare(folder, "1", PROJECT))
    assert script.made == [(".venv", False), (".venv", True)]


def test_unused_shared_environments_are_removed_and_those_in_use_stay(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SHARED", True)
    used = script.prepare(tmp_path / "venv-a", "a", PROJECT)
    os.close(script.prepare(tmp_path / "venv-b", "b", PROJECT))
    os.close(script.prepare(tmp_path / "venv-c", "c", PROJECT))
    os.close(used)
    assert sorted(folder.name for folder in tmp_path.iterdir() if folder.is_dir()) == ["venv-a", "venv-c"]
    os.close(script.prepare(tmp_path / "venv-b", "b", PROJECT))
    assert [folder.name for folder in tmp_path.iterdir() if folder.is_dir()] == ["venv-b"]
