"""``View``: what an access level lets a method read, enforced."""

from typing import Any

import numpy as np
import pandas as pd

from baselines.fields import FIELDS, Missing, SourceData, TargetData, TrainData
from baselines.levels import ACCESS
from zoo_builder.errors import InputError, nearest, one_of
from zoo_builder.networks.stack import Stack


class AccessError(AttributeError):
    """A method read a field of its view that its access level does not allow."""


class NotApplicable(Exception):
    """A method is undefined for a whole zoo. The message is the reason, which the record shows."""


class View:
    """What one access level may read of n models.

    Reading a field that the level does not allow raises AccessError; reading one that it allows and the zoo does not
    have raises NotApplicable with the reason. A field is never None.

    Attributes:
        access: the level's name.
        size: n.
        stacks: final weights, one Stack per architecture; ``stack.rows`` are positions 0 .. n-1 in this view.
        initial: the same models at epoch 0, stack for stack, row for row.
        hyperparameters: one row per model; numbers and strings.
        configurations: int64 [n]; equal numbers are runs of one configuration that differ only in the seed.
        train, targets, source: see ``baselines.fields``; targets by name.
        statistics: one row per model, columns from ``zoo_builder.training.results.STATISTICS``.
    """

    stacks: list[Stack]
    initial: list[Stack]
    hyperparameters: pd.DataFrame
    configurations: np.ndarray
    train: TrainData
    statistics: pd.DataFrame
    targets: dict[str, TargetData]
    source: SourceData

    def __init__(self, access: str, size: int, **content: Any) -> None:
        """``content`` holds the level's fields by name; one that is left out counts as missing.

        Raises:
            InputError: there is no such access level, or it does not allow one of the fields.
        """
        one_of("access level", access, ACCESS)
        if refused := sorted(content.keys() - ACCESS[access]):
            raise InputError(
                f"a view of access level {access!r} cannot hold {', '.join(refused)}, only "
                f"{', '.join(sorted(ACCESS[access]))}"
            )
        self.access = access
        self.size = size
        self._content = {
            name: content.get(name, Missing(f"this view was made without `{name}`")) for name in ACCESS[access]
        }

    def __repr__(self) -> str:
        return f"View({self.access!r}, {self.size} models)"

    def __getattr__(self, name: str) -> Any:
        """Called for the fields, because they are not attributes of the object."""
        levels = [level for level, allowed in ACCESS.items() if name in allowed]
        if not levels:
            raise AttributeError(f"a view has no field {name!r}{nearest(name, _NAMES)}: use one of {', '.join(_NAMES)}")
        if self.access not in levels:
            raise AccessError(
                f"view.{name} is not part of access level {self.access!r} (it is part of: {', '.join(levels)}); "
                f"declare one of these as the method's `access`, or do without"
            )
        value = self._content[name]
        if isinstance(value, Missing):
            raise NotApplicable(value.reason)
        return value

    def take(self, rows: np.ndarray) -> "View":
        """The models at ``rows`` (distinct, any order), renumbered 0 .. len(rows)-1. What is missing stays missing.

        Raises:
            InputError: a row is given twice, or is not one of 0 .. n-1.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(np.unique(rows)) < len(rows) or not np.isin(rows, np.arange(self.size)).all():
            raise InputError(
                f"rows {rows} of a view of {self.size} models: give distinct rows from 0 to {self.size - 1}"
            )
        content = {}
        for field in FIELDS:
            if field.name in ACCESS[self.access]:
                value = self._content[field.name]
                content[field.name] = value if isinstance(value, Missing) else field.take(value, rows)
        return View(self.access, len(rows), **content)


_NAMES = tuple(field.name for field in FIELDS)
