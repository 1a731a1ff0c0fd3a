"""The results of training: the columns that are stored with each run, and what one call of ``loop.train`` returns."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

# Training cross-entropies; the steps that a run takes to reach each are recorded.
STEPS_TO = (0.1, 0.01)
STATISTICS = (*(f"steps_to_{bound}" for bound in STEPS_TO), "gradient_variance_epoch_1", "gradient_variance")
# All result columns of a table of checkpoints.
RESULTS = ("status", "steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy", *STATISTICS)


@dataclass(frozen=True)
class Trained:
    """The result of training a table of runs: one row per checkpoint of each run, in the order of the runs.

    Attributes:
        table: columns run (position in the table of runs), epoch, and ``RESULTS``. All but status, steps, test_loss
            and test_accuracy are known at a run's last checkpoint only, and NaN before:

            train_loss, train_accuracy: in eval mode on the run's own training images.
            steps_to_0.1, steps_to_0.01: steps taken by the end of the first epoch with a training cross-entropy (in
                eval mode) at or below these; infinite if there was none.
            gradient_variance_epoch_1, gradient_variance: after epoch 1 and at the end; see
                ``Recorder.gradient_variance``.
        weights: {tensor of ``architecture.tensors``: float32 [rows, *shape]}.
        outputs: float16 [runs, test images, classes], the logits of each run's last checkpoint.
    """

    table: pd.DataFrame
    weights: dict[str, Tensor]
    outputs: Tensor
