"""The choice of an engine for each architecture."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from zoo_builder.engines.native import compiler
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.native.generate import supports
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError, one_of
from zoo_builder.networks.architecture import Architecture
from zoo_builder.training.engine import Engine

ENGINES = ("auto", "native", "torch")
# Compiling an architecture takes a core 2 to 7 s. Compiled code saves about that much time over torch on this many
# multiplications (forward and backward): "auto" compiles from there on.
WORTH_COMPILING = 1e11


def engines(
    name: str,
    device: torch.device,
    architectures: Mapping[str, Architecture],
    examples: Mapping[str, int],
    note: Callable[[str], object],
) -> dict[str, Engine]:
    """An engine for each architecture, compiled here if need be.

    Args:
        name: "native", "torch", or "auto": native if there is a compiler and compiling pays off.
        architectures: those to be computed, by key.
        examples: for each key, how many training examples all runs of the recipe see in all epochs. Finished runs
            count too, so that a resumed build makes the same choice.
        note: called with a line about anything that makes training slower than necessary.

    Raises:
        InputError: an unknown name, or "native" and that engine is not available.
    """
    one_of("engine", name, ENGINES)
    work = {key: 3 * one.multiplications * examples[key] for key, one in architectures.items()}
    chosen: dict[str, Engine] = dict.fromkeys(work, TorchEngine(device))
    if name == "torch" or device.type != "cpu":
        if name == "native":
            raise InputError("the native engine computes on the CPU only: set `device` to 'cpu', or `engine` to 'auto'")
        return chosen
    wanted = [key for key, needed in work.items() if name == "native" or needed >= WORTH_COMPILING]
    reasons = _prepare([architectures[key] for key in wanted], note)
    for key in wanted:
        reason = reasons.get(architectures[key])
        if reason is None:
            chosen[key] = NativeEngine()
        elif name == "native":
            raise InputError(f"`engine` is 'native': {reason}")
    for reason in dict.fromkeys(reasons.values()):
        note(f"warning: falling back to PyTorch, which is several times slower than compiled code: {reason}")
    return chosen


def _prepare(architectures: list[Architecture], note: Callable[[str], object]) -> dict[Architecture, str]:
    """Compiles the architectures; returns the reason for each one that cannot be compiled."""
    unsupported = "the native engine does not support this architecture"
    reasons = {one: unsupported for one in architectures if not supports(one)}
    left = [one for one in architectures if one not in reasons]
    if not left:
        return reasons
    try:
        missing = [one for one in left if not compiler.library_path(one).exists()]
        if problem := compiler.cache_problem():
            note(problem)
        elif missing:
            many = "s" if len(missing) > 1 else ""
            note(f"compiling {len(missing)} architecture{many} for this machine, kept in {compiler.cache_folder()}")
    except compiler.CompilerError as error:
        return reasons | dict.fromkeys(left, str(error))

    def failure(architecture: Architecture) -> str | None:
        try:
            compiler.library(architecture)
        except compiler.CompilerError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each thread waits for a compiler process
        failures = zip(left, threads.map(failure, left), strict=True)
    return reasons | {one: reason for one, reason in failures if reason is not None}
