"""The templates and the style that all pages share."""

from collections.abc import Callable
from importlib.resources import files

import jinja2
from markupsafe import Markup

TEMPLATES = files("benchmark.reports") / "templates"


def template(name: str, **filters: Callable) -> jinja2.Template:
    """The template ``name``; it escapes all values and raises UndefinedError where one is missing."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchmark.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)


def style() -> Markup:
    return Markup((TEMPLATES / "page.css").read_text(encoding="utf-8"))
