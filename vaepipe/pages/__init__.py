"""Pages: HTML templates beside this file, filled by Jinja with everything escaped."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Return a template with values put in. Text is escaped; `Markup` is put in as it is."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.tests["numeric"] = re.compile(r"[-–]?[\d.,e+-]*( \[.*\])?").fullmatch
    environment.globals["part"] = lambda name: Markup((FOLDER / name).read_text(encoding="utf-8"))
    return environment


def inert(data: Any) -> Markup:
    """Return JSON for a script element: nothing in it can end the element or begin a comment there."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


@cache
def plotly() -> Markup:
    """Return the source of plotly.js, as its Python package brings it."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
