"""The captioner that is shipped: what it says of painted scenes that nobody trained on, and how likely phrases are."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from dissect.backends.bundled_captioner import KINDS, UNHEARD, WEIGHTS, BundledCaptioner
from dissect.backends.protocols import CaptionLikelihood
from dissect.encoders.bundled_clip import HERE
from lwta.bundled_clip.caption_figures import caption_figures
from lwta.bundled_clip.parts import LEAST_PART, paint_parts, part_of
from pictures.scenes import paint
from pictures.scenes.phrases import paint_phrase


@pytest.fixture(scope="module")
def captioner():
    return BundledCaptioner()


def test_held_out_scenes_are_captioned_rightly(captioner):
    """Floors below `python -m lwta.bundled_clip.train_captioner --eval-only`, since the pictures are few."""
    found = caption_figures(HERE, 60)
    floors = {"place": 0.9, "weather": 0.8, "time": 0.9, "things, precision": 0.7, "things, recall": 0.45}
    for name, floor in floors.items():
        assert found[name][0] >= floor, (name, found[name])


def test_it_is_small_enough_to_be_shipped():
    assert (HERE / WEIGHTS).stat().st_size < 5e6


def test_a_caption_does_not_depend_on_the_pictures_beside_it(captioner):
    pictures = [paint("test", i).image for i in range(3)]
    together = captioner.caption(pictures)
    assert together == [captioner.caption([picture])[0] for picture in pictures]
    assert captioner.caption([]) == [] and captioner.identity == BundledCaptioner().identity


@pytest.mark.parametrize(("shown", "other"), [("red balloon", "pyramid"), ("snowy forest", "a clear desert")])
def test_what_is_there_is_likelier_than_what_is_not(captioner, shown, other):
    assert isinstance(captioner, CaptionLikelihood)
    likely = captioner.log_likelihoods(paint_phrase(shown, 8), [shown, other]).mean(0)
    assert likely[0] > likely[1] + 1


def test_what_a_phrase_says_is_likely_together(captioner):
    """The kind where it is surest, its colour there, the place: the sum of their log-probabilities."""
    picture = paint("test", 0).image
    ((kinds, colours, wholes),) = captioner._seen([picture])
    at = KINDS.index("boat")
    where = int(kinds[:, at].argmax())
    boat = -math.log1p(math.exp(-float(kinds[where, at])))
    red = float(colours[where].softmax(0)[0].log())
    beach = float(wholes[0].softmax(0)[0].log())
    found = captioner.log_likelihoods([picture], ["boats", "a red boat", "red boat on a beach", "justice"])[0]
    from pictures.scenes import COLOURS, SCENES

    assert (next(iter(COLOURS)), SCENES[0]) == ("red", "beach")
    assert found.tolist() == pytest.approx([boat, boat + red, boat + red + beach, UNHEARD], abs=1e-4)


def test_a_folder_without_a_captioner_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a captioner in .*train_captioner` trains it"):
        BundledCaptioner(tmp_path)


def test_a_part_of_a_scene_holds_what_lies_in_it():
    scene = paint("clip", 3)
    thing = max(scene.things, key=lambda one: one.mask.sum())
    left, top = min(thing.box[0], 64 - LEAST_PART), min(thing.box[1], 64 - LEAST_PART)
    box = (left, top, max(thing.box[2], left + LEAST_PART), max(thing.box[3], top + LEAST_PART))
    part = part_of(scene, box)
    found = next(one for one in part.things if one.name == thing.name)
    assert isinstance(part.image, Image.Image) and part.image.size == (64, 64)
    share = thing.mask.sum() / ((box[2] - box[0]) * (box[3] - box[1]))
    assert found.mask.mean() == pytest.approx(share, rel=0.2), "stretched with the picture"


@pytest.mark.slow
def test_targets_say_what_is_there_and_where():
    parts = paint_parts("clip", 2, seed=7)
    scene = paint("clip", 0, seed=7)
    assert len(parts.images) == 4 and (parts.images[0].permute(1, 2, 0).numpy() == np.asarray(scene.image)).all()
    for kind, there in zip(KINDS, parts.kinds[0].tolist(), strict=True):
        seen = sum(int(thing.mask.sum()) for thing in scene.things if thing.name == kind)
        assert there == (1 if seen >= 12 else 0 if seen == 0 else -1)
    assert torch.allclose(
        parts.filled[0, :, : len(KINDS)].float().sum(),
        torch.tensor(float(sum(t.mask.sum() for t in scene.things)) / 256),
        rtol=0.01,
    )
