"""Labeled images in memory: scikit-learn's digits, torchvision's sets, Parquet folders and image folders."""
