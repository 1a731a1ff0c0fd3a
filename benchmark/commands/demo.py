"""`gengap demo`."""

import argparse
import time

from benchmark.commands.common import cores, note, show
from benchmark.commands.run import is_bad, record_json, records_of
from benchmark.commands.zoo import progress_bar


def _demo(options: argparse.Namespace) -> int:
    from benchmark.reports.report import markdown, write_html
    from zoo_builder import files
    from zoo_builder.building.build import build
    from zoo_builder.building.runner import Local
    from zoo_builder.recipes.recipe import load_recipe

    started = time.perf_counter()
    out, workers = options.out, options.workers or cores()
    note(f"1/3 training the zoo {out / 'zoo'}")
    with progress_bar() as progress:
        zoo = build(load_recipe("digits"), out / "zoo", device="cpu", runner=Local(workers), progress=progress)
    note("2/3 running the built-in methods")
    # One process at a time: each holds a torch of its own, and the demo promises to stay under 2 GiB.
    options.results, options.data, options.timeout, options.workers = out / "results", None, 600, 1
    records, _ = records_of(zoo, "all", ["all"], options)
    note("3/3 leaderboard and report")
    text, report = markdown(out / "results"), out / "report.html"
    files.write_atomically(out / "LEADERBOARD.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_html(out / "results", report, [zoo])
    closing = (
        f"{text}\nThe report is {report.resolve()}: open it in a browser.\n"
        f"It took {time.perf_counter() - started:.0f} s. What to try next:\n"
        f"  gengap methods                                  what was run\n"
        f"  gengap run generalization-gap FILE.py:Name --zoo {out / 'zoo'} --results {out / 'results'}\n"
        f"  gengap zoo build cifar10-gs --models 300 --epochs 5 --out zoos/cifar10-gs"
    )
    facts = {"report": str(report), "seconds": time.perf_counter() - started}
    show(options, facts | {"records": [record_json(record) for record in records]}, closing)
    return 2 if any(map(is_bad, records)) else 0
