"""Plots of a comparison by matplotlib, as SVG that stands in the page: no script, text as text, colours of the page."""

import io
import re
from typing import Any

from markupsafe import Markup

from competition_layers.terminal import plain

from ..comparing.figures import Comparison

INK, LINE = "#010203", "#040506"  # stand for the page's own colours
_COLOURS = {INK: "currentColor", LINE: "var(--line)"}


def comparison_svg(comparison: Comparison) -> Markup:
    """Accuracy against the share of units behind 90 % of the lead: a point a network, its untrained self a ring."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        **{"axes.edgecolor": LINE, "grid.color": LINE, "svg.fonttype": "none", "svg.hashsalt": "lwta"},
        **{"font.family": "sans-serif", "font.size": 11},
    }
    with rc_context(style):
        figure = Figure(figsize=(8.4, 3.6))
        axes = figure.subplots()
        for network in comparison.networks:
            x, y = 100 * network.sparsity.effective_density, 100 * network.accuracy.saved
            untrained = 100 * network.sparsity.untrained
            axes.plot([untrained, x], [y, y], color=LINE, linewidth=1.5, zorder=1)
            axes.plot(untrained, y, "o", markersize=7, markerfacecolor="none", markeredgecolor="#0f9488")
            axes.plot(x, y, "o", markersize=10, color="#0f9488")
            name = plain(network.name).replace("$", r"\$")  # no formulas
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(0, 11), ha="center")
        axes.set(xlabel="units that make 90 % of the lead, % (ring: untrained)", ylabel="accuracy, %", xlim=(0, None))
        axes.margins(y=0.35)
        axes.grid(alpha=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return _inline(buffer.getvalue())


def _inline(svg: str) -> Markup:
    """The element alone, in the page's colours; without the description that names outside addresses."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    named = 'role="img" aria-label="The figures of the table, drawn"'
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', named, svg, count=1)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return Markup(svg)
