from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import kendalltau

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.predictors.neural_functional import NeuralFunctional
from baselines.weight_space.equivariant import EquivariantLinear, average
from baselines.weight_space.symmetry import WeightSpace, chain_sizes
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Linear
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.stack import Stack

# Widths, kernel positions (a 2x2 kernel has 4), and the dimension of the space of equivariant affine maps.
DIMENSIONS = [
    (WeightSpace.np, (2, 3, 3, 3), (1, 1, 1), 68),
    (WeightSpace.np, (2, 3, 4, 3, 2), (1, 1, 1, 1), 108),
    (WeightSpace.np, (3, 4, 2), (1, 1), 36),
    (WeightSpace.np, (1, 3, 3, 2), (4, 4, 1), 294),
    (WeightSpace.np, (1, 2, 2, 2, 3), (4, 4, 4, 1), 541),
    (WeightSpace.hnp, (2, 3, 3, 3), (1, 1, 1), 174),
    (WeightSpace.hnp, (2, 3, 4, 3, 2), (1, 1, 1, 1), 175),
    (WeightSpace.hnp, (3, 4, 2), (1, 1), 108),
    (WeightSpace.hnp, (1, 3, 3, 2), (4, 4, 1), 356),
    (WeightSpace.hnp, (1, 2, 2, 2, 3), (4, 4, 4, 1), 720),
]
VARIANTS = [WeightSpace.np, WeightSpace.hnp]


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random_weights(space, batch):
    """Weights [batch, out, in, kernel] and biases [batch, out] of every layer."""
    sizes = list(zip(space.widths[1:], space.widths, space.kernels, strict=False))
    weights = [torch.randn(batch, *size, dtype=torch.float64) for size in sizes]
    return weights, [torch.randn(batch, out, dtype=torch.float64) for out, _, _ in sizes]


def permute_weights(weights, biases, permutations):
    """Reorders neurons ({set: permutation}) in every tensor that they index."""
    order = {i: slice(None) for i in range(len(weights) + 1)} | permutations
    permuted = [weight[:, order[i + 1]][:, :, order[i]] for i, weight in enumerate(weights)]
    return permuted, [bias[:, order[i + 1]] for i, bias in enumerate(biases)]


def permute_features(space, features, permutations):
    def permuted(part, feature):
        for axis in part.axes:
            feature = feature.index_select(2 + part.axes.index(axis), permutations[axis])
        return feature

    return [permuted(part, feature) for part, feature in zip(space.parts, features, strict=True)]


def orbit_count(space):
    """Orbits of the entries of a weight space and of their pairs, by brute force."""
    weights, biases = random_weights(space, 1)
    sizes = [tensor.numel() for tensor in weights + biases]
    n = sum(sizes)
    numbers = [part.view(t.shape) for part, t in zip(torch.arange(n).split(sizes), weights + biases, strict=True)]
    moves = []
    for i in space.permuted:
        cycle, swap = torch.arange(space.widths[i]).roll(1), torch.arange(space.widths[i])
        swap[:2] = swap[:2].flip(0)
        for permutation in (cycle, swap):  # together they generate all permutations
            moved = permute_weights(numbers[: len(weights)], numbers[len(weights) :], {i: permutation})
            moves.append(torch.cat([tensor.flatten() for tensors in moved for tensor in tensors]).numpy())

    def components(moves):
        size = len(moves[0])
        edges = np.tile(np.arange(size), len(moves)), np.concatenate(moves)
        return connected_components(coo_array((np.ones(len(edges[0])), edges), (size, size)), directed=False)[0]

    return components(moves) + components([(move[:, None] * n + move).ravel() for move in moves])


def spanned_maps(space):
    """A one-channel layer and, per parameter, what each entry adds to the outputs: {name: [outputs, *parameter shape]}.

    The layer is affine in its inputs and linear in its parameters, so the rank of all this, on more random inputs than
    there are weights, is the dimension of the space of functions that it spans.
    """
    layer = EquivariantLinear(space, 1, 1).double()
    features = space.fold(
        *random_weights(space, 5 + sum(part.fold * np.prod(part.sizes, dtype=int) for part in space.parts))
    )

    shapes = {name: parameter.shape for name, parameter in layer.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def outputs(flat):
        parts = zip(shapes.items(), flat.split(sizes), strict=True)
        parameters = {name: part.view(shape) for (name, shape), part in parts}
        produced = torch.func.functional_call(layer, parameters, (features,))
        return torch.cat([output.expand(len(features[0]), *output.shape[1:]).flatten() for output in produced])

    columns = torch.vmap(outputs)(torch.eye(sum(sizes), dtype=torch.float64)).T.split(sizes, 1)
    return layer, {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), columns, strict=True)}


def rank(maps):
    return int(torch.linalg.matrix_rank(torch.cat([columns.flatten(1) for columns in maps.values()], 1)))


@pytest.mark.parametrize(("variant", "widths", "kernels", "dimension"), DIMENSIONS)
def test_layer_spans_every_equivariant_affine_map(variant, widths, kernels, dimension):
    space = variant(widths, kernels)
    assert orbit_count(space) == dimension
    assert rank(spanned_maps(space)[1]) == dimension


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_term_can_be_left_out(variant):
    space = variant((2, 3, 4, 3), (1, 2, 1))
    layer, maps = spanned_maps(space)
    full = rank(maps)
    folds = [part.fold for part in space.parts]
    for t, (_, having) in enumerate(layer.terms):
        edges = np.cumsum([0, *(folds[p] for p in having)])
        for rows in pairwise(edges):
            for columns in pairwise(edges):
                without = maps[f"weights.{t}"].clone()
                without[:, slice(*rows), slice(*columns)] = 0
                assert rank(maps | {f"weights.{t}": without}) < full
    for name in (name for name in maps if name.startswith("constants")):
        assert rank({other: columns for other, columns in maps.items() if other != name}) < full


@pytest.mark.parametrize("variant", VARIANTS)
def test_layer_commutes_with_permutations(variant):
    space = variant((3, 5, 4, 6, 2), (4, 9, 1, 1))
    layer = EquivariantLinear(space, 3, 2).double()
    features = [torch.randn(2, 3 * part.fold, *part.sizes, dtype=torch.float64) for part in space.parts]
    permutations = {i: torch.randperm(space.widths[i]) for i in space.permuted}

    @torch.no_grad()
    def error(function):
        moved = function(permute_features(space, features, permutations))
        expected = permute_features(space, function(features), permutations)
        return max((a - b).abs().max().item() for a, b in zip(moved, expected, strict=True))

    assert error(layer) < 1e-12
    position_weights = [torch.randn(part.sizes, dtype=torch.float64) for part in space.parts]
    per_position = lambda inputs: [a * (1 + 1e-3 * b) for a, b in zip(layer(inputs), position_weights, strict=True)]  # noqa: E731
    assert error(per_position) > 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
def test_folding_commutes_with_permutations(variant):
    space = variant((3, 5, 4, 2), (4, 9, 1))
    weights, biases = random_weights(space, 2)
    permutations = {i: torch.randperm(space.widths[i]) for i in space.permuted}
    moved = space.fold(*permute_weights(weights, biases, permutations))
    expected = permute_features(space, space.fold(weights, biases), permutations)
    assert all(torch.equal(a, b) for a, b in zip(moved, expected, strict=True))


@pytest.mark.parametrize(("variant", "invariant"), [(WeightSpace.np, True), (WeightSpace.hnp, False)])
@pytest.mark.parametrize("end", [0, 3])
def test_only_np_ignores_the_order_of_inputs_and_outputs(variant, invariant, end):
    space = variant((3, 5, 4, 3), (4, 9, 1))
    layer = EquivariantLinear(space, 1, 2).double()
    weights, biases = random_weights(space, 2)

    @torch.no_grad()
    def averages(weights, biases):
        outputs = layer(space.fold(weights, biases))
        return torch.cat([average(f, part.axes, ()) for f, part in zip(outputs, space.parts, strict=True)], 1)

    moved = averages(*permute_weights(weights, biases, {end: torch.tensor([1, 2, 0])}))
    error = (averages(weights, biases) - moved).abs().max().item()
    assert error < 1e-12 if invariant else error > 1e-3


def test_outputs_of_a_layer_start_at_the_scale_of_its_inputs():
    space = WeightSpace.hnp((1, 16, 16, 16, 10), (9, 9, 9, 1))
    outputs = EquivariantLinear(space, 16, 16)([torch.randn(4, 16 * part.fold, *part.sizes) for part in space.parts])
    assert all(0.05 < output.std().item() < 2 for output in outputs)


def test_sizes_of_a_chain_count_image_positions_as_kernel():
    assert chain_sizes(small_cnn((1, 32, 32), 10)) == ((1, 16, 16, 16, 10), (9, 9, 9, 1))
    flat = Architecture((2, 5, 5), (Conv(4, kernel=2), Activation("relu"), Linear(3)))
    assert chain_sizes(flat) == ((2, 4, 3), (4, 16))


# Predictors, on small networks with random weights whose target is a function of the norm of one layer.


def random_view(n, seed, width=4, activations=("relu", "tanh")):
    """A view of n networks, activations taking turns, and sigmoid(log norm of the second convolution)."""
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
    return {v: NeuralFunctional(v, patience=50).fit(*random_view(60, 1), *random_view(30, 2)) for v in ("np", "hnp")}


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_learns_an_invariant_function(fitted, variant):
    view, target = random_view(100, 3)
    assert kendalltau(fitted[variant].predict(view), target).statistic > 0.8


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_prediction_ignores_the_order_of_hidden_neurons_alone(fitted, variant):
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
    predictor = NeuralFunctional("np").fit(train, target / 5 - 0.1, validation, validation_target / 5 - 0.1)
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
    with pytest.raises(InputError, match=r"unknown variant 'hpn' \(did you mean 'hnp'\?\): use one of \('np', 'hnp'\)"):
        NeuralFunctional("hpn")
