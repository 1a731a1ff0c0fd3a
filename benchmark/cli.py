"""The command `gengap`: thin verbs over the packages. Whatever is heavy is imported by the verb that needs it."""

import argparse
import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import score_table
from benchmark.scoring import ScoreError
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    from benchmark.records import Record
    from zoo_builder.build import Progress
    from zoo_builder.plan import Plan
    from zoo_builder.store import Zoo

EPILOG = """\
a first round, on one machine and without any download:
  gengap zoo build digits --out zoos/digits        256 small CNNs
  gengap run all --zoo zoos/digits                 every built-in entrant on every task
  gengap leaderboard --zoo zoos/digits --html report.html

complexity measures of a whole zoo, kept beside it:
  gengap measure zoos/digits --measures all

your own entrant is one Python file:
  gengap run generalization-gap my_measure.py:my_measure --zoo zoos/digits

`gengap COMMAND --help` says more about each command; `gengap demo` does all of the above.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, or 2 for bad input, 130 for Ctrl-C."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # Said by the command itself, whose usage is the one that helps.
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code = options.run(options)
        print(end="", flush=True)  # where the output has no room, it is known here and not after the last line
        return code
    except (InputError, ScoreError) as error:
        print(f"gengap: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngengap: interrupted; finished parts and records are kept, the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has left.
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            _drop_output()
            print("gengap: error: the output cannot be written: no space left; make room for it", file=sys.stderr)
            return 2
        if error.filename is None:
            raise
        # A folder without permission, a file in a folder's place: whichever verb meets it, the file says where.
        print(f"gengap: error: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Python flushes once more when it ends, and would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="gengap",
        description="Build zoos of small networks, and score what predicts their generalization.",
        epilog=EPILOG,
        formatter_class=text,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(parent: Any, name: str, run: Any, help: str, **extra: Any) -> argparse.ArgumentParser:
        added = parent.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=text, **extra
        )
        added.set_defaults(run=run, parser=added)
        return added

    zoo = commands.add_parser("zoo", help="build, describe and verify zoos").add_subparsers(
        required=True, metavar="VERB"
    )
    build = command(zoo, "build", _zoo_build, "train the networks of a recipe; the same command resumes")
    plan = command(zoo, "plan", _zoo_plan, "say what a recipe comes to: models, parameters, time, bytes on disk")
    for added in (build, plan):
        added.add_argument("recipe", help="a built-in recipe, such as digits or cifar10-gs, or a .toml file")
        added.add_argument("--models", type=int, metavar="N", help="how many runs; a larger number extends a zoo")
        added.add_argument("--epochs", type=int, metavar="E", help="train no longer than this")
        added.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
        added.add_argument("--workers", type=_positive, metavar="N", help="processes on a CPU (default: one per core)")
    build.add_argument("--out", required=True, type=_filled, metavar="DIR", help="the zoo's folder")
    build.add_argument("--seed", type=int, metavar="S", help="another population of the same recipe")
    build.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: a GPU if there is one"
    )
    for added in (build, plan):
        added.add_argument(
            "--engine",
            default="auto",
            choices=["auto", "native", "torch"],
            help="who computes: compiled code for this CPU, torch, or (default) compiled code where it is faster",
        )
    build.add_argument(
        "--runner", default="local", choices=["local", "ray"], help="processes of this machine, or a Ray cluster"
    )
    build.add_argument(
        "--address", type=_filled, metavar="HOST:PORT", help="the head of the Ray cluster (default: one started here)"
    )
    build.add_argument("--yes", action="store_true", help="build however many models there are")
    info = command(zoo, "info", _zoo_info, "describe a zoo")
    verify = command(zoo, "verify", _zoo_verify, "check a zoo's files, rows, weights and a sample of its accuracies")
    verify.add_argument(
        "--sample", type=_positive, default=20, metavar="N", help="models to evaluate again (default: 20)"
    )
    verify.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    for reader in (info, verify):
        reader.add_argument("zoo", type=Path, metavar="DIR")

    tasks = command(commands, "tasks", _tasks, "list the tasks")
    tasks.add_argument("--zoo", type=Path, metavar="DIR", help="also show the size of each split on this zoo")
    entrants = command(commands, "entrants", _entrants, "list the built-in entrants")

    measures = command(
        commands, "measures", _measures, "list the complexity measures, by family", epilog=MEASURES_LEGEND
    )
    measures.add_argument(
        "measures", nargs="*", default=["all"], metavar="NAME", help="names, families, fast, or all (the default)"
    )
    measure = command(
        commands,
        "measure",
        _measure,
        "compute complexity measures of a zoo and keep them beside it; the same command resumes",
        epilog=MEASURE_EPILOG,
    )
    measure.add_argument("zoo", type=Path, metavar="DIR")
    measure.add_argument(
        "--measures",
        nargs="+",
        default=["fast"],
        metavar="NAME",
        help="names, families, all, or fast: what takes one pass over the training images at most (default: fast)",
    )
    measure.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    measure.add_argument(
        "--device", default="cpu", choices=["auto", "cpu", "cuda"], help="who computes passes (default: cpu)"
    )
    measure.add_argument("--workers", type=_positive, metavar="N", help="processes on a CPU (default: one per core)")

    signatures = command(
        commands,
        "signatures",
        _signatures,
        "say how much of a zoo's generalization gaps a linear regression on margin signatures explains",
        epilog=SIGNATURES_EPILOG,
    )
    signatures.add_argument("zoo", type=Path, metavar="DIR")
    signatures.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)

    run = command(commands, "run", _run, "run entrants on a task and write a record of each")
    run.add_argument("task", help="test-accuracy, generalization-gap, complexity, unlabeled-accuracy, or all")
    run.add_argument(
        "entrants",
        nargs="*",
        default=["all"],
        metavar="entrant",
        help="built-in names, fast or families of measures, path/to/file.py:Name, package.module:Name, or all (the "
        "default)",
    )
    run.add_argument("--zoo", required=True, type=Path, metavar="DIR")
    run.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    run.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    run.add_argument("--workers", type=_positive, metavar="N", help="entrants at a time (default: one per core)")
    run.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds for one entrant (default: 3600)")

    board = command(
        commands, "leaderboard", _leaderboard, "print the leaderboard of a results folder, or write it to files"
    )
    board.add_argument("results", nargs="?", type=Path, default=Path("results"), help="default: results")
    board.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown here instead of printing it")
    board.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained page here")
    board.add_argument("--across", metavar="TASK", help="one task alone, its zoos side by side (Markdown)")
    board.add_argument("--zoo", type=Path, action="append", default=[], metavar="DIR", help="draw this zoo in the page")
    board.add_argument(
        "--check", type=Path, metavar="FILE", help="exit with 1 where this Markdown file is not up to date"
    )

    score = command(commands, "score", score_table.run, "score the columns of a table made elsewhere")
    score_table.add_arguments(score)

    demo = command(
        commands, "demo", _demo, "digits from end to end: zoo, entrants, leaderboard and report, in 3 minutes"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    demo.add_argument("--workers", type=_positive, metavar="N", help="processes (default: one per core)")

    for added in (build, plan, info, verify, tasks, entrants, measures, measure, signatures, run, board, demo):
        added.add_argument("--json", action="store_true", help="print JSON")
    return parser


DATA_HELP = (
    "where the data set lies: a folder with train.parquet and test.parquet, an image folder with train/ and test/, "
    "or a torchvision root (default: where the zoo was built from, else a download)"
)


def _filled(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"it is {value}, expected a whole number of at least 1")
    return int(value)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _show(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if options.json else text)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _note(message: str) -> None:
    print(message, file=sys.stderr)


@contextmanager
def _bar() -> Iterator["Progress"]:
    """A progress bar on stderr: model-epochs and their rate, time left, models committed.

    However the block is left, the bar's line is ended: what is said next stands on a line of its own.
    """
    from tqdm import tqdm

    from zoo_builder.build import Progress

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
        yield Progress(start, lambda model_epochs: state["bar"].update(model_epochs), commit, _note)
    finally:
        if "bar" in state:
            state["bar"].close()


def _zoo_build(options: argparse.Namespace) -> int:
    from zoo_builder.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs, options.seed)
    from zoo_builder.build import build
    from zoo_builder.plan import refuse_large
    from zoo_builder.runner import Local, Ray

    if options.runner == "ray":
        if options.workers:
            raise InputError("--workers is for --runner local: a Ray cluster takes as many parts as it has CPUs")
        runner = Ray(options.address)
    elif options.address:
        raise InputError("--address is for --runner ray: add it, or leave --address out")
    else:
        runner = Local(options.workers or _cores())
    if not options.yes:
        refuse_large(recipe, options.data)
    with _bar() as progress:
        zoo = build(
            recipe,
            options.out,
            data_root=options.data,
            device=options.device,
            engine=options.engine,
            runner=runner,
            progress=progress,
        )
    _show(options, _description(zoo), _info_text(zoo))
    return 0


def _zoo_plan(options: argparse.Namespace) -> int:
    from zoo_builder.plan import plan
    from zoo_builder.recipe import load_recipe

    recipe = load_recipe(options.recipe).cut(options.models, options.epochs)
    made = plan(recipe, options.data, options.workers or _cores(), options.engine, _note)
    _show(options, asdict(made), _plan_text(made))
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
        return f"{_columns(rows)}\n\nparameters, time and bytes need the data, which is not at hand: {plan.problem}"
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
    return _columns(rows)


def _duration(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _zoo_info(options: argparse.Namespace) -> int:
    from zoo_builder.store import Zoo

    zoo = Zoo.open(options.zoo)
    _show(options, _description(zoo), _info_text(zoo))
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
    return f"{_columns(rows)}\n\n{_columns(spread)}"


def _zoo_verify(options: argparse.Namespace) -> int:
    from zoo_builder.verify import problems

    found = list(problems(options.zoo, sample=options.sample, data_root=options.data))
    _show(options, {"zoo": str(options.zoo), "problems": found}, "\n".join(found) or f"{options.zoo}: nothing wrong")
    if found:
        count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
        _note(f"gengap: error: {count}; run the same `gengap zoo build` again to rebuild damaged parts")
    return 2 if found else 0


def _tasks(options: argparse.Namespace) -> int:
    from benchmark.tasks import TASKS, split

    rows = [
        {"task": t.name, "version": t.version, "access": t.access, "target": t.target, "orientation": t.orientation}
        for t in TASKS
    ]
    text = _columns(
        [("task", "access", "target", "orientation")]
        + [(row["task"], row["access"], row["target"], row["orientation"]) for row in rows]
    )
    value: dict[str, Any] = {"tasks": rows}
    if options.zoo:
        from zoo_builder.store import Zoo

        parts = split(Zoo.open(options.zoo))
        sizes = {name: len(getattr(parts, name)) for name in ("train", "validation", "test")}
        value["split"] = {**sizes, "hash": parts.hash}
        text += f"\n\n{options.zoo}: " + ", ".join(f"{count} {name}" for name, count in sizes.items()) + " models"
    _show(options, value, text)
    return 0


def _entrants(options: argparse.Namespace) -> int:
    from benchmark.entrants import builtin_entrants

    entrants = list(builtin_entrants().values())
    rows = [("entrant", "kind", "reads", "formula", "source")]
    rows += [(e.name, "control" if e.control else e.kind, e.access, e.formula, e.citation) for e in entrants]
    _show(options, [vars(entrant) for entrant in entrants], _columns(rows))
    return 0


def _measures(options: argparse.Namespace) -> int:
    from baselines.measures import families
    from benchmark.measuring import select

    chosen = select(options.measures)
    fields = ("cost", "access", "formula", "citation")
    listed = [
        {"name": measure.name, "family": family} | {field: getattr(measure, field) for field in fields}
        for family, measures in families().items()
        for measure in measures
        if measure in chosen
    ]
    rows = [("measure", "family", "cost", "needs", "formula", "source")]
    _show(options, listed, f"{_columns(rows + [tuple(measure.values()) for measure in listed])}\n\n{MEASURES_LEGEND}")
    return 0


MEASURES_LEGEND = """\
cost   free: training has recorded it; weights: arithmetic on the weights; pass: one forward pass over the training
       images; passes: several, or gradients; search: many passes over the first 1,000. "fast" is all up to pass
needs  the access level: weights (also at epoch 0), train-data (those and the training images), or trajectory (also
       what training recorded)

w      all weights and biases, omega of them; w0: the same at epoch 0; W_l: the weights of layer l of d, without biases
f_y    the output of the true label, f_j the largest other; a margin is f_y - f_j; gamma: the 10th percentile over the
       training images, of which there are m
sigma  the deviation of normal noise on w that costs .1 of training accuracy; sigma': noise sigma' w, and eps = .001
alpha  half the width of a box around w whose worst point costs .1 of it; alpha': the box is alpha' (|w_i| + 1)
f_{w^2}(1)   the outputs of the network with squared weights, for an input of ones
k_l, c_l     the width of layer l's kernel, and its output channels
p      softmax of the outputs; L: the mean cross-entropy of the training images; h: what a layer gives for an image
N images     not all, but the first N of a model's own training images, which stand in a random order
"""


MEASURE_EPILOG = """\
values lie in DIR/measures/part-*.parquet, one row per model and measure: value, status, reason, seconds;
`gengap run complexity` scores them without computing them again

  gengap measure zoos/digits                            what one pass gives, in minutes
  gengap measure zoos/digits --measures sharpness       one family
  gengap measure zoos/digits --measures all             searches too: hours for thousands of models
"""


def _measure(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from benchmark.measuring import measure, select
    from zoo_builder.engines.torch_engine import resolve_device
    from zoo_builder.store import Zoo

    zoo, chosen = Zoo.open(options.zoo), select(options.measures)
    with tqdm(unit=" values", dynamic_ncols=True) as bar:
        table = measure(
            zoo,
            chosen,
            data_root=options.data,
            workers=options.workers or _cores(),
            device=resolve_device(options.device),
            start=bar.reset,
            progress=bar.update,
            note=lambda line: tqdm.write(line, file=sys.stderr),
        )
    by_measure = table.groupby("measure")
    summary = [
        {
            "measure": name,
            "models": len(rows),
            "defined": int(rows["value"].notna().sum()),
            "median": float(rows["value"].median()) if rows["value"].notna().any() else None,
            "seconds": float(rows["seconds"].sum()),
            "reasons": {str(reason): int(count) for reason, count in rows["reason"].value_counts().items()},
        }
        for name, rows in ((one.name, by_measure.get_group(one.name)) for one in chosen)
    ]
    lines = [("measure", "defined", "median", "s / model", "not defined, or with a remark")]
    for row in summary:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in row["reasons"].items())
        median = "" if row["median"] is None else f"{row['median']:.4g}"
        defined = f"{row['defined']}/{row['models']}"
        lines.append((row["measure"], defined, median, f"{row['seconds'] / row['models']:.3g}", reasons))
    _show(options, summary, _columns(lines))
    failed = table[table["status"] == "failed"]
    for name, rows in failed.groupby("measure"):
        _note(f"gengap: error: {name}: {rows['reason'].iloc[0]} ({len(rows)} models)")
    return 2 if len(failed) else 0


SIGNATURES_EPILOG = """\
A signature is what the margins of the training images at some layers look like: quartiles and whiskers, or moments
(Jiang et al. 2019, arXiv:1810.00113). All of them, the input's alone and the output's alone are fitted to the gaps of
the zoo's finished models by least squares. R² is of the models fitted to; adjusted R² takes the number of features off
it; 10-fold R² is of models left out, folds by configuration, and falls below 0 where the mean would have done better.

  gengap signatures zoos/nin-cifar10-small
"""


def _signatures(options: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from benchmark.signature_fits import signature_fits
    from zoo_builder.store import Zoo

    torch.set_num_threads(1)  # on small networks more cost more than they give
    zoo = Zoo.open(options.zoo)
    with tqdm(total=(zoo.final["status"] == "ok").sum(), unit=" models", dynamic_ncols=True) as bar:
        fits = signature_fits(zoo, options.data, bar.update)
    found: dict[str, Any] = fits.to_dict("index")
    rows = [["signature", "models", "features", "R²", "adjusted R²", "10-fold R²"]]
    for name, fit in found.items():
        counts = [f"{fit[which]:.0f}" for which in ("models", "features")]
        rows.append([name, *counts, *(f"{fit[which]:.3f}" for which in ("r2", "adjusted_r2", "fold_r2"))])
    _show(options, found, _columns(rows))
    return 0


def _run(options: argparse.Namespace) -> int:
    from zoo_builder.store import Zoo

    zoo = Zoo.open(options.zoo)
    records, refused = _records(zoo, options.task, options.entrants, options)
    _show(options, [_record_json(record) for record in records], f"records are in {options.results}")
    for record in records:
        log = f"\n{record.log.rstrip()}" if record.log else ""
        if _is_bad(record):
            _note(f"gengap: error: {record.entrant} {record.status} on {record.task}: {record.reason}{log}")
        elif log:
            _note(f"gengap: warning: {record.entrant} failed for some models of {record.task}:{log}")
    return 2 if refused or any(map(_is_bad, records)) else 0


def _is_bad(record: "Record") -> bool:
    return record.status in ("failed", "timeout")


def _records(
    zoo: "Zoo", task_name: str, entrants: Sequence[str], options: argparse.Namespace
) -> "tuple[list[Record], list[InputError]]":
    """Runs entrants on one task, or on all; prints a line for each as it is done.

    Entrants that are refused do not keep the others from running, unless there are no others.
    """
    from benchmark.evaluation import CannotEnter, evaluate, find_entrants
    from benchmark.measuring import not_at_hand
    from benchmark.tasks import TASKS, find_task

    workers = options.workers or _cores()
    tasks = list(TASKS) if task_name == "all" else [find_task(task_name, zoo.name)]
    refused: list[InputError] = []
    slow = not_at_hand(zoo) if "all" in entrants and any("measure" in task.kinds for task in tasks) else []
    chosen = [(task, find_entrants(entrants, task, refused.append, slow, workers)) for task in tasks]
    if not any(found for _, found in chosen):
        raise refused[0]
    if task_name == "all":
        # An entrant has only to be of the kind that one of the tasks takes.
        entered = {entrant.name for _, found in chosen for entrant in found}
        refused = [error for error in refused if not (isinstance(error, CannotEnter) and error.entrant in entered)]
        chosen = [(task, found) for task, found in chosen if found]
    for message in dict.fromkeys(map(str, refused)):
        _note(f"gengap: error: {message}")
    if slow:
        _note(f"left out: {len(slow)} measures that take many passes; `gengap measure {zoo.root} --measures all` first")
    written = []
    for task, found in chosen:
        _note(f"{zoo.name}/{task.name}: {len(found)} entrant{'s' if len(found) > 1 else ''}")
        written += evaluate(
            task,
            found,
            zoo,
            options.results,
            data_root=options.data,
            workers=workers,
            timeout=options.timeout,
            done=lambda record: _note(f"  {_outcome(record)}"),
        )
    return written, refused


def _outcome(record: "Record") -> str:
    text = f"{record.entrant:<28} {record.seconds:7.1f} s  "
    if record.status != "ok":
        return f"{text}{record.status}: {record.reason}"
    tau = record.scores["tau"]
    text += f"tau {tau['value']:6.3f} [{tau['low']:6.3f}, {tau['high']:6.3f}]"
    if record.coverage < 1:
        text += f"  defined on {record.coverage:.0%}"
    return f"{text}  {', '.join(record.flags)}".rstrip()


def _record_json(record: "Record") -> dict:
    return {name: value for name, value in vars(record).items() if name != "path"} | {"path": str(record.path)}


def _leaderboard(options: argparse.Namespace) -> int:
    from benchmark.report import markdown, write_html
    from zoo_builder import files
    from zoo_builder.store import Zoo

    if not options.results.is_dir():
        raise InputError(f"there is no results folder {options.results}: make one with `gengap run TASK --zoo DIR`")
    if options.across and (options.html or options.json):
        raise InputError("--across makes a table in Markdown: leave --html and --json out")
    text = markdown(options.results, options.across)
    if options.check:
        current = options.check.read_text(encoding="utf-8") if options.check.is_file() else None
        if current != text:
            across = f" --across {options.across}" if options.across else ""
            again = f"gengap leaderboard {options.results}{across} --markdown {options.check}"
            _note(f"{options.check} is not what the records say: run `{again}`")
            return 1
    if options.html:
        write_html(options.results, options.html, [Zoo.open(path) for path in options.zoo])
        _note(f"wrote {options.html}")
    if options.markdown:
        files.write_atomically(options.markdown, lambda path: path.write_text(text, encoding="utf-8"))
        _note(f"wrote {options.markdown}")
    if options.json:
        from benchmark.records import read_records

        print(json.dumps([_record_json(record) for record in read_records(options.results)], indent=2))
    elif not (options.html or options.markdown or options.check):
        print(text, end="")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from benchmark.report import markdown, write_html
    from zoo_builder import files
    from zoo_builder.build import build
    from zoo_builder.recipe import load_recipe
    from zoo_builder.runner import Local

    started = time.perf_counter()
    out, workers = options.out, options.workers or _cores()
    _note(f"1/3 training the zoo {out / 'zoo'}")
    with _bar() as progress:
        zoo = build(load_recipe("digits"), out / "zoo", device="cpu", runner=Local(workers), progress=progress)
    _note("2/3 running the built-in entrants")
    # One process at a time: each holds a torch of its own, and the demo promises to stay under 2 GiB.
    options.results, options.data, options.timeout, options.workers = out / "results", None, 600, 1
    records, _ = _records(zoo, "all", ["all"], options)
    _note("3/3 leaderboard and report")
    text, report = markdown(out / "results"), out / "report.html"
    files.write_atomically(out / "LEADERBOARD.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_html(out / "results", report, [zoo])
    closing = (
        f"{text}\nThe report is {report.resolve()}: open it in a browser.\n"
        f"It took {time.perf_counter() - started:.0f} s. What to try next:\n"
        f"  gengap entrants                                  what was run\n"
        f"  gengap run generalization-gap FILE.py:Name --zoo {out / 'zoo'} --results {out / 'results'}\n"
        f"  gengap zoo build cifar10-gs --models 300 --epochs 5 --out zoos/cifar10-gs"
    )
    facts = {"report": str(report), "seconds": time.perf_counter() - started}
    _show(options, facts | {"records": [_record_json(record) for record in records]}, closing)
    return 2 if any(map(_is_bad, records)) else 0


if __name__ == "__main__":
    sys.exit(main())
