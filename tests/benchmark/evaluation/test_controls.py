"""Controls that read the targets."""

import numpy as np
import pandas as pd
import pytest

from benchmark.evaluation.controls import answer_of_control, reads_targets
from benchmark.evaluation.methods import builtin_methods
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.scoring.gaussian_process import predicted_without_own
from benchmark.tasks import find_task
from zoo_builder.store.zoo import Zoo


@pytest.mark.parametrize(
    ("task", "method", "reads"),
    [
        ("complexity", "hyperparameters", True),
        ("test-accuracy", "hyperparameters", False),
        ("test-accuracy", "oracle-0.5-sd", True),
        ("complexity", "random", False),
    ],
)
def test_oracles_and_fitted_controls_without_training_models_read_the_targets(task, method, reads) -> None:
    assert reads_targets(builtin_methods()[method], find_task(task, "small")) == reads


def test_a_model_has_the_same_noise_on_every_task(small_zoo: Zoo) -> None:
    oracle = builtin_methods()["oracle-0.5-sd"]
    noise = []
    for name in ("complexity", "generalization-gap"):
        models = ScoredModels.of(find_task(name, small_zoo.name), small_zoo)
        answer = answer_of_control(oracle, models)
        assert (answer.status, answer.peak_memory_mib) == ("ok", None)
        noise.append(pd.Series((answer.values - models.target) / models.target.std(), index=models.rows["model_id"]))
    np.testing.assert_allclose(noise[0].loc[noise[1].index], noise[1], atol=1e-12)


def test_where_nothing_is_fitted_hyperparameters_predict_each_configuration_from_the_others(small_zoo: Zoo) -> None:
    models = ScoredModels.of(find_task("complexity", small_zoo.name), small_zoo)
    answer = answer_of_control(builtin_methods()["hyperparameters"], models)
    assert (answer.status, len(answer.values)) == ("ok", len(small_zoo.final))
    assert "each model is predicted from other configurations" in answer.method.formula
    features = pd.get_dummies(models.rows[models.zoo.axes]).to_numpy(float)
    configurations = pd.factorize(models.rows["configuration"])[0]
    expected = predicted_without_own(models.target, features, configurations)
    np.testing.assert_allclose(answer.values, expected, rtol=1e-6)
