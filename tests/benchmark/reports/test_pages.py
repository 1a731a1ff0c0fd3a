import jinja2
import pytest

from benchmark.reports import pages


def test_a_template_escapes_what_it_is_given_and_needs_every_name():
    environment = pages.template("page.html.j2").environment
    assert environment.from_string("{{ name }}").render(name="<script>") == "&lt;script&gt;"
    with pytest.raises(jinja2.UndefinedError, match="name"):
        environment.from_string("{{ name }}").render()


def test_a_template_has_the_filters_it_is_given():
    environment = pages.template("page.html.j2", twice=lambda value: 2 * value).environment
    assert environment.from_string("{{ 'a'|twice }}").render() == "aa"


def test_the_style_is_not_escaped():
    assert '"Segoe UI"' in pages.style()
