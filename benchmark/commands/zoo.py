"""`gengap zoo`: build, plan, info and verify."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import columns, cores, note, show
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    from zoo_builder.building.build import Progress
    from zoo_builder.building.estimate import Plan
    from zoo_builder.store.zoo import Zoo


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A progress bar on stderr: model-epochs and their rate, time left, models committed.

    However the block is left, the bar's line is ended: what is said next stands on a line of its own.
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
            # Runs that stopped early have left epochs over.
            state["bar"].total = state["bar"].n

    try:
        yield Progress(start, lambda model_epochs: state["bar"].update(model_epochs), commit, note)
    finally:
        if "bar" in state:
            state["bar"].close()


def _zoo_build(options: argparse.Namespace) -> int:
    from zoo_builder.recipes.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs, options.seed)
    from zoo_builder.building.build import build
    from zoo_builder.building.estimate import refuse_large
    from zoo_builder.building.runner import Local, Ray

    if options.runner == "ray":
        if options.workers:
            raise InputError("--workers is for --runner local: a Ray cluster takes as many parts as it has CPUs")
        runner = Ray(options.address)
    elif options.address:
        raise InputError("--address is for --runner ray: add it, or leave --address out")
    else:
        runner = Local(options.workers or cores())
    if not options.yes:
        refuse_large(recipe, options.data)
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
    show(options, _description(zoo), _info_text(zoo))
    return 0


def _zoo_plan(options: argparse.Namespace) -> int:
    from zoo_builder.building.estimate import plan
    from zoo_builder.recipes.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs)
    made = plan(recipe, options.data, options.workers or cores(), options.engine, note)
    show(options, asdict(made), _plan_text(made))
    return 0


def _plan_text(plan: "Plan") -> str:
    from zoo_builder import files

    checkpoints = ", ".join(map(str, plan.checkpoints))
    stop = "" if plan.stop_cross_entropy is None else f", or training cross-entropy {plan.stop_cross_entropy:g}"
    rows = [
        ("recipe", plan.recipe),
        ("models", f"{plan.models:,} in {plan.configurations:,} configurations"),
        *((f"  {name}", values) for name, values in plan.axes.items()),
        ("epochs", f"{plan.epochs}{stop}; checkpoints at {checkpoints}"),
    ]
    needs = plan.needs
    if needs is None:
        return f"{columns(rows)}\n\nparameters, time and bytes need the data, which is not at hand: {plan.problem}"
    least, median, most = needs.parameters
    at_most = "at most " if plan.stop_cross_entropy is not None else ""
    workers = f"{plan.workers} worker{'s' if plan.workers > 1 else ''}"
    rows += [
        ("architectures", f"{needs.architectures:,}"),
        ("parameters", f"{least:,} to {most:,} per model, median {median:,}"),
        ("on disk", f"{at_most}{files.size_text(needs.bytes)}"),
        ("memory", f"at least {files.size_text(needs.memory)} for each worker, and the images"),
    ]
    if needs.seconds is None:
        rows.append(("time", "not known: this machine has too little memory to try"))
    else:
        rows += [
            ("time", f"{at_most}{_duration(needs.seconds)} with {workers} of this machine, from a short calibration"),
            ("", f"({needs.rate:,.0f} training samples x models per second and worker)"),
        ]
    return columns(rows)


def _duration(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _zoo_info(options: argparse.Namespace) -> int:
    from zoo_builder.store.zoo import Zoo

    zoo = Zoo.open(options.zoo)
    show(options, _description(zoo), _info_text(zoo))
    return 0


def _description(zoo: "Zoo") -> dict:
    final, data = zoo.final, zoo.manifest["data"]
    ok = final[final["status"] == "ok"]
    quantiles = {
        name: [round(float(value), 4) for value in values.quantile([0, 0.25, 0.5, 0.75, 1])]
        for name, values in (
            ("train_accuracy", ok["train_accuracy"]),
            ("test_accuracy", ok["test_accuracy"]),
            ("gap", ok["train_accuracy"] - ok["test_accuracy"]),
        )
    }
    return {
        "zoo": zoo.name,
        "path": str(zoo.root),
        "description": zoo.recipe.description,
        "models": len(final),
        "configurations": int(final["configuration"].nunique()),
        "status": {str(name): int(count) for name, count in final["status"].value_counts().items()},
        "checkpoints": len(zoo.table),
        "epochs": zoo.recipe.epochs,
        "architectures": {key: architecture.size for key, architecture in zoo.architectures.items()},
        "data": {
            name: data[name] for name in ("name", "colour", "train_images", "test_images", "duplicates", "fingerprint")
        },
        "bytes": sum(entry["bytes"] for part in zoo.manifest["parts"] for entry in part["files"].values()),
        "training_seconds": round(sum(part["seconds"] for part in zoo.manifest["parts"]), 1),
        "engines": sorted({engine for part in zoo.manifest["parts"] for engine in part["engines"]}),
        "weights_hash": zoo.weights_hash,
        "quantiles": quantiles,
    }


def _info_text(zoo: "Zoo") -> str:
    facts = _description(zoo)
    data = facts["data"]
    status = ", ".join(f"{count} {name}" for name, count in facts["status"].items())
    networks = ", ".join(f"{key} ({size:,} parameters)" for key, size in facts["architectures"].items())
    images = f"{data['train_images']:,} training and {data['test_images']:,} test images"
    rows = [
        ("zoo", f"{facts['zoo']} at {facts['path']}"),
        ("", facts["description"]),
        ("models", f"{facts['models']:,} in {facts['configurations']:,} configurations: {status}"),
        ("checkpoints", f"{facts['checkpoints']:,}, {facts['epochs']} epochs"),
        ("architectures", networks if len(facts["architectures"]) <= 4 else f"{len(facts['architectures'])}"),
        ("data", f"{data['name']} ({data['colour']}), {images}"),
        ("", f"{data['duplicates']} test images are also training images"),
        ("on disk", f"{facts['bytes'] / 2**20:,.1f} MiB"),
        ("training", f"{facts['training_seconds']:,.0f} s of one worker, engine {', '.join(facts['engines'])}"),
        ("weights", facts["weights_hash"]),
    ]
    spread = [("", "min", "25 %", "median", "75 %", "max")]
    spread += [(name, *(f"{value:.3f}" for value in values)) for name, values in facts["quantiles"].items()]
    return f"{columns(rows)}\n\n{columns(spread)}"


def _zoo_verify(options: argparse.Namespace) -> int:
    from zoo_builder.store.verify import problems

    found = list(problems(options.zoo, sample=options.sample, data_root=options.data))
    show(options, {"zoo": str(options.zoo), "problems": found}, "\n".join(found) or f"{options.zoo}: nothing wrong")
    if found:
        count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
        note(f"gengap: error: {count}; run the same `gengap zoo build` again to rebuild damaged parts")
    return 2 if found else 0
