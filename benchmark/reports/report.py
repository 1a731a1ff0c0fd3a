"""Records to leaderboard files, with figures of the zoos that are at hand."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.records import read_records
from benchmark.reports.across import render_across
from benchmark.reports.board_html import ZooSummary, render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.reports.boards import populations
from zoo_builder import files
from zoo_builder.store.zoo import Zoo


def markdown(results: Path, across: str | None = None) -> str:
    """The leaderboard of all records; with ``across``, only that task, all of its zoos side by side."""
    records = read_records(results)
    return render_across(records, across) if across else render_markdown(populations(records))


def write_html(results: Path, path: Path, zoos: Sequence[Zoo] = ()) -> None:
    """Writes the one-page report. A zoo among ``zoos`` is drawn where its weights are those of a record."""
    page = render_html(populations(read_records(results)), [summary(zoo) for zoo in zoos])
    files.write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def summary(zoo: Zoo) -> ZooSummary:
    """What the page draws of ``zoo``."""
    final, data = zoo.final, zoo.manifest["data"]
    description = (
        f"{zoo.description}: {len(final):,} runs, {data['train_images']:,} training and "
        f"{data['test_images']:,} test images"
    )
    table = final[["model_id", "status", "train_accuracy", "test_accuracy", *zoo.axes]]
    return ZooSummary(zoo.weights_hash, description, table, zoo.axes)
