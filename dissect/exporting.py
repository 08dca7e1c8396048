"""A described network for other tools: exemplars in MILAN's layout and tables in the formats that others publish."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from .exemplars.collecting import collect_exemplars
from .exemplars.milan_folder import SIZE, check_exemplars_folder, write_milan_folder
from .folder.dissection import Dissection
from .folder.tables import write_annotations
from .naming.halves import Halves, halve
from .probe.probe_images import ProbeImages
from .recording.layer_reader import LayerReader
from .recording.subject import default_transform

ANNOTATIONS = "annotations.csv"


def write_exemplars(
    dissection: Dissection,
    model: nn.Module,
    probe: ProbeImages,
    out: str | Path,
    layers: Sequence[str] | None = None,
    *,
    size: int = SIZE,
) -> Path:
    """Write `OUT/LAYER/images.npy, masks.npy, ...` as MILAN has them, and `OUT/annotations.csv`: the units' names.

    As MILAN takes them: of each unit the top images of all the probe (near-duplicates once), not of its choosing half,
    and the threshold over all positions of all of them. `lwta describe-train milan` is taught by such a folder.

    Raises:
        ValueError: other images than were described, or an unknown layer.
        FileExistsError: a layer's folder holds files of these names that were not written here.
    """
    described = dissection.manifest["probe"]["fingerprint"]
    if probe.fingerprint != described:
        raise ValueError(
            f"Expected the {len(dissection.images)} images that were described in {str(dissection.folder)!r} but got "
            f"{len(probe)} others of {probe.source!r}; name the same source (--probe, --limit)"
        )
    place, asked = Path(out), layers or dissection.layers
    for layer in asked:
        check_exemplars_folder(place / layer)
    everything = torch.arange(len(probe))
    halves = Halves(everything, everything[:0], halve(dissection.image_embeddings()).blocks)
    for layer in asked:
        summary = dissection.summary(layer)
        reader = LayerReader(model, layer, summary, default_transform(model))
        found = collect_exemplars(reader, probe, dissection.record(layer).unit_values(summary), halves)
        write_milan_folder(place / layer, found, probe, size=size)
    write_annotations(place / ANNOTATIONS, dissection.descriptions.values())
    return place
