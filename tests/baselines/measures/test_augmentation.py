"""Penalties and margins under alterations, against a slow loop over images and single networks in float64."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from baselines.measures import augmentation
from baselines.measures.augmentation import COLOURED, PENALTIES, alterations, augmented, uniform_draws
from baselines.measures.compute import compute
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.families import mlp, small_cnn
from zoo_builder.networks.stack import Stack, forward
from zoo_builder.training.settings import training_subset

ALL = {measure.name: measure for measure in augmentation.MEASURES}
RGB = small_cnn((3, 20, 20), 3, width=5, depth=2, padding=1)  # a crop to 90 % takes 1 pixel off each side


def balance(stack: Stack, images: torch.Tensor) -> None:
    """Gives the networks outputs that are 0 on average and of variance 1, so that small changes matter."""
    logits = forward(stack.architecture, stack.parameters, scaled(images))
    spread = logits.std(1, keepdim=True)
    stack.parameters["linear1.bias"] -= logits.mean(1)
    stack.parameters["linear1.bias"] /= spread[:, 0]
    stack.parameters["linear1.weight"] /= spread.transpose(1, 2)


def own_draws(view, row: int, number: int) -> torch.Tensor:
    train = view.train
    indices = training_subset(int(train.subset_seed[row]), int(train.subset_size[row]), len(train.images))
    return uniform_draws(len(train.images), number)[indices]


def test_draws_are_uniform_and_belong_to_an_image():
    draws = uniform_draws(4000, 3)
    assert kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    torch.testing.assert_close(uniform_draws(4000, 3), draws, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_penalties_against_single_modules(channels, relu_network, draw_stack, make_view, single):
    stack = draw_stack(RGB if channels == 3 else relu_network, 5)
    view = make_view([stack])
    balance(stack, view.train.images)
    truth = {name: np.zeros(5) for name in PENALTIES}
    for row in range(5):
        network, images, _ = single(view, row)
        draws = own_draws(view, row, 6)
        for image, draw in zip(images, draws, strict=True):
            before = network(image[None]).softmax(-1)[0]
            for name, changed in alterations(image[None].float(), draw[None]).items():
                after = network(changed.double()).softmax(-1)[0]
                same = before.argmax() == after.argmax()
                cost = (before.max() - after.max()).abs().item() if same else PENALTIES[name]
                truth[name][row] += cost / len(images)
    results = compute(view, augmentation.MEASURES)
    total = results["always-generalize"].values
    if channels == 1:
        flip = truth["flip"]
        same_flip = results["flip-penalty"].values
        np.testing.assert_allclose(same_flip, flip, rtol=1e-4)
        for name in COLOURED:
            assert results[f"{name}-penalty"].reasons == dict.fromkeys(range(5), "the images have no colours")
            assert results[f"{name}-penalty"].log == ""
        # The penalty of a changed prediction is 6 larger when saturation is altered, too.
        shares = (total - sum(truth[name] for name in PENALTIES) - flip) / 6
        counts = shares * view.train.subset_size
        np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
        assert (counts > 0.5).any()
    else:
        for name, values in truth.items():
            np.testing.assert_allclose(results[f"{name}-penalty"].values, values, rtol=1e-4)
            assert (values > 0.01).all()
        np.testing.assert_allclose(total, sum(truth.values()), rtol=1e-4)


def test_a_constant_network_has_no_penalty(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 2)
    stack.parameters["linear1.weight"][0] = 0
    values = compute(make_view([stack]), [ALL["always-generalize"]])["always-generalize"].values
    assert values[0] == 0
    assert values[1] > 0


def test_images_of_one_pixel_have_no_edges(draw_stack, make_view):
    result = compute(make_view([draw_stack(mlp((2, 1, 1), 3, width=4), 2)]), [ALL["flip-penalty"]])["flip-penalty"]
    assert result.reasons == dict.fromkeys(range(2), "images of 1x1 have no edges")


def test_augmentations_are_those_of_the_source():
    """Flip, hue, saturation, brightness, contrast, zoom, and the ends of their ranges."""
    ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    still = torch.tensor([[0.9, 0.5, 0.5, 0.5, 1, 0.1, 0]])

    def with_draw(place: int, value: float) -> torch.Tensor:
        draws = still.clone()
        draws[0, place] = value
        return augmented(ramp, draws)

    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(augmented(ramp, still), ramp, **close)
    torch.testing.assert_close(with_draw(0, 0.4), -ramp, **close)
    torch.testing.assert_close(with_draw(3, 1), ramp + 0.1, **close)
    torch.testing.assert_close(with_draw(4, 0), 0.7 * ramp, **close)
    still[0, 5] = 0.6
    torch.testing.assert_close(augmented(ramp, still), 0.85 * ramp, **close)
    torch.testing.assert_close(with_draw(6, 0.999), 0.99 * ramp, **close)


def test_augmentation_of_colours_turns_hue_and_saturation():
    image = torch.tensor([0.2, -0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    still = torch.tensor([[0.9, 0.5, 0.0, 0.5, 1, 0.1, 0]])
    found = augmented(image, still)[0, :, 0, 0]
    # Saturation times 0.6 moves every channel toward the largest.
    torch.testing.assert_close(found, 0.6 + 0.6 * (torch.tensor([0.2, -0.4, 0.6]) - 0.6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_margin_against_autograd_of_single_modules(
    channels, relu_network, draw_stack, make_view, single, hidden_margins
):
    view = make_view([draw_stack(RGB if channels == 3 else relu_network, 5)])
    truth = []
    for row in range(5):
        network, images, labels = single(view, row)
        changed = augmented(images.float(), own_draws(view, row, 7)).double()
        truth.append(-hidden_margins(network, changed, labels))
    result = compute(view, [ALL["augmentation-margin"]])["augmentation-margin"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-4)
