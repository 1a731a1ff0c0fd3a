import json

from zoo_builder.store.zoo import Zoo


def test_signatures_of_a_zoo(gengap, small_zoo: Zoo) -> None:
    fits = json.loads(gengap("signatures", small_zoo.root, "--json")[1])
    assert list(fits["margin-signature-input"]) == ["models", "features", "r2", "adjusted_r2", "fold_r2"]
    out = gengap("signatures", small_zoo.root)[1]
    fit = fits["margin-signature"]
    assert f"margin-signature          {fit['models']:.0f}      20        {fit['r2']:.3f}" in out
