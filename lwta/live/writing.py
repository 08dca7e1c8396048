"""The live page of a network, with pictures to begin with."""

import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dissect.report.live import Runtime, is_web_picture, render_live

from .network import live_network

PAGE = "live.html"
EXAMPLES = 8  # pictures that a page carries at most
LARGE = 300_000  # bytes from which an example is made smaller
SIDE = 512  # pixels of its longer side then


def write_live(
    path: Path,
    network: Any,
    runtime: Runtime,
    *,
    dissection: Any = None,
    pictures: Iterable[Path] = (),
    made: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
    layer: str | None = None,
) -> Path:
    """Write the page to `path`, whole or not at all.

    Raises:
        ValueError: a network that a page cannot run; says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's: hints for its own developers
        live = live_network(network, dissection, layer)
    examples = [(picture.name, example(picture)) for picture, _ in zip(pictures, range(EXAMPLES), strict=False)]
    return render_live(path, live, runtime, examples=examples, made=made, pages=pages)


def example(picture: Path) -> bytes:
    """The file as it is; one that is large or that browsers do not read as a WebP of at most 512 pixels a side."""
    from pictures import decode

    content = picture.read_bytes()
    if len(content) <= LARGE and is_web_picture(content):
        return content
    image = decode(content)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=92)
    return buffer.getvalue()
