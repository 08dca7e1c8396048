"""Patches and a made vocabulary: what activates a unit is cut out, matched, and freed of each phrase's bias."""

import pytest
import torch
from coloured_world import COLOURS, Colours, picture, redness_and_others
from torch import nn

from dissect import ConceptSet, DescribeOptions, Tools, describe, load_describers, open_probe
from dissect.describers.class_ablation import ClassLoss
from dissect.describers.patches import Patches, _at_least
from dissect.explaining.unit_entries import unit_entries
from dissect.report.losses_text import losses_text
from dissect.report.units import render_units

CONCEPTS = ConceptSet((*COLOURS, "dark ground"), source="words")


@pytest.fixture
def run(tmp_path, to_tensor):
    (tmp_path / "probe").mkdir()
    for i in range(60):
        picture(list(COLOURS)[i % 3], i, side=24).save(tmp_path / "probe" / f"{i:02d}.png")

    def call(describer, world):
        given = DescribeOptions(layers=["1"], summary="max", transform=to_tensor, describers=[describer])
        return describe(redness_and_others(), open_probe(tmp_path / "probe"), CONCEPTS, world, tmp_path / "out", given)

    return call


class Watching(Colours):
    """Remembers the sizes of what it is shown, and likes "dark ground" in everything."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def preprocess(self, image):
        self.shown.append(image.size)
        return super().preprocess(image)

    def encode_texts(self, concepts):
        rows = super().encode_texts(concepts)
        rows[[i for i, name in enumerate(concepts.names) if name == "dark ground"], :3] = 0.57
        return nn.functional.normalize(rows, dim=1)


def test_units_get_the_phrases_of_their_patches_and_not_those_that_fit_everything(run):
    world = Watching()
    dissection = run(*load_describers("patches"), world)
    for unit, colour in enumerate(COLOURS):
        candidates = dissection.description("1", unit).candidates
        assert candidates[0].description == colour and candidates[0].method == "patches"
        assert candidates[0].similarity > 0.3 > max(c.similarity for c in candidates[1:])
    cut = [size for size in world.shown if size != (24, 24)]
    assert len(cut) > 30 and {side for size in cut for side in size} <= set(range(3, 24))


def test_what_a_unit_is_worth_to_each_class_is_kept(tmp_path, to_tensor):
    """A network that answers with the colour whose unit is loudest cannot see red without the red unit."""
    for i in range(60):
        place = tmp_path / "probe" / list(COLOURS)[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture(place.name, i, side=24).save(place / f"{i:02d}.png")
    model = nn.Sequential(*redness_and_others(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)).eval()
    with torch.no_grad():
        model[4].weight.copy_(torch.eye(3))
        model[4].bias.zero_()
    model.label_names, model.image_transform = tuple(COLOURS), to_tensor
    given = DescribeOptions(layers=["1"], summary="max", describers=load_describers("patches"))
    dissection = describe(model, open_probe(tmp_path / "probe"), CONCEPTS, Colours(), tmp_path / "out", given)
    kept = dissection.kept("1", "patches")
    assert kept["class_accuracy"].tolist() == [1, 1, 1] and int(kept["class_images"].sum()) > 20
    assert kept["class_accuracy_without"].tolist() == (1 - torch.eye(3)).tolist()
    text, most = losses_text(dissection, "1"), int(kept["class_images"].max())
    assert text[0].endswith("3 of 3 cost a class answers")
    assert text[2].split()[-5:] == [str(most), "100", "%", "0", "%"]
    entries = unit_entries(dissection)
    assert [entry.losses for entry in entries] == [
        (ClassLoss(colour, int(n), 1.0, 0.0),) for colour, n in zip(COLOURS, kept["class_images"], strict=True)
    ]
    page = render_units(tmp_path / "units.html", entries).read_text("utf-8").replace("\xa0", " ")
    assert f"{next(iter(COLOURS))} 100 % → 0 %" in page


def test_a_vocabulary_is_asked_for_the_domain(run):
    class Listing:
        identity = "listing"

        def __init__(self):
            self.asked = []

        def answer(self, request, *, temperature=0.0, draw=0):
            self.asked.append(request.texts)
            return "red flag, green flag, blue flag, red wall, blue sea, ../x"

    model = Listing()
    dissection = run(Patches(model, "flags"), Colours())
    assert set(model.asked) == {("flags",)} and dissection.description("1", 0).candidates[0].description == "red flag"
    assert "red flag" in dissection.space().names


def test_a_vocabulary_that_is_hardly_read_is_told(run):
    class Short:
        identity = "short"

        def answer(self, request, *, temperature=0.0, draw=0):
            return "red"

    with pytest.raises(
        ValueError, match=r"Expected at least 5 phrases that are read for 'flags' but got 1 of 1; take another"
    ):
        run(Patches(Short(), "flags"), Colours())


def test_counting_words_makes_no_vocabulary():
    class Backends:
        def load_language_model(self):
            from dissect.backends.word_statistics import WordStatistics

            return WordStatistics()

    with pytest.raises(ValueError, match="Expected --language_model for the phrases of the domain 'flags'"):
        load_describers("patches", Tools(backends=Backends(), domain="flags"))


def test_a_box_is_widened_inside_the_picture():
    assert _at_least((0, 5, 1, 6), (70, 70)) == (0, 0, 10, 10)
    assert _at_least((69, 30, 70, 50), (70, 70)) == (60, 30, 70, 50)
    assert torch.tensor(_at_least((3, 3, 4, 4), (5, 5))).tolist() == [3, 3, 4, 4]
