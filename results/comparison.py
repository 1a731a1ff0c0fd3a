"""Writes COMPARISON.md from comparison.md.j2: numbers that the records hold are computed from the records.

    python results/comparison.py

The template calls the functions of a zoo (``Zoo``) and states what its sentences rest on with ``claim``: where a record
no longer says so, nothing is written and the sentence is named.
"""

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from benchmark.records import Record, read_records
from benchmark.scoring.grid import codes_of
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.robust import robust_sign_error
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import load_recipe

HERE = Path(__file__).parent
PAGE, TEMPLATE = "COMPARISON.md", "comparison.md.j2"
# Of the images that the targets were measured on.
TEST_EXAMPLES = 10_000


class Zoo:
    """The records of the task ``complexity`` on one zoo, by method."""

    def __init__(self, name: str, records: list[Record]) -> None:
        self.name = name
        self.records = {record.method: record for record in records if record.task == f"{name}/complexity"}
        self._read: dict[str, pd.DataFrame] = {}

    def score(self, method: str, name: str = "tau") -> float:
        """NaN where it is undefined."""
        return self.records[method].scores.get(name, {}).get("value", math.nan)

    def detail(self, method: str, name: str, part: str) -> object:
        return self.records[method].scores[name]["detail"][part]

    def predictions(self, method: str) -> pd.DataFrame:
        if method not in self._read:
            self._read[method] = self.records[method].predictions().set_index("model_id")
        return self._read[method]

    @cached_property
    def head(self) -> Record:
        return self.records["parameter-count"]

    @cached_property
    def target(self) -> pd.Series:
        return self.predictions("parameter-count")["target"]

    def floor(self, name: str = "tau", kind: str = "noise_floors") -> float:
        return self.head.reference[kind][name]["p95"]

    def measures(self, condition: Callable[[str], bool] = lambda method: True) -> list[str]:
        """The scored measures that are no controls."""
        scored = (record for record in self.records.values() if record.scores and record.kind == "measure")
        return [record.method for record in scored if not record.control and condition(record.method)]

    def rank_of(self, method: str) -> int:
        """1 is the measure with the largest tau."""
        return 1 + sum(self.score(other) > self.score(method) for other in self.measures())

    @cached_property
    def axes(self) -> pd.DataFrame:
        """The varied hyperparameters, one row per model in the order of ``target``."""
        recipe = load_recipe(self.name)
        return grid.runs(recipe).set_index("model_id").loc[self.target.index, list(recipe.grid)]

    def extremes(self, methods: list[str]) -> tuple[float, float]:
        """The smallest and the largest tau of some methods."""
        values = [self.score(method) for method in methods]
        return min(values), max(values)

    def spread(self, axis: str) -> float:
        """The largest minus the smallest mean target over the values of a hyperparameter."""
        return float(np.ptp(self.target.groupby(self.axes[axis]).mean()))

    def maxima(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """The largest sign error of each measure, on the environments among some of the models, bool [n]."""
        rows = np.ones(len(self.target), dtype=bool) if rows is None else rows
        methods = self.measures(lambda method: self.records[method].coverage == 1)
        predictions = np.stack([self.values(method) for method in methods])
        table = self.axes[rows].to_numpy(object)
        errors = robust_sign_error(predictions[:, rows], self.target.to_numpy()[rows], table, TEST_EXAMPLES)
        return {method: error.maximum for method, error in zip(methods, errors, strict=True)}

    def environments(self) -> dict[str, int]:
        """How many of the kept environments are steps in each hyperparameter."""
        kept = self._kept(np.ones(len(self.axes), dtype=bool))
        codes = codes_of(self.axes.to_numpy(object), len(self.axes))
        return {
            axis: kept - sum(self._kept(values == value) for value in np.unique(values))
            for axis, values in zip(self.axes, codes.T, strict=True)
        }

    def _kept(self, rows: np.ndarray) -> int:
        (error,) = robust_sign_error(
            self.target.to_numpy()[None, rows],
            self.target.to_numpy()[rows],
            self.axes[rows].to_numpy(object),
            TEST_EXAMPLES,
        )
        return error.environments

    def maxima_without(self, axis: str) -> dict[str, float]:
        """``maxima`` without the environments that are steps in one hyperparameter."""
        values = self.axes[axis].to_numpy()
        parts = [self.maxima(values == value) for value in np.unique(values)]
        return {method: max(part[method] for part in parts) for method in parts[0]}

    def lost_within(self) -> list[str]:
        """Measures with a tau above .1 in size that has the other sign, or is below the floor, within architectures."""

        def lost(method: str) -> bool:
            tau, within = self.score(method), self.score(method, "tau-within")
            return abs(tau) > 0.1 and (tau * within <= 0 or abs(within) < self.floor("tau-within"))

        return self.measures(lost)

    def best_norm_by_psi(self) -> str:
        from baselines.measures import families

        norms = [measure.name for family in ("norms", "spectral", "path") for measure in families()[family]]
        return max((name for name in norms if name in self.measures()), key=lambda name: self.score(name, "psi"))

    def largest(self, score: str, many: int, undivided: bool = False) -> list[str]:
        """The measures with the largest scores; ``undivided``: none of those per image."""
        defined = self.measures(
            lambda method: math.isfinite(self.score(method, score)) and not (undivided and "-per-image" in method)
        )
        return sorted(defined, key=lambda method: -self.score(method, score))[:many]

    def values(self, method: str) -> np.ndarray:
        """Predictions in the order of ``target``."""
        return self.predictions(method).loc[self.target.index, "prediction"].to_numpy()

    def tau_between(self, first: str, second: str) -> float:
        return _tau(self.values(first), self.values(second))

    def given(self, method: str, *others: str) -> float:
        """Kendall's partial coefficient of a method and the target, given other methods."""
        return _partial(self.values(method), self.target.to_numpy(), list(map(self.values, others)))

    def better_half(self, method: str) -> np.ndarray:
        values = self.values(method)
        return values > np.median(values)

    def share_below(self, method: str, value: float) -> float:
        return float((self.values(method) < value).mean())

    def among(self, method: str, rows: np.ndarray) -> float:
        """tau on some of the models, bool [n]."""
        return _tau(self.values(method)[rows], self.target.to_numpy()[rows])


def _tau(first: np.ndarray, second: np.ndarray) -> float:
    known = ~np.isnan(first) & ~np.isnan(second)
    return kendall_tau(first[known], second[known]).value


def _partial(first: np.ndarray, second: np.ndarray, others: list[np.ndarray]) -> float:
    """Kendall's partial coefficient, on the models that all define; by recursion for several others.

    Source: Kendall, "Partial rank correlation", Biometrika 32 (1942).
    """
    known = ~np.isnan(np.stack([first, second, *others])).any(axis=0)
    first, second, others = first[known], second[known], [other[known] for other in others]
    if not others:
        return _tau(first, second)
    *rest, other = others
    own, one, two = (_partial(*pair, rest) for pair in ((first, second), (first, other), (second, other)))
    return (own - one * two) / np.sqrt((1 - one**2) * (1 - two**2))


def claim(holds: bool, sentence: str) -> str:
    if not holds:
        raise ValueError(f"the records no longer say: {sentence}")
    return ""


def two(value: float) -> str:
    """Two decimals without a leading zero; a dash for NaN.

    >>> two(-0.081), two(1.0), two(math.nan), two(-0.001)
    ('−.08', '1.00', '–', '.00')
    """
    return _decimals(value, 2)


def three(value: float) -> str:
    return _decimals(value, 3)


def _decimals(value: float, digits: int) -> str:
    if math.isnan(value):
        return "–"
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    return text if float(f"{value:.{digits}f}") >= 0 else f"−{text}"


def render(folder: Path = HERE) -> str:
    records = read_records(folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"two": two, "three": three}
    small, robust, gs = (Zoo(name, records) for name in ("nin-cifar10-small", "nin-robust", "cifar10-gs"))
    return environment.get_template(TEMPLATE).render(small=small, robust=robust, gs=gs, claim=claim) + "\n"


if __name__ == "__main__":
    (HERE / PAGE).write_text(render(), encoding="utf-8")
