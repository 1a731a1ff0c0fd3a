import json

from baselines.measures import measures
from baselines.measures.measure import COSTS
from benchmark.commands.measures import LEGEND
from benchmark.evaluation.measuring import select


def test_measures_are_listed_with_their_sources(gengap) -> None:
    lines = gengap("measures")[1].splitlines()
    assert lines.index("") == 1 + len(measures())
    assert lines[0].split() == ["measure", "family", "cost", "needs", "formula", "source"]
    listed = json.loads(gengap("measures", "path", "weight-norm", "--json")[1])
    assert [row["name"] for row in listed] == ["weight-norm", *(measure.name for measure in select(["path"]))]


def test_the_legend_explains_every_cost() -> None:
    assert [cost for cost in COSTS if f"{cost}: " not in LEGEND] == []
