"""One picture of a run: how the groups specialise, and which units die, epoch by epoch."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_WIDTH, _MARGIN, _GAP = 960, 56, 64  # pixels
_COLUMNS, _LEGEND = 4, 150
_STRIP = 110  # height of one layer's strip of win rates
_ROWS = 55  # of a strip, two pixels each: of more units, so many are drawn, evenly spread
_STRIPS = 24  # of more layers, so many are drawn, evenly spread
_EPOCHS = 200  # of more epochs, so many are drawn
_SHALLOW, _DEEP = np.array([253.0, 179, 66]), np.array([74.0, 20, 134])  # line colours, by depth
_RARE, _EVEN, _OFTEN = np.array([178.0, 60, 30]), np.array([247.0, 247, 247]), np.array([20.0, 60, 140])
_NEVER = np.array([30.0, 30, 30])


def competition_svg(rows: Sequence[Mapping[str, str]], *, title: str) -> str:
    """The rows of a `competition.csv` as one SVG: evenness of winners, dead units, and each layer's win rates."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    colours = dict(zip(layers, _by_depth(len(layers)), strict=True))
    epochs = sorted({int(row["epoch"]) for row in rows})
    plot_width = (_WIDTH - 2 * _MARGIN - _GAP - _LEGEND) / 2
    right = _MARGIN + plot_width + _GAP
    parts = [
        _text(_MARGIN, 34, f"How the units of {title} compete", size=20, weight=600),
        _text(
            _MARGIN,
            55,
            f"epochs {epochs[0]} to {epochs[-1]}, read at each validation on its first batches; {len(layers)} layers",
            soft=True,
        ),
    ]
    evenness, dead = (_by_layer(rows, column) for column in ("winner_entropy", "dead_units"))
    least, most = min(y for _, y in _points(evenness)), max(y for _, y in _points(dead))
    span = (next(bottom for bottom in (0.96, 0.8, 0.6, 0.2, 0) if least >= bottom), 1)
    heading = "Winner entropy (1: a group's units win alike)"
    parts.append(_lines(_MARGIN, 96, plot_width, 190, evenness, colours, heading=heading, span=span))
    span = (0, next(top for top in (0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1) if most <= top))
    heading = "Dead units (won nowhere)"
    parts.append(_lines(right, 96, plot_width, 190, dead, colours, heading=heading, span=span, percent=True))
    parts.append(_layer_legend(right + plot_width + 24, 96, layers, colours))
    y = 372
    parts.append(_text(_MARGIN, y, "Win rates of each layer's units over the epochs", size=13, weight=600))
    parts.append(
        _text(
            _MARGIN,
            y + 17,
            "columns: epochs; rows: units, by their wins in the last epoch; at the right, units and U",
            soft=True,
        )
    )
    parts.append(_rate_legend(_WIDTH - _MARGIN - 350, y - 8))
    shown = [layers[i] for i in _spread(len(layers), _STRIPS)]
    strip_width = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * 20) / _COLUMNS
    for i, layer in enumerate(shown):
        x = _MARGIN + (i % _COLUMNS) * (strip_width + 20)
        parts.append(_strip(x, y + 64 + (i // _COLUMNS) * (_STRIP + 40), strip_width, layer, rows))
    height = y + 64 + math.ceil(len(shown) / _COLUMNS) * (_STRIP + 40) + 10
    if len(shown) < len(layers):
        parts.append(_text(_MARGIN, height, f"{len(shown)} of {len(layers)} layers, evenly spread", soft=True))
        height += 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _by_layer(rows, column):
    """Each layer's points: an epoch, and what stands in the column."""
    lines: dict[str, list] = {}
    for row in rows:
        lines.setdefault(row["layer"], []).append((int(row["epoch"]), float(row[column])))
    return lines


def _points(lines):
    return [point for line in lines.values() for point in line]


def _lines(x, y, width, height, lines, colours, *, heading, span, percent=False):
    epochs = [epoch for epoch, _ in _points(lines)]
    first, last = min(epochs), max(epochs)
    across = {epoch: x + width * (epoch - first) / max(1, last - first) for epoch in range(first, last + 1)}

    def up(value):
        return y + height * (1 - (value - span[0]) / (span[1] - span[0]))

    parts = [_text(x, y - 12, heading, size=12, weight=600)]
    for value in np.linspace(span[0], span[1], 5):
        words = f"{100 * value:.3g}%" if percent else f"{value:.3g}"
        parts.append(f'<path d="M{x:.1f} {up(value):.1f}h{width:.1f}" stroke="#ddd"/>')
        parts.append(_text(x - 6, up(value) + 4, words, anchor="end", soft=True))
    ticks = sorted({first + round((last - first) * i / 4) for i in range(5)})
    parts += [_text(across[epoch], y + height + 16, epoch, anchor="middle", soft=True) for epoch in ticks]
    parts.append(_text(x + width / 2, y + height + 32, "epoch", anchor="middle", soft=True))
    for layer, line in lines.items():
        points = [(across[epoch], up(value)) for epoch, value in line]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        name = f"<title>{escape(layer)}</title>"
        if len(points) > 1:
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colours[layer]}" stroke-width="1.8">{name}</polyline>'
            )
        px, py = points[-1]
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" fill="{colours[layer]}">{name}</circle>')
    return "\n".join(parts)


def _layer_legend(x, y, layers, colours):
    shown = [layers[i] for i in _spread(len(layers), 12)]
    parts = [_text(x, y - 12, "Layers, first to last", size=12, weight=600)]
    for i, layer in enumerate(shown):
        at = y + 6 + 16 * i
        parts.append(f'<path d="M{x:.1f} {at}h16" stroke="{colours[layer]}" stroke-width="3"/>')
        parts.append(_text(x + 22, at + 4, _short(layer, 19), soft=True))
    return "\n".join(parts)


def _rate_legend(x, y):
    """Colours of a win rate, in multiples of the even share 1/U."""
    keys = [0.0, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    words = ["never", "⅛", "¼", "½", "1", "2", "4", "8"]
    parts = [_text(x, y + 1, "win rate, in multiples of the even share 1/U", soft=True)]
    for i, (key, word) in enumerate(zip(keys, words, strict=True)):
        r, g, b = rate_colours(np.array([float(key)]))[0]
        parts.append(
            f'<rect x="{x + 44 * i}" y="{y + 8}" width="42" height="12" fill="rgb({r},{g},{b})" stroke="#ccc" '
            'stroke-width="0.5"/>'
        )
        parts.append(_text(x + 44 * i + 21, y + 34, word, anchor="middle", soft=True))
    return "\n".join(parts)


def _strip(x, y, width, layer, rows):
    mine = [row for row in rows if row["layer"] == layer]
    mine = [mine[i] for i in _spread(len(mine), _EPOCHS)]
    rates = np.array([row["win_rates"].split() for row in mine], dtype=float) * int(mine[-1]["competitors"])
    units = rates.shape[1]
    order = np.argsort(-rates[-1], kind="stable")[_spread(units, _ROWS)]
    file = io.BytesIO()
    Image.fromarray(rate_colours(rates[:, order].T)).save(file, "PNG", optimize=True)
    picture = base64.b64encode(file.getvalue()).decode()
    return (
        _text(x, y - 6, _short(layer, 19))
        + _text(x + width, y - 6, f"{units}, U = {mine[-1]['competitors']}", anchor="end", soft=True)
        + f'<image x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_STRIP}" preserveAspectRatio="none" '
        f'style="image-rendering: pixelated" href="data:image/png;base64,{picture}"/>'
        + f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_STRIP}" fill="none" stroke="#bbb"/>'
        + _text(x, y + _STRIP + 13, f"epoch {mine[0]['epoch']}", soft=True)
        + (_text(x + width, y + _STRIP + 13, mine[-1]["epoch"], anchor="end", soft=True) if len(mine) > 1 else "")
    )


def rate_colours(relative: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Win rates in multiples of the even share as colours: from 1/8 (red) over 1 (white) to 8 (blue); 0 is black."""
    size = np.clip(np.log2(np.maximum(relative, 1e-9)) / 3, -1, 1)[..., None]
    colours = np.where(size > 0, _EVEN + size * (_OFTEN - _EVEN), _EVEN - size * (_RARE - _EVEN))
    return np.where(np.asarray(relative)[..., None] == 0, _NEVER, colours).round().astype(np.uint8)


def _by_depth(count: int) -> list[str]:
    shares = np.linspace(0, 1, count)[:, None]
    return [f"rgb({r:.0f},{g:.0f},{b:.0f})" for r, g, b in _SHALLOW + shares * (_DEEP - _SHALLOW)]


def _spread(count: int, at_most: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, at_most)).round().astype(int).tolist()


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]


def _text(x, y, words, *, size=11, weight=400, anchor="start", soft=False):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{"#666" if soft else "#222"}">{escape(str(words))}</text>'
    )
