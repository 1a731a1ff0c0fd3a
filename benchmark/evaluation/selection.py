"""Which methods a command names, and which of them a task takes."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmark.evaluation import measuring
from benchmark.evaluation.methods import Method, builtin_methods, unknown
from benchmark.evaluation.process import described
from benchmark.tasks import Task
from zoo_builder.errors import InputError


def _raise(error: InputError) -> None:
    raise error


class CannotEnter(InputError):
    """A method is not of the kind that a task takes."""

    def __init__(self, method: str, message: str):
        super().__init__(message)
        self.method = method


def find_methods(
    references: Sequence[str],
    task: Task,
    refused: Callable[[InputError], object] = _raise,
    left_out: Collection[str] = (),
    workers: int = 1,
) -> list[Method]:
    """The methods that ``references`` name: built-ins, families of measures, a user's own, or "all", the usual ones.

    Args:
        refused: what is done about a method that is unknown or cannot be loaded, that cannot enter the task, or that
            is a user's own under a name that another has. Where it does not raise, the method is left out.
        left_out: names of built-ins that "all" does not stand for.
        workers: how many processes at a time ask users' files what their methods are.
    """
    known = builtin_methods()
    usual = [method for method in known.values() if method.control or method.kind in task.kinds]
    names = {name: [measure.name for measure in group] for name, group in measuring.named_groups().items()}
    names["all"] = [method.name for method in usual if method.name not in left_out and not task.refuses(method)]
    wanted = dict.fromkeys(name for reference in references for name in names.get(reference, [reference]))
    chosen: dict[str, Method] = {}
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_method, reference, task, known, names) for reference in wanted]
        for future in futures:
            try:
                method = future.result()
                if (other := chosen.setdefault(method.name, method)) is not method:
                    raise InputError(
                        f"{method.reference} is called {method.name!r} like {other.reference}: give it another `name`"
                    )
            except InputError as error:
                refused(error)
    return list(chosen.values())


def _method(reference: str, task: Task, known: dict[str, Method], groups: Iterable[str]) -> Method:
    if reference in known:
        method = known[reference]
    elif ":" not in reference:
        raise unknown(reference, [*known, *groups])
    elif (method := described(reference)).name in known:
        raise InputError(f"{reference} is called {method.name!r} like a built-in method: give it another `name`")
    if problem := task.refuses(method):
        raise CannotEnter(method.name, f"{method.name} cannot enter {task.name}: {problem}")
    return method
