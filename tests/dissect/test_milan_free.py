"""MILAN without training: what a captioner finds likely in view of a unit's exemplars, and not anyway."""

import pytest
import torch
from coloured_world import COLOURS, Colours, picture, redness_and_others

from dissect import ConceptSet, DescribeOptions, Tools, describe, load_describers, open_probe
from dissect.backends.answers import AnswerStore
from dissect.backends.loading import Backends
from dissect.describers.milan_free import MilanFree
from dissect.milan.decoder import Decoder, Prior
from dissect.milan.saving import save_milan
from dissect.milan.training import Trained
from dissect.milan.words import Words


class Speaking(Colours):
    """Says "a COLOUR square on a dark ground", finds the right colour likely, and "dark ground" in everything."""

    def log_likelihoods(self, pictures, phrases):
        rows = []
        for one in pictures:
            mean = torch.tensor(one.resize((1, 1)).getpixel((0, 0))).float()
            right = list(COLOURS)[int(mean.argmax())]
            blank = float(mean.max() - mean.min()) < 20
            rows.append([-3.0 if "dark" in p else -5.0 if blank or right not in p else -1.0 for p in phrases])
        return torch.tensor(rows) * torch.tensor([len(p.split()) + 1.0 for p in phrases])


class SquaresAreLikely:
    identity = "prior"

    def log_probabilities(self, phrases):
        return torch.tensor([0.0 if "square" in phrase else -50.0 for phrase in phrases])


@pytest.fixture
def run(tmp_path, to_tensor):
    (tmp_path / "probe").mkdir()
    for i in range(60):
        picture(list(COLOURS)[i % 3], i).save(tmp_path / "probe" / f"{i:02d}.png")

    def call(describer):
        options = DescribeOptions(layers=["1"], summary="max", transform=to_tensor, describers=[describer])
        concepts = ConceptSet(tuple(COLOURS), source="words")
        return describe(
            redness_and_others(), open_probe(tmp_path / "probe"), concepts, Colours(), tmp_path / "out", options
        )

    return call


def test_units_get_the_phrase_that_their_exemplars_make_likely_and_a_blank_picture_does_not(run):
    world = Speaking()
    dissection = run(MilanFree(world, world))
    for unit, colour in enumerate(COLOURS):
        candidates = dissection.description("1", unit).candidates
        assert candidates[0].description == f"{colour} square" and candidates[0].method == "milan-free"
        assert -2.4 < candidates[0].similarity <= 0, "a word: -1 in view of it, -5 of a blank one"
        scores = {one.description: one.similarity for one in candidates}
        assert scores["dark ground"] == pytest.approx(-3 + 0.2 * 3), "as likely anyway"


def test_a_language_models_prior_is_taken_off(run):
    world = Speaking()
    candidates = run(MilanFree(world, world, SquaresAreLikely())).description("1", 0).candidates
    assert "square" not in candidates[0].description and candidates[0].similarity > 0


def test_the_prior_may_be_that_of_a_taught_milan(tmp_path):
    """A number for each phrase: of its words and its end, as the LSTM says them one after the other."""
    torch.manual_seed(0)
    words = Words.of(["red square", "a square"])
    trained = Trained(words, Decoder(len(words.known), 4, 8).eval(), Prior(len(words.known), 8).eval(), (1.0,), (1.0,))
    save_milan(tmp_path / "milan", trained, "any")
    concepts = ConceptSet(tuple(COLOURS), source="words")
    backends = Backends("bundled", "words", "", AnswerStore(tmp_path), Colours(), concepts, open_probe)
    (found,) = load_describers("milan-free", Tools(backends=backends, milan=tmp_path / "milan"))
    likely = found.prior.log_probabilities(["red square", "unheard", ""])
    with torch.no_grad():
        by_hand = trained.prior(words.encode(["red square"]))[0, :3].sum()
    assert likely.shape == (3,) and (likely < 0).all() and torch.allclose(likely[0], by_hand)
    assert found.prior.identity in str(found.options)


def test_a_captioner_or_model_that_only_speaks_is_refused(tmp_path):
    def tools(captioner, language_model="words"):
        concepts = ConceptSet(tuple(COLOURS), source="words")
        store = AnswerStore(tmp_path)
        return Tools(backends=Backends(captioner, language_model, "", store, Colours(), concepts, open_probe))

    with pytest.raises(ValueError, match=r"Expected a captioner for milan-free .* but got --captioner concepts"):
        load_describers("milan-free", tools("concepts"))
    with pytest.raises(ValueError, match=r"Expected a language model for milan-free .* got --language_model http"):
        load_describers("milan-free", tools("bundled", "http://127.0.0.1:9/v1#m"))
    (found,) = load_describers("milan-free", tools("bundled"))
    assert found.prior is None and "bundled captioner" in found.likelihood.identity
