"""The vocabulary of recipes: the training hyperparameters of each problem, and the keys of data and stopping rule."""

import re
from dataclasses import dataclass

from zoo_builder.strict_toml import Key, not_negative, positive

CLASSIFICATION = "classification"
OPTIMIZERS = ("sgd", "adam", "rmsprop")
INITIALIZATIONS = ("glorot-normal", "he-normal", "orthogonal", "normal", "truncated-normal")
# The random choices that a run's own seed determines; the run shares all others with the other seeds of its
# configuration (arXiv:2106.13799, sec. 3).
VARIED = {
    "everything": ("subset", "initialization", "order", "dropout"),
    "data": ("subset",),
    "initialization": ("initialization",),
    "order": ("order", "dropout"),
}
# By problem. Only "normal" and "truncated-normal" read initialization_std; the other initializations set their own
# scale. The code of the published small CNN zoo (google-research/dnn_predict_accuracy) does the same, although that zoo
# samples a std for every run. The default is that of Keras.
HYPERPARAMETERS = {
    CLASSIFICATION: (
        Key("learning_rate", float, "a number > 0", positive),
        Key("l2", float, "a number >= 0", not_negative, 0.0),
        Key("momentum", float, "a number in [0, 1)", lambda value: 0 <= value < 1, 0.0),
        Key("optimizer", str, OPTIMIZERS),
        Key("dropout", float, "a number in [0, 1)", lambda value: 0 <= value < 1, 0.0),
        Key("initialization", str, INITIALIZATIONS),
        Key("initialization_std", float, "a number > 0", positive, 0.05),
        Key("train_fraction", float, "a number in (0, 1]", lambda value: 0 < value <= 1, 1.0),
        Key("batch_size", int, "a whole number >= 1", positive),
        Key("varied", str, tuple(VARIED), default="everything"),
    )
}
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
# Names become folder names.
NAMED = Key("name", str, "up to 100 letters, digits, '.', '_' and '-'", lambda value: bool(_NAME.fullmatch(value)))
PROBLEM = Key("problem", str, tuple(HYPERPARAMETERS), default=CLASSIFICATION)
DATA = (NAMED, Key("colour", str, ("grey", "rgb"), default="grey"))
STOP = (Key("cross_entropy", float, "a number > 0", positive),)


@dataclass(frozen=True)
class DataSpec:
    """The [data] section of a recipe: a data set by name, in "grey" or "rgb"."""

    name: str
    colour: str
