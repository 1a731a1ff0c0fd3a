from functools import partial
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmark.scoring.bootstrap import bootstrap_tau, resample
from benchmark.scoring.comparison import models_needed, rank_intervals
from benchmark.scoring.ranking import Difference, PairedScores, Standing, rank
from benchmark.scoring.scorecard import scorecard

DRAWS = 200


def scorer(target, clusters=None, name="tau"):
    """Scores predictions, and counts how often each of them was scored."""
    calls = []

    def score(predictions):
        calls.append(predictions)
        return scorecard(predictions, target, clusters=clusters, scores=[name], draws=DRAWS, random_measures=0)[name]

    return score, calls


def values_of(score):
    return [entry.value for entry in score.entries]


def paired(predictions, target, **options):
    score, calls = scorer(target, **options)
    own = score(predictions)
    return PairedScores.of(predictions, own, score), values_of(own), calls


@pytest.fixture
def table():
    """40 models of 20 configurations; methods with growing noise, the second and third with gaps."""
    rng = np.random.default_rng(0)
    target = rng.random(40).round(2)
    predictions = target + np.array([[0.05], [0.3], [0.4], [0.35]]) * rng.normal(size=(4, 40))
    predictions[1, [3, 30]] = np.nan
    predictions[2, 7] = np.nan
    return predictions, target, np.repeat(np.arange(20), 2)


def test_a_difference_is_a_tie_where_its_interval_holds_zero():
    assert Difference(0.1, 0.0, 0.2).tie
    assert Difference(0.1, -0.1, 0.2).tie
    assert not Difference(0.1, 0.01, 0.2).tie
    assert not Difference(-0.1, -0.2, -0.01).tie


def test_comparisons_equal_a_plain_loop_over_resampled_models(table):
    predictions, target, clusters = table
    scores, values, _ = paired(predictions, target, clusters=clusters)
    weights = resample(40, clusters, DRAWS).astype(int)

    def tau(prediction, rows):
        return kendalltau(prediction[rows], target[rows]).statistic

    def differences(first, second, common):
        """Copies of a model are tied in both, and are no pair."""
        for draw in weights.T:
            rows = np.repeat(np.arange(40), np.where(common, draw, 0))
            yield tau(predictions[first], rows) - tau(predictions[second], rows)

    ranking = rank(scores, values, range(4))
    assert ranking.order == tuple(np.argsort(-np.array(values, dtype=float)))
    for place, method in enumerate(ranking.order[1:], start=1):
        for found, other in (
            (ranking.standings[method].to_leader, ranking.order[0]),
            (ranking.standings[method].to_above, ranking.order[place - 1]),
        ):
            common = ~np.isnan(predictions[[method, other]]).any(axis=0)
            value = tau(predictions[method], common) - tau(predictions[other], common)
            low, high = np.percentile(list(differences(method, other, common)), [2.5, 97.5])
            assert found is not None
            assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-9)


def test_rank_intervals_are_those_of_all_pairs_at_once(table):
    predictions, target, clusters = table
    scores, values, _ = paired(predictions, target, clusters=clusters)
    ranking = rank(scores, values, range(4))
    differences, draws = [], []
    for first, second in combinations(ranking.order, 2):
        pair = predictions[[first, second]]
        common = np.where(np.isnan(pair).any(axis=0), np.nan, pair)
        drawn = bootstrap_tau(common, target, resample(40, clusters, DRAWS))
        defined = ~np.isnan(common[0])
        taus = [kendalltau(each[defined], target[defined]).statistic for each in common]
        differences.append(taus[0] - taus[1])
        draws.append(drawn[0] - drawn[1])
    expected = rank_intervals(4, np.array(differences), np.array(draws))
    assert [ranking.standings[method].interval for method in ranking.order] == expected
    assert ranking.best_two == ranking.order[:2]
    common = ~np.isnan(predictions[list(ranking.order[:2])]).any(axis=0)
    assert ranking.models_needed == models_needed(differences[0], draws[0], int(common.sum()))


def test_without_gaps_nothing_is_scored_twice(table, ranks_of_scores):
    predictions, target, clusters = table
    predictions = np.where(np.isnan(predictions), target, predictions)
    scores, values, calls = paired(predictions, target, clusters=clusters)
    ranking = rank(scores, values, range(4))
    assert len(calls) == 1
    drawn = bootstrap_tau(predictions, target, resample(40, clusters, DRAWS))
    order = list(ranking.order)
    expected = ranks_of_scores(np.array(values)[order], drawn[order])
    assert [ranking.standings[method].interval for method in order] == expected


def test_each_set_of_models_is_scored_once_and_for_the_methods_that_need_it(table):
    predictions, target, clusters = table
    scores, values, calls = paired(predictions, target, clusters=clusters)
    rank(scores, values, range(4))
    rank(scores, values, [0, 1, 2])
    sets = [(~np.isnan(each).any(axis=0)).tobytes() for each in calls[1:]]
    assert len(set(sets)) == len(sets) == 3
    # 0 and 3 on the models of 1, and on those of 2; 1 and 2 on those that both define.
    assert sorted(len(each) for each in calls[1:]) == [2, 2, 2]


def test_a_subset_is_ranked_as_if_the_others_did_not_exist(table):
    predictions, target, clusters = table
    scores, values, _ = paired(predictions, target, clusters=clusters)
    rank(scores, values, range(4))
    alone, own, _ = paired(predictions[[1, 3]], target, clusters=clusters)
    some = rank(scores, values, [1, 3])
    assert list(some.standings.values()) == list(rank(alone, own, range(2)).standings.values())


def test_lower_is_better_turns_the_order_and_not_the_differences():
    target = np.linspace(0, 1, 30)
    predictions = np.stack([target + 0.2, target + 0.1, target + 0.1])
    scores, values, _ = paired(predictions, target, name="mae")
    ranking = rank(scores, values, range(3))
    assert ranking.order == (1, 2, 0)
    assert [standing.rank for standing in ranking.standings.values()] == [1, 1, 3]
    assert [standing.interval for standing in ranking.standings.values()] == [(1, 2), (1, 2), (3, 3)]
    last = ranking.standings[0].to_leader
    assert last is not None
    assert last.value == pytest.approx(10)  # points more than the leader's error
    assert last.low > 0
    assert ranking.models_needed is None


def test_methods_without_a_common_score_are_ranked_and_not_compared():
    target = np.linspace(0, 1, 12)
    predictions = np.stack([target, -target])
    predictions[0, 6:] = predictions[1, :6] = np.nan
    scores, values, _ = paired(predictions, target)
    assert rank(scores, values, [0, 1]).standings == {
        0: Standing(1, (1, 2), None, None),
        1: Standing(2, (1, 2), None, None),
    }
    assert scores.difference(1, 0) is None


def test_few_methods():
    target = np.linspace(0, 1, 12)
    scores, values, _ = paired(np.stack([target, np.full(12, np.nan)]), target)
    none = rank(scores, values, [])
    assert (none.order, none.leader, none.best_two, none.models_needed) == ((), None, None, None)
    one = rank(scores, values, [0, 1])  # the second has no value
    assert one.standings == {0: Standing(1, (1, 1), None, None)}
    assert (one.leader, one.best_two) == (0, None)


def test_methods_whose_scores_share_no_draws_share_all_ranks():
    """The draws in which one score exists are those in which the other does not."""
    target = np.linspace(0, 1, 12)
    score, _ = scorer(target)
    own = score(np.stack([target, target**2]))
    own.draws[0, ::2] = own.draws[1, 1::2] = np.nan
    scores = PairedScores.of(np.stack([target, target**2]), own, partial(pytest.fail, "scored again"))
    assert [standing.interval for standing in rank(scores, [0.9, 0.8], [0, 1]).standings.values()] == [(1, 2), (1, 2)]
