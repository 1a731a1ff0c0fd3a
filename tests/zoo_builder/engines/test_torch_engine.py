"""The PyTorch engine against torch.optim and autograd on single modules."""

from math import prod

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.engines.torch_engine import TorchEngine, resolve_device
from zoo_builder.errors import InputError
from zoo_builder.networks import dropout as dropout_masks
from zoo_builder.networks.architecture import Activation, Architecture, Dropout, Linear, Norm
from zoo_builder.networks.families import mlp, nin, park, resnet, small_cnn, vgg
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import named
from zoo_builder.streams import stream_seed
from zoo_builder.training.initialization import initialize
from zoo_builder.training.loop import train
from zoo_builder.training.settings import Runs, epoch_order, training_subset

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
NORMED = {
    "nin": nin((1, 8, 8), 10, width=4, depth=2),
    "resnet": resnet((1, 8, 8), 10, width=2, depth=8),
    "vectors": Architecture((1, 8, 8), (Linear(6), Norm(), Activation("tanh"), Linear(10), Norm())),
}


def random_parameters(architecture: Architecture, models: int, dtype: torch.dtype = torch.float64) -> dict:
    stream = torch.Generator().manual_seed(1)
    return {
        name: 0.3 * torch.randn(models, *shape, dtype=dtype, generator=stream)
        for name, shape in architecture.parameters.items()
    }


FAMILIES = {
    "small cnn": small_cnn((1, 8, 8), 10, padding=1),
    "dense": mlp((1, 8, 8), 10, width=7, activation="gelu"),
    "pooled": vgg((1, 8, 8), 10, width=4, depth=2),
    "shortcuts": park((1, 8, 8), 10, width=5, depth=4, activation="silu", residual="add"),
}


@pytest.mark.parametrize("architecture", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_equal_autograd_on_single_modules(
    architecture: Architecture, dropout: float, relative, table
) -> None:
    """With dropout, the module sees the same masks as factors on its hidden units."""
    engine = TorchEngine(dtype=torch.float64)
    runs = Runs.of(architecture, table(dropout=dropout), 100, torch.float64)
    models, batch = len(runs), 90  # more than a chunk
    flat = torch.cat([v.flatten(1) for v in random_parameters(architecture, models).values()], dim=1)
    stream = torch.Generator().manual_seed(4)
    images = torch.randint(256, (200, 1, 8, 8), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (200,), generator=stream)
    chosen = torch.randint(200, (models, batch), generator=stream)
    masks = dropout_masks.Dropout(runs.dropout, runs.seeds, torch.arange(models)) if dropout else None
    losses, gradients = engine.gradients(architecture, flat, images, labels, chosen, masks)

    for model in range(models):
        single = {name: value[model] for name, value in named(architecture, flat).items()}
        module = to_module(architecture, single)
        for place in architecture.places if masks else ():
            if isinstance(place.layer, Dropout):
                channels, positions = place.input_shape[0], prod(place.input_shape[1:])
                factors = masks.factors(place.name, batch, positions, channels, torch.float64)[:, :, model]
                factors = factors.transpose(1, 2).reshape(batch, *place.input_shape)
                module.get_submodule(place.name).register_forward_hook(lambda _, __, y, factors=factors: y * factors)
        loss = F.cross_entropy(module(scaled(images[chosen[model]], torch.float64)), labels[chosen[model]])
        truth = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        assert abs(losses[model] - loss.detach()) < 1e-12
        assert relative(gradients[model], truth) < 1e-12


@pytest.mark.parametrize("architecture", NORMED.values(), ids=NORMED)
def test_gradients_through_norms_are_those_of_the_whole_batch(architecture: Architecture, relative) -> None:
    models, batch = 3, 90  # more than a chunk of independent examples
    flat = torch.cat([v.flatten(1) for v in random_parameters(architecture, models).values()], dim=1)
    stream = torch.Generator().manual_seed(4)
    images = torch.randint(256, (200, 1, 8, 8), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (200,), generator=stream)
    chosen = torch.randint(200, (models, batch), generator=stream)
    start = {name: torch.rand(models, *shape).double() + 0.5 for name, shape in architecture.buffers.items()}
    for training in (True, False):
        buffers = {name: value.clone() for name, value in start.items()}
        losses, gradients = TorchEngine(dtype=torch.float64).gradients(
            architecture, flat, images, labels, chosen, buffers=buffers, training=training
        )
        for model in range(models):
            single = {name: value[model] for name, value in (named(architecture, flat) | start).items()}
            module = to_module(architecture, single).train(training)
            loss = F.cross_entropy(module(scaled(images[chosen[model]], torch.float64)), labels[chosen[model]])
            truth = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
            assert abs(losses[model] - loss.detach()) < 1e-12
            assert relative(gradients[model], truth) < 1e-11
            assert all(named(architecture, gradients)[name].any() != training for name in architecture.cancelled)
            for name, moved in module.named_buffers():
                if name in buffers:
                    torch.testing.assert_close(buffers[name][model], moved, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_optimizer_steps_as_torch_optim_does(
    digits: Dataset, architecture: Architecture, norm: str, table
) -> None:
    """A whole epoch with a partial last batch, in float64: a few dozen updates, of different numbers in one stack."""
    runs = table()
    if norm == "batch":
        architecture = nin((1, 8, 8), 10, width=6, depth=1)
    trained = train(TorchEngine(dtype=torch.float64), architecture, runs, digits, [1])
    for number, run in enumerate(runs.itertuples()):
        single = {k: v.double() for k, v in initialize(architecture, run.model_id, run.initialization, 0.1).items()}
        statistics = {k: torch.full(v, float(k.endswith("var"))).double() for k, v in architecture.buffers.items()}
        module = to_module(architecture, single | statistics).train()
        for name in architecture.cancelled:
            module.get_parameter(name).requires_grad_(False)
        extra = {} if run.optimizer == "adam" else {"momentum": run.momentum}
        optimizer = OPTIMIZERS[run.optimizer](module.parameters(), lr=run.learning_rate, weight_decay=run.l2, **extra)
        subset = training_subset(stream_seed(run.model_id, "subset"), round(1437 * run.train_fraction), 1437)
        order = torch.as_tensor(subset[epoch_order(run.model_id, 1, len(subset))])
        for batch in order.split(32):
            optimizer.zero_grad()
            images = scaled(digits.train_images[batch], torch.float64)
            F.cross_entropy(module(images), digits.train_labels[batch]).backward()
            optimizer.step()
        state = module.eval().state_dict()
        for name in architecture.tensors:
            # Results are kept in float32.
            torch.testing.assert_close(trained.weights[name][number], state[name].float(), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            logits = module(scaled(digits.test_images, torch.float64))
        row = trained.table.iloc[number]
        assert row["steps"] == -(-len(subset) // 32)
        assert row["test_accuracy"] == (logits.argmax(1) == digits.test_labels).double().mean()
        assert row["test_loss"] == pytest.approx(F.cross_entropy(logits, digits.test_labels).item())


def test_other_runs_of_a_stack_change_neither_start_nor_order_nor_masks_and_a_step_only_by_roundings(
    digits: Dataset, architecture: Architecture, table
) -> None:
    runs = table(5, dropout=0.5, train_fraction=32 / 1437)
    together = train(TorchEngine(), architecture, runs, digits, [0, 1])
    for number in range(len(runs)):
        alone = train(TorchEngine(), architecture, runs.iloc[[number]], digits, [0, 1])
        for name, value in alone.weights.items():
            assert torch.equal(value[0], together.weights[name][2 * number])
            torch.testing.assert_close(value[1], together.weights[name][2 * number + 1], rtol=1e-5, atol=1e-5)

    every = Runs.of(architecture, runs, 1437, torch.float32)
    one = Runs.of(architecture, runs.iloc[[3]], 1437, torch.float32)
    position = every.order_ids.index("run-3")
    masks = [
        dropout_masks.Dropout(r.dropout, r.seeds, torch.full((len(r),), 7)).factors("dropout2", 8, 4, 16, torch.float32)
        for r in (every, one)
    ]
    assert torch.equal(masks[0][:, :, position], masks[1][:, :, 0])


def test_the_same_plan_gives_the_same_bits(digits: Dataset, architecture: Architecture, table) -> None:
    first, second = (train(TorchEngine(), architecture, table(dropout=0.3), digits, [0, 2]) for _ in range(2))
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert torch.equal(first.outputs, second.outputs)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_missing_gpu_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match="finds no CUDA device on this machine: use 'cpu' or 'auto'"):
        resolve_device("cuda")
    with pytest.raises(InputError, match=r"unknown device .tpu.*: use one of auto, cpu, cuda"):
        resolve_device("tpu")
