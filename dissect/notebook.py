"""What a notebook shows of a result, from plain rows: `_repr_html_` and `to_pandas`."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment

from competition_layers.terminal import plain

_PAGE = Environment(autoescape=True, finalize=lambda value: plain(value) if type(value) is str else value).from_string(
    # no script, no style of its own, in the notebook's colours
    """<div>{% if head %}<p>{{ head }}</p>{% endif %}{% if rows %}<table style="clear: left">
<thead><tr>{% for name in rows[0] %}<th>{{ name|replace("_", " ") }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for cell in row.values() %}<td>
{%- if cell is float %}{{ "%.3g"|format(cell) }}{% elif cell is not none %}{{ cell }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>{% endif %}</div>"""
)


def table_html(rows: Sequence[Mapping[str, Any]], *, head: str = "") -> str:
    """A paragraph and a table of the rows under their keys; every value is text in it, unless it is `Markup`."""
    return _PAGE.render(rows=rows, head=head)


def frame_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a pandas DataFrame.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "Expected pandas for to_pandas() but it is not installed; pip install 'lwta[pandas]'"
        ) from error
    return pd.DataFrame.from_records(list(rows))
