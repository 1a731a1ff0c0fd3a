"""The vocabulary of recipes: their words, and the training hyperparameters of each problem."""

from zoo_builder.strict_toml import Key, not_negative, positive

CLASSIFICATION = "classification"
COLOURS = ("grey", "rgb")
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
