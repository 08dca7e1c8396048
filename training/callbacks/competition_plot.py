"""One picture of a run: how the groups specialise, and which units die, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Rows = Sequence[Mapping[str, str]]

_COLUMNS = 4
_STRIPS = 24  # of more layers, so many are drawn, evenly spread
_UNITS = 55  # of a strip; of more units, so many are drawn, evenly spread
_EPOCHS = 200  # of more epochs, so many are drawn
_NAMED = 12  # layers in the legend
# a win rate in multiples of the even share 1/U: from 1/8 (red) over 1 (white) to 8 (blue); black: never won
_RATES = LinearSegmentedColormap.from_list("win rate", ["#b23c1e", "#f7f7f7", "#143c8c"]).with_extremes(bad="#1e1e1e")
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "lwta", "font.size": 8, "axes.titlesize": 8}


def write_competition_plot(path: Path, rows: Rows, *, title: str) -> None:
    """Draw the rows of a `competition.csv` as an SVG file."""
    with matplotlib.rc_context(_STYLE):
        competition_figure(rows, title=title).savefig(path, format="svg", metadata={"Date": None})


def competition_figure(rows: Rows, *, title: str) -> Figure:
    """Evenness of winners, dead units, and each layer's win rates over the epochs."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    shown = [layers[i] for i in _spread(len(layers), _STRIPS)]
    strips = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(10, 3.8 + 1.6 * strips), layout="constrained")
    epochs = sorted({int(row["epoch"]) for row in rows})
    drawn = "" if len(shown) == len(layers) else f"; strips of {len(shown)} of {len(layers)} layers, evenly spread"
    figure.suptitle(
        _literal(f"How the units of {title} compete: epochs {epochs[0]} to {epochs[-1]}, {len(layers)} layers{drawn}")
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.6, 1.6 * strips])
    curves, below = parts
    evenness, dead = curves.subplots(1, 2)
    _draw_curves(evenness, rows, "winner_entropy", "Winner entropy (1: a group's units win alike)")
    _draw_curves(dead, rows, "dead_units", "Dead units (won nowhere)")
    dead.yaxis.set_major_formatter(PercentFormatter(1.0))
    named = [evenness.get_lines()[i] for i in _spread(len(layers), _NAMED)]
    curves.legend(handles=named, loc="outside right upper", title="layers, first to last")
    panels = below.subplots(strips, _COLUMNS, squeeze=False).flatten()
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    for panel, layer in zip(panels, shown, strict=False):
        image = _draw_strip(panel, [row for row in rows if row["layer"] == layer])
    bar = below.colorbar(image, ax=list(panels), ticks=range(-3, 4), label="win rate, in multiples of 1/U")
    bar.ax.set_yticklabels(["⅛", "¼", "½", "1", "2", "4", "8"])
    return figure


def _draw_curves(panel: Any, rows: Rows, column: str, heading: str) -> None:
    """A line a layer, coloured by depth."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        lines.setdefault(row["layer"], []).append((int(row["epoch"]), float(row[column])))
    for colour, (layer, points) in zip(
        colormaps["plasma_r"](np.linspace(0.15, 0.9, len(lines))), lines.items(), strict=True
    ):
        panel.plot(*zip(*points, strict=True), color=colour, label=_literal(layer), marker="o", markersize=2)
    panel.set_title(heading, loc="left")
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(color="#ddd")


def _draw_strip(panel: Any, rows: Rows) -> Any:
    """Columns are epochs; rows are units, by their wins in the last epoch."""
    rows = [rows[i] for i in _spread(len(rows), _EPOCHS)]
    rates = np.array([row["win_rates"].split() for row in rows], dtype=float) * int(rows[-1]["competitors"])
    units = rates.shape[1]
    order = np.argsort(-rates[-1], kind="stable")[_spread(units, _UNITS)]
    image = panel.imshow(
        relative_rates(rates[:, order].T), cmap=_RATES, vmin=-3, vmax=3, aspect="auto", interpolation="none"
    )
    panel.set_title(_literal(f"{_short(rows[0]['layer'])}  {units}, U = {rows[-1]['competitors']}"), loc="left")
    panel.set_xticks([0, len(rows) - 1], [rows[0]["epoch"], rows[-1]["epoch"]])
    panel.set_yticks([])
    return image


def relative_rates(rates: Float[np.ndarray, "*shape"]) -> np.ma.MaskedArray:
    """Win rates in multiples of the even share as powers of 2, within 3 of 0; masked where a unit never won."""
    return np.ma.masked_array(np.log2(np.maximum(rates, 1e-9)).clip(-3, 3), mask=rates == 0)


def _spread(count: int, at_most: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, at_most)).round().astype(int).tolist()


def _short(name: str, length: int = 19) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]


def _literal(words: str) -> str:
    return words.replace("$", r"\$").removeprefix("_")  # matplotlib reads $ as mathematics and hides labels with _
