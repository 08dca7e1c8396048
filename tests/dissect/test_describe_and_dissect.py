"""Describe-and-Dissect: its steps on planted units, its scores by hand, and that a killed run goes on."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from coloured_world import COLOURS, Colours, picture, redness_and_others
from torch import nn

from dissect import ConceptSet, DescribeOptions, describe, open_probe
from dissect.backends.answers import AnswerStore, RememberedModel
from dissect.backends.budget import CallBudget
from dissect.backends.endpoint import BackendError
from dissect.backends.word_statistics import WordStatistics
from dissect.describers import describe_and_dissect
from dissect.describers.describe_and_dissect import CODED_PIXELS, DescribeAndDissect, tidy
from dissect.describers.rank_scores import SCORINGS, image_products, joint_ranks, label_scores, top_squares
from dissect.recording.summaries import SUMMARIES


@pytest.fixture
def run(tmp_path, to_tensor):
    """Three units, the first of which is redness: described by DnD with a language model."""
    (tmp_path / "probe").mkdir()
    for i in range(60):
        picture(list(COLOURS)[i % 3], i).save(tmp_path / "probe" / f"{i:02d}.png")
    model = redness_and_others()

    def call(language_model, world=None, **options):
        world = world or Colours()
        describer = DescribeAndDissect(world, language_model, world, **options)
        given = DescribeOptions(layers=["1"], transform=to_tensor, describers=[describer])
        concepts = ConceptSet(("red", "green", "blue"), source="words")
        return describe(model, open_probe(tmp_path / "probe"), concepts, world, tmp_path / "out", given)

    return call


def method_of(options):
    return "dnd-coded" if options.get("coded") else "dnd"


class Watching(Colours):
    """Remembers the sizes of what it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = set()

    def preprocess(self, image):
        self.shown.add(image.size)
        return super().preprocess(image)


@pytest.mark.parametrize("options", [{"scoring": scoring} for scoring in SCORINGS] + [{"coded": True}], ids=str)
def test_planted_units_get_their_labels_and_scores(run, options, monkeypatch):
    monkeypatch.setattr(describe_and_dissect, "CODED_SIDE", 20)  # 375 takes seconds
    world = Watching()
    dissection = run(WordStatistics(), world, **options)
    assert ({(20, 20), (CODED_PIXELS, CODED_PIXELS)} <= world.shown) == (method_of(options) == "dnd-coded")
    method = method_of(options)
    for unit, colour in enumerate(COLOURS):
        candidates = dissection.description("1", unit).candidates
        assert colour in candidates[0].description and {c.method for c in candidates} == {method}
        assert 1 <= len(candidates) <= 3 and [c.similarity for c in candidates] == sorted(
            (c.similarity for c in candidates), reverse=True
        )
    assert len(world.captioned) == 30, "ten pictures a unit"
    assert any(np.array(one)[4:12, 4:12].min(2).max() > 10 for one in world.captioned), "some are crops of the squares"


@dataclass(frozen=True)
class SaysItsSummary:
    """In the place of a layer's reader."""

    summary: str

    def values(self, pictures):
        return SimpleNamespace(values=torch.tensor([[float(SUMMARIES.index(self.summary))]]), won=None)


@pytest.mark.parametrize(
    ("summary", "asked"), [("max", "mean"), ("quantile", "mean"), ("mean", "mean"), ("cls", "cls")]
)
def test_as_coded_made_pictures_are_ranked_by_the_mean(summary, asked):
    probed = SimpleNamespace(summary=summary, reader=SaysItsSummary(summary))
    world = Colours()
    for coded, expected in ((True, asked), (False, summary)):
        said = DescribeAndDissect(world, WordStatistics(), world, coded=coded)._values(probed, [])
        assert SUMMARIES[int(said)] == expected


def test_labels_without_pictures_are_left_out(run):
    class Wordy:
        identity = "wordy"

        def answer(self, request, *, temperature=0.0, draw=0):
            return ["Label: 'Red things.'", "justice", "red, square", "", "graphic"][draw] if temperature else "x"

    described = run(Wordy()).description("1", 0)
    assert [c.description for c in described.candidates] == ["red things", "red, square"]


def test_as_coded_commas_are_summed_up_again_and_designs_have_a_background():
    """Without the examples, and without the clause about quotation marks; "redesign" is no design."""
    asked = []

    class Listing:
        identity = "listing"

        def answer(self, request, *, temperature=0.0, draw=0):
            asked.append(request)
            if not temperature or not request.examples:
                return "stripes"
            return ["red, blue", "a red design", "a redesign", "a, b", "dots"][draw]

    def labels(coded):
        asked.clear()
        return DescribeAndDissect(Colours(), Listing(), Colours(), coded=coded)._summed_up(0, ["one"])

    assert labels(coded=True) == ["stripes", "a red design", "a redesign", "dots", "a red design background"]
    again = [request for request in asked if request.texts in (("red", "blue"), ("a", "b"))]
    assert len(again) == 2 and all("quotation" not in request.instruction for request in again)
    assert labels(coded=False) == ["red, blue", "a red design", "a redesign", "a, b", "dots"] and len(asked) == 6
    assert all("quotation" in request.instruction for request in asked)


def test_a_killed_run_goes_on_where_it_stopped(run, tmp_path):
    class Failing(WordStatistics):
        calls, most = 0, 10

        def answer(self, request, *, temperature=0.0, draw=0):
            type(self).calls += 1
            if self.calls > self.most:
                raise BackendError("gone")
            return super().answer(request, temperature=temperature, draw=draw)

    store = AnswerStore(tmp_path / "out" / "answers")
    with pytest.raises(BackendError, match="gone"):
        run(RememberedModel(Failing(), store))
    stopped = Failing.calls
    Failing.most = 1000
    run(RememberedModel(Failing(), store))
    first = Failing.calls - stopped
    whole = len(list((tmp_path / "out" / "answers").rglob("*.json")))
    assert first == whole - 10, "what was answered is not asked again"


def test_a_killed_run_goes_on_behind_its_last_unit(run):
    """Nothing of a finished unit is captioned, drawn or shown to the network again; another model is asked anew."""

    class Dying(Colours):
        drawn = 0

        def draw(self, phrase, count):
            if phrase == "blue square":
                raise KeyboardInterrupt
            self.drawn += 1
            return super().draw(phrase, count)

    with pytest.raises(KeyboardInterrupt):
        run(WordStatistics(), Dying())
    again, other = Colours(), Colours()
    candidates = run(WordStatistics(), again).description("1", 0).candidates
    assert len(again.captioned) == 10 and "red" in candidates[0].description, "one of three units was left"
    run(WordStatistics("another model"), other)
    assert len(other.captioned) == 30


def test_precomputed_embeddings_are_refused(run):
    class Blind(Colours):
        preprocess = encode_batch = property(lambda self: (_ for _ in ()).throw(AttributeError("no pixels")))

        def encode_images(self, probe):
            return nn.functional.normalize(torch.rand(len(probe), 19), dim=1)

    with pytest.raises(ValueError, match="Expected an encoder that sees pictures for dnd"):
        run(WordStatistics(), Blind())


def test_scores_by_hand():
    ranks = [torch.tensor([0, 1, 2, 3, 4, 30]), torch.tensor([5, 6, 7, 8, 9, 10])]
    assert top_squares(ranks[0]) == 6 and top_squares(ranks[1]) == pytest.approx(51)
    assert label_scores(ranks, [0.2, 0.5], scoring="mean") == pytest.approx([-40 / 6, -7.5])
    assert label_scores(ranks, [0.2, 0.5], scoring="topk-sq-mean") == pytest.approx([-6, -51])
    assert label_scores(ranks, [0.2, 0.5], scoring="image-products") == [0.2, 0.5]
    assert label_scores(ranks, [0.2, 0.5]) == pytest.approx([2 * 0.2, 1 * 0.5])
    with pytest.raises(ValueError, match=r"Expected a scoring among mean, .* but got 'median'"):
        label_scores(ranks, [0.2, 0.5], scoring="median")


def test_only_made_pictures_among_the_first_ten_are_compared():
    own, made = torch.eye(3)[:2], torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    assert image_products(own, made, torch.tensor([0, 10, 9])) == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert image_products(own, made, torch.tensor([10, 11, 12])) == -1


def test_ranks_are_joint_and_losers_come_last():
    values = [random.Random(0).random() for _ in range(20)] + [-float("inf")] * 2
    ranks = joint_ranks(torch.tensor(values)).tolist()
    assert sorted(ranks) == list(range(22)) and ranks[-2:] == [20, 21]
    assert [values[i] for i in np.argsort(ranks)] == sorted(values, reverse=True)


def test_answers_are_tidied():
    assert [tidy(answer) for answer in ('"Red boats."', "Label: *blue*", "a: b: c", "")] == [
        "red boats",
        "blue",
        "b: c",
        "",
    ]


def test_with_few_calls_the_first_units_are_described_and_the_next_run_goes_on(run, tmp_path):
    """Three units cost ten simplifications and five summaries each, less what was asked before."""
    whole = run(WordStatistics())
    names = [whole.description("1", unit).candidates for unit in range(3)]

    def described(most, folder):
        (tmp_path / "out").rename(tmp_path / folder) if folder else None
        return run(RememberedModel(Counted(), AnswerStore(tmp_path / "answers", CallBudget(most))))

    class Counted(WordStatistics):
        asked: ClassVar = []

        def answer(self, request, **options):
            self.asked.append(request)
            return super().answer(request, **options)

    some = described(9, "whole")
    assert len(Counted.asked) == 9 and some.manifest["key"] == ""
    found = [some.description("1", unit).candidates for unit in range(3)]
    left = sum(not of for of in found)
    assert 0 < left < 3 and found == [*names[: 3 - left], *[()] * left], "in the order of the units"
    told = f"1: dnd has nothing yet of {left} units, as the calls are used up (--max_calls); the same command goes on"
    assert told in some.manifest["warnings"]
    on = described(None, "")
    assert [on.description("1", unit).candidates for unit in range(3)] == names
    assert not on.manifest["warnings"] or told not in on.manifest["warnings"]
