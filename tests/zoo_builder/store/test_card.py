"""Cards of built and imported zoos."""

import re
from pathlib import Path

from zoo_builder.store.card import zoo_card
from zoo_builder.store.format import read_manifest
from zoo_builder.store.zoo import Zoo


def test_the_card_of_a_built_zoo_lists_its_hyperparameters(zoo: Zoo) -> None:
    card = zoo_card(zoo.manifest)
    assert card.startswith('---\npretty_name: "tiny"\n')
    assert "10 networks (20 checkpoints, " in card
    assert "trained on `digits` (grey,\n1,437 training and 360 test images; 0 test images are also" in card
    assert "| optimizer | one of sgd, adam |" in card
    assert "| batch_size | 32 |" in card


def test_the_card_of_an_imported_zoo_names_its_source(imported: Path) -> None:
    card = zoo_card(read_manifest(imported))
    assert "Somebody's networks\n\n10 networks (10 checkpoints, " in card
    assert " trained on `digits`, imported.\n" in card
    assert "| url | https://example.org/zoo |" in card


HOSTILE = """</p><script>alert(1)</script> <img src=x onerror=alert(1)> <!--
![pixel](https://example.org/x.png) --> [a]: b
```
---
pretty_name: another
---
~~~ \\[here](javascript:alert(1)) `<b>` &lt; | # """


def test_texts_of_others_are_shown_and_not_active(imported: Path) -> None:
    manifest = read_manifest(imported)
    manifest["name"] = 'theirs"\n---\n<script>'
    manifest["source"] = {"description": HOSTILE, "url": HOSTILE, HOSTILE: "|"}
    manifest["data"]["name"] = "`<script>`\n\n<script>"
    card = zoo_card(manifest)
    header, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert header.splitlines()[0] == 'pretty_name: "theirs\\"\\n---\\n<script>"'
    assert len(header.splitlines()) == 6
    outside = re.sub(r"`'<script>' <script>`", "", body)  # the name of the data, in code
    assert "<" not in outside
    assert not re.search(r"(?<!\\)(\\\\)*[\[\]~]|^```", outside, re.MULTILINE)
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]
