"""The zoo card: a README with the metadata header that Hugging Face reads. Texts of others are shown as they are."""

import html
import json
import re

from zoo_builder.store.format import Part


def zoo_card(manifest: dict) -> str:
    """Markdown for the manifest of a finished zoo, built or imported."""
    parts = [Part.from_json(part) for part in manifest["parts"]]
    runs, rows, size = (sum(getattr(part, unit) for part in parts) for unit in ("runs", "rows", "bytes"))
    networks = f"{runs:,} networks ({rows:,} checkpoints, {size / 2**20:,.0f} MiB)"
    return f"""---
pretty_name: {json.dumps(manifest["name"])}
tags: [model-zoo, generalization-prediction, gengap]
size_categories: ["{_category(rows)}"]
configs:
- config_name: checkpoints
  data_files: "checkpoints/*.parquet"
---
# {_literal(manifest["name"])}

{_built(manifest, networks) if "recipe" in manifest else _imported(manifest, networks)}

Read it with `zoo_builder.store.zoo.Zoo.open(folder)`: `zoo.table` has one row per checkpoint, `zoo.weights(rows)` gives
the networks.
"""


def _built(manifest: dict, networks: str) -> str:
    recipe, data = manifest["recipe"], manifest["data"]
    axes = [
        f"| {_cell(name)} | one of {_cell(', '.join(map(str, values)))} |" for name, values in recipe["grid"].items()
    ]
    for name, axis in recipe["sample"].items():
        ((distribution, values),) = axis.items()
        axes.append(f"| {_cell(name)} | {distribution.replace('_', '-')} {_cell(', '.join(map(str, values)))} |")
    axes += [f"| {_cell(name)} | {_cell(value)} |" for name, value in recipe["fixed"].items()]
    size = f", shrunk to {data['size']} x {data['size']} pixels" if "size" in data else ""
    stop = f" or to a training cross-entropy of {recipe['stop']['cross_entropy']}" if "stop" in recipe else ""
    return f"""{_literal(recipe["description"])}

{networks} trained on {_code(data["name"])} ({data["colour"]}{size},
{data["train_images"]:,} training and {data["test_images"]:,} test images; {data["duplicates"]} test images are also
training images), up to {recipe["epochs"]} epochs{stop}. Family {_code(recipe["architecture"]["family"])}; built with
gengap {manifest["versions"]["gengap"]}.

| hyperparameter | values |
|---|---|
{chr(10).join(axes)}"""


def _imported(manifest: dict, networks: str) -> str:
    source = [
        f"| {_cell(name)} | {_cell(value)} |" for name, value in manifest["source"].items() if name != "description"
    ]
    data = manifest.get("data", {})
    trained = f" trained on {_code(data['name'])}" if "name" in data else ""
    return f"""{_literal(manifest["source"].get("description", ""))}

{networks}{trained}, imported.

| source | |
|---|---|
{chr(10).join(source)}"""


def _literal(text: object) -> str:
    """Markdown that shows ``text`` as it is: no HTML, links, images or code.

    >>> _literal("<b>[here](https://example.org)")
    '&lt;b&gt;\\\\[here\\\\](https://example.org)'
    """
    return re.sub(r"[\\`\[\]~]", r"\\\g<0>", html.escape(str(text), quote=False))


def _cell(value: object) -> str:
    return " ".join(_literal(value).split()).replace("|", "\\|")


def _code(text: object) -> str:
    word = " ".join(str(text).split()).replace("`", "'")
    return f"`{word}`"


def _category(rows: int) -> str:
    return next(
        (name for bound, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K")) if rows < bound), "100K<n<1M"
    )
