"""Compilers that fail, and a cache that is broken or cannot be written."""

import pytest

from zoo_builder.engines.native import compiler
from zoo_builder.errors import InputError


def test_a_compiler_that_fails_is_quoted(fresh_compiler: pytest.MonkeyPatch, tmp_path, choose) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'cannot find the moon' >&2\nexit 3\n")
    broken.chmod(0o755)
    fresh_compiler.setenv("CXX", str(broken))
    name, notes = choose()
    assert name == "torch"
    assert "made no library (exit code 3)" in notes[-1]
    assert "cannot find the moon" in notes[-1]


def test_a_cache_folder_that_cannot_be_written_only_costs_time(
    fresh_compiler: pytest.MonkeyPatch, tmp_path, choose
) -> None:
    (tmp_path / "file").write_text("")
    fresh_compiler.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    name, notes = choose()
    assert name == "native"
    assert "cannot be written" in notes[0]
    assert "XDG_CACHE_HOME" in notes[0]


def test_a_broken_library_in_the_cache_is_compiled_again(fresh_compiler: pytest.MonkeyPatch, choose, small) -> None:
    assert choose()[0] == "native"
    path = compiler.library_path(small)
    path.write_bytes(path.read_bytes()[:100])
    compiler.library.cache_clear()
    assert choose()[0] == "native"
    assert path.stat().st_size > 100


def test_a_compiler_that_makes_nothing_has_failed(fresh_compiler: pytest.MonkeyPatch, choose) -> None:
    fresh_compiler.setenv("CXX", "true")
    with pytest.raises(InputError, match=r"made no library \(exit code 0\): set \$CXX to another"):
        choose("native")
