"""From names to methods: those that a command names and that the task takes."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from baselines.levels import ACCESS
from benchmark.evaluation import measuring, sandbox
from benchmark.evaluation.known_names import unknown
from benchmark.evaluation.methods import Method, builtin_methods
from benchmark.evaluation.process import DESCRIBE_SECONDS, describe_in_process
from benchmark.evaluation.stopping import process_pool
from benchmark.names import look, problem
from benchmark.tasks import Task
from zoo_builder.errors import InputError


class WrongTask(InputError):
    """The task does not take the method."""

    def __init__(self, method: str, message: str):
        super().__init__(message)
        self.method = method


def _raise(error: InputError) -> None:
    raise error


def find_methods(
    references: Sequence[str],
    task: Task,
    refused: Callable[[InputError], object] = _raise,
    note: Callable[[str], object] = lambda line: None,
    left_out: Collection[str] = (),
    workers: int = 1,
    trust: bool = False,
    timeout: float = DESCRIBE_SECONDS,
) -> list[Method]:
    """The methods that ``references`` name: built-ins, families of measures, a user's own, or "all".

    "all" stands for the built-in methods of the task's kinds and for every control that fits the task.

    Args:
        refused: called with the error of every method that is unknown, cannot be loaded, is not taken by the task, or
            has the name of another. If it does not raise, the method is left out.
        note: called with a line about the measures of a family, or of "fast", that the task does not take. If it takes
            none of them, each is refused.
        left_out: names of built-in methods that "fast" and "all" do not include.
        workers: how many processes load users' files at a time.
        trust: load users' files without a box.
        timeout: seconds that loading one file may take, at most ``DESCRIBE_SECONDS``.

    Raises:
        InputError: users' files are given, and no box works here.
    """
    known = builtin_methods()
    usual = [method for method in known.values() if method.control or method.kind in task.kinds]
    names: dict[str, list[str]] = {}
    for name, group in measuring.named_groups().items():
        names[name] = [measure.name for measure in group if name != "fast" or measure.name not in left_out]
        taken = [measure for measure in names[name] if not refusal(task, known[measure])]
        if name in references and 0 < len(taken) < len(names[name]):
            others = [measure for measure in names[name] if measure not in taken]
            note(f"left out of {name}, because {task.name} does not take them: {', '.join(others)}")
            names[name] = taken
    names["all"] = [method.name for method in usual if method.name not in left_out and not refusal(task, method)]
    wanted = list(dict.fromkeys(name for reference in references for name in names.get(reference, [reference])))
    described = _described([reference for reference in wanted if ":" in reference], workers, trust, timeout)
    builtin_looks = {look(name): name for name in known}
    looks: dict[str, Method] = {}
    chosen: dict[str, Method] = {}
    for reference in wanted:
        try:
            method = known.get(reference) or described.get(reference) or unknown(reference, [*known, *names])
            if isinstance(method, InputError):
                raise method
            if why := problem(method.name):  # a user's process may describe itself with any
                raise InputError(f"{reference} has a name that boards cannot show: {why}")
            if reference not in known and (alike := builtin_looks.get(look(method.name))):
                raise _same_name(method, alike, "a built-in method")
            if reason := refusal(task, method):
                raise WrongTask(method.name, f"{method.name} does not fit {task.name}: {reason}")
            if (other := looks.setdefault(look(method.name), method)) is not method:
                raise _same_name(method, other.name, other.reference)
            chosen[method.name] = method
        except InputError as error:
            refused(error)
    return list(chosen.values())


def _same_name(method: Method, name: str, other: str) -> InputError:
    alike = f"like {other}" if method.name == name else f"which looks like {name!r}, the name of {other}"
    return InputError(f"{method.reference} is called {method.name!r} {alike}: give it another `name`")


def refusal(task: Task, method: Method) -> str | None:
    """Why ``task`` does not take ``method``; None if it does. Controls need no access level and no training models."""
    kind, allowed = method.kind, ACCESS[task.access]
    if kind.target not in (None, task.target):
        return f"a {kind.name} predicts the {kind.target.title}, and the target of {task.name} is {task.target.title}"
    if missing := sorted(kind.fields - allowed):
        return (
            f"every {kind.name} reads view.{missing[0]}, which is not part of {task.access!r}, the task's access level"
        )
    if method.control:
        return None
    if kind.fitted and not task.fitted:
        return f"it is fitted, and {task.name} scores all models of a zoo, so that none are left for fitting"
    if not ACCESS[method.access] <= allowed:
        return f"its access level is {method.access!r}, and the task's is {task.access!r}"
    return None


def _described(references: Sequence[str], workers: int, trust: bool, timeout: float) -> dict[str, Method | InputError]:
    """Users' methods, or why they cannot be loaded, by reference; one process for each file."""
    if not references:
        return {}
    by_file: dict[str, list[str]] = {}
    for reference in references:
        by_file.setdefault(reference.rpartition(":")[0], []).append(reference)
    load = partial(describe_in_process, protection=sandbox.protection(trust), timeout=timeout)
    found: dict[str, Method | InputError] = {}
    with process_pool(workers) as pool:
        for of_file in pool.map(load, by_file.values()):
            found |= of_file
    return found
