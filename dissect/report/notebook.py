"""What a notebook shows of a result, and the same as rows of a table: `_repr_html_`, `to_pandas`."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..comparing.figures import Comparison
from ..explaining.explanation import Explanation
from ..folder.dissection import Dissection
from ..naming.evidence import Evidence
from .render import render_text
from .sums import lead_parts

ROWS = 20  # of a dissection that a notebook shows


def explanation_rows(explanation: Explanation) -> list[dict[str, Any]]:
    """A row for each unit, the largest contribution first."""
    return [
        {
            **{"unit": effect.unit, "name": effect.name, "place": effect.place, "value": effect.value},
            **{"to_logit": effect.to_logit, "to_lead": effect.to_lead, "measured": effect.off.lead},
            **{
                "without_it": effect.off.label,
                "r": effect.named.r,
                "r_low": effect.named.low,
                "r_high": effect.named.high,
            },
        }
        for effect in explanation.units
    ]


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each network."""
    return [
        {
            **{"network": network.name, "architecture": network.architecture, "competitors": network.competitors},
            **{"accuracy": network.accuracy.saved, "layer": network.sparsity.layer},
            **{"density": network.sparsity.density, "effective_density": network.sparsity.effective_density},
            **{"untrained": network.sparsity.untrained, "kept": network.sparsity.kept},
            **{"milliseconds": network.milliseconds, "peak_bytes": network.peak_bytes},
            **{"parameters": network.parameters},
        }
        for network in comparison.networks
    ]


def dissection_rows(dissection: Dissection) -> list[dict[str, Any]]:
    """A row for each unit of each layer."""
    return [
        {
            **{"layer": about.layer, "unit": about.unit, "name": about.description, "outcome": about.outcome},
            **_evidence(about.evidence),
            **{"win_rate": about.win_rate, "support": about.support},
        }
        for about in dissection.descriptions.values()
    ]


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
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


def explanation_html(explanation: Explanation) -> str:
    """The picture, the sentence, and a line for each unit."""
    return render_text("notebook.html.j2", explanation=explanation, parts=lead_parts(explanation), rows=[], head="")


def comparison_html(comparison: Comparison) -> str:
    """The table of networks."""
    return render_text("notebook.html.j2", explanation=None, rows=comparison_rows(comparison), head="")


def dissection_html(dissection: Dissection) -> str:
    """The surest names, and how many units have one."""
    rows = dissection_rows(dissection)
    named = [row for row in rows if row["name"]]
    head = f"{len(named)} of {len(rows)} units are named; the surest {min(ROWS, len(named))}:"
    surest = sorted(named, key=lambda row: -(row["r"] or 0))[:ROWS]
    return render_text("notebook.html.j2", explanation=None, rows=surest, head=head)


def _evidence(evidence: Evidence | None) -> dict[str, float | None]:
    if evidence is None:
        return dict.fromkeys(("r", "r_low", "r_high", "p"))
    return {"r": evidence.predictability, "r_low": evidence.low, "r_high": evidence.high, "p": evidence.p}
