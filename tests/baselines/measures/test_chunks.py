"""Chunks cover every model and image once."""

import torch

from baselines.measures.chunks import chunks, image_chunks, model_chunks, stack_chunks
from zoo_builder.networks.families import small_cnn


def test_chunks_cover_every_model_and_image_once(positive):
    stack = positive(small_cnn((1, 32, 32), 10), 11)
    covered = torch.zeros(11, 150)
    for at, some in chunks(stack, 150):
        covered[at] += 1
        assert torch.equal(some.parameters["linear1.bias"], stack.parameters["linear1.bias"][at[0]])
    assert (covered == 1).all()
    assert len(list(stack_chunks(stack))) > 1
    assert len(image_chunks(150)) == 3


def test_a_chunk_of_models_fits_its_bytes_and_has_at_least_one_model():
    assert model_chunks(5, 64, 8192) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert model_chunks(2, 64, 10**9) == [slice(0, 1), slice(1, 2)]
    assert model_chunks(0, 64, 10) == []
