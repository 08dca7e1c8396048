"""An explanation as plain values, as rows of a table, and as a notebook shows it."""

from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from ..image_uris import picture_uri, strip_uri
from ..notebook import table_html
from ..numbers import percent, signed
from .disagreements import disagreements
from .explanation import Explanation
from .sentence import further_words, other_layer, sentence_of
from .sums import lead_parts, needed


def explanation_record(explanation: Explanation) -> dict[str, Any]:
    """The fields of an `Explanation` without its pictures, and what is derived from them."""
    record = without_bytes(asdict(explanation))
    for effect, found in zip(record["units"], explanation.units, strict=True):
        effect["label"] = found.label
    return record | {
        "predicted": explanation.label,
        "share": explanation.share,
        "explains": explanation.explains,
        "effective_density": explanation.effective_density,
        "sentence": sentence_of(explanation),
        "words": list(further_words(explanation)),
        "other_layer": other_layer(explanation),
        "needed": needed(explanation),
        "disagreements": list(disagreements(explanation)),
    }


def explanation_rows(explanation: Explanation) -> list[dict[str, Any]]:
    """A row for each unit, the largest contribution first."""
    return [
        {
            **{"unit": effect.unit, "name": effect.name, "place": effect.place, "value": effect.value},
            **{"to_logit": effect.to_logit, "to_lead": effect.to_lead, "measured": effect.off.lead},
            "without_it": effect.off.label,
            **{"r": effect.named.r, "r_low": effect.named.low, "r_high": effect.named.high},
        }
        for effect in explanation.units
    ]


def explanation_html(explanation: Explanation) -> str:
    """The picture, the sentence, and a line for each unit."""
    picture = 'alt="" style="width: 128px; image-rendering: pixelated; border-radius: 6px; float: left; margin: 0 16px"'
    head = Markup('<img src="{}" {}><b>{}</b>, {}<br>{}<br>{}').format(
        picture_uri(explanation.picture),
        Markup(picture),
        explanation.label,
        percent(explanation.classes[0].probability),
        sentence_of(explanation),
        needed(explanation),
    )
    strip = Markup('<img src="{}" alt="" style="height: 32px">')
    rows = [
        {
            **{"unit": effect.unit, "name": effect.name or "unnamed", "where": effect.place, "to_the_lead": signed(by)},
            "without_it": f"{effect.off.label}, {percent(effect.off.probability)}",
            "pictures_it_answers_to": strip.format(strip_uri(seen)) if (seen := effect.named.exemplars) else None,
        }
        for effect, by in zip(explanation.units, lead_parts(explanation).units, strict=True)
    ]
    return table_html(rows, head=head)


def without_bytes(value: Any) -> Any:
    """`value` as plain values, less what is bytes in its dictionaries."""
    if isinstance(value, dict):
        return {key: without_bytes(part) for key, part in value.items() if not isinstance(part, bytes)}
    if isinstance(value, list | tuple):
        return [without_bytes(part) for part in value]
    return value
