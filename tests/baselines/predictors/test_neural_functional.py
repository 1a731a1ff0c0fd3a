"""Neural functionals on small random networks whose target is a function of the norm of one layer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.predictors.neural_functional import NeuralFunctional
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Norm
from zoo_builder.networks.families import nin, park, resnet, small_cnn
from zoo_builder.networks.stack import Stack

NIN = nin((1, 6, 6), 3, width=4, depth=2)
RESNET = resnet((1, 8, 8), 3, width=2, depth=8)
UNFOLDABLE = Architecture((1, 6, 6), (Conv(4), Activation("relu"), Norm(), Conv(3, kernel=1), GlobalAveragePool()))
PARK = [
    park((1, 8, 8), 3, width=4, depth=3, residual="add"),
    park((1, 8, 8), 3, width=2, depth=2, kernel=5, activation="silu"),
]


def random_view(n, seed, width=4, activations=("relu", "tanh")):
    """A view of n networks with alternating activations, and sigmoid(log norm of the second convolution)."""
    generator = torch.Generator().manual_seed(seed)
    target, stacks = np.empty(n), []
    for i, activation in enumerate(activations):
        architecture, rows = (
            small_cnn((1, 16, 16), 3, width=width, activation=activation),
            np.arange(n)[i :: len(activations)],
        )
        scale = torch.randn(len(rows), generator=generator).exp()
        parameters = {
            name: 0.1 * torch.einsum("m,m...->m...", scale, torch.randn(len(rows), *shape, generator=generator))
            for name, shape in architecture.parameters.items()
        }
        stacks.append(Stack(architecture, parameters, rows))
        target[rows] = torch.linalg.vector_norm(parameters["conv2.weight"].flatten(1), dim=1).log().sigmoid().numpy()
    return View(access="weights", size=n, stacks=stacks), target


@pytest.fixture(scope="module")
def fitted():
    return {v: NeuralFunctional(v, epochs=10).fit(*random_view(40, 1), *random_view(30, 2)) for v in ("np", "hnp")}


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_learns_an_invariant_function(fitted, variant):
    view, target = random_view(100, 3)
    assert kendalltau(fitted[variant].predict(view), target).statistic > 0.8


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_prediction_ignores_the_order_of_hidden_neurons_alone(fitted, variant, permute_weights):
    view, _ = random_view(20, 3, activations=("relu",))
    (stack,) = view.stacks
    weights = [stack.parameters[name] for name in stack.parameters if name.endswith("weight")]
    biases = [stack.parameters[name] for name in stack.parameters if name.endswith("bias")]

    def predicted(permutations):
        tensors = zip(*permute_weights(weights, biases, permutations), strict=True)
        parameters = dict(zip(stack.parameters, (t for pair in tensors for t in pair), strict=True))
        return fitted[variant].predict(View(access="weights", size=20, stacks=[replace(stack, parameters=parameters)]))

    given = predicted({})
    hidden = {1: torch.tensor([2, 0, 3, 1]), 2: torch.tensor([3, 2, 0, 1]), 3: torch.tensor([1, 0, 2, 3])}
    assert np.abs(predicted(hidden) - given).max() < 1e-5
    assert np.abs(predicted({4: torch.tensor([1, 2, 0])}) - given).max() > 1e-5


def test_predictions_follow_the_order_of_the_view(fitted):
    view, _ = random_view(20, 3)
    rows = np.random.default_rng(0).permutation(20)[:11]
    np.testing.assert_allclose(fitted["np"].predict(view.take(rows)), fitted["np"].predict(view)[rows], atol=1e-6)


def test_fit_is_repeatable_and_leaves_the_global_generator_alone():
    train, validation, view = random_view(24, 1), random_view(10, 2), random_view(10, 3)[0]
    before = torch.get_rng_state()
    first = NeuralFunctional("hnp", epochs=2).fit(*train, *validation).predict(view)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second = NeuralFunctional("hnp", epochs=2).fit(*train, *validation).predict(view)
    np.testing.assert_array_equal(first, second)
    other = NeuralFunctional("hnp", epochs=2, seed=1).fit(*train, *validation).predict(view)
    assert np.abs(first - other).max() > 1e-6


def test_gaps_are_predicted_on_their_own_scale():
    (train, target), (validation, validation_target) = random_view(60, 1), random_view(30, 2)
    predictor = NeuralFunctional("np", epochs=8).fit(train, target / 5 - 0.1, validation, validation_target / 5 - 0.1)
    view, target = random_view(60, 3)
    gap, predicted = target / 5 - 0.1, predictor.predict(view)
    assert np.abs(predicted - gap).mean() < np.abs(gap - gap.mean()).mean() / 2


def test_weights_that_are_not_finite_are_read_as_zero(fitted):
    view, _ = random_view(4, 3, activations=("relu",))
    (stack,) = view.stacks
    given = fitted["np"].predict(view)
    stack.parameters["conv1.weight"][1] = 0
    zero = fitted["np"].predict(view)
    stack.parameters["conv1.weight"][1] = torch.tensor(float("nan"))
    np.testing.assert_array_equal(fitted["np"].predict(view), zero)
    np.testing.assert_array_equal(zero[[0, 2, 3]], given[[0, 2, 3]])


def test_architectures_of_other_sizes_are_not_applicable(fitted):
    mixed = View(
        access="weights",
        size=8,
        stacks=[
            random_view(4, 1, width=4, activations=("relu",))[0].stacks[0],
            replace(random_view(4, 1, width=5, activations=("relu",))[0].stacks[0], rows=np.arange(4, 8)),
        ],
    )
    target = np.linspace(0, 1, 8)
    with pytest.raises(NotApplicable, match=r"same sizes.*\(1, 4, 4, 4, 3\).*\(1, 5, 5, 5, 3\)"):
        NeuralFunctional("np").fit(mixed, target, mixed, target)
    with pytest.raises(NotApplicable, match="same sizes"):
        fitted["np"].predict(mixed)


def test_unknown_variant_names_the_allowed_ones():
    with pytest.raises(InputError, match=r"unknown variant 'hpn' \(did you mean 'hnp'\?\): use one of np, hnp"):
        NeuralFunctional("hpn")


def test_networks_that_it_cannot_read_are_not_applicable(draw_stack, make_view) -> None:
    target = np.linspace(0.2, 0.6, 4)

    def fit(stacks: list[Stack]) -> np.ndarray:
        view = make_view(stacks)
        return NeuralFunctional("np", epochs=1).fit(view, target, view, target).predict(view)

    assert np.isfinite(fit([draw_stack(NIN, 4)])).all()
    with pytest.raises(NotApplicable, match="shortcuts tie layers together"):
        fit([draw_stack(RESNET, 4)])
    with pytest.raises(NotApplicable, match="norm that cannot be folded into weights: norm1 does not follow"):
        fit([draw_stack(UNFOLDABLE, 4)])
    shallow = park((1, 8, 8), 3, width=4, depth=2)
    with pytest.raises(NotApplicable, match="layers have the same sizes, and these differ"):
        fit([draw_stack(shallow, 2), draw_stack(PARK[1], 2, first_row=2)])
