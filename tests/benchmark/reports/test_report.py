from benchmark.reports.report import summary, write_html


def test_the_page_shows_the_zoos_of_its_boards(found, small_zoo, tmp_path):
    write_html(found, tmp_path / "page.html", [small_zoo])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "cifar10-gs" in page
    assert 'data-plot="accuracy"' not in page  # no board is of this zoo


def test_a_summary_is_of_the_runs_of_a_zoo(small_zoo):
    found = summary(small_zoo)
    assert found.weights_hash == small_zoo.weights_hash
    assert found.description.startswith(small_zoo.description)
    assert "64 runs" in found.description
    assert len(found.table) == 64
    assert set(found.axes) == {"learning_rate", "l2", "dropout", "train_fraction", "activation"}
