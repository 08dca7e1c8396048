"""The live page: one file in which the network itself runs, so that a photo never leaves the browser."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from competition_layers.terminal import plain

from ..explaining.explanation import UnitName
from ..image_uris import data_uri, strip_uri, tile_count
from .pictures import COLOURS, masks_uri
from .render import render_page

TITLE = "What would it say of yours?"
FILTERS = ("bicubic", "bilinear", "lanczos")  # ways to resize that `resize.js` knows
CROPS = ("center", "squash")


@dataclass(frozen=True)
class Runtime:
    """onnxruntime-web: its module, and the WebAssembly that the module loads."""

    version: str
    module: bytes = field(repr=False)
    wasm: bytes = field(repr=False)


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the network's input, as timm says it.

    Raises:
        ValueError: a way of resizing or cropping that the page does not know.
    """

    height: int
    width: int
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for what, value, known in (("resized by", self.interpolation, FILTERS), ("cropped by", self.crop_mode, CROPS)):
            if value not in known:
                raise ValueError(f"Expected pictures {what} {' or '.join(known)} for a live page but got {value!r}")
        if self.height != self.width and self.crop_mode == "center":
            raise ValueError(f"Expected a square input for a live page but got {self.height} x {self.width}")


@dataclass(frozen=True)
class LiveNetwork:
    """A network as a page runs it: `onnx` takes `images` [1, 3, height, width].

    One that ends in a decision layer gives `logits` [1, classes], `units` (the winners) and `values` (theirs)
    [1, positions, groups]:  logit_c = bias_c + sum of weights_cu value.

    Another takes `keep` [rows, units] too, 0 where a unit is off, and gives `logits` [rows, classes] and `values` [1,
    positions, units]: what a unit did is measured by running without it. `reaches`: the positions that can move them.
    """

    onnx: bytes = field(repr=False)
    labels: tuple[str, ...]
    preparation: Preparation
    weights: Float[np.ndarray, "classes units"] | None = field(repr=False)  # None: not of a decision layer
    bias: tuple[float, ...] = field(repr=False)
    units: tuple[UnitName, ...] = field(repr=False)
    competitors: int
    places: tuple[int, int] | None  # rows and columns of the positions; None where votes have no place
    architecture: str
    layer: str = "decision"
    rows: int = 1
    reaches: tuple[bool, ...] = field(default=(), repr=False)

    @property
    def adds_up(self) -> bool:
        """Whether the lead is the sum of what its units did: nothing bends behind a decision layer, a twin's either."""
        return self.layer == "decision"


def render_live(
    path: str | Path,
    network: LiveNetwork,
    runtime: Runtime,
    *,
    examples: Sequence[tuple[str, bytes]] = (),
    top: int = 8,
    made: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        examples: names and files (PNG, JPEG, WebP) of pictures to begin with.
        top: so many units are shown; the others' votes are one line.
    """
    return render_page(
        path,
        "live.html.j2",
        pages=pages,
        scripts=("numbers.js", "resize.js", "live.js"),
        title=TITLE,
        network=network,
        runtime=runtime,
        data=_data(network, top),
        packed={
            "runtime-module": _packed(runtime.module),
            "runtime-wasm": _packed(runtime.wasm),
            "network-onnx": _packed(network.onnx),
        },
        examples=[(plain(name), data_uri(content, _kind_of(content) or "png")) for name, content in examples],
        made=made or {},
    )


def render_live_how(path: str | Path, commands: Sequence[str], *, pages: Mapping[str, str] | None = None) -> Path:
    """In the live page's place, where nothing can run in it yet: the commands that make it."""
    return render_page(path, "live_how.html.j2", pages=pages, title=TITLE, commands=commands, made={})


def is_web_picture(content: bytes) -> bool:
    """Whether every browser reads it: PNG, JPEG, WebP."""
    return bool(_kind_of(content))


def _data(network: LiveNetwork, top: int) -> Markup:
    """All but the network itself, as JSON that cannot end its element."""
    weights = b"" if network.weights is None else np.ascontiguousarray(network.weights, dtype="<f4").tobytes()
    values: dict[str, Any] = {
        "labels": [plain(label) for label in network.labels],
        "preparation": vars(network.preparation),
        "weights": base64.b64encode(weights).decode(),
        "bias": network.bias,
        "units": [_unit(unit) for unit in network.units],
        "places": network.places,
        "measured": network.weights is None,
        "competitors": network.competitors,
        "adds_up": network.adds_up,
        "rows": network.rows,
        "reaches": network.reaches,
        "top": top,
        "colours": COLOURS,
    }
    return htmlsafe_json_dumps(values)


def _unit(named: UnitName) -> dict[str, Any]:
    return {
        "name": plain(named.name),
        "was": None if named.was is None else plain(named.was),
        "alternatives": [plain(other.name) for other in named.alternatives],
        "r": None if named.r is None else [named.r, named.low, named.high],
        "strip": strip_uri(named.exemplars) if named.exemplars else "",
        "tiles": tile_count(named.exemplars) if named.exemplars else 0,
        "masks": masks_uri(named.masks) if named.masks else "",
    }


def _packed(content: bytes) -> Markup:
    return Markup(base64.b64encode(gzip.compress(content, mtime=0)).decode())


def _kind_of(content: bytes) -> str:
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
    return next((kind for start, kind in starts.items() if content.startswith(start)), "")
