"""Computes many measures in one pass over the stacks of a view; an error in one measure leaves the others intact."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
import torch

from baselines.access import View
from baselines.levels import ACCESS
from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable, Prediction
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack
from zoo_builder.training.engine import Engine

FAILED = "the measure failed"  # prefix of the reason for an error in the measure itself
UNKNOWN_ERROR = "its standard error is unknown"
NOT_FINITE = "the model has weights that are not finite"


@dataclass(frozen=True)
class MeasureResult(Prediction):
    """One measure's values, a reason for every NaN, and its cost.

    Attributes:
        remarks: {row: a remark on its value}.
        errors: float64 [n], standard errors of the values; None for a measure without random draws.
        seconds: processor time of the measure and of everything it read, as if no other measure had been computed.
        log: the errors of the measure itself, with tracebacks; "" where there were none.
    """

    remarks: dict[int, str] = field(default_factory=dict)
    errors: np.ndarray | None = None
    seconds: float = 0.0
    log: str = ""


def compute(view: View, measures: Iterable[Measure], **settings: Any) -> dict[str, MeasureResult]:
    """Computes ``measures`` for every model of ``view``.

    Args:
        view, measures, settings: as for ``one_by_one``.

    Returns:
        {name: result}, in the order of ``measures``.

    Raises:
        InputError: as ``one_by_one``.
    """
    measures = tuple(measures)
    values = {measure.name: np.full(view.size, np.nan) for measure in measures}
    reasons: dict[str, dict[int, str]] = {measure.name: {} for measure in measures}
    remarks: dict[str, dict[int, str]] = {measure.name: {} for measure in measures}
    seconds = dict.fromkeys(values, 0.0)
    logs = dict.fromkeys(values, "")
    errors: dict[str, np.ndarray] = {}
    for measure, rows, result in one_by_one(view, measures, **settings):
        values[measure.name][rows] = result.values
        for found, notes in ((reasons, result.reasons), (remarks, result.remarks)):
            found[measure.name].update({int(rows[model]): text for model, text in notes.items()})
        seconds[measure.name] += result.seconds
        if result.errors is not None:
            errors.setdefault(measure.name, np.full(view.size, np.nan))[rows] = result.errors
        if result.log not in logs[measure.name]:  # the same error in every stack is logged once
            logs[measure.name] += result.log
    return {
        name: MeasureResult(values[name], reasons[name], remarks[name], errors.get(name), seconds[name], logs[name])
        for name in values
    }


def one_by_one(
    view: View,
    measures: Sequence[Measure],
    *,
    stack_size: int = 64,
    engine_of: Callable[[Architecture], Engine] = lambda architecture: TorchEngine(),
) -> Iterator[tuple[Measure, np.ndarray, MeasureResult]]:
    """Yields each measure for a chunk of models as soon as it is computed.

    A model with weights that are not finite gets NaN from every measure. Where a measure raises, returns anything but
    one number per model, or gives NaN or infinity without a reason, its values are NaN, with that reason and a log.

    Args:
        view: the models.
        measures: with distinct names; the view's access level includes the level of each.
        stack_size: how many models are computed together.
        engine_of: returns the engine for an architecture, given as ``MeasureContext.architecture``.

    Yields:
        A measure, the rows of ``view`` that it was computed for, int64 [m], and the result of these m models.

    Raises:
        InputError: a measure needs more than the view's access level includes.
    """
    for measure in measures:
        if not ACCESS[measure.access] <= ACCESS[view.access]:
            raise InputError(
                f"measure {measure.name!r} needs access level {measure.access!r}, and this view has {view.access!r}: "
                f"leave the measure out, or use a view of its level"
            )
    for stack in view.stacks:
        finite = _finite(stack)
        if len(broken := stack.rows[~finite]):
            nothing = MeasureResult(np.full(len(broken), np.nan), dict.fromkeys(range(len(broken)), NOT_FINITE))
            yield from ((measure, broken, nothing) for measure in measures)
        rows = stack.rows[finite]
        for start in range(0, len(rows), stack_size):
            chunk = rows[start : start + stack_size]
            context = MeasureContext(view.take(chunk))
            context.engine = engine_of(context.architecture)
            yield from ((measure, chunk, _evaluate(measure, context)) for measure in measures)


def _finite(stack: Stack) -> np.ndarray:
    """bool [M]: every weight of the model is finite."""
    return torch.stack([value.isfinite().flatten(1).all(1) for value in stack.parameters.values()]).all(0).numpy()


def _evaluate(measure: Measure, context: MeasureContext) -> MeasureResult:
    """One measure of the models of one stack."""
    values, log = np.full(len(context), np.nan), ""
    context.reasons, context.remarks, context.errors = {}, {}, None
    borrowed, start = context.borrowed, process_time()
    models = range(len(context))
    try:
        returned = measure.function(context)
    except NotApplicable as reason:
        context.reasons = dict.fromkeys(models, str(reason))
    except Exception as error:  # noqa: BLE001 - a user's measure may raise anything
        context.reasons = dict.fromkeys(models, f"{FAILED}: {type(error).__name__}: {error}")
        # Without the frame of this function: the following ones are the measure's own.
        own = error.__traceback__ and error.__traceback__.tb_next
        log = "".join(traceback.format_exception(error.with_traceback(own)))
    else:
        try:
            values[:] = _numbers(returned, len(context))
        except ValueError as error:
            context.reasons = dict.fromkeys(models, f"{FAILED}: {error}")
            log = f"{measure.name}: {error}\n"
    seconds = process_time() - start + context.borrowed - borrowed
    unexplained = [model for model in np.flatnonzero(~np.isfinite(values)).tolist() if model not in context.reasons]
    context.reasons |= {model: f"{FAILED}: it returned {values[model]} and gave no reason" for model in unexplained}
    if unexplained:
        log += f"{measure.name}: {context.reasons[unexplained[0]]}, for {len(unexplained)} of {len(context)} models\n"
    values[list(context.reasons)] = np.nan
    remarks = {model: text for model, text in context.remarks.items() if model not in context.reasons}
    errors = None if context.errors is None else np.where(np.isfinite(values), context.errors.numpy(), np.nan)
    if errors is not None:
        errors[~np.isfinite(errors)] = np.nan
        for model in np.flatnonzero(np.isfinite(values) & np.isnan(errors)).tolist():
            remarks[model] = "; ".join([*([remarks[model]] if model in remarks else []), UNKNOWN_ERROR])
    return MeasureResult(values, context.reasons, remarks, errors, seconds, log)


def _numbers(returned: Any, count: int) -> np.ndarray:
    """The return value of a measure as float64 [count].

    Raises:
        ValueError: it is anything but one number per model.
    """
    expected = f"expected a tensor of shape ({count},): one number per model"
    try:
        found = torch.as_tensor(returned if isinstance(returned, torch.Tensor) else np.asarray(returned))
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or found.is_complex():
        raise ValueError(f"it returned a {type(returned).__name__} that holds no real numbers, {expected}")
    if found.shape != (count,):
        raise ValueError(f"it returned shape {tuple(found.shape)}, {expected}")
    return found.detach().cpu().double().numpy()
