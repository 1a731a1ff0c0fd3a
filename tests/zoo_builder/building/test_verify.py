"""Verification finds faults that checksums cannot find, and skips what an imported zoo lacks."""

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from zoo_builder import files
from zoo_builder.building.verify import faults
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo


def test_faults_that_checksums_cannot_find(zoo: Zoo, copied) -> None:
    """Accuracies, outputs and rows that are not those of the weights, under a manifest with matching checksums."""
    table_name, outputs_name = "checkpoints/part-00000.parquet", "outputs/digits/part-00000.safetensors"

    def found() -> list[str]:
        manifest = read_manifest(copied)
        for name in (table_name, outputs_name):
            entry = {"sha256": files.sha256(copied / name), "bytes": (copied / name).stat().st_size}
            manifest["parts"][0]["files"][name] = entry
        write_manifest(copied, manifest)
        return list(faults(copied, sample=10))

    outputs = load_file(copied / outputs_name)
    save_file(outputs | {"logits": outputs["logits"].flip(0).contiguous()}, copied / outputs_name)
    assert found() == [
        f"model {model_id}: its stored outputs are not those of its weights" for model_id in _checked_in_order(zoo, 4)
    ]
    save_file(outputs, copied / outputs_name)
    table = pd.read_parquet(copied / table_name)
    table["test_accuracy"] = 0.5
    table.to_parquet(copied / table_name, index=False)
    assert all("its weights have test accuracy" in line and "the table has 0.5000" in line for line in found())
    assert len(found()) == 4
    table.iloc[:-1].to_parquet(copied / table_name, index=False)
    assert found() == ["part-00000: the table has 7 rows of 4 runs, unlike the manifest"]


def test_models_in_two_parts_are_found(copied) -> None:
    manifest = read_manifest(copied)
    manifest["parts"][1] = manifest["parts"][0]
    write_manifest(copied, manifest)
    assert "4 models are in more than one part" in list(faults(copied))


def _checked_in_order(zoo: Zoo, models: int) -> list[str]:
    """The first ``models`` of the zoo, in the order of verification."""
    chosen = zoo.final.sample(len(zoo.final), random_state=0)
    rows = [row for stack in zoo.weights(chosen.index) for row in stack.rows]
    first = set(zoo.final["model_id"].iloc[:models])
    return [model_id for model_id in zoo.table.loc[rows, "model_id"] if model_id in first]


def test_an_imported_zoo_is_checked_as_far_as_possible(imported: Path) -> None:
    notes: list[str] = []
    assert list(faults(imported, note=notes.append)) == []
    assert notes == ["skipped: the zoo has no stored outputs to compare with"]
    manifest = read_manifest(imported)
    del manifest["data"]
    write_manifest(imported, manifest)
    notes.clear()
    assert list(faults(imported, note=notes.append)) == []
    assert len(notes) == 1
    assert notes[0].startswith("skipped: outputs and results are not recomputed without the data (the zoo ")


def test_wrong_accuracies_of_an_imported_zoo_are_found(imported: Path) -> None:
    manifest = read_manifest(imported)
    name = "checkpoints/part-00002.parquet"
    pd.read_parquet(imported / name).assign(test_accuracy=0.5).to_parquet(imported / name, index=False)
    manifest["parts"][2]["files"][name] = {
        "sha256": files.sha256(imported / name),
        "bytes": (imported / name).stat().st_size,
    }
    write_manifest(imported, manifest)
    found = list(faults(imported))
    assert len(found) == 2
    assert all("its weights have test accuracy" in line for line in found)
