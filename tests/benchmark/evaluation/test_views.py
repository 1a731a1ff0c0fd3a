"""Views of a real zoo: in this process, and written for another one."""

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import AccessError, NotApplicable, View
from baselines.fields import FIELDS
from baselines.levels import ACCESS
from benchmark.evaluation.views import load_view, make_view, write_view
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


@pytest.fixture(params=["made", "written without weights", "written with weights"])
def way(request, tmp_path):
    """way(zoo, final, access): the view of one of the three ways to get it."""

    def get(zoo: Zoo, final: pd.DataFrame, access: str) -> View:
        if request.param == "made":
            return make_view(zoo, final, access)
        write_view(zoo, final, access, None, tmp_path, copy_weights=request.param == "written with weights")
        return load_view(tmp_path)

    return get


@pytest.mark.parametrize("access", ACCESS)
def test_a_view_holds_what_its_level_allows(small_zoo: Zoo, access: str, way) -> None:
    final = small_zoo.final.iloc[::-3]  # neither all models nor in the order of the zoo
    view, data = way(small_zoo, final, access), small_zoo.data()
    assert view.size == len(final)
    assert view.access == access
    for field in FIELDS:
        if field.name not in ACCESS[access]:
            with pytest.raises(AccessError, match=f"view.{field.name} is not part of access level '{access}'"):
                getattr(view, field.name)
    for name, before in (("stacks", 0), ("initial", 1)):
        if name in ACCESS[access]:
            assert sorted(row for stack in getattr(view, name) for row in stack.rows) == list(range(len(final)))
            for stack in getattr(view, name):
                (truth,) = small_zoo.weights(final.index[stack.rows] - before)
                assert stack.architecture == truth.architecture
                for parameter, value in truth.parameters.items():
                    assert torch.equal(stack.parameters[parameter], value)
    if "hyperparameters" in ACCESS[access]:
        truth = final[small_zoo.hyperparameters].reset_index(drop=True)
        pd.testing.assert_frame_equal(view.hyperparameters, truth)
    if "configurations" in ACCESS[access]:
        np.testing.assert_array_equal(view.configurations, pd.factorize(final["configuration"])[0])
    if "train" in ACCESS[access]:
        assert torch.equal(view.train.images, data.train_images)
        np.testing.assert_array_equal(view.train.accuracy, final["train_accuracy"])
        np.testing.assert_array_equal(
            view.train.subset_size, (final["train_fraction"] * len(data.train_labels)).round()
        )
    if "statistics" in ACCESS[access]:
        np.testing.assert_array_equal(view.statistics["steps_to_0.1"], final["steps_to_0.1"])
    if "targets" in ACCESS[access]:
        assert list(view.targets) == ["digits"]
        assert torch.equal(view.targets["digits"].images, data.test_images)
        np.testing.assert_array_equal(view.targets["digits"].logits, small_zoo.outputs(final.index))
        with pytest.raises(NotApplicable, match="no labeled source test set"):
            view.source  # noqa: B018


def test_a_view_without_initialization_says_so_on_every_way(small_zoo: Zoo, way) -> None:
    unknown = Zoo(small_zoo.root, small_zoo.manifest)
    unknown.__dict__["table"] = small_zoo.table.assign(epoch=small_zoo.table["epoch"] + 1)
    view = way(unknown, small_zoo.final, "weights")
    for one in (view, view.take(np.array([3]))):
        assert one.stacks
        with pytest.raises(NotApplicable, match="no epoch-0 checkpoints, so the initialization is unknown"):
            one.initial  # noqa: B018


@pytest.mark.parametrize("access", ACCESS)
def test_the_files_of_a_view_lead_to_no_test_label(small_zoo: Zoo, access: str, tmp_path) -> None:
    """Neither the accuracies nor the test labels are anywhere in the bytes, in any width, nor where the zoo lies."""
    write_view(small_zoo, small_zoo.final, access, None, tmp_path, copy_weights=True)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    accuracies = small_zoo.final["test_accuracy"].to_numpy()[:4]
    labels = small_zoo.data().test_labels.numpy()
    for secret in (accuracies, accuracies.astype(np.float32), labels[:16], labels[:16].astype(np.int8)):
        assert secret.tobytes() not in content
    assert str(small_zoo.root).encode() not in content


def test_weights_that_are_not_copied_take_no_space(small_zoo: Zoo, tmp_path) -> None:
    write_view(small_zoo, small_zoo.final, "weights", None, tmp_path, copy_weights=False)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000


def test_an_unknown_level_is_refused(small_zoo: Zoo) -> None:
    with pytest.raises(InputError, match="unknown access level 'wieghts'"):
        make_view(small_zoo, small_zoo.final, "wieghts")
