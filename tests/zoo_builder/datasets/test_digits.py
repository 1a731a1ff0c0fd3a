"""scikit-learn's digits."""

import numpy as np
import pytest

from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError


def test_digits_are_scikit_learns_in_a_fixed_stratified_split(tmp_path, samples):
    from sklearn.datasets import load_digits

    digits = load("digits")
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.classes == samples.digits
    assert digits.test_labels.bincount().tolist() == [36] * 10
    assert digits.duplicates == 0

    def rows(images, labels):
        return sorted((int(label), *map(int, image.ravel())) for image, label in zip(images, labels, strict=True))

    source = load_digits()
    both = (
        np.concatenate([digits.train_images, digits.test_images]),
        np.concatenate([digits.train_labels, digits.test_labels]),
    )
    # Python's integers: 15.9375 x, half up (8, the only tie, becomes 128).
    expected = [[(int(value) * 255 + 8) // 16 for value in image.ravel()] for image in source.images]
    assert rows(*both) == rows(np.array(expected), source.target)

    # Zoos are tied to this split: it must never change.
    assert digits.fingerprint == "39b12e212954a7ccc9f2cec1148d51c098f48dc588978b2f6b3ff7d3efdbc802"
    with pytest.raises(InputError, match="digits comes with scikit-learn: omit `data_root`"):
        load("digits", tmp_path)
