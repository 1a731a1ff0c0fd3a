"""Random streams that depend only on a run's id and a purpose word, never on stack, worker or order of training."""

import hashlib

import numpy as np
import torch


def stream_seed(model_id: str, purpose: str) -> int:
    """A 63-bit seed for one purpose of one run, such as "initialization", "order/3", "dropout" or "subset".

    >>> stream_seed("0123456789abcdef", "subset")
    5093145610024144164
    """
    digest = hashlib.sha256(f"{model_id}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_stream(model_id: str, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(stream_seed(model_id, purpose)))


def torch_stream(model_id: str, purpose: str) -> torch.Generator:
    """Always on the CPU, so that a run on a GPU starts from the same weights."""
    return torch.Generator().manual_seed(stream_seed(model_id, purpose))
