"""The command line in this process: its exit code, output and errors."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo_builder
from benchmark.commands.main import main


@pytest.fixture
def gengap(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command and returns its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def refused(gengap) -> Callable[..., str]:
    """Runs a command that must end with one error, and returns that error."""

    def run(*arguments: object) -> str:
        code, out, err = gengap(*arguments)
        assert code == 2
        assert out == ""
        assert err.startswith("gengap: error: ")
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture(scope="session")
def recipe_of_digits():
    """Writes a recipe of one configuration with so many seeds."""

    def write(file: Path, seeds: int, epochs: int = 20) -> Path:
        text = (Path(zoo_builder.__file__).parent / "recipes" / "digits.toml").read_text()
        text = re.sub(r"\nseeds = \d+", f"\nseeds = {seeds}", text.replace('"digits"', f'"{file.stem}"', 1))
        text = re.sub(r" = \[(\S+), .*\]", r" = [\1]", text).replace("epochs = 20", f"epochs = {epochs}")
        file.write_text(text.replace("checkpoints = [0]", f"checkpoints = [0, {epochs}]"))
        return file

    return write
