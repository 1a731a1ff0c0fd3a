"""A compiler with an empty cache, and the choice of an engine for a small network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from zoo_builder.engines.choice import engines
from zoo_builder.engines.native import compiler
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear


@pytest.fixture
def fresh_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An empty cache folder, and no cached knowledge of compilers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    functions = (compiler.compiler, compiler._identity, compiler.library_path, compiler.library)
    for function in functions:
        function.cache_clear()
    yield monkeypatch
    for function in functions:
        function.cache_clear()


@pytest.fixture
def small() -> Architecture:
    return Architecture((1, 4, 4), (Conv(2), Activation("relu"), GlobalAveragePool(), Linear(2)))


@pytest.fixture
def choose(small: Architecture) -> Callable[..., tuple[str, list[str]]]:
    """The name of the engine that is chosen, and the notes."""

    def choice(
        name: str = "auto", examples: int = 10**12, architecture: Architecture = small, device: str = "cpu"
    ) -> tuple[str, list[str]]:
        notes: list[str] = []
        chosen = engines(name, torch.device(device), {"it": architecture}, {"it": examples}, notes.append)
        return chosen["it"].name, notes

    return choice
