"""The zoo card: a README with the metadata header that Hugging Face reads."""

import json


def zoo_card(manifest: dict) -> str:
    """Markdown for a finished zoo's manifest."""
    recipe, data, parts = manifest["recipe"], manifest["data"], manifest["parts"]
    runs, rows = sum(part["runs"] for part in parts), sum(part["rows"] for part in parts)
    size = sum(entry["bytes"] for part in parts for entry in part["files"].values())
    axes = [f"| {name} | one of {', '.join(map(str, values))} |" for name, values in recipe["grid"].items()]
    for name, axis in recipe["sample"].items():
        ((law, values),) = axis.items()
        axes.append(f"| {name} | {law.replace('_', '-')} {', '.join(map(str, values))} |")
    axes += [f"| {name} | {value} |" for name, value in recipe["fixed"].items()]
    stop = f" or to a training cross-entropy of {recipe['stop']['cross_entropy']}" if "stop" in recipe else ""
    return f"""---
pretty_name: {json.dumps(manifest["name"])}
tags: [model-zoo, generalization-prediction, gengap]
size_categories: ["{_category(rows)}"]
configs:
- config_name: checkpoints
  data_files: "checkpoints/*.parquet"
---
# {manifest["name"]}

{recipe["description"]}

{runs:,} networks ({rows:,} checkpoints, {size / 2**20:,.0f} MiB) trained on `{data["name"]}` ({data["colour"]},
{data["train_images"]:,} training and {data["test_images"]:,} test images; {data["duplicates"]} test images are also
training images), up to {recipe["epochs"]} epochs{stop}. Family `{recipe["architecture"]["family"]}`; built with gengap
{manifest["versions"]["gengap"]}.

| hyperparameter | values |
|---|---|
{chr(10).join(axes)}

Read it with `zoo_builder.store.zoo.Zoo.open(folder)`: `zoo.table` has one row per checkpoint, `zoo.weights(rows)` gives
the networks.
"""


def _category(rows: int) -> str:
    return next(
        (name for bound, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K")) if rows < bound), "100K<n<1M"
    )
