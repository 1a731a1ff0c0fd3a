import shutil

import pandas as pd

from benchmark.reports.report import summary, write_html
from zoo_builder import files
from zoo_builder.store.format import write_manifest
from zoo_builder.store.zoo import Zoo


def test_the_page_shows_the_zoos_of_its_boards(found, small_zoo, tmp_path):
    write_html(found, tmp_path / "page.html", [small_zoo])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "cifar10-gs" in page
    assert 'data-plot="accuracy"' not in page  # no board is of this zoo


def test_a_summary_is_of_the_runs_of_a_zoo(small_zoo):
    found = summary(small_zoo)
    assert found.weights_hash == small_zoo.weights_hash
    assert found.description.startswith(small_zoo.description)
    assert "64 runs" in found.description
    assert len(found.table) == 64
    assert set(found.axes) == {"learning_rate", "l2", "dropout", "train_fraction", "activation"}


def test_a_zoo_that_records_neither_data_nor_accuracies_has_a_summary(found, small_zoo, tmp_path):
    root = tmp_path / "zoo"
    shutil.copytree(small_zoo.root, root)
    manifest = {key: value for key, value in small_zoo.manifest.items() if not key.startswith("recipe")}
    for part in manifest["parts"]:
        (name,) = (name for name in part["files"] if name.startswith("checkpoints/"))
        pd.read_parquet(root / name).drop(columns=["train_accuracy", "test_accuracy"]).to_parquet(root / name)
        part["files"][name] = {"sha256": files.sha256(root / name), "bytes": (root / name).stat().st_size}
    write_manifest(root, manifest | {"source": {"description": "networks of unknown origin"}, "data": {}})
    imported = summary(Zoo.open(root))
    assert imported.description == "networks of unknown origin: 64 runs"
    assert imported.table[["train_accuracy", "test_accuracy"]].isna().all(axis=None)
    write_html(found, tmp_path / "page.html", [Zoo.open(root)])
