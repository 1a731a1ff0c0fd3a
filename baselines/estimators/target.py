"""The target data that an estimator of one accuracy per model reads."""

from baselines.access import View
from baselines.fields import TargetData
from zoo_builder.errors import InputError


def single_target(view: View) -> TargetData:
    """The one target of a view.

    Raises:
        InputError: the view has several targets, or none.
        NotApplicable: there is no target data.
    """
    if len(view.targets) != 1:
        raise InputError(
            f"the view has {len(view.targets)} targets ({', '.join(view.targets)}), and this estimator gives one "
            f"accuracy per model: pass a view with one target"
        )
    (target,) = view.targets.values()
    return target
