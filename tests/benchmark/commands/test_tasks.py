import json

from benchmark.tasks import TASKS
from zoo_builder.store.zoo import Zoo


def test_tasks_are_listed_with_the_split_of_a_zoo(gengap, small_zoo: Zoo) -> None:
    value = json.loads(gengap("tasks", "--zoo", small_zoo.root, "--json")[1])
    assert [row["task"] for row in value["tasks"]] == [task.name for task in TASKS]
    assert sum(value["split"][name] for name in ("train", "validation", "test")) == 64
    text = gengap("tasks", "--zoo", small_zoo.root)[1]
    assert "generalization gap (training minus test accuracy)  larger is a larger gap\n" in text
    assert f"{small_zoo.root}: {value['split']['train']} train, " in text
