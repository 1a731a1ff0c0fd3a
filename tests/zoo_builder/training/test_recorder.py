"""Recorded figures and statistics against slow, independent ones."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Activation, Architecture, Linear, Norm
from zoo_builder.networks.families import nin, resnet, small_cnn
from zoo_builder.networks.module import to_module
from zoo_builder.streams import numpy_stream, stream_seed
from zoo_builder.training.loop import train
from zoo_builder.training.results import STATISTICS
from zoo_builder.training.settings import training_subset

NORMED = {
    "nin": nin((1, 8, 8), 10, width=4, depth=2),
    "resnet": resnet((1, 8, 8), 10, width=2, depth=8),
    "vectors": Architecture((1, 8, 8), (Linear(6), Norm(), Activation("tanh"), Linear(10), Norm())),
}


def test_recorded_training_figures_are_those_of_the_runs_own_images(
    digits: Dataset, architecture: Architecture, table
) -> None:
    runs = table(3)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 1])
    assert trained.table.loc[trained.table["epoch"] == 0, "train_loss"].isna().all()
    for number, run in enumerate(runs.itertuples()):
        module = to_module(architecture, {k: v[2 * number + 1] for k, v in trained.weights.items()})
        subset = training_subset(stream_seed(run.model_id, "subset"), round(1437 * run.train_fraction), 1437)
        with torch.no_grad():
            logits = module(scaled(digits.train_images[subset]))
        row = trained.table.iloc[2 * number + 1]
        assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == digits.train_labels[subset]).double().mean())
        assert row["train_loss"] == pytest.approx(F.cross_entropy(logits, digits.train_labels[subset]).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "epochs"), [(small_cnn((1, 8, 8), 10, padding=1), 12), (NORMED["nin"], 3)], ids=["none", "norms"]
)
def test_training_statistics_equal_slow_ones(digits: Dataset, architecture: Architecture, epochs: int, table) -> None:
    runs = table(4, learning_rate=[0.01, 0.02, 0.01, 0.001], optimizer="adam", l2=0.0, initialization="he-normal")
    runs["train_fraction"] = [1.0, 0.3, 50 / 1437, 0.5]
    trained = train(TorchEngine(dtype=torch.float64), architecture, runs, digits, list(range(epochs + 1)))
    assert trained.table.loc[trained.table["epoch"] < epochs, [*STATISTICS]].isna().all().all()
    known = trained.table[trained.table["epoch"] == epochs].set_index("run")
    for number, run in enumerate(runs.itertuples()):
        size = round(1437 * run.train_fraction)
        subset = training_subset(stream_seed(run.model_id, "subset"), size, 1437)
        images, labels = scaled(digits.train_images[subset], torch.float64), digits.train_labels[subset]

        def at(epoch: int, number: int = number) -> torch.nn.Module:
            (row,) = np.flatnonzero((trained.table["run"] == number) & (trained.table["epoch"] == epoch))
            return to_module(architecture, {k: v[row].double() for k, v in trained.weights.items()})

        with torch.no_grad():
            losses = np.array([F.cross_entropy(at(epoch)(images), labels) for epoch in range(1, epochs + 1)])
        for bound in (0.1, 0.01):
            reached = np.flatnonzero(losses <= bound)
            steps = (reached[0] + 1) * -(-size // 32) if len(reached) else np.inf
            assert known.loc[number, f"steps_to_{bound}"] == steps
        batches = numpy_stream(run.model_id, "gradient variance").permutation(size)[: 16 * 32]
        batches = [batch for batch in torch.as_tensor(batches).split(32) if len(batch) == 32]
        for column, epoch in (("gradient_variance_epoch_1", 1), ("gradient_variance", epochs)):
            module, gradients = at(epoch), []
            for batch in batches:
                loss = F.cross_entropy(module(images[batch]), labels[batch])
                parts = torch.autograd.grad(loss, list(module.parameters()))
                gradients.append(torch.cat([part.flatten() for part in parts]))
            if len(gradients) < 2:
                assert np.isnan(known.loc[number, column])
            else:
                truth = torch.stack(gradients).var(0).sum().item()
                assert known.loc[number, column] == pytest.approx(truth, rel=1e-4)  # weights are kept in float32
    assert np.isinf(known["steps_to_0.01"]).any()
    assert np.isfinite(known["steps_to_0.1"]).any() or architecture.buffers
    assert np.isnan(known["gradient_variance"]).sum() == 1
