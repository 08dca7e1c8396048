"""Exemplars of a dissection in MILAN's layout: of all its images, with its names, and read again by who is taught."""

import pytest
import torch
from coloured_world import COLOURS, Colours, picture, redness_and_others

from dissect import ConceptSet, DescribeOptions, describe, open_probe
from dissect.exemplars.milan_folder import MilanFolder
from dissect.exporting import write_exemplars
from dissect.milan.annotations import annotated_units
from dissect.milan.backbone import Backbone


@pytest.fixture
def described(tmp_path, to_tensor):
    (tmp_path / "probe").mkdir()
    for i in range(60):
        picture(list(COLOURS)[i % 3], i).save(tmp_path / "probe" / f"{i:02d}.png")
    model, probe = redness_and_others(), open_probe(tmp_path / "probe")
    model.image_transform = to_tensor
    concepts = ConceptSet(tuple(COLOURS), source="words")
    return model, probe, describe(model, probe, concepts, Colours(), tmp_path / "out", DescribeOptions(layers=["1"]))


def test_a_dissection_becomes_a_folder_that_milan_is_taught_by(described, tmp_path):
    model, probe, dissection = described
    place = write_exemplars(dissection, model, probe, tmp_path / "exemplars", size=16)
    found = MilanFolder.open(place / "1")
    values = dissection.record("1").summaries["mean"]
    for unit in range(3):
        best = values[:, unit].sort(descending=True, stable=True).indices[:15]
        assert found.ids[unit].tolist() == best.tolist(), "of all images, the judging half's too"
        assert found.masks[unit].any() and found.masks[unit].mean() < 0.3
    named = [unit for unit in range(3) if dissection.description("1", unit).named]
    backbone = Backbone(model, ("0",), 16, (0.0,) * 3, (1.0,) * 3)
    units = annotated_units(place, place / "annotations.csv", backbone)
    expected = [(dissection.description("1", unit).description,) for unit in named]
    assert named and [one.descriptions for one in units] == expected
    assert torch.isfinite(units[0].features).all()


def test_other_images_than_were_described_are_refused(described, tmp_path):
    model, probe, dissection = described
    with pytest.raises(ValueError, match=r"Expected the 60 images that were described in .* but got 5 others"):
        write_exemplars(dissection, model, probe.some(range(5)), tmp_path / "exemplars")
