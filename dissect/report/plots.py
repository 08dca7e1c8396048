"""Plots of a comparison by matplotlib, as SVG that stands in the page: no script, text as text, colours of the page."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from markupsafe import Markup

from competition_layers.terminal import plain

from ..comparing.figures import Comparison, NetworkFigures

INK, LINE, MARK = "#010203", "#040506", "#070809"  # stand for the page's own colours
_COLOURS = {INK: "currentColor", LINE: "var(--line)", MARK: "var(--for)"}
SIZE = (5.6, 3.5)  # inches: text stays readable on a phone
DASHES = ("-", "--", ":", "-.")  # of several networks' lines


def comparison_plots(comparison: Comparison) -> Iterator[tuple[str, Markup]]:
    """What was measured, each with a line that says how to read it."""
    networks = comparison.networks
    yield (
        "Right answers, against how few units make 90 % of the lead. The ring: the same network with random weights.",
        _drawn(lambda axes: _accuracy(axes, networks)),
    )
    if all(network.calibration for network in networks):
        yield (
            "How far confidence is from accuracy; the ring: after scaling by a temperature. 0 is best.",
            _drawn(lambda axes: _calibration(axes, networks)),
        )
    if all(network.robustness for network in networks):
        yield (
            "Right answers on corrupted pictures, the mean over all kinds, from the weakest to the strongest.",
            _drawn(lambda axes: _corrupted(axes, networks)),
        )


def _accuracy(axes: Any, networks: tuple[NetworkFigures, ...]) -> None:
    for network in networks:
        x, y = 100 * network.sparsity.effective_density, 100 * network.accuracy.saved
        untrained = 100 * network.sparsity.untrained
        axes.plot([untrained, x], [y, y], color=LINE, linewidth=1.5, zorder=1)
        axes.plot(untrained, y, "o", markersize=7, markerfacecolor="none", markeredgecolor=MARK)
        axes.plot(x, y, "o", markersize=10, color=MARK)
        axes.annotate(_name(network), (x, y), textcoords="offset points", xytext=(0, 11), ha="center")
    axes.set(xlabel="units that make 90 % of the lead, %", ylabel="accuracy, %", xlim=(0, None))
    axes.margins(x=0.12, y=0.35)


def _calibration(axes: Any, networks: tuple[NetworkFigures, ...]) -> None:
    for row, network in enumerate(networks):
        assert network.calibration is not None
        error, scaled = 100 * network.calibration.error, 100 * network.calibration.error_scaled
        axes.plot([scaled, error], [row, row], color=LINE, linewidth=1.5, zorder=1)
        axes.plot(scaled, row, "o", markersize=7, markerfacecolor="none", markeredgecolor=MARK)
        axes.plot(error, row, "o", markersize=10, color=MARK)
    axes.set(xlabel="calibration error, points", xlim=(0, None), ylim=(len(networks) - 0.5, -0.5))
    axes.set_yticks(range(len(networks)), [_name(network) for network in networks])
    axes.margins(x=0.12)


def _corrupted(axes: Any, networks: tuple[NetworkFigures, ...]) -> None:
    for i, network in enumerate(networks):
        assert network.robustness is not None
        kinds = list(network.robustness.corrupted.values())
        means = [100 * sum(kind[strength] for kind in kinds) / len(kinds) for strength in range(len(kinds[0]))]
        strengths = range(1, len(means) + 1)
        axes.plot(strengths, means, DASHES[i % len(DASHES)], color=MARK, marker="o", markersize=5)
        axes.annotate(_name(network), (len(means), means[-1]), textcoords="offset points", xytext=(8, -4))
    axes.set(xlabel="strength", ylabel="accuracy, %", xticks=[1, 2, 3, 4, 5], xlim=(0.8, 6.4))


def _drawn(draw: Callable[[Any], None]) -> Markup:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        **{"axes.edgecolor": LINE, "grid.color": LINE, "svg.fonttype": "none", "svg.hashsalt": "lwta"},
        **{"font.family": "sans-serif", "font.size": 11},
    }
    with rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(alpha=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue())


def _name(network: NetworkFigures) -> str:
    return plain(network.name).replace("$", r"\$")  # no formulas


def _inline(svg: str) -> Markup:
    """The element alone, in the page's colours; without the description that names outside addresses."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    named = 'role="img" aria-label="Figures of the tables, drawn"'
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', named, svg, count=1)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return Markup(svg)
