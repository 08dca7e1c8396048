"""The images a dissection looks at: pictures from anywhere, with the hashes of their contents."""

from functools import cached_property
from pathlib import Path

from pictures import OnBad, Pictures, Place, open_pictures

from ..fingerprints import digest


class ProbeImages(Pictures):
    """Pictures whose contents are hashed: `hashes`, and of all of them together the `fingerprint`."""

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all names and contents, in their order."""
        return digest(self.names, self.hashes)


def open_probe(
    source: str | Path,
    *,
    split: str = "",
    root: str | Path = ".",
    labelled: bool = False,
    on_bad: OnBad = "skip",
    limit: int | None = None,
) -> ProbeImages:
    """Probe images from any source, each read once before work starts (`pictures.open_pictures`).

    `FOLDER`, `FILE.safetensors`, `wds/FOLDER` of `.tar` shards, `torch/NAME`, `hfds/NAME`, an image's path.

    Args:
        split: a folder in FOLDER, a word in the names of shards, a data set's own (by default `validation`).
        root: where `torch/NAME` and `hfds/NAME` lie; `wds/FOLDER` is taken relative to it.
        labelled: only images that have a class.
        on_bad: `skip` leaves unreadable images out and lists them in `.skipped`; `refuse` raises and names them.
        limit: so many images, evenly spaced over the sorted list (so that class folders keep their shares).

    Raises:
        FileNotFoundError: no such source. ValueError: no image in it, or bad ones under `refuse`.
    """
    place = Place(str(source), split, str(root))
    return ProbeImages(**vars(open_pictures(place, labelled=labelled, on_bad=on_bad, limit=limit, hashed=True)))
