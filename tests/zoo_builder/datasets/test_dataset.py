"""A data set's checks, duplicates and fingerprint; colours and scaling against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zoo_builder.datasets.dataset import Dataset, in_colour, scaled, shrunk
from zoo_builder.errors import InputError


def dataset(train, train_labels, test, test_labels, classes=tuple("0123456789"), name="made"):
    images = [torch.as_tensor(np.asarray(values, np.uint8)) for values in (train, test)]
    labels = [torch.as_tensor(np.asarray(values, np.int64)) for values in (train_labels, test_labels)]
    return Dataset(name, "grey", classes, images[0], labels[0], images[1], labels[1])


images_of_few_values = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 8), st.just(1), st.just(1), st.just(2)), elements=st.integers(0, 2)
)


@given(images_of_few_values, images_of_few_values)
def test_duplicates_are_the_test_images_that_equal_a_training_image(train, test):
    made = dataset(train, np.zeros(len(train)), test, np.zeros(len(test)))
    assert made.duplicates == sum(any(np.array_equal(image, other) for other in train) for image in test)


def test_fingerprint_depends_on_each_pixel_label_and_shape(samples):
    train, test = samples.pixels(4, channels=1), samples.pixels(2, channels=1, seed=1)
    original = dataset(train, [0, 1, 2, 3], test, [0, 1])
    assert original.fingerprint == dataset(train, [0, 1, 2, 3], test, [0, 1]).fingerprint
    assert len(original.fingerprint) == 64
    altered = test.copy()
    altered[-1, 0, -1, -1] ^= 1
    others = [
        dataset(train, [0, 1, 2, 4], test, [0, 1]),
        dataset(train, [0, 1, 2, 3], altered, [0, 1]),
        dataset(train[::-1].copy(), [0, 1, 2, 3], test, [0, 1]),
        dataset(train.reshape(4, 1, 5, 6), [0, 1, 2, 3], test.reshape(2, 1, 5, 6), [0, 1]),
    ]
    assert len({original.fingerprint, *(other.fingerprint for other in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": [0]}, "2 train images with 1 labels"),
        ({"test": np.empty((0, 1, 6, 5)), "test_labels": []}, "0 test images"),
        ({"test_labels": [3, 10]}, "test image 1 has label 10, expected 0 to 9"),
        ({"train_labels": [-1, 0]}, "train image 0 has label -1"),
        ({"test": np.zeros((2, 1, 5, 6))}, "1x6x5 and 1x5x6"),
    ],
)
def test_a_dataset_refuses_parts_that_do_not_fit_together(changes, words, samples):
    parts = {
        "train": samples.pixels(2, channels=1),
        "train_labels": [0, 1],
        "test": samples.pixels(2, channels=1),
        "test_labels": [0, 1],
    }
    with pytest.raises(InputError, match=f"'made'.*{words}"):
        dataset(**{**parts, **changes})


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(3), st.just(6), st.just(9))))
def test_a_shrunk_pixel_is_the_mean_of_those_it_covers(images):
    """Blocks of 2 x 3 pixels, summed as integers; a half rounds to the even neighbor."""
    totals = images.reshape(*images.shape[:2], 3, 2, 3, 3).sum((3, 5), dtype=np.int64)
    np.testing.assert_array_equal(shrunk(torch.from_numpy(images), 3).numpy(), np.rint(totals / 6))


def test_pixels_that_are_covered_in_part_belong_to_both_neighbors():
    images = torch.tensor([[[[0, 30, 60], [0, 30, 60], [90, 90, 90]]]], dtype=torch.uint8)
    assert shrunk(images, 2).tolist() == [[[[15, 45], [52, 68]]]]
    assert torch.equal(shrunk(images, 3), images)
    assert torch.equal(shrunk(images.expand(5000, -1, -1, -1), 2), shrunk(images, 2).expand(5000, -1, -1, -1))


def test_images_are_not_enlarged():
    with pytest.raises(InputError, match="`size` is 9, and the images have 8x12 pixels: they can only be shrunk"):
        shrunk(torch.zeros(2, 1, 8, 12, dtype=torch.uint8), 9)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 4), st.integers(1, 4))))
def test_grey_is_the_rounded_mean(samples, images):
    grey = in_colour(torch.from_numpy(images), "grey")
    assert samples.same(grey, np.rint(images.mean(1, keepdims=True, dtype=np.float64)).astype(np.uint8))
    assert samples.same(in_colour(grey, "rgb"), np.repeat(grey.numpy(), 3, axis=1))
    assert samples.same(in_colour(in_colour(grey, "rgb"), "grey"), grey.numpy())
    assert samples.same(in_colour(torch.from_numpy(images), "rgb"), images)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-7), (torch.float64, 0)])
def test_scaled(dtype, tolerance):
    levels = torch.arange(256, dtype=torch.uint8)
    values = scaled(levels, dtype)
    assert values.dtype == dtype
    assert values[[0, -1]].tolist() == [-1, 1]
    np.testing.assert_allclose(values.numpy(), np.arange(256) / 127.5 - 1, rtol=0, atol=tolerance)
    assert torch.equal(levels, torch.arange(256, dtype=torch.uint8))
