"""Labelled images in memory: scikit-learn's digits, torchvision's sets, Parquet folders and image folders."""

from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.datasets.loading import NAMES, load

__all__ = ["NAMES", "Dataset", "load", "scaled"]
