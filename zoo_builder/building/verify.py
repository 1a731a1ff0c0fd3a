"""Finds everything that is wrong with a zoo: faults of its files, and results that its weights do not reproduce."""

from collections.abc import Callable, Iterator
from pathlib import Path

from zoo_builder.errors import InputError, one_of, said
from zoo_builder.problems.interface import Problem
from zoo_builder.problems.loading import PROBLEMS
from zoo_builder.store.verify import part_faults
from zoo_builder.store.zoo import Zoo


def faults(
    path: str | Path,
    *,
    sample: int = 20,
    data_root: str | Path | None = None,
    note: Callable[[str], object] = lambda line: None,
) -> Iterator[str]:
    """Yields one line for each fault: checksums, row alignment, weights that are not finite, and stored outputs and
    recorded results that are not those of the weights, for ``sample`` models drawn with a fixed seed.

    Args:
        note: called with a line for each check that an imported zoo does not allow.

    Raises:
        InputError: not a zoo, an unfinished one, or its data cannot be loaded.
    """
    zoo = Zoo.of_manifest(path)
    sound = True
    for part in zoo.parts:
        for fault in part_faults(zoo.root, part, zoo.architectures):
            sound = False
            yield fault
    if not sound:
        return
    zoo = Zoo.open(path)
    if twice := sum(part.runs for part in zoo.parts) - len(zoo.final):
        yield f"{twice} models are in more than one part"
    if problem := _problem(zoo, data_root, note):
        yield from _result_faults(zoo, problem, sample, note)


def _problem(zoo: Zoo, data_root: str | Path | None, note: Callable[[str], object]) -> Problem | None:
    """The problem of ``zoo`` with its data; None if an imported zoo's data is not available."""
    try:
        return PROBLEMS[one_of("problem", zoo.problem, PROBLEMS)](zoo.data(data_root))
    except InputError as error:
        if zoo.provenance == "built" or data_root is not None:
            raise
        note(f"skipped: outputs and results are not recomputed without the data ({error})")
        return None


def _result_faults(zoo: Zoo, problem: Problem, sample: int, note: Callable[[str], object]) -> Iterator[str]:
    final = zoo.final[zoo.final["status"] != "diverged"]
    chosen = final.sample(min(sample, len(final)), random_state=0)
    if not zoo.has_outputs:
        note("skipped: the zoo has no stored outputs to compare with")
    if missing := [name for name in problem.verified if name not in final]:
        note(f"skipped: the zoo has no {', '.join(missing)} to compare with")
    for stack in zoo.weights(chosen.index):
        rows = chosen.loc[stack.rows]
        try:
            outputs = zoo.outputs(stack.rows) if zoo.has_outputs else None
            yield from problem.verify(rows, stack, outputs)
        except Exception as error:  # noqa: BLE001 - networks of others may break anything, and others follow
            yield f"model {rows['model_id'].iloc[0]} and {len(rows) - 1} others cannot be evaluated: {said(error)}"
