"""Descriptions are judged: planted units are named and found, noise is not, and what is false is said to be."""

from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

from dissect import (
    ConceptSet,
    DescribeOptions,
    LayerRecord,
    Naming,
    Sight,
    Space,
    describe,
    find_units,
    judge_layer,
    open_probe,
    score_units,
)
from dissect.judging.bench import Classes, bench_of
from dissect.judging.drawn import DrawnPictures
from dissect.judging.effects import class_effects
from dissect.judging.evaluators import own_evaluator
from dissect.judging.measures import MEASURES
from dissect.judging.methods import field_of
from dissect.judging.truth import agreement, overlap
from dissect.judging.verdicts import by_cell
from dissect.naming.predictability import prediction_targets, worth_of_losing
from dissect.recording.unit_values import UnitValues

CONCEPTS = ConceptSet(("boat", "palm", "sun", "rock", "kite", "tent"), source="words")
PLANTED, UNITS = 4, 24


class PixelEncoder:
    """A picture is its pixels; a concept is a direction among them."""

    identity = "pixels"

    def encode_images(self, probe):
        return normalize(torch.stack([pixels(probe[i]) for i in range(len(probe))]), dim=1)

    def encode_texts(self, concepts):
        axes = {name: i for i, name in enumerate(CONCEPTS.names)}
        return torch.eye(48)[[axes[name] for name in concepts.names]]

    def known(self, concepts):
        return concepts, 0


def pixels(image):
    return torch.tensor(list(image.tobytes())).float() / 127.5 - 1


@pytest.fixture(scope="module")
def dissection(tmp_path_factory):
    """Units 0 to 3 follow the first four concepts, the others pixels that no concept is about."""
    folder = tmp_path_factory.mktemp("judge")
    images = torch.randint(0, 256, (300, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    save_file({"images": images}, folder / "probe.safetensors")
    linear = nn.Linear(48, UNITS)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[:PLANTED] = torch.eye(48)[:PLANTED]
        linear.weight[PLANTED:] = torch.eye(48)[10 : 10 + UNITS - PLANTED]
    model = nn.Sequential(linear, nn.ReLU()).eval()
    probe = open_probe(folder / "probe.safetensors")
    options = DescribeOptions(layers=["1"], transform=pixels, naming=Naming("wpmi"))
    return describe(model, probe, CONCEPTS, PixelEncoder(), folder / "out", options)


def test_planted_units_are_named_and_noise_is_not(dissection):
    names = [dissection.description("1", unit).description for unit in range(UNITS)]
    assert names[:PLANTED] == list(CONCEPTS.names[:PLANTED])
    assert sum(map(bool, names[PLANTED:])) <= 2
    for unit in range(PLANTED):
        evidence = dissection.description("1", unit).evidence
        assert evidence.low < evidence.predictability < evidence.high and evidence.low > 0.5
        assert evidence.p == pytest.approx(1 / 10_000, rel=0.1) and evidence.q <= 0.05 and not evidence.rival


def test_unnamed_units_say_why_and_keep_their_candidates(dissection):
    noise = [dissection.description("1", unit) for unit in range(PLANTED, UNITS)]
    assert all(unit.outcome == "chance" for unit in noise if not unit.named)
    assert all(len(unit.candidates) == 5 and unit.margin >= 0 for unit in noise)


def test_asked_for_five_units_or_for_all_the_names_are_the_same(dissection):
    """By the layer's stored prior; without it five units would be a layer of their own."""
    space = Space(dissection.image_embeddings(), dissection.concept_embeddings(), dissection.concepts)
    prior = load_file(dissection.folder / "describers" / "clip-dissect" / "1.safetensors")["prior"]
    record, naming = dissection.record("1"), Naming("wpmi")
    few = LayerRecord("1", {"mean": record.summaries["mean"][:, :5]})
    whole = score_units(record, "mean", space, naming, prior=prior)
    assert score_units(few, "mean", space, naming, prior=prior).allclose(whole[:5], atol=1e-5)


def test_a_phrase_finds_the_unit_that_follows_it(dissection):
    best, *others = find_units(dissection, torch.eye(48)[2], top=5)
    assert (best.layer, best.unit, best.description) == ("1", 2, "sun")
    assert best.q <= 0.05 and len(others) == 4 and others[0].predictability < best.low
    assert find_units(dissection, torch.eye(48)[40])[0].q > 0.05


def test_right_names_are_told_from_wrong_ones(dissection):
    answers = dissection.record("1").summaries["mean"]
    present = {
        name: (answers[:, i] > answers[:, i].quantile(0.8)).to(torch.int8) for i, name in enumerate(CONCEPTS.names)
    }
    named = [dissection.description("1", unit) for unit in range(PLANTED)]
    found = agreement(named, answers, present)
    assert (found.units, found.right, found.auc, found.precision) == pytest.approx((4, 1, 1, 1))
    shifted = dict(zip(CONCEPTS.names, [*list(present.values())[1:], present["boat"]], strict=True))
    wrong = agreement(named, answers, shifted)
    assert wrong.right == 0 and wrong.auc == pytest.approx(0.5, abs=0.15) and wrong.lift == pytest.approx(1, abs=0.5)
    assert agreement(named, answers, {}) is None


def test_images_that_nobody_can_judge_do_not_count(dissection):
    answers = dissection.record("1").summaries["mean"]
    truth = (answers[:, 0] > answers[:, 0].median()).to(torch.int8)
    truth[::2] = -1
    assert agreement([dissection.description("1", 0)], answers, {"boat": truth}).auc == pytest.approx(1)


def test_the_overlap_is_that_of_places():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[1, :2, :2] = True
    assert overlap(masks.float(), masks, share=4 / 192) == 1
    assert overlap(masks.float().flip(1), masks, share=4 / 192) == 0
    assert overlap(torch.zeros(3, 8, 8), masks) == 0
    half = torch.zeros(3, 8, 8)
    half[1, :2, :4] = 1
    assert overlap(half, masks, share=8 / 192) == 0.5


def test_the_effect_of_a_unit_on_a_class_is_its_weight_times_its_mean(dissection, tmp_path):
    images = torch.randint(0, 256, (30, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    save_file({"images": images}, tmp_path / "probe.safetensors")
    probe = open_probe(tmp_path / "probe.safetensors")
    model = nn.Sequential(nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    model.image_transform = pixels
    found = class_effects(model, probe, "1", [4, 2], width=6)
    with torch.no_grad():
        means = model[:2](torch.stack([pixels(probe[i]) for i in range(30)])).mean(0)
    assert found.allclose((model[2].weight.detach() * means)[:, [4, 2]].double(), atol=1e-5)


def changed(dissection, **manifest):
    return replace(dissection, manifest=MappingProxyType({**dissection.manifest, **manifest}))


def test_planted_labels_beat_all_that_they_must_and_their_intervals_say_so(dissection):
    truth = {}
    answers = dissection.record("1").summaries["mean"]
    for i, name in enumerate(CONCEPTS.names):
        truth[name] = (answers[:, i] > answers[:, i].quantile(0.9)).to(torch.int8)
    known = {
        place: one if place[1] < PLANTED else replace(one, candidates=())
        for place, one in dissection.descriptions.items()
    }
    planted = replace(dissection, descriptions=MappingProxyType(known))
    table = judge_layer({"ours": planted}, "1", Sight(own_evaluator([planted]), truth))
    cells = by_cell(table.verdicts)
    for measure in ("r", "true r", "F1"):
        own, random = (cells["1", "clip-dissect", control, measure] for control in ("", "random"))
        assert own.low > random.high, measure
    assert (table.methods.of, table.methods.units) == (UNITS, (0, 1, 2, 3))
    assert table.methods.missing == {"clip-dissect": UNITS - PLANTED}
    assert {each.measure for each in table.verdicts} & {"rivals", "effect", "text"} == set()  # nothing competes


def test_a_method_that_two_dissections_have_is_called_by_the_dissection(dissection):
    first, other = dissection.descriptions["1", 0].candidates[0], "patches"
    both = {
        place: replace(one, candidates=(*one.candidates, replace(first, method=other)))
        for place, one in dissection.descriptions.items()
    }
    wide = replace(dissection, descriptions=MappingProxyType(both))

    def called(**named):
        return [each.method for each in field_of(named, "1").methods]

    assert called(a=wide) == ["clip-dissect", "patches"]
    assert called(a=wide, b=dissection) == ["a: clip-dissect", "patches", "b"]
    assert called(patches=dissection, b=wide) == ["patches: clip-dissect", "b: clip-dissect", "b: patches"]


def test_only_one_network_s_dissections_on_one_probe_are_set_against_one_another(dissection):
    sight = Sight(own_evaluator([dissection]))
    other = changed(dissection, model={**dissection.manifest["model"], "fingerprint": "another"})
    with pytest.raises(ValueError, match="Expected dissections of one model but got ours, theirs"):
        judge_layer({"ours": dissection, "theirs": other}, "1", sight)
    elsewhere = changed(dissection, probe={**dissection.manifest["probe"], "fingerprint": "another"})
    with pytest.raises(ValueError, match="Expected dissections of one probe but got random, the trained network"):
        judge_layer({"ours": dissection}, "1", sight, untrained={"random": elsewhere})
    stranger = changed(dissection, encoder="clip 2")
    with pytest.raises(ValueError, match=r"Expected dissections by one encoder but got clip 2, pixels: .*--evaluator"):
        own_evaluator([dissection, stranger])


def test_a_unit_that_one_method_does_not_describe_is_judged_for_none(dissection):
    short = dict(dissection.descriptions)
    short["1", 0] = replace(short["1", 0], candidates=())
    table = judge_layer(
        {"ours": dissection, "theirs": replace(dissection, descriptions=MappingProxyType(short))},
        "1",
        Sight(own_evaluator([dissection])),
    )
    assert 0 not in table.methods.units and len(table.methods.units) == 23
    assert table.methods.missing == {"ours": 0, "theirs": 1}
    leads = {lead.measure: lead for lead in table.leads}
    assert leads["r"].mean == leads["r"].low == leads["r"].high == 0  # the same labels


class Numbers:
    """A phrase is drawn as its place among the concepts, but for "kite", of which nothing is made."""

    identity = "numbers"

    def draw(self, phrase, count):
        return [] if phrase == "kite" else [CONCEPTS.names.index(phrase)] * 3


class Answering:
    """On picture number n unit n alone says something."""

    def values(self, pictures):
        return UnitValues(torch.nn.functional.one_hot(torch.tensor(pictures), UNITS).float() * 100)


def test_pictures_made_of_a_right_label_raise_its_unit_and_those_of_another_do_not(dissection):
    record = dissection.record("1")
    drawn = DrawnPictures(Numbers(), lambda layer: Answering(), lambda layer: record.unit_values("mean"))
    bench = bench_of(dissection, "1", (0, 1, 2), own_evaluator([dissection]), drawn=drawn.answers)
    labels = ("boat", "sun", "kite")  # right, another unit's, one that nothing is made of
    auc, mad = (MEASURES[name].of(bench.views["drawn"](labels)) for name in ("drawn AUC", "drawn MAD"))
    silent = float((bench.views["drawn"](labels).values[: bench.images, 1] > 0).double().mean())
    assert auc[:2].tolist() == pytest.approx([1.0, (1 - silent) / 2], abs=1e-6) and auc[2].isnan()
    assert mad[0] > 0 > mad[1] and mad[2].isnan()


def test_a_loser_on_a_made_picture_counts_as_on_the_probe():
    values, won = torch.tensor([[-2.0], [3.0], [0.0]]), torch.tensor([[True], [True], [False]])
    lost = worth_of_losing(values, won)
    assert prediction_targets(values, won)[2] == lost == -4.0
    assert prediction_targets(torch.tensor([[7.0], [0.0]]), torch.tensor([[True], [False]]), lost=lost)[1] == -4.0


def test_words_are_held_against_classes_by_what_knows_words(dissection):
    """Four classes, a unit each: a right label has cosine 1 with its class, whatever the picture encoder says."""
    axes = {name: torch.eye(8)[i] for i, name in enumerate(CONCEPTS.names)}

    def sentences(labels):
        return torch.stack([axes[label] for label in labels])

    labels = CONCEPTS.names[:4]
    classes = Classes(labels, torch.eye(4, 48), own=torch.arange(4), sentences=sentences)
    bench = bench_of(dissection, "1", range(4), own_evaluator([dissection]), classes=classes)
    said = ("boat", "sun", "sun", "kite")
    assert MEASURES["sentence"].of(bench.views["sentence"](said)).tolist() == [1.0, 0.0, 1.0, 0.0]
