"""The built-in measures of a whole zoo, kept beside it: ZOO/measures/part-00000.parquet, one table per part of the zoo.

A row is one measure of one model:

    model_id, measure
    version    of the measure's definition; a row of an older one is computed again
    weights    sha256 of the file that held the part's weights; a row of other weights is computed again
    value      float64; NaN where there is none
    status     "ok", "qualified" (the value stands, with a remark), "undefined" or "failed"
    reason     of any status but "ok"
    seconds    processor time of the value, with all that it shares with others, as if it had been computed alone
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from baselines.access import ACCESS
from baselines.measures import families, measures
from baselines.measures.compute import FAILED, MeasureResult, one_by_one
from baselines.measures.measure import COSTS, Measure
from baselines.methods import NotApplicable, without_norms
from benchmark.evaluation.views import make_view
from zoo_builder import files
from zoo_builder.building.runner import Local
from zoo_builder.engines.choice import engines
from zoo_builder.errors import InputError, nearest
from zoo_builder.lock import only_process
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack
from zoo_builder.store.format import file_of
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.engine import Engine

if TYPE_CHECKING:
    from zoo_builder.datasets.dataset import Dataset

COLUMNS = ("model_id", "measure", "version", "weights", "value", "status", "reason", "seconds")
# Those that need one pass over the training images, or none.
FAST = COSTS[: COSTS.index("pass") + 1]
# About how many images (forward and backward) the searches take a model through.
SEARCH_PASSES = 200_000
SAVED_EVERY = 30  # seconds


def named_groups() -> dict[str, tuple[Measure, ...]]:
    """Measures that one name stands for: a family, or "fast", those that take one pass at most."""
    return families() | {"fast": tuple(measure for measure in measures() if measure.cost in FAST)}


def select(names: Iterable[str]) -> list[Measure]:
    """The measures that ``names`` stand for: measures, families, "fast" or "all".

    Raises:
        InputError: a name is none of these.
    """
    known = {measure.name: (measure,) for measure in measures()} | named_groups() | {"all": measures()}
    chosen: dict[str, Measure] = {}
    for name in names:
        if ":" in name or name.endswith(".py"):
            own = name if ":" in name else f"{name}:NAME"
            raise InputError(f"{name} is not built in: `gengap run complexity {own} --zoo DIR` computes and scores it")
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
    """Computes what is missing of the ``chosen`` measures, part by part, and returns all of their rows.

    Whoever kills it loses what was computed in the last half minute and by the measure at work.

    Args:
        start: called once with how many values are missing.
        progress: called with the number of values just computed.
        note: called with a line for whatever is not as fast as it could be.

    Raises:
        InputError: another process measures or builds the zoo, the data cannot be read, the folder cannot be written,
            or workers were killed. What was computed stays.
    """
    with only_process(zoo.root, "measuring", "measure a copy of the zoo"):
        numbers = range(len(zoo.manifest["parts"]))
        wanted = {number: _missing(_runs(zoo, number), _read_part(zoo, number), chosen) for number in numbers}
        start(sum(len(runs) * len(missing) for groups in wanted.values() for runs, missing in groups))
        if jobs := [number for number, groups in wanted.items() if groups]:
            left = {measure for groups in wanted.values() for _, missing in groups for measure in missing}
            data = zoo.data(data_root) if any(_reads_data(measure) for measure in left) else None
            images, device = 0 if data is None else len(data.train_labels), torch.device(device)
            chosen_engines = _engines(zoo, {measure.cost for measure in left}, images, device, note)
            names = tuple(measure.name for measure in chosen)
            run = partial(_measure_part, str(zoo.root), zoo.weights_hash, names, chosen_engines)
            for _ in Local(workers).run(
                [partial(run, number) for number in jobs], data, progress, device.type == "cuda"
            ):
                pass
    table = read(zoo)
    return table[table["measure"].isin([measure.name for measure in chosen])]


def _reads_data(measure: Measure) -> bool:
    return "train" in ACCESS[measure.access]


def _engines(
    zoo: Zoo, costs: Collection[str], images: int, device: torch.device, note: Callable[[str], object]
) -> dict[Architecture, Engine]:
    """An engine for each architecture of the zoo, as passes see it."""
    # Forward and backward passes count three times a forward pass alone.
    examples = images * ("pass" in costs) // 3 + SEARCH_PASSES * ("search" in costs)
    seen = {key: _without_norms(architecture) for key, architecture in zoo.architectures.items()}
    found = engines("auto", device, seen, zoo.final, examples, note)
    return {seen[key]: engine for key, engine in found.items()}


def _without_norms(architecture: Architecture) -> Architecture:
    """The architecture of such networks as ``MeasureContext.stack`` has them."""
    none = {name: torch.empty(0, *shape) for name, shape in architecture.tensors.items()}
    try:
        return without_norms(Stack(architecture, none, np.empty(0, np.int64))).architecture
    except NotApplicable:
        return architecture


def read(zoo: Zoo) -> pd.DataFrame:
    """All rows that stand for this zoo's weights and the measures as they are defined now."""
    tables = [_read_part(zoo, number) for number in range(len(zoo.manifest["parts"]))]
    return pd.concat(tables, ignore_index=True)


def not_at_hand(zoo: Zoo) -> list[str]:
    """The measures that take more than one pass over the training images and have not been computed for this zoo."""
    slow = [measure for measure in measures() if measure.cost not in FAST]
    return [measure.name for measure in _without_values(slow, read(zoo), len(zoo.final))]


def _path(zoo: Zoo, number: int) -> Path:
    return zoo.root / "measures" / f"{zoo.manifest['parts'][number]['name']}.parquet"


def _weights_hash(zoo: Zoo, number: int) -> str:
    return file_of(zoo.manifest["parts"][number], "weights")[1]["sha256"]


def _runs(zoo: Zoo, number: int) -> pd.DataFrame:
    """The rows of ``zoo.final`` that lie in one part."""
    ends = np.cumsum([part["rows"] for part in zoo.manifest["parts"]])
    return zoo.final[np.searchsorted(ends, zoo.final.index, side="right") == number]


def _read_part(zoo: Zoo, number: int) -> pd.DataFrame:
    path = _path(zoo, number)
    if not path.is_file():
        return pd.DataFrame(
            {name: pd.Series(dtype=float if name in ("value", "seconds") else object) for name in COLUMNS}
        )
    try:
        table = pd.read_parquet(path, columns=list(COLUMNS))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): delete it, and `gengap measure` computes it again"
        ) from error
    current = table["measure"].map({measure.name: measure.version for measure in measures()})
    return table[(table["version"] == current) & (table["weights"] == _weights_hash(zoo, number))]


def _missing(
    runs: pd.DataFrame, table: pd.DataFrame, chosen: Sequence[Measure]
) -> list[tuple[pd.DataFrame, list[Measure]]]:
    """The runs by architecture, with the measures that ``table`` lacks for some of them, or that failed."""
    groups = []
    for _, alike in runs.groupby("architecture", sort=False):
        if missing := _without_values(chosen, table[table["model_id"].isin(alike["model_id"])], len(alike)):
            groups.append((alike, missing))
    return groups


def _without_values(chosen: Sequence[Measure], table: pd.DataFrame, models: int) -> list[Measure]:
    """Those that failed or have no row in ``table`` for some of so many models."""
    found = table.loc[table["status"] != "failed", "measure"].value_counts()
    return [measure for measure in chosen if found.get(measure.name, 0) < models]


@cache
def _opened(root: str, weights_hash: str) -> Zoo:
    """A worker opens a zoo once for all of its parts; one that was built anew in its place is another."""
    return Zoo.open(root)


def _measure_part(
    root: str,
    weights_hash: str,
    names: tuple[str, ...],
    chosen_engines: dict[Architecture, Engine],
    number: int,
    data: "Dataset | None",
    progress: Callable[[int], object],
) -> dict:
    """Computes what one part lacks and writes it beside what the part has; in any process."""
    zoo = _opened(root, weights_hash)
    old = _read_part(zoo, number)
    tables, saved = [old], time.monotonic()

    def save() -> None:
        table = pd.concat(tables, ignore_index=True).drop_duplicates(["model_id", "measure"], keep="last")
        files.write_atomically(_path(zoo, number), lambda path: table.to_parquet(path, index=False))

    for runs, missing in _missing(_runs(zoo, number), old, select(names)):
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
    said = [result.reasons.get(model, result.remarks.get(model)) for model in range(len(runs))]
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
            "status": status,
            "reason": pd.Series(said, dtype=object).to_numpy(),
            "seconds": result.seconds / len(runs),
        }
    )
