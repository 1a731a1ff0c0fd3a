"""scikit-learn's digits: 1,797 real 8x8 scans that come with the package, so nothing is downloaded."""

import numpy as np
import torch

from zoo_builder.datasets.dataset import LabeledImages, Splits


def read() -> Splits:
    """Class names, 1,437 training and 360 test images.

    The test split is the first 36 images of each digit in a fixed random order; within a split the images keep
    scikit-learn's order. Intensities 0 .. 16 become 0 .. 255, rounded (8 becomes 128).
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)

    # RandomState, because NumPy promises to keep its numbers for ever, but not those of Generator.
    order = np.random.RandomState(0).permutation(len(labels))
    test = np.sort(np.concatenate([order[labels[order] == digit][:36] for digit in range(10)]))
    train = np.setdiff1d(order, test)
    splits = [LabeledImages(torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])) for rows in (train, test)]
    return Splits(tuple("0123456789"), splits[0], splits[1])
