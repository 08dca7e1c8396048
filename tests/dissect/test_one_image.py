"""Claims about the explanation of one image."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition_layers import Competition, Groups, create_model, observe, winner_units, winners
from dissect import DescribeOptions, Dissection, describe, explain, open_probe
from dissect.encoders.concepts import ConceptSet
from dissect.explaining.explain_image import network_input

LABELS = ("beach", "city", "farm", "park")
LAST = "layer4.0.act2"


def network(competitors: int, **options):
    torch.manual_seed(0)
    small = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "output_stride": 8}
    model = create_model(
        "resnet18", competitors=competitors, num_classes=4, image_size=32, label_names=LABELS, **small, **options
    )
    model.fc.weight.data *= 20
    return model.eval()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_winners_are_named_with_group_and_competitor(picture):
    for layout in ("strided", "adjacent"):
        model = network(4, competition=Competition(layout=layout))
        explanation = explain(model, picture, layer=LAST)
        with torch.no_grad(), observe(model, LAST, what="input") as seen:
            model(network_input(model, picture))
        units = winner_units(
            winners(seen[LAST], Groups(4, channel_dim=1, layout=layout)), Groups(4, channel_dim=1, layout=layout)
        )[0]
        for effect in explanation.units:
            here = units[effect.group] == effect.unit  # at each place of the 4 x 4 map
            assert here.any()
            assert effect.competitor == (effect.unit // 4 if layout == "strided" else effect.unit % 4)
            assert effect.win_share == pytest.approx(here.float().mean().item())
            assert effect.value == pytest.approx(seen[LAST][0, effect.unit][here].mean().item(), abs=1e-5)
            assert [[cell is not None for cell in row] for row in effect.where] == here.tolist()
        assert explanation.passed == len(units.unique())


def test_a_negative_winner_keeps_its_sign(picture):
    model = network(2)
    site = model.get_submodule(LAST)
    site.register_forward_pre_hook(lambda module, inputs: (-inputs[0].abs() - 0.1,))
    explanation = explain(model, picture, layer=LAST)
    assert explanation.units
    assert all(effect.value < 0 for effect in explanation.units)


def test_units_others_and_rest_add_up(picture):
    for competitors in (1, 4):
        explanation = explain(network(competitors), picture, layer=LAST, top=3)
        for i, total in enumerate((explanation.logit, explanation.margin)):
            shown = sum(effect.to_logit if i == 0 else effect.to_margin for effect in explanation.units)
            assert shown + explanation.others[i] + explanation.rest[i] == pytest.approx(total, abs=1e-5)
        first, second = explanation.classes[:2]
        assert explanation.margin == pytest.approx(first.logit - second.logit, abs=1e-5)


def test_on_a_linear_path_the_check_says_what_was_stated(picture):
    explanation = explain(network(4), picture, layer=LAST, top=5)
    assert explanation.method == "direct"
    for effect in explanation.units:
        assert effect.off.logit == pytest.approx(effect.to_logit, abs=1e-4)
        assert effect.off.margin == pytest.approx(effect.to_margin, abs=1e-4)
    assert explanation.together.margin == pytest.approx(sum(e.to_margin for e in explanation.units), abs=1e-4)


def test_without_the_units_that_decided_the_answer_changes(picture):
    model = network(4)
    bias = model.fc.bias
    before = explain(model, picture, layer=LAST, top=1).label
    bias.data[:] = 0
    bias.data[(LABELS.index(before) + 1) % 4] = 0.5  # another class wins as soon as nothing speaks
    explanation = explain(model, picture, layer=LAST, top=16)
    assert explanation.label == before
    assert explanation.together.label == LABELS[(LABELS.index(before) + 1) % 4]


def test_units_come_by_their_share_in_the_margin(picture):
    sizes = [abs(effect.to_margin) for effect in explain(network(4), picture, top=6).units]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 6


def test_an_explanation_holds_no_tensors(picture):
    def values(thing):
        if dataclasses.is_dataclass(thing):
            thing = [getattr(thing, field.name) for field in dataclasses.fields(thing)]
        if isinstance(thing, list | tuple):
            for part in thing:
                yield from values(part)
        else:
            yield thing

    assert {type(v) for v in values(explain(network(4), picture))} <= {str, bytes, int, float, type(None)}


def test_a_dense_network_has_no_winners(picture):
    explanation = explain(network(1), picture, layer=LAST)
    assert explanation.rule == "nothing competes"
    assert {(e.group, e.competitor, e.win_share) for e in explanation.units} == {(None, None, None)}


def test_a_sampled_explanation_repeats_and_its_check_meets_the_same_noise(picture):
    explanation = explain(network(4), picture, layer=LAST, rule="sample")
    assert explanation == explain(network(4), picture, layer=LAST, rule="sample")
    assert explanation.rule == "sample"
    assert explanation.units[0].off.margin == pytest.approx(explanation.units[0].to_margin, abs=1e-4)


def test_names_and_strips_come_from_the_dissection(picture, tmp_path):
    class Encoder:
        identity = "by colour"

        def encode_images(self, probe):
            return torch.nn.functional.normalize(torch.rand(len(probe), 3), dim=1)

        def encode_texts(self, concepts):
            return torch.eye(3)

    for i in range(12):
        Image.fromarray(torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).numpy()).save(tmp_path / f"{i}.png")
    model, concepts = network(4), ConceptSet(("red", "green", "blue"), ("{}",), "colours")
    dissection = describe(
        model, open_probe(tmp_path), concepts, Encoder(), tmp_path / "out", DescribeOptions(layers=LAST)
    )
    explanation = explain(model, picture, layer=LAST, dissection=Dissection.open(tmp_path / "out"))
    for effect in explanation.units:
        known = dissection.description(LAST, effect.unit)
        assert effect.name == known.description
        assert effect.exemplars == dissection.exemplars(LAST, effect.unit).read_bytes()


def test_what_is_no_image_is_refused_with_its_reason(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"Expected a readable image but got .*text\.jpg': not an image"):
        explain(network(4), tmp_path / "text.jpg")
    with pytest.raises(ValueError, match=r"Expected a readable image but got .*empty\.png': 0 bytes"):
        explain(network(4), tmp_path / "empty.png")
    with pytest.raises(FileNotFoundError, match=r"Expected an image file but got .*gone\.png', which is not there"):
        explain(network(4), tmp_path / "gone.png")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_odd_images_are_explained_all_the_same(mode, tmp_path):
    Image.new(mode, (1, 1) if mode == "L" else (7, 50)).save(tmp_path / "odd.tif")
    assert explain(network(4), tmp_path / "odd.tif").units is not None


def test_the_picture_is_what_the_network_saw(picture):
    shown = np.asarray(Image.open(io.BytesIO(explain(network(4), picture).picture)), dtype=int)
    given = np.asarray(Image.open(picture), dtype=int)
    assert abs(shown - given).max() <= 1  # 32 pixels in, 32 pixels seen
