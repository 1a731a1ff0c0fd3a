"""Views whose only content is what estimators read."""

import numpy as np
import pytest
import torch

from baselines.access import View
from baselines.fields import TargetData


@pytest.fixture(scope="session")
def target_view():
    """target_view(*logits, configurations): n models with outputs [n, N, classes] on each of some targets."""

    def make(*logits, configurations=None) -> View:
        size = len(logits[0])
        images = torch.zeros(len(logits[0][0]), 1, 1, 1, dtype=torch.uint8)
        return View(
            access="unlabeled-data",
            size=size,
            configurations=np.arange(size) if configurations is None else np.array(configurations),
            targets={
                f"target {number}": TargetData(images=images, logits=np.asarray(one, dtype=np.float16))
                for number, one in enumerate(logits)
            },
        )

    return make


@pytest.fixture(scope="session")
def votes():
    """votes("012", ...): outputs of one model per string, with one class per image."""
    return lambda *rows: np.stack([np.eye(4)[[int(k) for k in row]] for row in rows])
