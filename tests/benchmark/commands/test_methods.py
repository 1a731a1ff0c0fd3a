import json

from benchmark.evaluation.methods import builtin_methods


def test_methods_are_listed_with_their_kinds(gengap) -> None:
    listed = {method["name"]: method for method in json.loads(gengap("methods", "--json")[1])}
    assert listed.keys() == builtin_methods().keys()
    assert {"nfn-np", "nfn-hnp", "weight-statistics-boosting", "path-norm", "disagreement"} <= listed.keys()
    assert listed["hyperparameters"]["kind"] == "predictor"
    lines = {line.split()[0]: line.split()[1] for line in gengap("methods")[1].splitlines()}
    assert (lines["hyperparameters"], lines["path-norm"], lines["disagreement"]) == ("control", "measure", "estimator")
