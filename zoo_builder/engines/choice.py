"""Which engine trains which architecture."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import torch

from zoo_builder.engines.native import compiler
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.native.generate import known
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError, one_of
from zoo_builder.networks.architecture import Architecture
from zoo_builder.training.engine import Engine
from zoo_builder.training.settings import subset_size

ENGINES = ("auto", "native", "torch")
# Compiling an architecture takes a core 2 to 7 s. So many multiplications (forward and backward) take torch about that
# much longer than compiled code: with fewer left, "auto" does not compile.
_WORTH_COMPILING = 1e11


def engines(
    name: str,
    device: torch.device,
    architectures: Mapping[str, Architecture],
    runs: pd.DataFrame,
    examples: int,
    note: Callable[[str], object],
) -> dict[str, Engine]:
    """An engine for each architecture; what it needs is compiled here, once.

    What is worth it follows from all runs of the recipe, finished or not: a resumed build decides as it did before.

    Args:
        name: "native", "torch", or "auto": native where there is a compiler and it is worth it.
        architectures: those that are to be trained, by their keys.
        runs: all of the recipe, with the key of each one's architecture in the column ``architecture``.
        examples: training images of the data set, times epochs.
        note: called with a line for whatever is not as fast as it could be.

    Raises:
        InputError: an unknown name; "native" where it cannot be had.
    """
    one_of("engine", name, ENGINES)
    work = {
        key: 3 * architectures[key].multiplications * sum(subset_size(fraction, examples) for fraction in fractions)
        for key, fractions in runs.groupby("architecture")["train_fraction"]
        if key in architectures
    }
    chosen: dict[str, Engine] = dict.fromkeys(work, TorchEngine(device))
    if name == "torch" or device.type != "cpu":
        if name == "native":
            raise InputError("--engine native computes on the CPU alone: use --device cpu, or leave --engine out")
        return chosen
    wanted = [key for key, needed in work.items() if name == "native" or needed >= _WORTH_COMPILING]
    reasons = _prepare([architectures[key] for key in wanted], note)
    for key in wanted:
        reason = reasons.get(architectures[key])
        if reason is None:
            chosen[key] = NativeEngine()
        elif name == "native":
            raise InputError(f"--engine native: {reason}")
    for reason in dict.fromkeys(reasons.values()):
        note(f"training with torch, several times slower than compiled code: {reason}")
    return chosen


def _prepare(architectures: list[Architecture], note: Callable[[str], object]) -> dict[Architecture, str]:
    """Compiles; returns why not, for each that cannot be."""
    reasons = {one: "the native engine knows no such networks" for one in architectures if not known(one)}
    left = [one for one in architectures if one not in reasons]
    if not left:
        return reasons
    try:
        missing = [one for one in left if not compiler.library_path(one).exists()]
        if problem := compiler.cache_problem():
            note(problem)
        elif missing:
            note(f"compiling {len(missing)} architecture(s) for this machine, once: kept in {compiler.cache_folder()}")
    except compiler.CompilerError as error:
        return reasons | dict.fromkeys(left, str(error))

    def failure(architecture: Architecture) -> str | None:
        try:
            compiler.library(architecture)
        except compiler.CompilerError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for a compiler process
        failures = zip(left, threads.map(failure, left), strict=True)
    return reasons | {one: reason for one, reason in failures if reason is not None}
