"""Architectures as rows of layers, families of them, and stacks of networks that are computed together."""
