"""The leaderboard as a page, with figures of the zoos that are given."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.reports.board_html import ZooSummary, render_html
from benchmark.reports.boards import Population
from zoo_builder import files
from zoo_builder.store.zoo import Zoo


def write_html(found: Sequence[Population], path: Path, zoos: Sequence[Zoo] = ()) -> None:
    """Writes the page of the boards. A zoo among ``zoos`` is drawn where its weights are those of a board."""
    page = render_html(found, [summary(zoo) for zoo in zoos])
    files.write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def summary(zoo: Zoo) -> ZooSummary:
    """What the page draws of ``zoo``; accuracies that an imported zoo does not record are NaN."""
    final, data = zoo.final, zoo.manifest.get("data", {})
    description = f"{zoo.description}: {len(final):,} runs"
    if {"train_images", "test_images"} <= set(data):
        description += f", {data['train_images']:,} training and {data['test_images']:,} test images"
    table = final.reindex(columns=["model_id", "status", "train_accuracy", "test_accuracy", *zoo.axes])
    return ZooSummary(zoo.weights_hash, description, table, zoo.axes)
