"""The training loop, independent of the engine: epochs, checkpoints, figures and the stopping rule."""

from collections.abc import Callable, Sequence

import pandas as pd

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.training.engine import Engine
from zoo_builder.training.recorder import Recorder
from zoo_builder.training.results import Trained
from zoo_builder.training.state import Active


def train(
    engine: Engine,
    architecture: Architecture,
    runs: pd.DataFrame,
    data: Dataset,
    checkpoints: Sequence[int],
    stop_cross_entropy: float | None = None,
    progress: Callable[[int], object] = lambda model_epochs: None,
) -> Trained:
    """Trains every row of ``runs`` (one batch size) from epoch 0 to the last of ``checkpoints``.

    Args:
        data: images and labels on the CPU; training moves them to the engine's device.
        stop_cross_entropy: see ``Recipe``.
        progress: called with the number of models at the start of each epoch.
    """
    images, labels = (values.to(engine.device).contiguous() for values in (data.train_images, data.train_labels))
    batch_size = int(runs["batch_size"].iloc[0])
    active = Active(architecture, runs, data, engine.device, engine.dtype)
    record = Recorder(engine, architecture, data, batch_size, len(runs))
    if 0 in checkpoints:
        record.checkpoint(active, 0)
    for epoch in range(1, checkpoints[-1] + 1):
        progress(len(active))
        active.shuffle(epoch)
        for diverged in engine.epoch(architecture, active, batch_size, images, labels):
            record.diverged(diverged, epoch)
        if not len(active):
            break
        if epoch == 1:
            active.noise[:, 0] = record.gradient_variance(active)
        cross_entropies = record.cross_entropies(active, stop_cross_entropy)
        active.note_steps(cross_entropies)
        if stop_cross_entropy is not None:
            record.last(active.split_off(cross_entropies <= stop_cross_entropy), epoch, "ok")
        if epoch == checkpoints[-1]:
            record.last(active, epoch, "ok" if stop_cross_entropy is None else "not-converged")
        elif epoch in checkpoints and len(active):
            record.checkpoint(active, epoch)
    return record.trained()
