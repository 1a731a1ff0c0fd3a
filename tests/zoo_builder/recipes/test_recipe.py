import contextlib
import json
import os
from inspect import signature
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_builder.errors import InputError
from zoo_builder.networks.families import ARCHITECTURE_HYPERPARAMETERS, FAMILIES
from zoo_builder.recipes.recipe import (
    DISTRIBUTIONS,
    DataSpec,
    Recipe,
    Sampled,
    builtin_recipes,
    load_recipe,
    vocabulary,
)

TOML = """
name = "tiny"
epochs = 5
seeds = 2

[data]
name = "digits"

[architecture]
family = "small-cnn"

[fixed]
optimizer = "sgd"
initialization = "he-normal"
batch_size = 32

[grid]
dropout = [0, 0.5]
learning_rate = [0.1, 0.01, 0.001]
"""


def write(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The recipe above with every (old, new) text replaced."""
    text = TOML
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    return path


def sampled(line: str, models: str = "models = 10\n") -> tuple[tuple[str, str], ...]:
    return ('name = "tiny"\n', f'name = "tiny"\n{models}'), ("[grid]", f"[sample]\n{line}\n[grid]")


def test_every_default_is_written_out(tmp_path):
    assert load_recipe(write(tmp_path)) == Recipe(
        name="tiny",
        problem="classification",
        description="",
        seed=0,
        models=12,
        seeds=2,
        epochs=5,
        checkpoints=(0, 5),
        data=DataSpec("digits", "grey"),
        family="small-cnn",
        fixed={
            "l2": 0.0,
            "momentum": 0.0,
            "optimizer": "sgd",
            "initialization": "he-normal",
            "initialization_std": 0.05,
            "train_fraction": 1.0,
            "batch_size": 32,
            "varied": "everything",
            "width": 16,
            "depth": 3,
            "padding": 0,
            "activation": "relu",
        },
        grid={"learning_rate": (0.1, 0.01, 0.001), "dropout": (0.0, 0.5)},
        sample={},
        stop_cross_entropy=None,
    )


def test_samples_stop_rule_and_explicit_settings(tmp_path):
    axes = "l2 = { log_uniform = [1e-8, 1e-2] }\nmomentum = { uniform = [0, 0.9] }\nwidth = { choice = [16, 8] }\n"
    changes = sampled(axes + "[stop]\ncross_entropy = 1", "models = 7\nseed = 3\ncheckpoints = [1, 5]\n")
    recipe = load_recipe(write(tmp_path, *changes, ('name = "digits"', 'name = "svhn"\ncolour = "rgb"')))
    assert recipe.sample == {
        "l2": Sampled("log_uniform", (1e-8, 1e-2)),
        "momentum": Sampled("uniform", (0.0, 0.9)),
        "width": Sampled("choice", (16, 8)),
    }
    assert (recipe.models, recipe.configurations, recipe.cells, recipe.seed) == (7, 4, 6, 3)
    assert (recipe.checkpoints, recipe.stop_cross_entropy, recipe.data) == ((1, 5), 1.0, DataSpec("svhn", "rgb"))


def test_the_order_of_lines_does_not_matter(tmp_path):
    first = load_recipe(write(tmp_path))
    line = "dropout = [0, 0.5]\n"
    second = load_recipe(write(tmp_path, (line, ""), ("0.001]\n", "0.001]\n" + line)))
    assert second == first
    assert list(second.grid) == list(first.grid)


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_load_and_survive_json(name):
    recipe = load_recipe(name)
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json(), sort_keys=True)))
    assert recipe.name == name
    assert again == recipe
    assert again.digest == recipe.digest
    assert list(again.fixed) == list(recipe.fixed)


def test_json_keeps_the_stop_rule(tmp_path):
    recipe = load_recipe(write(tmp_path, ("[grid]", "[stop]\ncross_entropy = 0.1\n[grid]")))
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.digest != load_recipe(write(tmp_path)).digest


def test_the_size_of_images_survives_json(tmp_path):
    recipe = load_recipe(write(tmp_path, ('name = "digits"', 'name = "digits"\nsize = 4')))
    assert recipe.data == DataSpec("digits", "grey", 4)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.digest != load_recipe(write(tmp_path)).digest


def test_the_default_problem_and_size_are_not_written_out():
    """Recipes keep the digests they had before recipes named a problem, or shrank images."""
    value = load_recipe("digits").to_json()
    assert "problem" not in value
    assert "size" not in value["data"]
    assert Recipe.from_json(value | {"problem": "classification"}) == load_recipe("digits")
    with pytest.raises(InputError, match=r"unknown problem 'control'.*: use one of classification"):
        Recipe.from_json(value | {"problem": "control"})


def test_digits_is_64_configurations_of_4_seeds():
    recipe = load_recipe("digits")
    assert (recipe.cells, recipe.seeds, recipe.models, recipe.sample) == (64, 4, 256, {})


def test_small_cnn_zoos_differ_only_in_name_and_data():
    recipes = [load_recipe(f"{data}-gs").to_json() for data in ("cifar10", "fashion", "mnist", "svhn")]
    assert {recipe["data"]["name"] for recipe in recipes} == {"cifar10", "fashion-mnist", "mnist", "svhn"}
    own = {"name", "description", "data"}
    shared = [{key: value for key, value in recipe.items() if key not in own} for recipe in recipes]
    assert shared == shared[:1] * 4


def test_cut_keeps_the_last_epoch():
    recipe = load_recipe("cifar10-gs")
    short = recipe.cut(models=10, epochs=20, seed=1)
    assert (short.models, short.epochs, short.checkpoints, short.seed) == (10, 20, (0, 1, 2, 3, 20), 1)
    assert recipe.cut(epochs=30).checkpoints == (0, 1, 2, 3, 20, 30)
    assert recipe.cut(epochs=100).checkpoints == (*recipe.checkpoints, 100)
    assert recipe.cut() == recipe


def test_cut_refuses_values_that_a_file_may_not_hold():
    with pytest.raises(
        InputError,
        match=r"^recipe digits with `models` 257: models is 257, but there are 64 grid cells x 4 seeds: .* 256",
    ):
        load_recipe("digits").cut(models=257)
    with pytest.raises(
        InputError, match=r"^recipe digits with `epochs` 0: epochs is 0: it must be a whole number >= 1"
    ):
        load_recipe("digits").cut(epochs=0)


def test_every_architecture_hyperparameter_of_every_family_is_known():
    rows = {key.name for key in ARCHITECTURE_HYPERPARAMETERS}
    for family, function in FAMILIES.items():
        arguments = {name for name, given in signature(function).parameters.items() if given.kind is given.KEYWORD_ONLY}
        assert arguments <= rows
        assert arguments <= set(vocabulary(family))


RATE = "learning_rate = [0.1, 0.01, 0.001]"
BROKEN = {  # changes of the recipe, and the error message after the name of the file
    "unknown key": (
        [("epochs", "epoch")],
        "unknown key 'epoch' in the recipe (did you mean 'epochs'?): use one of name,",
    ),
    "unknown section": ([("[grid]", "[grids]")], "unknown key 'grids' in the recipe (did you mean 'grid'?)"),
    "unknown hyperparameter": (
        [("batch_size", "batchsize")],
        "unknown key 'batchsize' in [fixed] (did you mean 'batch_size'?): use one of learning_rate,",
    ),
    "unknown data key": ([("[data]", "[data]\ncolor = 1")], "unknown key 'color' in [data] (did you mean 'colour'?)"),
    "no section": (
        [("[data]\nname", "[data.name]\nname")],
        "[data] name is {'name': 'digits'}: it must be up to 100 letters",
    ),
    "a value for a section": (
        [("seeds = 2", "seeds = 2\nstop = 0.1")],
        "[stop] is 0.1: it must be a section of `key = value` lines",
    ),
    "missing key": ([("epochs = 5\n", "")], "epochs is missing: it must be a whole number >= 1"),
    "missing family": ([('family = "small-cnn"', "")], "[architecture] family is missing: it must be one of small-cnn"),
    "missing hyperparameter": (
        [(RATE, "")],
        "the hyperparameter learning_rate is missing: put it in [fixed], [grid] or",
    ),
    "a path for the name of the data": (
        [('name = "digits"', 'name = "../../digits"')],
        "[data] name is '../../digits': it must be up to 100 letters, digits, '.', '_' and '-'",
    ),
    "bad name": ([('"tiny"', '"a/b"')], "name is 'a/b': it must be up to 100 letters, digits, '.', '_' and '-'"),
    "no name of a folder": ([('"tiny"', f'"{"a" * 101}"')], "it must be up to 100 letters, digits, '.', '_' and '-'"),
    "text for a number": ([("epochs = 5", 'epochs = "5"')], "epochs is '5': it must be a whole number >= 1"),
    "fraction": (
        [("batch_size = 32", "batch_size = 3.5")],
        "[fixed] batch_size is 3.5: it must be a whole number >= 1",
    ),
    "truth value": (
        [("batch_size = 32", "batch_size = true")],
        "[fixed] batch_size is True: it must be a whole number",
    ),
    "huge": (
        [("batch_size = 32", f"batch_size = {2**64}")],
        f"{2**64}: it must be a whole number >= 1 and below 2**63",
    ),
    "too deep": (
        [("batch_size = 32", "batch_size = 32\ndepth = 1001")],
        "[fixed] depth is 1001: it must be a whole number in 1 .. 1000",
    ),
    "absurdly many models": (
        [("seeds = 2", "seeds = 100000000")],
        "it must be a whole number in 1 .. 10,000,000",
    ),
    "list in fixed": (
        [("batch_size = 32", "batch_size = [32]")],
        "[fixed] batch_size is [32]: it must be a whole number",
    ),
    "negative": ([(RATE, "learning_rate = [-1]")], "[grid] learning_rate is -1: it must be a number > 0"),
    "infinite": ([(RATE, "learning_rate = [inf]")], "[grid] learning_rate is inf: it must be a number > 0 and finite"),
    "not a number": ([(RATE, "learning_rate = [nan]")], "[grid] learning_rate is nan: it must be a number > 0"),
    "dropout of 1": ([("[0, 0.5]", "[0, 1]")], "[grid] dropout is 1: it must be a number in [0, 1)"),
    "no training data": (
        [("[grid]", "[grid]\ntrain_fraction = [0]")],
        "[grid] train_fraction is 0: it must be a number in",
    ),
    "unknown optimizer": (
        [('"sgd"', '"adams"')],
        "unknown optimizer 'adams' in [fixed] (did you mean 'adam'?): use one of sgd, adam, rmsprop",
    ),
    "unknown initialization": (
        [('"he-normal"', '"he_normal"')],
        "unknown initialization 'he_normal' in [fixed] (did you mean 'he-normal'?): use one of glorot-normal, he-",
    ),
    "unknown activation": (
        [("[grid]", '[grid]\nactivation = ["relu", "than"]')],
        "unknown activation 'than' in [grid] (did you mean 'tanh'?): use one of relu, tanh",
    ),
    "unknown norm": (
        [('"small-cnn"', '"nin"'), ("[grid]", '[grid]\nnorm = ["batch", "layer"]')],
        "unknown norm 'layer' in [grid]: use one of none, batch",
    ),
    "unknown residual": (
        [('"small-cnn"', '"park"'), ("[grid]", '[grid]\nresidual = ["ad"]')],
        "unknown residual 'ad' in [grid] (did you mean 'add'?): use one of none, add",
    ),
    "unknown varied": (
        [("[grid]", '[grid]\nvaried = ["data", "initialisation"]')],
        "unknown varied 'initialisation' in [grid] (did you mean 'initialization'?): use one of everything, data, ini",
    ),
    "even kernel": (
        [('"small-cnn"', '"park"'), ("[grid]", "[grid]\nkernel = [3, 4]")],
        "[grid] kernel is 4: it must be an odd number >= 1",
    ),
    "hyperparameter of another family": (
        [('"small-cnn"', '"mlp"'), ("[grid]", "[grid]\nkernel = [3, 5]")],
        "unknown key 'kernel' in [grid]: use one of learning_rate,",
    ),
    "unknown family": (
        [('"small-cnn"', '"small_cnn"')],
        "unknown family 'small_cnn' in [architecture] (did you mean 'small-cnn'?): use one of small-cnn",
    ),
    "unknown colour": (
        [("[data]", '[data]\ncolour = "gray"')],
        "unknown colour 'gray' in [data] (did you mean 'grey'?)",
    ),
    "empty axis": ([("[0, 0.5]", "[]")], "[grid] dropout is []: it must be a list of at least one value"),
    "axis without a list": ([("[0, 0.5]", "0.5")], "[grid] dropout is 0.5: it must be a list of at least one value"),
    "repeated value": ([("[0, 0.5]", "[0, 0.5, 0.0]")], "[grid] dropout lists 0.0 twice: remove one"),
    "two sections": (
        [("batch_size = 32", "batch_size = 32\ndropout = 0")],
        "dropout is in [fixed] and in [grid]: keep one of them",
    ),
    "too many models": (
        [("seeds = 2", "seeds = 2\nmodels = 13")],
        "models is 13, but there are 6 grid cells x 2 seeds: ask for at most 12, or add seeds or grid values",
    ),
    "no models": (
        list(sampled("l2 = { uniform = [0, 1] }", "")),
        "models is missing: [sample] has no natural number of draws",
    ),
    "bare sample": (list(sampled("l2 = [0, 1]")), "[sample] l2 is [0, 1]: it must be one distribution, { uniform ="),
    "two distributions": (
        list(sampled("l2 = { uniform = [0, 1], choice = [0] }")),
        "[sample] l2 is {'uniform': [0, 1], 'choice': [0]}: it must be one distribution",
    ),
    "unknown distribution": (
        list(sampled("l2 = { loguniform = [1e-3, 1] }")),
        "unknown distribution 'loguniform' of [sample] l2 (did you mean 'log_uniform'?): use one of uniform, log_",
    ),
    "discrete": (
        list(sampled("width = { uniform = [1, 2] }")),
        "[sample] width cannot be uniform, it is not continuous: use choice",
    ),
    "empty choice": (
        list(sampled("l2 = { choice = [] }")),
        "[sample] l2 is []: it must be a list of at least one value",
    ),
    "reversed bounds": (
        list(sampled("l2 = { uniform = [1, 0] }")),
        "[sample] l2 is {'uniform': [1, 0]}: it must be [low, high] with low < high",
    ),
    "three bounds": (list(sampled("l2 = { uniform = [0, 1, 2] }")), "it must be [low, high] with low < high"),
    "log of zero": (
        list(sampled("l2 = { log_uniform = [0, 1] }")),
        "[sample] l2 is {'log_uniform': [0, 1]}: it must be [low, high] with 0 < low < high",
    ),
    "bound out of range": (
        list(sampled("momentum = { uniform = [0, 1] }")),
        "[sample] momentum is 1: it must be a number in [0, 1)",
    ),
    "late checkpoint": (
        [("epochs = 5", "epochs = 5\ncheckpoints = [0, 6]")],
        "checkpoints is 6: it must be whole numbers in 0 .. 5 (epochs)",
    ),
    "descending checkpoints": (
        [("epochs = 5", "epochs = 5\ncheckpoints = [0, 5, 2]")],
        "checkpoints is [0, 5, 2]: it must ascend",
    ),
    "repeated checkpoint": ([("epochs = 5", "epochs = 5\ncheckpoints = [0, 5, 5]")], "checkpoints lists 5 twice"),
    "no last checkpoint": (
        [("epochs = 5", "epochs = 5\ncheckpoints = [0, 2]")],
        "checkpoints is [0, 2]: it must end with the last epoch, 5",
    ),
    "one checkpoint": (
        [("epochs = 5", "epochs = 5\ncheckpoints = 5")],
        "checkpoints is 5: it must be a list of at least",
    ),
    "bad stop rule": (
        [("[grid]", "[stop]\ncross_entropy = 0\n[grid]")],
        "[stop] cross_entropy is 0: it must be a number",
    ),
    "empty stop rule": ([("[grid]", "[stop]\n[grid]")], "[stop] cross_entropy is missing: it must be a number > 0"),
    "syntax": ([("epochs = 5", "epochs = ")], "not valid TOML: Invalid value (at line 3, column"),
}


@pytest.mark.parametrize(("changes", "words"), BROKEN.values(), ids=BROKEN)
def test_errors_name_the_file_the_key_and_what_is_allowed(tmp_path, changes, words):
    path = write(tmp_path, *changes)
    with pytest.raises(InputError) as error:
        load_recipe(path)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


@settings(deadline=None)
@given(st.sampled_from(sorted(load_recipe("cifar10-gs").to_json())), st.sampled_from(["", *DISTRIBUTIONS]), anything)
def test_any_toml_is_a_recipe_or_an_input_error(key, distribution, value):
    table = load_recipe("cifar10-gs").to_json()
    if distribution:
        table["sample"]["l2"] = {distribution: value}
    else:
        table[key] = value
    with contextlib.suppress(InputError):
        assert Recipe.from_json(table).configurations >= 1


def test_missing_recipes_are_named(tmp_path):
    with pytest.raises(
        InputError, match=r"unknown recipe 'digit' \(did you mean 'digits'\?\): use one of cifar10-gs, .*toml"
    ):
        load_recipe("digit")
    with pytest.raises(InputError, match=r"cannot read the recipe .*absent\.toml: No such file"):
        load_recipe(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    for content in (b"a = " + b"[" * 10_000, b"a = " + b"9" * 10_000):
        binary.write_bytes(content)
        with pytest.raises(InputError, match=r"binary.toml: not valid TOML: .*"):
            load_recipe(str(binary))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_encodings_of_windows_are_read(tmp_path, encoding, newline):
    text = TOML.replace('"tiny"', '"tiny"\ndescription = "grün ≥ 5"').replace("\n", newline)
    mark, encoding = ("\ufeff", encoding.removesuffix("-bom")) if encoding.endswith("-bom") else ("", encoding)
    path = tmp_path / "Tiny.TOML"
    path.write_bytes((mark + text).encode(encoding))
    expected = load_recipe(write(tmp_path, ('"tiny"\n', '"tiny"\ndescription = "grün ≥ 5"\n')))
    assert load_recipe(path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TOML.encode("utf-16-le"), "not UTF-8 text: it has zero bytes, as UTF-16 has; save the file as UTF-8"),
        (TOML.encode("utf-32"), "not UTF-8 text: it has zero bytes"),
        ('name = "a"\ndescription = "grün"'.encode("latin-1"), "line 2 is not UTF-8 text: save the file as UTF-8"),
        (TOML.encode("utf-16")[:-1], "is not UTF-16.* text: save the file as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, words):
    (tmp_path / "other.toml").write_bytes(content)
    with pytest.raises(InputError, match=f"other.toml: .*{words}"):
        load_recipe(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 200_000, "not valid TOML: "),
        ("a = " + "[" * 300 + "]" * 300, "unknown key 'a'"),
        ("epochs = 1\nname = " + "[" * 300 + "]" * 300, "name is "),
        ("a" + ".a" * 100_000 + " = 1", "not valid TOML: a key has more than 50 parts"),
        ("[a" + " . 'a'" * 100_000 + "]", "not valid TOML: a key has more than 50 parts"),
        ("name = {" + "a = {" * 100_000, "not valid TOML: "),
        ('epochs = 1\nname = "' + "a" * 900_000 + '"', "name is 'aaaa"),
        ("a" * 900_000 + " = 1", "unknown key 'aaaa"),
        ("#" * 2**21, "is not a recipe: it has 2,097,152 bytes, expected at most 1,048,576"),
        ('epochs = 1\nname = "\\u001b[2J"', r"name is '\\x1b"),
        ('name = "x"\nepochs = 1\ndescription = "\\u001b[2J"', "description is .* a text without control characters"),
        ('name = "x"\nepochs = 1\ndescription = "\\u202egnp"', "description is .* a text without control characters"),
    ],
)
def test_deep_large_and_unreadable_recipes_are_one_line(tmp_path, text, words):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        load_recipe(tmp_path / "mine.toml")
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


def test_a_pipe_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "mine.toml")
    with pytest.raises(InputError, match=r"cannot read the recipe .*mine.toml: it is a pipe or a device"):
        load_recipe(tmp_path / "mine.toml")
