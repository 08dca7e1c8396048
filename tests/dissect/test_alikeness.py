"""Pictures that are not apart, and pictures that the bundled encoder does not know, are told."""

import pytest
import torch
from torch.nn.functional import normalize

from dissect import LayerRecord, Space, name_verified
from dissect.encoders.bundled_clip import centres
from dissect.encoders.familiarity import FAMILIAR, encoder_warnings, familiarity
from dissect.naming.alikeness import alike_among_neighbours, alike_within, alikeness_warnings
from dissect.naming.halves import halve

CLIPS, FRAMES, UNITS = 40, 8, 64


@pytest.fixture
def video():
    """Frames of 40 clips, too far apart for near-duplicates; units have a level a clip, and follow no concept."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(CLIPS, 32, generator=generator).repeat_interleave(FRAMES, 0)
    images = normalize(scene + 0.4 * torch.randn(CLIPS * FRAMES, 32, generator=generator) + 1, dim=1)
    level = torch.randn(CLIPS, UNITS, generator=generator).repeat_interleave(FRAMES, 0)
    values = level + 0.3 * torch.randn(CLIPS * FRAMES, UNITS, generator=generator)
    names = [f"clip{i // FRAMES}_{i % FRAMES:03}.png" for i in range(CLIPS * FRAMES)]
    concepts = normalize(torch.randn(100, 32, generator=generator), dim=1)
    return values, Space(images, concepts, tuple(f"concept-{i}-x" for i in range(100))), names


def test_units_that_follow_a_clip_and_no_concept_have_no_name_once_clips_are_blocks(video):
    values, space, names = video
    clips = [name.partition("_")[0] for name in names]
    named = {}
    for blocks in (None, clips):
        halves = halve(space.image_embeddings, blocks=blocks)
        units, _ = name_verified(LayerRecord("layer", {"mean": values}), "mean", space, halves)
        named[blocks is None] = sum(unit.named for unit in units) / UNITS
    assert named[False] <= 0.05 < 0.2 < named[True]


def test_frames_are_told_where_nobody_said_that_they_are(video):
    values, space, names = video
    by_prefix, neighbours = alikeness_warnings(values, space.image_embeddings, names, None)
    assert "pictures of one prefix have nearly the same values (correlated by 0.9" in by_prefix
    assert "nearest neighbours" in neighbours and "--blocks folder, prefix or TABLE.csv" in neighbours
    clips = [name.partition("_")[0] for name in names]
    assert alikeness_warnings(values, space.image_embeddings, names, clips) == []


def test_pictures_that_are_apart_are_not_told_of():
    images, values = torch.randn(300, 16), torch.randn(300, 20)
    follows = values + 2 * (images @ torch.randn(16, 20))  # as units of a network do
    names = [f"{i % 10}/{i}.png" for i in range(300)]
    assert alikeness_warnings(follows, images, names, None) == []
    assert abs(alike_within(values, [name[0] for name in names])) < 0.1
    assert abs(alike_among_neighbours(values, images, torch.arange(300))) < 0.1
    assert alike_among_neighbours(torch.ones(300, 2), images, torch.arange(300)) == 0


def test_the_bundled_encoder_knows_what_it_does_not_know(bundled):
    from pictures.scenes.painter import paint

    encoder = bundled
    scenes = [paint("probe", i).image for i in range(24)]
    grey = [scene.convert("L").convert("RGB") for scene in scenes]
    for pictures, known in ((scenes, True), (grey, False)):
        found = encoder.encode_batch(torch.stack([encoder.preprocess(picture) for picture in pictures]))
        assert (familiarity(found, centres()) >= FAMILIAR) == known
        told = encoder_warnings(encoder, found)
        assert told == [] if known else "trained on painted scenes" in told[0] and "--clip ViT-B-32/openai" in told[0]
    assert encoder_warnings(object(), found) == []


@pytest.fixture
def bundled():
    from dissect import load_encoder

    return load_encoder("bundled")
