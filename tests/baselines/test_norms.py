"""Zoos of networks with norms, with shortcuts, and of many architectures."""

import numpy as np
import pytest
import torch

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.methods import NotApplicable, without_norms
from baselines.predictors.neural_functional import NeuralFunctional
from baselines.predictors.weight_statistics import weight_statistics
from benchmark.evaluation.views import load_view, save_view
from benchmark.evaluation.views import make_view as make_view_of
from zoo_builder.building.build import build
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Norm
from zoo_builder.networks.families import nin, park, resnet
from zoo_builder.networks.stack import Stack
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.zoo import Zoo

MEASURES = measures()
NIN = nin((1, 6, 6), 3, width=4, depth=2)
RESNET = resnet((1, 8, 8), 3, width=2, depth=8)
UNFOLDABLE = Architecture((1, 6, 6), (Conv(4), Activation("relu"), Norm(), Conv(3, kernel=1), GlobalAveragePool()))
PARK = [
    park((1, 8, 8), 3, width=4, depth=3, residual="add"),
    park((1, 8, 8), 3, width=2, depth=2, kernel=5, activation="silu"),
]


@pytest.fixture
def draw(draw_stack):
    """Like ``draw_stack``, with running statistics."""

    def draw(architecture: Architecture, models: int, seed: int = 0, first_row: int = 0) -> Stack:
        stack = draw_stack(architecture, models, seed, first_row)
        stream = torch.Generator().manual_seed(seed + 100)
        statistics = {
            name: torch.rand(models, *shape, generator=stream) + 0.5 for name, shape in architecture.buffers.items()
        }
        return Stack(architecture, stack.parameters | statistics, stack.rows)

    return draw


@pytest.fixture(scope="module", params=["nin", "resnet"])
def zoo(request, tmp_path_factory) -> Zoo:
    recipe = {
        "name": "normed",
        "epochs": 2,
        "data": {"name": "digits"},
        "architecture": {"family": request.param},
        "fixed": {
            "optimizer": "sgd",
            "initialization": "he-normal",
            "batch_size": 64,
            "width": 4,
            "train_fraction": 0.2,
        },
        "grid": {"learning_rate": [0.01, 0.1], "norm": ["batch", "none"]},
    }
    recipe["fixed"]["depth"] = 8 if request.param == "resnet" else 1
    return build(Recipe.from_json(recipe), tmp_path_factory.mktemp("zoo"), device="cpu")


def test_measures_of_a_zoo_with_and_without_norms(zoo: Zoo, tmp_path) -> None:
    save_view(make_view_of(zoo, zoo.final, "trajectory"), tmp_path)
    results = compute(load_view(tmp_path), MEASURES)
    assert not any(result.log for result in results.values())
    assert set(zoo.final["norm"]) == {"batch", "none"}
    logits, data = zoo.outputs(zoo.final.index), zoo.data()
    for number, row in enumerate(zoo.final.itertuples()):
        module = zoo.module(row.model_id).double()
        with torch.no_grad():
            again = module(scaled(data.test_images, torch.float64))
        np.testing.assert_allclose(logits[number], again, atol=0.02)
        stack = without_norms(zoo.weights([row.Index])[0])
        weights = torch.cat([value.flatten() for value in stack.parameters.values()])
        assert results["weight-norm"].values[number] == pytest.approx(weights.double().norm().item(), rel=1e-5)
        assert results["parameter-count"].values[number] == stack.architecture.size
    for name in ("path-norm", "log-prod-of-spec", "negative-margin", "distance-from-initialization"):
        assert np.isfinite(results[name].values).all()


@pytest.mark.parametrize("architecture", [NIN, RESNET], ids=["nin", "resnet"])
def test_measures_are_those_of_the_network_with_its_norms_folded(architecture, draw, make_view) -> None:
    stack, start = draw(architecture, 3), draw(architecture, 3, seed=5)
    labels = torch.arange(40) % 3
    normed = compute(make_view([stack], labels=labels, initial=[start]), MEASURES)
    plain = compute(make_view([without_norms(stack)], labels=labels, initial=[without_norms(start)]), MEASURES)
    defined = 0
    for measure in MEASURES:
        assert normed[measure.name].reasons == plain[measure.name].reasons
        assert not normed[measure.name].log
        np.testing.assert_allclose(normed[measure.name].values, plain[measure.name].values, rtol=1e-5)
        defined += np.isfinite(normed[measure.name].values).all()
    assert defined >= 0.75 * len(MEASURES)  # random networks have margins of both signs, and few eigenvalues


def test_where_a_norm_cannot_be_folded_only_measures_of_weights_are_not_applicable(draw, make_view) -> None:
    results = compute(make_view([draw(UNFOLDABLE, 2)], initial=[draw(UNFOLDABLE, 2, seed=5)]), MEASURES)
    for measure in MEASURES:
        result = results[measure.name]
        assert not result.log
        if measure.access == "weights":
            assert "norm1 does not follow a convolution or linear layer" in result.reasons[0], measure.name
    for name in (
        "training-accuracy",
        "negative-training-loss",
        "negative-margin",
        "mixup-error",
        "input-jacobian-norm",
    ):
        assert np.isfinite(results[name].values).all()


def test_many_architectures_each_get_their_own_measures(draw, make_view) -> None:
    stacks = [draw(PARK[0], 2), draw(PARK[1], 2, first_row=2)]
    results = compute(make_view(stacks), MEASURES)
    assert not any(result.log for result in results.values())
    assert results["parameter-count"].values.tolist() == [PARK[0].size] * 2 + [PARK[1].size] * 2
    assert np.isfinite(results["path-norm"].values).tolist() == [True, True, False, False]
    assert results["path-norm"].reasons[2] == "defined for ReLU networks, and this one has silu"


def test_weight_statistics_read_folded_tensors(draw, make_view) -> None:
    stack = draw(NIN, 3)
    features = weight_statistics(make_view([stack]))
    assert not any(name.startswith("norm") for name in features)
    weights = without_norms(stack).parameters["conv2.weight"].flatten(1)
    np.testing.assert_allclose(features["conv2.weight mean"], weights.mean(1), rtol=1e-4)
    assert len(weight_statistics(make_view([draw(RESNET, 2)]))) == 2


def test_predictors_say_what_they_cannot_read(draw, make_view) -> None:
    target = np.linspace(0.2, 0.6, 4)

    def fit(stacks: list[Stack]) -> np.ndarray:
        view = make_view(stacks)
        return NeuralFunctional("np", epochs=1).fit(view, target, view, target).predict(view)

    assert np.isfinite(fit([draw(NIN, 4)])).all()
    with pytest.raises(NotApplicable, match="shortcuts tie layers together"):
        fit([draw(RESNET, 4)])
    with pytest.raises(NotApplicable, match="norm that cannot be folded into weights: norm1 does not follow"):
        fit([draw(UNFOLDABLE, 4)])
    shallow = park((1, 8, 8), 3, width=4, depth=2)
    with pytest.raises(NotApplicable, match="layers have the same sizes, and these differ"):
        fit([draw(shallow, 2), draw(PARK[1], 2, first_row=2)])
    with pytest.raises(NotApplicable, match="joined by the names of their tensors"):
        weight_statistics(make_view([draw(PARK[0], 2), draw(PARK[1], 2, first_row=2)]))
