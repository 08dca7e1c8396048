"""Frozen values in, one self-contained HTML file out: styles, script and pictures stand inside it.

A new page is a template that extends `base.html.j2`, and a function that calls `render_page` with its values.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from competition_layers.attribution import METHODS
from competition_layers.files import write_file
from competition_layers.terminal import plain

from ..comparing.figures import Comparison
from ..comparing.findings import twin_ahead
from ..explaining.disagreements import disagreements
from ..explaining.explanation import Explanation
from ..explaining.sentence import further_words, other_layer, sentence_of
from ..explaining.sums import lead_parts, needed
from ..image_uris import picture_uri, strip_uri, tile_count
from ..naming.description import OUTCOMES
from ..numbers import duration, loss, percent, signed
from .figure_tables import figure_tables
from .pictures import COLOURS, masks_uri, region_names, regions_uri, veil_uri
from .plots import comparison_plots
from .record import write_record
from .terms import UNNAMED_WORDS, Glossary


def render_report(
    path: str | Path,
    explanations: Sequence[Explanation] = (),
    *,
    twins: Sequence[Explanation] = (),
    comparison: Comparison | None = None,
    title: str | None = None,
    made: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write the page to `path` and its figures as JSON beside it (`.json`), each whole or not at all.

    Args:
        explanations: one an image, in the order shown.
        twins: the dense twin's explanations of the same images; none, or as many.
        comparison: the networks' figures, for the table.
        title: by default "What decided?", where the units shown do explain the decisions.
        made: more lines for "How these numbers were made": what, and how.
        pages: titles and file names of the pages beside it; where units are among them, units link there, and where
            networks are, their tables are left to that page.

    Raises:
        ValueError: nothing to show, or twins that do not match.
    """
    if not explanations and comparison is None:
        raise ValueError("Expected explanations or a comparison to show but got neither")
    if twins and [twin.image for twin in twins] != [explanation.image for explanation in explanations]:
        raise ValueError(
            f"Expected twins of the same {len(explanations)} images but got {[twin.image for twin in twins]}"
        )
    record = write_record(Path(path).with_suffix(".json"), explanations, twins, comparison)
    return render_page(
        path,
        "report.html.j2",
        scripts=("page.js", "numbers.js", "switches.js"),
        pages=pages,
        title=title or _title(explanations),
        pairs=[(explanation, twins[i] if twins else None) for i, explanation in enumerate(explanations)],
        comparison=comparison,
        made=made or {},
        methods=METHODS,
        used={explanation.at.method for explanation in (*explanations, *twins)},
        record=record.name,
        scale=_scale,
    )


def render_page(
    path: str | Path,
    template: str,
    *,
    scripts: Sequence[str] = (),
    pages: Mapping[str, str] | None = None,
    **values: Any,
) -> Path:
    """Write a page of this folder's `template`, whole or not at all; every value is text in it, never markup.

    `scripts` are this folder's files that become the page's one script; its policy lets no other run. `pages` are
    titles and file names of the pages beside it, itself among them.
    """
    values |= {"script": _script(("terms.js", *scripts)), "pages": pages or {}, "here": Path(path).name}
    page = render_text(template, **values)
    with write_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render_text(template: str, **values: Any) -> str:
    """A `template` of this folder with its values; each is text in it, never markup."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: _text(value) if type(value) is str else value,  # marked-up text has a type of its own
    )
    environment.filters |= {
        "signed": signed,
        "loss": loss,
        "percent": percent,
        "duration": duration,
        "picture": cache(picture_uri),  # the same picture stands in three places, a unit's strip in several pictures
        "strip": cache(strip_uri),
        "tiles": cache(tile_count),
        "masks": cache(masks_uri),
        "plots": comparison_plots,
        "veil": veil_uri,
        "regions": regions_uri,
        "region_names": region_names,
        "parts": lead_parts,
        "sentence": sentence_of,
        "further_words": further_words,
        "other_layer": other_layer,
        "needed": needed,
        "disagreements": disagreements,
        "twin_ahead": twin_ahead,
        "switch_data": switch_data,
        "heading": lambda name: name[:1].upper() + name[1:],
        "stem": lambda name: Path(name).name or name,
    }
    words = Glossary()
    environment.globals |= {"colours": COLOURS, "outcomes": OUTCOMES, "figure_tables": figure_tables}
    environment.globals |= {"unnamed_words": UNNAMED_WORDS, "words": words, "term": words.term}
    return environment.get_template(template).render(**values)


def _text(value: str) -> str:
    """As it is shown: inert, and a number never on another line than its percent sign."""
    return plain(value).replace(" %", "\N{NO-BREAK SPACE}%")


@dataclass(frozen=True)
class Script:
    """A page's code, and the hash by which its policy knows it."""

    code: Markup
    policy: Markup


def _script(names: Sequence[str]) -> Script:
    code = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return Script(Markup(code), Markup(f"'sha256-{digest}'"))


def switch_data(explanation: Explanation) -> Markup:
    """What the switches compute with, as JSON that cannot end its element."""
    assert explanation.switches is not None
    labels = [plain(label) for label in explanation.switches.labels]
    ends = (explanation.switches.labels.index(label) for label in (explanation.target, explanation.runner_up))
    data = asdict(explanation.switches) | {"labels": labels} | dict(zip(("target", "runner_up"), ends, strict=True))
    return htmlsafe_json_dumps(data)


def _title(explanations: Sequence[Explanation]) -> str:
    if not explanations:
        return "Networks compared"
    if all(explanation.explains or explanation.at.decision for explanation in explanations):
        return "What decided?"
    return f"What the units of {explanations[0].at.layer} did"


def _scale(explanation: Explanation) -> tuple[float, float]:
    """Where the zero line of the bars stands (a share of their width), and the share that one logit takes."""
    values = [0.0]
    for effect in explanation.units:
        values += [effect.to_lead, effect.off.lead]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return -low / span, 1 / span
