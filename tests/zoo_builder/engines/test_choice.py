"""The choice of an engine, and the notes on it."""

import pytest

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import (
    Architecture,
    GlobalAveragePool,
    Linear,
)


def test_auto_compiles_if_it_saves_time(fresh_compiler: pytest.MonkeyPatch, choose) -> None:
    name, notes = choose()
    assert name == "native"
    assert "compiling 1 architecture for this machine" in notes[0]
    assert choose() == ("native", [])  # from the cache
    assert choose(examples=10) == ("torch", [])
    assert choose("native", examples=10)[0] == "native"
    assert choose("torch") == ("torch", [])


def test_without_a_compiler_pytorch_trains_and_a_warning_is_printed(fresh_compiler: pytest.MonkeyPatch, choose) -> None:
    fresh_compiler.setenv("PATH", "")
    name, notes = choose()
    assert name == "torch"
    assert notes[0].startswith("warning: falling back to PyTorch")
    assert "there is no C++ compiler: install one (Debian: apt-get install g++)" in notes[0]
    with pytest.raises(InputError, match="`engine` is 'native': there is no C"):
        choose("native")


def test_unsupported_architectures_and_gpus_get_pytorch(fresh_compiler: pytest.MonkeyPatch, choose) -> None:
    pooled = Architecture((3, 5, 5), (GlobalAveragePool(), Linear(2)))
    name, notes = choose(architecture=pooled)
    assert name == "torch"
    assert "does not support this architecture" in notes[0]
    with pytest.raises(InputError, match="computes on the CPU only"):
        choose("native", device="cuda")
    with pytest.raises(InputError, match="unknown engine 'natve'"):
        choose("natve")
