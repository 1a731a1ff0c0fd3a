"""The keys of a recipe that say what is trained on what: data, training hyperparameters, stopping rule."""

import re
from dataclasses import dataclass

from zoo_builder.strict_toml import Key, not_negative, positive

OPTIMIZERS = ("sgd", "adam", "rmsprop")
INITIALIZATIONS = ("glorot-normal", "he-normal", "orthogonal", "normal", "truncated-normal")
# What a run's own seed decides; the rest it shares with its configuration's other seeds (arXiv:2106.13799, sec. 3).
VARIED = {
    "everything": ("subset", "initialization", "order", "dropout"),
    "data": ("subset",),
    "initialization": ("initialization",),
    "order": ("order", "dropout"),
}
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
# initialization_std is read by "normal" and "truncated-normal" alone; the other initializations set their own scale.
# The code of the published small CNN zoo (google-research/dnn_predict_accuracy) reads it so too, although that zoo
# samples it for every run. The default is that of Keras.
HYPERPARAMETERS = (
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
# Names become names of folders.
NAMED = Key("name", str, "up to 100 letters, digits, '.', '_' and '-'", lambda value: bool(_NAME.fullmatch(value)))
DATA = (NAMED, Key("colour", str, ("grey", "rgb"), default="grey"))
STOP = (Key("cross_entropy", float, "a number > 0", positive),)


@dataclass(frozen=True)
class DataSpec:
    name: str
    colour: str
