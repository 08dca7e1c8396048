"""`lwta exemplars`: a described network's top images and masks, in the layout that MILAN and MAIA read."""

from collections.abc import Sequence
from pathlib import Path

from competition_layers.terminal import plain

from ..open_model import open_dissected
from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(exemplars, argv, prog="lwta exemplars", positionals=["dissection"])
    return 0


def exemplars(
    dissection: Path,
    probe: str,
    out: Path,
    layers: list[str] | None = None,
    model: str | None = None,
    size: int = 224,
    root: Path = Path("."),
    split: str = "",
    limit: int | None = None,
) -> None:
    """Write a folder a layer with each unit's 15 top images and where in them it answers, and the units' names.

    Args:
        dissection: the folder that `lwta describe` wrote.
        probe: the images that were described, named as they were then.
        out: the folder to write: LAYER/images.npy, masks.npy, activations.csv, ids.csv, units.npy as MILAN has them,
            and annotations.csv, so that `lwta describe-train milan --exemplars OUT --annotations
            OUT/annotations.csv` is taught by them.
        layers: some of those described; by default all.
        model: the network; by default the one that `lwta describe` was given.
        size: pixels of the square pictures.
        root: where wds/, torch/ and hfds/ sources lie.
        split: as `lwta describe` was given.
        limit: as `lwta describe` was given.
    """
    from dissect import open_probe
    from dissect.exporting import write_exemplars

    described, network = open_dissected(dissection, model)
    images = open_probe(probe, root=root, split=split, limit=limit)
    write_exemplars(described, network, images, out, layers, size=size)
    print(f"Exemplars in MILAN's layout are in {plain(out)}")
