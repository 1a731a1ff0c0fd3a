"""Slow independent computations that the tests of several families compare with."""

from math import prod

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean
from torch.func import functional_call

from baselines.access import View
from baselines.measures import magnitude_aware, pac_bayes, sharpness
from baselines.measures.compute import compute
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.module import Network, to_module
from zoo_builder.networks.stack import Stack
from zoo_builder.training.settings import training_subset


@pytest.fixture(scope="session")
def single():
    """single(view, row): one model as a float64 module, with its own images and labels."""

    def get(view: View, row: int) -> tuple[Network, torch.Tensor, torch.Tensor]:
        (stack,) = (stack for stack in view.stacks if row in stack.rows)
        position = list(stack.rows).index(row)
        network = to_module(stack.architecture, {k: v[position].double() for k, v in stack.parameters.items()})
        train = view.train
        indices = training_subset(int(train.subset_seed[row]), int(train.subset_size[row]), len(train.images))
        return network, scaled(train.images[indices], torch.float64), train.labels[indices]

    return get


@pytest.fixture(scope="session")
def hidden_margins():
    """hidden_margins(network, images, labels): ``margins.hidden_margin`` of one network, image by image.

    f_y - f_j by the norm of its gradient in the output of the second module, an activation; by the layer's width.
    """

    def get(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
        distances, features = [], []
        for image, label in zip(images, labels, strict=True):
            hidden = network[:2](image[None]).detach().requires_grad_()
            logits = network[2:](hidden)[0]
            others = logits.clone()
            others[label] = -torch.inf
            margin = logits[label] - logits[others.argmax()]
            gradient = torch.autograd.grad(margin, hidden)[0]
            if gradient.norm() > 0:
                distances.append((margin / gradient.norm()).item())
            features.append(hidden.detach().flatten().numpy())
        return np.mean(distances) / np.sqrt(trim_mean(np.var(features, axis=0), 0.05))

    return get


@pytest.fixture(scope="session")
def exact(single):
    """exact(view, row): one model in float64: its logits as a function of its flat weights, the weights, its labels."""

    def get(view: View, row: int):
        network, images, labels = single(view, row)
        own = {name: value.detach() for name, value in network.state_dict().items()}

        def logits(flat):
            parts = flat.split([prod(value.shape) for value in own.values()])
            parameters = {k: part.view_as(v) for part, (k, v) in zip(parts, own.items(), strict=True)}
            return functional_call(network, parameters, images)

        return logits, torch.cat([value.flatten() for value in own.values()]), labels

    return get


@pytest.fixture(scope="session")
def shrunk():
    """shrunk(stack): the same networks with smaller weights, so that no softmax is saturated."""
    return lambda stack: Stack(stack.architecture, {k: 0.4 * v for k, v in stack.parameters.items()}, stack.rows)


@pytest.fixture
def unsaturated_view(relu_network, tanh_network, draw_stack, make_view, shrunk):
    """Six networks of two activations with small weights."""
    return make_view([shrunk(draw_stack(relu_network, 3)), shrunk(draw_stack(tanh_network, 3, 1, first_row=3))])


@pytest.fixture(scope="session")
def positive():
    """positive(architecture, models): random tensors, with variances above 0."""

    def draw(architecture: Architecture, models: int) -> Stack:
        stream = torch.Generator().manual_seed(0)
        shapes = architecture.tensors.items()
        tensors = {name: torch.rand(models, *shape, generator=stream) - 0.3 for name, shape in shapes}
        tensors |= {name: value.abs() + 0.1 for name, value in tensors.items() if name.endswith("var")}
        return Stack(architecture, tensors, np.arange(models))

    return draw


@pytest.fixture(scope="session")
def tolerances(relu_network, draw_stack, make_view) -> tuple[View, dict[str, np.ndarray]]:
    """A view, and the values of all measures of a perturbation search; a large bias classifies all images correctly."""
    stack, initial = draw_stack(relu_network, 4), draw_stack(relu_network, 4, seed=1)
    stack.parameters["linear1.bias"][:, 0] += 30
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64), initial=[initial])
    results = compute(view, (*pac_bayes.MEASURES, *sharpness.MEASURES, *magnitude_aware.MEASURES))
    assert all((result.log, result.reasons) == ("", {}) for result in results.values())
    return view, {name: result.values for name, result in results.items()}


@pytest.fixture(scope="session")
def weights_of():
    """weights_of(stack, model): all weights and biases of one model, as numbers."""
    return lambda stack, model: [
        x for value in stack.parameters.values() for x in value[model].double().flatten().tolist()
    ]
