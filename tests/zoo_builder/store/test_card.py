"""Cards of built and imported zoos."""

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
