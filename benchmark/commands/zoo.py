"""`gengap zoo`: build, plan, info and verify."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import (
    add_command,
    add_data,
    add_workers,
    add_zoo,
    columns,
    cores,
    count,
    not_empty,
    note,
    positive,
    show,
    with_flags,
)
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    from zoo_builder.building.build import Progress
    from zoo_builder.building.estimate import Estimate
    from zoo_builder.recipes.recipe import Recipe
    from zoo_builder.store.zoo import Zoo

# More models than this need --yes.
MODELS_WITHOUT_YES = 10_000


def add(commands: Any) -> None:
    zoo = commands.add_parser("zoo", help="build, describe and verify zoos")
    verbs = zoo.add_subparsers(required=True, metavar="VERB")
    build = add_command(verbs, "build", _build, "train the networks of a recipe", epilog=BUILD_EPILOG)
    plan = add_command(verbs, "plan", _plan, "estimate models, parameters, time and disk of a recipe")
    info = add_command(verbs, "info", _info, "describe a zoo")
    verify = add_command(verbs, "verify", _verify, "check files, rows and weights of a zoo, and recompute accuracies")
    for parser in (build, plan):
        parser.add_argument("recipe", help="a built-in recipe, such as digits or cifar10-gs, or a .toml file")
        parser.add_argument("--models", type=int, metavar="N", help="number of runs; a larger number extends a zoo")
        parser.add_argument("--epochs", type=int, metavar="E", help="train at most this many epochs")
        add_data(parser)
        add_workers(parser)
        parser.add_argument(
            "--engine",
            default="auto",
            choices=["auto", "native", "torch"],
            help="compute engine: compiled C++ for this CPU, PyTorch, or the faster one (auto, the default)",
        )
    build.add_argument("--out", required=True, type=not_empty, metavar="DIR", help="the folder of the zoo")
    build.add_argument("--seed", type=int, metavar="S", help="the seed of another population of this recipe")
    build.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto, the default, is a GPU if there is one"
    )
    build.add_argument(
        "--runner",
        default="local",
        choices=["local", "ray"],
        help="processes of this machine (the default), or a Ray cluster",
    )
    build.add_argument(
        "--address",
        type=not_empty,
        metavar="HOST:PORT",
        help="the head of a Ray cluster (default: $RAY_ADDRESS, or a cluster of this machine)",
    )
    build.add_argument("--yes", action="store_true", help=f"build even more than {MODELS_WITHOUT_YES:,} models")
    add_zoo(info)
    add_zoo(verify)
    verify.add_argument(
        "--sample", type=positive, default=20, metavar="N", help="number of models to evaluate again (default: 20)"
    )
    add_data(verify)


BUILD_EPILOG = """\
Builds are resumable: rerun the command. The data files (tables, weights, outputs) are byte-identical; zoo.json and the
files in parts/ also record times, which differ.

  gengap zoo build digits --out zoos/digits
  gengap zoo build cifar10-gs --models 300 --epochs 5 --out zoos/cifar10-gs
"""


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A progress bar on stderr: model-epochs and their rate, time left, finished models.

    The bar's line is ended even by an error, so that the message after it has a line of its own.
    """
    from tqdm import tqdm

    from zoo_builder.building.build import Progress

    state: dict[str, Any] = {}

    def start(models: int, model_epochs: int) -> None:
        state.update(bar=tqdm(total=model_epochs, unit=" model-epochs", dynamic_ncols=True), models=models, done=0)
        commit(0)

    def commit(models: int) -> None:
        state["done"] += models
        state["bar"].set_postfix_str(f"{state['done']}/{state['models']} models")
        if state["done"] == state["models"]:
            # Runs that stopped early did not train all of their epochs.
            state["bar"].total = state["bar"].n

    try:
        yield Progress(start, lambda model_epochs: state["bar"].update(model_epochs), commit, note)
    finally:
        if "bar" in state:
            state["bar"].close()


def _build(options: argparse.Namespace) -> int:
    from zoo_builder.recipes.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs, options.seed)
    from zoo_builder.building.build import build
    from zoo_builder.building.ray_runner import Ray
    from zoo_builder.building.runner import Local

    if options.runner == "ray":
        if options.workers:
            raise InputError("--workers needs --runner local: a Ray cluster trains as many parts as it has CPUs")
        runner = Ray(options.address)
    elif options.address:
        raise InputError("--address needs --runner ray: add it, or omit --address")
    else:
        runner = Local(options.workers or cores())
    if recipe.models > MODELS_WITHOUT_YES and not options.yes:
        raise _unconfirmed(recipe, options.data)
    with progress_bar() as progress:
        zoo = build(
            recipe,
            options.out,
            data_root=options.data,
            device=options.device,
            engine=options.engine,
            runner=runner,
            progress=progress,
        )
    _show_facts(options, zoo)
    _warn_of_small(_splits(recipe))
    return 0


def _unconfirmed(recipe: "Recipe", data_root: Path | None) -> InputError:
    from zoo_builder import files
    from zoo_builder.building.estimate import bytes_on_disk

    size = files.size_text(bytes_on_disk(recipe, data_root))
    return InputError(
        f"{recipe.name} has {recipe.models:,} models, about {size} on disk, and more than {MODELS_WITHOUT_YES:,} need "
        f"a confirmation: `gengap zoo plan` estimates the time, --yes builds them, --models N builds fewer"
    )


def _plan(options: argparse.Namespace) -> int:
    from zoo_builder.building.estimate import estimate
    from zoo_builder.recipes.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs)
    estimated = estimate(recipe, options.data, options.workers or cores(), options.engine, note)
    splits = _splits(recipe)
    show(options, asdict(estimated) | {"splits": splits}, _plan_text(estimated, splits))
    _warn_of_small(splits)
    return 0


def _splits(recipe: "Recipe") -> dict[str, int] | None:
    """The number of models on each side of the split, if no run fails; None where a large recipe takes long."""
    from benchmark.split import sides_of
    from zoo_builder.recipes import grid

    if recipe.models > MODELS_WITHOUT_YES:
        return None
    sides = list(sides_of(grid.runs(recipe)["configuration"]))
    return {name: sides.count(name) for name in ("train", "validation", "test")}


def _warn_of_small(splits: dict[str, int] | None) -> None:
    from benchmark.split import MINIMUM_MODELS

    if splits and min(splits.values()) < MINIMUM_MODELS:
        found = ", ".join(f"{size} {name}" for name, size in splits.items())
        note(
            f"warning: too few models for tasks that fit methods: {found} models, and {MINIMUM_MODELS} of each are "
            f"needed; a larger --models has more configurations. The task complexity scores all models."
        )


def _plan_text(plan: "Estimate", splits: dict[str, int] | None) -> str:
    from zoo_builder import files

    checkpoints = ", ".join(map(str, plan.checkpoints))
    stop = "" if plan.stop_cross_entropy is None else f", or training cross-entropy {plan.stop_cross_entropy:g}"
    rows = [
        ("recipe", plan.recipe),
        ("models", f"{plan.models:,} in {count(plan.configurations, 'configuration')}"),
        *((f"  {name}", values) for name, values in plan.axes.items()),
        ("epochs", f"{plan.epochs}{stop}; checkpoints at {checkpoints}"),
    ]
    if splits:
        rows.insert(2, ("splits", ", ".join(f"{size:,} {name}" for name, size in splits.items())))
    needs = plan.needs
    if needs is None:
        reason = with_flags(plan.reason or "")
        return f"{columns(rows)}\n\nparameters, time and disk need the data, which is not available: {reason}"
    least, median, most = needs.parameters
    at_most = "at most " if plan.stop_cross_entropy is not None else ""
    rows += [
        ("architectures", f"{needs.architectures:,}"),
        ("parameters", f"{least:,} to {most:,} per model, median {median:,}"),
        ("on disk", f"{at_most}{files.size_text(needs.bytes)}"),
        ("memory", f"at least {files.size_text(needs.memory)} for each worker, plus the images"),
    ]
    if needs.seconds is None:
        rows.append(("time", "unknown: this machine has too little memory for a trial"))
    else:
        time = f"{at_most}{_duration(needs.seconds)} with {count(plan.workers, 'worker')} of this machine"
        rows += [
            ("time", f"{time}, from a short calibration"),
            ("", f"({needs.rate:,.0f} training samples x models per second and worker)"),
        ]
    return columns(rows)


def _duration(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _info(options: argparse.Namespace) -> int:
    from zoo_builder.store.zoo import Zoo

    _show_facts(options, Zoo.open(options.zoo))
    return 0


def _show_facts(options: argparse.Namespace, zoo: "Zoo") -> None:
    facts = _facts(zoo)
    show(options, facts, _facts_text(facts))


def _facts(zoo: "Zoo") -> dict[str, Any]:
    final, data = zoo.final, zoo.manifest.get("data", {})
    ok = final[final["status"] == "ok"]
    figures = {name: ok[name] for name in ("train_accuracy", "test_accuracy") if name in ok}
    if len(figures) == 2:
        figures["gap"] = ok["train_accuracy"] - ok["test_accuracy"]
    quantiles = {
        name: [round(float(value), 4) for value in values.quantile([0, 0.25, 0.5, 0.75, 1])]
        for name, values in figures.items()
        if len(ok)
    }
    return {
        "zoo": zoo.name,
        "path": str(zoo.root),
        "provenance": zoo.provenance,
        "description": zoo.description,
        "models": len(final),
        "configurations": int(final["configuration"].nunique()),
        "status": {str(name): int(number) for name, number in final["status"].value_counts().items()},
        "checkpoints": len(zoo.table),
        "epochs": zoo.recipe.epochs if zoo.recipe else int(zoo.table["epoch"].max()),
        "architectures": {key: architecture.size for key, architecture in zoo.architectures.items()},
        "data": {
            name: data.get(name)
            for name in ("name", "colour", "size", "train_images", "test_images", "duplicates", "fingerprint")
        },
        "bytes": sum(part.bytes for part in zoo.parts),
        "training_seconds": round(sum(part.seconds for part in zoo.parts), 1),
        "engines": sorted({engine for part in zoo.parts for engine in part.engines}),
        "weights_hash": zoo.weights_hash,
        "quantiles": quantiles,
    }


def _facts_text(facts: dict[str, Any]) -> str:
    status = ", ".join(f"{number} {name}" for name, number in facts["status"].items())
    networks = ", ".join(f"{key} ({size:,} parameters)" for key, size in facts["architectures"].items())
    rows = [
        ("zoo", f"{facts['zoo']} at {facts['path']}"),
        ("", facts["description"]),
        ("models", f"{facts['models']:,} in {count(facts['configurations'], 'configuration')}: {status}"),
        ("checkpoints", f"{facts['checkpoints']:,}, {count(facts['epochs'], 'epoch')}"),
        ("architectures", networks if len(facts["architectures"]) <= 4 else f"{len(facts['architectures'])}"),
        *_data_rows(facts["data"]),
        ("on disk", f"{facts['bytes'] / 2**20:,.1f} MiB"),
    ]
    if facts["engines"]:
        engines = ", ".join(facts["engines"])
        rows.append(("training", f"{facts['training_seconds']:,.0f} s of one worker, engine {engines}"))
    rows.append(("weights", facts["weights_hash"]))
    spread = [("", "min", "25 %", "median", "75 %", "max")]
    spread += [(name, *(f"{value:.3f}" for value in values)) for name, values in facts["quantiles"].items()]
    if "ok" not in facts["status"]:
        return f"{columns(rows)}\n\nno accuracies: no run has the status ok"
    return f"{columns(rows)}\n\n{columns(spread)}"


def _data_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of the data: of an imported zoo's, perhaps nothing."""
    if data["name"] is None:
        return [("data", "unknown")]
    form = [*([data["colour"]] if data["colour"] else []), *([f"size {data['size']}"] if data["size"] else [])]
    colour = f" ({', '.join(form)})" if form else ""
    known = [(data["train_images"], "training images"), (data["test_images"], "test images")]
    sizes = [f"{size:,} {what}" for size, what in known if size is not None]
    rows = [("data", ", ".join([f"{data['name']}{colour}", *sizes]))]
    if data["duplicates"] is not None:
        rows.append(("", f"{data['duplicates']} test images are also training images"))
    return rows


def _verify(options: argparse.Namespace) -> int:
    from zoo_builder.building.verify import faults

    found = list(faults(options.zoo, sample=options.sample, data_root=options.data, note=note))
    show(options, {"zoo": str(options.zoo), "problems": found}, "\n".join(found) or f"{options.zoo}: no problems found")
    if found:
        note(f"gengap: error: {count(len(found), 'problem')}; rerun `gengap zoo build` to rebuild damaged parts")
    return 2 if found else 0
