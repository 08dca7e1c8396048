"""Our describer: the fit against brute force, planted meanings, rivals told apart, pictures that must raise."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from competition_layers import Competition, Groups, StochasticLWTA
from dissect.describers import fitting
from dissect.describers.describer import Probed, Proposals
from dissect.describers.fitting import Fitting
from dissect.describers.sparse_fit import raised, sparse_fit
from dissect.encoders.concepts import ConceptSet
from dissect.encoders.space import Space
from dissect.naming.description import Candidate
from dissect.naming.halves import Halves
from dissect.naming.predictability import best_predictors
from dissect.recording.layer_record import LayerRecord
from dissect.recording.unit_values import UnitValues

IMAGES, DIM, CONCEPTS = 400, 16, 12
NAMES = tuple(f"word {i}" for i in range(CONCEPTS))


@pytest.fixture
def space():
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(IMAGES, DIM, generator=generator), dim=1)
    return Space(images, torch.eye(DIM)[:CONCEPTS], NAMES)


def standard(columns):
    centred = columns - columns.mean(0)
    return centred / centred.norm(dim=0)


def test_two_terms_explain_what_the_best_non_negative_pair_does(space):
    """Nearly orthogonal concepts: the greedy pair is the best of all pairs, fitted by least squares over w >= 0."""
    scores = standard((space.image_embeddings @ space.concept_embeddings.T).double())
    noise = torch.randn(IMAGES, 1, generator=torch.Generator().manual_seed(1)).double()
    y = standard(0.7 * scores[:, [3]] + 0.5 * scores[:, [8]] - 0.4 * scores[:, [5]] + 0.02 * noise)
    fit = sparse_fit(y, space.image_embeddings, space.concept_embeddings, terms=2)

    def explained(pair):
        x = scores[:, list(pair)]
        weights = torch.linalg.lstsq(x, y).solution
        return float(1 - (y - x @ weights).square().sum()) if (weights >= 0).all() else -1.0

    best = max(itertools.combinations(range(CONCEPTS), 2), key=explained)
    assert set(fit.concepts[0].tolist()) == set(best) == {3, 8} and fit.concepts[0, 0] == 3
    assert fit.explained.item() == pytest.approx(explained(best), abs=1e-6)
    assert (fit.weights > 0).all()


def test_noise_adds_no_meanings_and_a_silent_unit_has_none(space):
    y = torch.randn(IMAGES, 300, generator=torch.Generator().manual_seed(2))
    fit = sparse_fit(torch.cat([y, torch.zeros(IMAGES, 1)], 1), space.image_embeddings, space.concept_embeddings)
    assert (fit.weights[:300, 1:] > 0).any(1).double().mean() < 0.2
    assert not fit.weights[300].any() and fit.explained[300] == 0


def test_raised_is_welch_s_test_of_means():
    generator = torch.Generator().manual_seed(3)
    carry = (torch.arange(60) < 12)[:, None].expand(-1, 400)
    noise = torch.randn(60, 400, generator=generator)
    assert 0.02 < raised(noise, carry).double().mean() < 0.09  # 5 %
    assert raised(noise + 2.0 * carry, carry).double().mean() > 0.99
    assert not raised(torch.ones(60, 400), carry).any()
    assert not raised(noise, torch.zeros(60, 400, dtype=torch.bool)).any()


class Reader:
    """What a made picture says: unit u answers to pictures whose number is u."""

    def __init__(self, model):
        self.model = model

    def values(self, pictures):
        return UnitValues(torch.tensor([[float(picture == unit) for unit in range(4)] for picture in pictures]))


class Maker:
    """Pictures of "word n" are the number n; nothing is made of word 2."""

    identity = "numbers"

    def draw(self, phrase, count):
        number = int(phrase.split()[1])
        return [] if number == 2 else [number] * count


def probed(space, values, *, won=None, model=None):
    record = LayerRecord("layer", {"mean": values}, None if won is None else {"mean": won})
    places = torch.arange(IMAGES)
    halves = Halves(places[::2], places[1::2], places)
    reader = Reader(model or nn.Identity())
    return Probed(record, "mean", None, space, halves, None, None, reader)


def test_a_unit_of_two_meanings_gets_both_the_stronger_first(space):
    scores = space.image_embeddings @ space.concept_embeddings.T
    values = torch.stack([scores[:, 0], 0.8 * scores[:, 1] + 0.5 * scores[:, 6], scores[:, 2], scores[:, 3]], 1)
    found = Fitting().propose(probed(space, values))
    names = [[candidate.description for candidate in of] for of in found.candidates]
    assert names == [["word 0"], ["word 1", "word 6"], ["word 2"], ["word 3"]]
    weights = [candidate.similarity for candidate in found.candidates[1]]
    assert weights[0] > weights[1] > 0 and {c.method for of in found.candidates for c in of} == {"lwta"}


def test_a_meaning_that_made_pictures_do_not_raise_goes(space, monkeypatch):
    """Unit 3 follows word 5, but no picture of word 5 raises it; of word 2 none is made: images that score high say."""
    scores = space.image_embeddings @ space.concept_embeddings.T
    given = probed(space, scores[:, [0, 1, 2, 5]])
    found = Fitting(Maker()).propose(given)
    assert [[c.description for c in of] for of in found.candidates] == [["word 0"], ["word 1"], ["word 2"], []]
    monkeypatch.setattr(fitting, "_by_retrieval", lambda targets, images, space, fit: fit.weights < 0)
    found = Fitting(Maker()).propose(given)
    assert [[c.description for c in of] for of in found.candidates] == [["word 0"], ["word 1"], [], []]


def test_what_a_describer_before_it_said_is_a_candidate_too(space):
    """Unit 0 follows a phrase of no list, which another found; phrases that the encoder does not read are left out."""
    phrase = normalize(torch.ones(DIM), dim=0)

    class Reads:
        def known(self, concepts):
            read = replace(concepts, names=("coined",), lines=("coined",))
            return read, len(concepts) - len(read)

        def encode_texts(self, concepts):
            return phrase.expand(len(concepts), -1)

    values = torch.stack(
        [space.image_embeddings @ phrase, *(space.image_embeddings @ torch.eye(DIM)[:, :3]).unbind(1)], 1
    )
    said = Proposals([tuple(Candidate(text, 1.0, "other") for text in ("coined", "unread", "word 1"))] + [()] * 3)
    concepts = ConceptSet(NAMES, source="words")
    given = replace(probed(space, values), earlier={"other": said}, encoder=Reads(), concepts=concepts)
    names = [of[0].description for of in Fitting().propose(given).candidates]
    assert names == ["coined", "word 0", "word 1", "word 2"]
    assert Fitting().propose(probed(space, values)).candidates[0][0].description != "coined"


def test_where_units_compete_the_name_tells_them_from_their_rivals(space):
    """Units of one group share word 0; what each has of its own is what tells who wins."""
    scores = standard(space.image_embeddings @ space.concept_embeddings.T)
    own = torch.stack([scores[:, 1], scores[:, 2], scores[:, 3], scores[:, 4]], 1)
    values = scores[:, [0]] * 1.15 + own
    layer = StochasticLWTA(4, channel_dim=-1, competition=Competition())
    model = nn.ModuleDict({"layer": layer})
    won = torch.ones_like(values, dtype=torch.bool)
    alone = Fitting().propose(probed(space, values, won=won))
    assert {of[0].description for of in alone.candidates} == {"word 0"}
    assert layer.groups == Groups(4, channel_dim=-1)
    rivals = Fitting().propose(probed(space, values, won=won, model=model))
    assert [of[0].description for of in rivals.candidates] == ["word 1", "word 2", "word 3", "word 4"]


def test_classes_get_names_of_their_own_where_correlation_gives_two_the_same(space):
    """Unit 1 follows word 0 a little more than its own word 1: as one of the network's classes it is called that."""
    scores = standard(space.image_embeddings @ space.concept_embeddings.T)
    values = torch.stack([scores[:, 0], 1.02 * scores[:, 0] + scores[:, 1], scores[:, 2], scores[:, 3]], 1)
    hidden, classes = nn.Identity(), nn.Identity()
    classes.label_names = ("a", "b", "c", "d")
    named = [Fitting().propose(probed(space, values, model=model)).candidates for model in (hidden, classes)]
    assert [[of[0].description for of in names] for names in named] == [
        ["word 0", "word 0", "word 2", "word 3"],
        ["word 0", "word 1", "word 2", "word 3"],
    ]


def test_a_concept_that_follows_no_unit_follows_one_by_luck():
    """40 units carry one of two concepts weakly among 62 that none carries."""
    generator = torch.Generator().manual_seed(5)
    images, concepts = torch.randn(60, 64, generator=generator), torch.eye(64)
    noise = torch.randn(60, 40, generator=generator)
    targets = 0.5 * images[:, torch.arange(40) % 2] + noise
    right = [
        (best_predictors(targets, images, concepts, shrunk=s) == torch.arange(40) % 2).sum() for s in (True, False)
    ]
    assert right[0] >= 38 > 36 > right[1]
