"""Access levels: what each lets a method read. Importing this module imports nothing else."""

# Access level -> the fields of a View that it may read (the table in the design; `size` is free to all).
ACCESS: dict[str, frozenset[str]] = {
    "hyperparameters": frozenset({"hyperparameters", "configurations"}),
    "weights": frozenset({"stacks", "initial"}),
    "train-data": frozenset({"stacks", "initial", "train"}),
    "trajectory": frozenset({"stacks", "initial", "hyperparameters", "configurations", "train", "statistics"}),
    "unlabeled-data": frozenset({"stacks", "initial", "configurations", "train", "targets", "source"}),
}
