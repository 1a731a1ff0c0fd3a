"""The architectures of a population."""

import pytest

from zoo_builder.building.build import build
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import Recipe, load_recipe


def test_a_kernel_larger_than_its_input_is_refused_before_anything_is_trained_or_written(tmp_path) -> None:
    table = load_recipe("digits").to_json()
    table["fixed"].pop("depth")
    table["fixed"]["padding"] = 0
    recipe = Recipe.from_json(table | {"grid": table["grid"] | {"depth": [1, 2, 3]}})
    with pytest.raises(InputError) as error:
        build(recipe, tmp_path / "zoo")
    assert str(error.value) == (
        "small-cnn (width = 16, depth = 3, padding = 0, activation = relu) on 1x8x8 inputs: layer conv3 of the "
        "architecture reads a 1x1 image with a kernel of 3: use fewer layers, a smaller stride, or padding"
    )
    assert not (tmp_path / "zoo").exists()
