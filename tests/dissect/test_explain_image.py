"""Claims about the explanation of one image."""

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from competing import small_resnet
from PIL import Image

from competition_layers import Competition, DecisionLayer, Groups, inference_rule, observe, winner_units, winners
from competition_layers.attribution import logits_without
from dissect import DescribeOptions, Dissection, describe, explain, explain_many, open_probe
from dissect.encoders.concepts import ConceptSet
from dissect.explaining import explain_image
from dissect.explaining.picture import network_input
from dissect.report.render import render_report
from dissect.report.text import explanation_text

LABELS = ("beach", "city", "farm", "park")
LAST = "layer4.0.act2"


def network(competitors: int, **options):
    return small_resnet(competitors, LABELS, **options)


def with_residuals(model):
    """A fresh block of timm's adds nothing to its input: its last batch norm starts at 0."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data += 0.5
            module.bias.data += 0.2 * torch.randn_like(module.bias)
    return model


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
        for which, parts in (("to_logit", explanation.logit), ("to_lead", explanation.lead)):
            assert parts.units == pytest.approx(sum(getattr(effect, which) for effect in explanation.units), abs=1e-5)
            assert parts.units + parts.others + parts.without + parts.missed == pytest.approx(parts.total, abs=1e-6)
            assert parts.missed == pytest.approx(0, abs=1e-4)
        first, second = explanation.classes[:2]
        assert explanation.lead.total == pytest.approx(first.logit - second.logit, abs=1e-5)


def test_what_first_order_misses_is_not_called_biases_and_paths_around(picture):
    model = with_residuals(network(4))
    explanation = explain(model, picture, layer="layer2.0.act1")
    assert explanation.at.method == "gradient x activation"
    off = torch.ones(1, 8, dtype=torch.bool)
    with torch.no_grad():
        alone = logits_without(model, network_input(model, picture), "layer2.0.act1", off)[0]
    first, second = (LABELS.index(label) for label in (explanation.target, explanation.runner_up))
    assert explanation.lead.without == pytest.approx(float(alone[first] - alone[second]), abs=1e-5)
    assert abs(explanation.lead.missed) > 1e-3


def test_any_class_can_be_explained(picture):
    model = network(4)
    predicted = explain(model, picture, layer=LAST)
    assert predicted.target == predicted.label
    for label in set(LABELS) - {predicted.label}:
        explanation = explain(model, picture, layer=LAST, target=label)
        assert (explanation.target, explanation.runner_up) == (label, predicted.label)
        assert explanation.label == predicted.label
        assert explanation.lead.total < 0
        assert explain(model, picture, layer=LAST, target=LABELS.index(label)) == explanation
        other = explain(model, picture, layer=LAST, target=(predicted.label, label))  # the other way round
        assert other.lead.total == pytest.approx(-explanation.lead.total, abs=1e-5)
        assert [u.unit for u in other.units] == [u.unit for u in explanation.units]
        assert [u.to_lead for u in other.units] == pytest.approx([-u.to_lead for u in explanation.units], abs=1e-5)
    with pytest.raises(ValueError, match=r"Expected a class of the network \(beach, .*\) but got 'bech', did you mean"):
        explain(model, picture, target="bech")
    with pytest.raises(ValueError, match="Expected the lead of a class over another but got class 1 twice"):
        explain(model, picture, target=("city", "city"))


def test_the_share_of_the_lead_is_measured_and_a_layer_without_half_of_it_does_not_explain(picture):
    model = network(4)
    model.fc.weight.data /= 100  # a bias decides: nothing passes through the units
    model.fc.bias.data[:] = torch.tensor([5.0, 0, 0, 0])
    explanation = explain(model, picture, layer=LAST)
    assert explanation.share == pytest.approx(explanation.together.lead / explanation.lead.total)
    assert explanation.share < 0.5
    assert not explanation.explains
    assert explanation.instead is None
    assert explain(network(4), picture, layer=LAST, top=16).explains


def test_another_layer_is_named_where_it_carries_the_lead(picture):
    explanation = explain(network(4), picture, layer="layer4.0.act1")  # timm's fresh blocks add nothing to their input
    assert explanation.share == pytest.approx(0, abs=1e-6)
    assert explanation.instead is not None
    assert explanation.instead.layer == LAST
    assert explanation.instead.share == pytest.approx(explain(network(4), picture, layer=LAST).share, abs=1e-4)


def test_the_rival_came_second_where_the_unit_won(picture):
    for layout in ("strided", "adjacent"):
        model = network(4, competition=Competition(layout=layout))
        explanation = explain(model, picture, layer=LAST)
        with torch.no_grad(), observe(model, LAST, what="input") as seen:
            model(network_input(model, picture))
        h = seen[LAST][0].flatten(1).T.tolist()  # positions, units
        for effect in explanation.units:
            group = [k for k in range(16) if (k % 4 if layout == "strided" else k // 4) == effect.group]
            seconds = []
            for row in h:
                order = sorted(group, key=lambda k: -row[k])
                if order[0] == effect.unit:
                    seconds.append(order[1])
            assert effect.rivals
            for rival in effect.rivals:
                assert rival.share == pytest.approx(seconds.count(rival.unit) / len(seconds))
            assert seconds.count(effect.rivals[0].unit) == max(map(seconds.count, seconds))
            assert len(effect.rivals) == min(len(set(seconds)), 3)


def test_on_a_linear_path_the_check_says_what_was_stated(picture):
    explanation = explain(network(4), picture, layer=LAST, top=5)
    assert explanation.at.method == "direct"
    for effect in explanation.units:
        assert effect.off.logit == pytest.approx(effect.to_logit, abs=1e-4)
        assert effect.off.lead == pytest.approx(effect.to_lead, abs=1e-4)
    assert explanation.together.lead == pytest.approx(sum(e.to_lead for e in explanation.units), abs=1e-4)


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
    sizes = [abs(effect.to_lead) for effect in explain(network(4), picture, top=6).units]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 6


def assert_same(one, other):
    """Up to rounding in double precision: the kernels of a batch add in another order."""
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for parts in zip(one, other, strict=True):
            assert_same(*parts)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-9)
    else:
        assert one == other


@pytest.mark.parametrize(
    "kind",
    ["decision layer", "dense", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sampled", "not exact"))],
)
def test_many_images_are_explained_as_each_alone(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(explain_image, "MOST", 2)  # two batches
    monkeypatch.setattr(explain_image, "network_input", lambda *given: network_input(*given).double())
    options = {"decision": DecisionLayer(16, 4, at="positions")} if kind == "decision layer" else {}
    model = with_residuals(network(1 if kind == "dense" else 4, **options)).double()
    layer = {"not exact": "layer3.0.act1", "decision layer": None}.get(kind, LAST)
    generator, files = torch.Generator().manual_seed(5), []
    for i in range(3):
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    with inference_rule(model, "sample" if kind == "sampled" else None):
        together = list(explain_many(model, files, layer=layer, top=3))
        alone = [explain(model, file, layer=layer, top=3) for file in files]
    assert len({one.units for one in together}) == 3
    assert_same(tuple(together), tuple(alone))


def test_an_explanation_holds_no_tensors(picture):
    def values(thing):
        if dataclasses.is_dataclass(thing):
            thing = [getattr(thing, field.name) for field in dataclasses.fields(thing)]
        if isinstance(thing, list | tuple):
            for part in thing:
                yield from values(part)
        else:
            yield thing

    assert {type(v) for v in values(explain(network(4), picture))} <= {str, bytes, int, float, bool, type(None)}


SLOW = (pytest.param(twin, marks=pytest.mark.slow) for twin in ("relu", "gelu"))


@pytest.mark.parametrize("twin", [None, "topk", *SLOW])
def test_where_nothing_competes_nothing_wins_nor_is_it_said(twin, picture, tmp_path):
    model = network(1)
    if twin is not None:
        model = network(4, competition=Competition(activation=twin), decision=DecisionLayer(16, 4, activation=twin))
    explanation = explain(model, picture, layer=LAST if twin is None else None)
    assert explanation.at.rule == "nothing competes"
    assert {(e.group, e.competitor, e.win_share) for e in explanation.units} == {(None, None, None)}
    page = render_report(tmp_path / "report.html", [explanation]).read_text("utf-8")
    said = " ".join(re.sub(r"<style>.*?</style>|<script.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL).split())
    assert not re.search(r"\bw[io]n(s|ners?)?\b", explanation_text(explanation) + said)


def test_a_sampled_explanation_repeats_and_its_check_meets_the_same_noise(picture):
    def sampled():
        model = network(4)
        with inference_rule(model, "sample"):
            return explain(model, picture, layer=LAST)

    explanation = sampled()
    assert explanation == sampled()
    assert explanation.at.rule == "sample"
    assert explanation.units[0].off.lead == pytest.approx(explanation.units[0].to_lead, abs=1e-4)


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
        assert effect.named.exemplars == dissection.exemplars(LAST, effect.unit).read_bytes()


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
