"""Measures of a whole zoo, stored beside it: ZOO/measures/part-00000.parquet, one table per part of the zoo.

A row is one measure of one model:

    model_id, measure
    version    of the measure's definition; rows of another version are computed again
    weights    sha256 of the file with the part's weights; rows of other weights are computed again
    value      float64; NaN if the status is "undefined" or "failed"
    error      float64, the standard error of a value that is a mean over random draws; NaN for other values
    status     "ok", "qualified" (the value holds, with a remark), "undefined" or "failed"
    reason     of every status but "ok"
    seconds    processor time of the value with all shared computations, as if it had been computed by itself
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype

from baselines.levels import ACCESS
from baselines.measures import families, measures
from baselines.measures.compute import FAILED, MeasureResult, one_by_one
from baselines.measures.measure import COSTS, Measure
from baselines.methods import NotApplicable
from baselines.weight_space.norms import without_norms
from benchmark.evaluation.views import make_view
from zoo_builder import files, tables
from zoo_builder.building.runner import Local
from zoo_builder.engines.choice import engines
from zoo_builder.errors import InputError, nearest, refuse_other_type
from zoo_builder.lock import only_process
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.engine import Engine
from zoo_builder.training.settings import subset_size

if TYPE_CHECKING:
    from zoo_builder.datasets.dataset import Dataset

COLUMNS = ("model_id", "measure", "version", "weights", "value", "error", "status", "reason", "seconds")
STATUSES = ("ok", "qualified", "undefined", "failed")
# Rows of a model in a stored table: more than there will ever be measures.
_MOST = 10_000
# The costs up to one pass over the training images.
FAST = COSTS[: COSTS.index("pass") + 1]
# About how many images (forward and backward) a perturbation search passes through a model.
SEARCH_IMAGES = 200_000
SAVED_EVERY = 30  # seconds


def named_groups() -> dict[str, tuple[Measure, ...]]:
    """Names for several measures: every family, and "fast", which needs at most one pass over the training images."""
    return families() | {"fast": tuple(measure for measure in measures() if measure.cost in FAST)}


def select(names: Iterable[str], left_out: Collection[str] = ()) -> list[Measure]:
    """The measures that ``names`` stand for: measures, families, "fast" or "all".

    Args:
        left_out: names of measures that "fast" and "all" do not include.

    Raises:
        InputError: a name is none of these.
    """
    known = {measure.name: (measure,) for measure in measures()} | named_groups() | {"all": measures()}
    for group in ("fast", "all"):
        known[group] = tuple(measure for measure in known[group] if measure.name not in left_out)
    chosen: dict[str, Measure] = {}
    for name in names:
        if ":" in name or name.endswith(".py"):
            own = name if ":" in name else f"{name}:NAME"
            raise InputError(
                f"{name} is not a built-in measure: `gengap run complexity {own} --zoo DIR` scores a measure of yours"
            )
        if name not in known:
            raise InputError(
                f"unknown measure {name!r}{nearest(name, known)}: give all, fast, a family "
                f"({', '.join(families())}) or a name that `gengap measures` lists"
            )
        chosen |= {measure.name: measure for measure in known[name]}
    return list(chosen.values())


def measure(
    zoo: Zoo,
    chosen: Sequence[Measure],
    *,
    data_root: str | Path | None = None,
    workers: int = 1,
    device: str | torch.device = "cpu",
    start: Callable[[int], object] = lambda values: None,
    progress: Callable[[int], object] = lambda values: None,
    note: Callable[[str], object] = lambda line: None,
) -> pd.DataFrame:
    """Computes the missing values of the ``chosen`` measures, part by part, and returns all rows of these measures.

    Measures that read images are undefined, with the reason, for an imported zoo that does not name its data set.
    Values are saved every half minute: a process that is killed loses no more than that, and the current measure.

    Args:
        start: called once with the number of missing values.
        progress: called with the number of values that have just been computed.
        note: called with a line about everything that is slower than it could be.

    Returns:
        The columns ``COLUMNS``, see the head of this module.

    Raises:
        InputError: another process measures or builds the zoo, the data cannot be read, the folder cannot be written,
            or workers were killed. Finished values are kept.
    """
    refuse_other_type("zoo", zoo, Zoo, "Zoo.open(folder)")
    with only_process(zoo.root, "measuring", "measure a copy of the zoo"):
        numbers = range(len(zoo.parts))
        wanted = {number: _missing(_runs(zoo, number), _read_part(zoo, number), chosen) for number in numbers}
        start(sum(len(runs) * len(missing) for groups in wanted.values() for runs, missing in groups))
        if jobs := [number for number, groups in wanted.items() if groups]:
            left = {measure for groups in wanted.values() for _, missing in groups for measure in missing}
            # Without a named data set, measures that read it are undefined, with the reason of their view.
            reads_data = any(map(_reads_data, left)) and zoo.names_data
            data = zoo.data(data_root) if reads_data else None
            images, device = 0 if data is None else len(data.train_labels), torch.device(device)
            chosen_engines = _engines(zoo, {measure.cost for measure in left}, images, device, note)
            run = partial(_measure_part, str(zoo.root), zoo.weights_hash, tuple(chosen), chosen_engines)
            for _ in Local(workers).run(
                [partial(run, number) for number in jobs], data, progress, device.type == "cuda"
            ):
                pass
    return read(zoo, chosen)


def _reads_data(measure: Measure) -> bool:
    return "train" in ACCESS[measure.access]


def _engines(
    zoo: Zoo, costs: Collection[str], images: int, device: torch.device, note: Callable[[str], object]
) -> dict[Architecture, Engine]:
    """The engine of every architecture, norms folded as ``MeasureContext`` folds them."""
    # A forward and a backward pass count as three forward passes.
    examples = images * ("pass" in costs) // 3 + SEARCH_IMAGES * ("search" in costs)
    seen = {key: _without_norms(architecture) for key, architecture in zoo.architectures.items()}
    runs = zoo.final.groupby("architecture")
    if "train_fraction" in zoo.final:
        trained = runs["train_fraction"].apply(lambda own: sum(subset_size(share, examples) for share in own))
    else:
        trained = runs.size() * examples
    found = engines("auto", device, seen, trained.to_dict(), note)
    return {seen[key]: engine for key, engine in found.items()}


def _without_norms(architecture: Architecture) -> Architecture:
    """The architecture whose passes ``MeasureContext`` computes."""
    none = {name: torch.empty(0, *shape) for name, shape in architecture.tensors.items()}
    try:
        return without_norms(Stack(architecture, none, np.empty(0, np.int64))).architecture
    except NotApplicable:
        return architecture


def read(zoo: Zoo, chosen: Sequence[Measure] | None = None) -> pd.DataFrame:
    """The stored rows of the ``chosen`` measures (default: all built-in ones) as they are now defined, for this zoo."""
    tables = [_read_part(zoo, number) for number in range(len(zoo.parts))]
    return _current(pd.concat(tables, ignore_index=True), measures() if chosen is None else chosen)


def not_stored(zoo: Zoo) -> list[str]:
    """Names of the measures that need more than one pass over the training images and are not stored for this zoo.

    Those per image are not among them: "all" leaves them out.
    """
    slow = [measure for measure in measures() if measure.cost not in FAST and measure not in families()["per-image"]]
    return [measure.name for measure in _without_values(slow, read(zoo), len(zoo.final))]


def redundant(zoo: Zoo) -> list[str]:
    """Names of the measures per image, if all models were trained on as many images: other measures order them so."""
    fractions = zoo.final.get("train_fraction")
    varies = fractions is not None and fractions.nunique() > 1
    return [] if varies else [measure.name for measure in families()["per-image"]]


def _path(zoo: Zoo, number: int) -> Path:
    return zoo.root / "measures" / f"{zoo.parts[number].name}.parquet"


def _weights_hash(zoo: Zoo, number: int) -> str:
    return zoo.parts[number].weights_hash


def _runs(zoo: Zoo, number: int) -> pd.DataFrame:
    """The rows of ``zoo.final`` that lie in one part."""
    ends = np.cumsum([part.rows for part in zoo.parts])
    return zoo.final[np.searchsorted(ends, zoo.final.index, side="right") == number]


def _read_part(zoo: Zoo, number: int) -> pd.DataFrame:
    """The stored rows of one part's present weights, whatever measures they are of."""
    path = _path(zoo, number)
    if not path.is_file():
        return pd.DataFrame(
            {name: pd.Series(dtype=float if name in ("value", "error", "seconds") else object) for name in COLUMNS}
        )
    try:
        part = zoo.parts[number]
        stored = tables.read(files.inside(zoo.root, f"measures/{part.name}.parquet"), COLUMNS, _MOST * part.runs)
        table = tables.decoded(stored).to_pandas()
        if "error" not in table:  # of an earlier version
            table["error"] = np.nan
        if fault := _fault(table):
            raise ValueError(fault)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): delete it, and `gengap measure` computes it again"
        ) from error
    return table[table["weights"] == _weights_hash(zoo, number)]


def _fault(table: pd.DataFrame) -> str | None:
    """Why a stored table, of anybody's zoo, is not one that ``_measure_part`` writes; None if it is."""
    if missing := [name for name in COLUMNS if name not in table]:
        return f"it has no column {', '.join(missing)}"
    numbers = ("version", "value", "error", "seconds")
    if wrong := [name for name in numbers if len(table) and not is_numeric_dtype(table[name])]:
        return f"column {wrong[0]} holds no numbers"
    if table.duplicated(["model_id", "measure"]).any():
        return "it has two values of one measure and model"
    if ((table["error"] < 0) | np.isinf(table["error"])).any():
        return "it has an error that is negative or infinite"
    unclear = table["status"].isin(["undefined", "failed"]) & table["reason"].isna()
    if not table["status"].isin(STATUSES).all() or (unclear | ((table["status"] == "ok") & ~_finite(table))).any():
        return "it has a value without a status that fits it"
    return None


def _finite(table: pd.DataFrame) -> np.ndarray:
    return np.isfinite(table["value"].to_numpy(float))


def _current(table: pd.DataFrame, chosen: Sequence[Measure]) -> pd.DataFrame:
    """The rows of the ``chosen`` measures that have the version of today's definition."""
    return table[table["version"] == table["measure"].map({measure.name: measure.version for measure in chosen})]


def _missing(
    runs: pd.DataFrame, table: pd.DataFrame, chosen: Sequence[Measure]
) -> list[tuple[pd.DataFrame, list[Measure]]]:
    """The runs by architecture, each with the measures that failed or that ``table`` lacks for some of these runs."""
    table, groups = _current(table, chosen), []
    for _, alike in runs.groupby("architecture", sort=False):
        if missing := _without_values(chosen, table[table["model_id"].isin(alike["model_id"])], len(alike)):
            groups.append((alike, missing))
    return groups


def _without_values(chosen: Sequence[Measure], table: pd.DataFrame, models: int) -> list[Measure]:
    """The measures that failed, or have rows in ``table`` for fewer models than this."""
    found = table.loc[table["status"] != "failed", "measure"].value_counts()
    return [measure for measure in chosen if found.get(measure.name, 0) < models]


@cache
def _opened(root: str, weights_hash: str) -> Zoo:
    """A worker opens a zoo once for all parts; a zoo that was built anew in the same folder has another hash."""
    return Zoo.open(root)


def _measure_part(
    root: str,
    weights_hash: str,
    chosen: tuple[Measure, ...],
    chosen_engines: dict[Architecture, Engine],
    number: int,
    data: "Dataset | None",
    progress: Callable[[int], object],
) -> dict:
    """Computes and saves the missing values of one part; in any process."""
    zoo = _opened(root, weights_hash)
    old = _read_part(zoo, number)
    tables, saved = [old], time.monotonic()

    def save() -> None:
        table = pd.concat(tables, ignore_index=True).drop_duplicates(["model_id", "measure"], keep="last")
        files.write_atomically(_path(zoo, number), lambda path: table.to_parquet(path, index=False))

    for runs, missing in _missing(_runs(zoo, number), old, chosen):
        view = make_view(zoo, runs, "trajectory" if any(map(_reads_data, missing)) else "weights", data)
        for measure, rows, result in one_by_one(view, missing, engine_of=chosen_engines.__getitem__):
            table = _rows(runs.iloc[rows], measure, result).assign(weights=_weights_hash(zoo, number))
            tables.append(table[list(COLUMNS)])
            progress(len(table))
            if time.monotonic() - saved > SAVED_EVERY:
                save()
                saved = time.monotonic()
    save()
    return {"part": number}


def _rows(runs: pd.DataFrame, measure: Measure, result: MeasureResult) -> pd.DataFrame:
    """One measure of the models in ``runs``, without the column ``weights``."""
    reasons = [result.reasons.get(model, result.remarks.get(model)) for model in range(len(runs))]
    status = np.full(len(runs), "ok", dtype=object)
    status[list(result.remarks)] = "qualified"
    status[list(result.reasons)] = "undefined"
    status[[model for model, reason in result.reasons.items() if reason.startswith(FAILED)]] = "failed"
    return pd.DataFrame(
        {
            "model_id": runs["model_id"].to_numpy(),
            "measure": measure.name,
            "version": measure.version,
            "value": result.values,
            "error": np.nan if result.errors is None else result.errors,
            "status": status,
            "reason": pd.Series(reasons, dtype=object).to_numpy(),
            "seconds": result.seconds / len(runs),
        }
    )
