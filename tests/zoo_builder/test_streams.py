"""Random streams depend on the id and the purpose, and never change."""

import hashlib

import numpy as np
import torch

from zoo_builder.streams import numpy_stream, stream_seed, torch_stream


def test_seeds_and_draws_never_change() -> None:
    """Zoos on disk were trained with them, so neither the hash nor NumPy's draws may change."""
    digest = hashlib.sha256(b"run/order/1").digest()
    assert stream_seed("run", "order/1") == int.from_bytes(digest[:8], "little") // 2 == 3569679076578304431
    assert numpy_stream("run", "order/1").permutation(8).tolist() == [4, 5, 0, 3, 7, 1, 6, 2]


def test_streams_of_different_ids_and_purposes_differ() -> None:
    seeds = {stream_seed(run, purpose) for run in ("a", "b") for purpose in ("subset", "order/1", "order/2")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = [torch.randn(4, generator=torch_stream(run, "subset")) for run in ("a", "a", "b")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not np.array_equal(numpy_stream("a", "x").random(4), numpy_stream("a", "y").random(4))
