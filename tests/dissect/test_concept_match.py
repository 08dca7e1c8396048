"""Names: the best concept, unless there is too little to go by."""

import pytest
import torch

from dissect import ConceptSet, LayerRecord, name_units
from dissect.describers.concept_matching import score_units

CONCEPTS = ConceptSet(("boat", "palm", "sun"))


def test_a_unit_gets_its_best_concept_and_the_next_ones():
    record = LayerRecord("act", {"mean": torch.rand(20, 2)})
    scores = torch.tensor([[0.1, 0.9, 0.5], [2.0, -1.0, 1.0]])
    first, second = name_units(record, scores, CONCEPTS, summary="mean", similarity="cosine")
    assert (first.description, second.description) == ("palm", "boat")
    assert [c.description for c in first.candidates] == ["palm", "sun", "boat"]
    assert first.similarity == pytest.approx(0.9) and first.candidates[0].method == "cosine"
    assert (first.layer, first.unit, second.unit) == ("act", 0, 1)
    assert first.win_rate is None and first.mean_when_winning is None


def test_a_unit_with_too_few_wins_stays_unnamed():
    won = torch.zeros(20, 3, dtype=torch.bool)
    won[:5, 0] = won[:4, 1] = True
    rate, value = won.float(), torch.where(won, -2.0, 0.0)
    record = LayerRecord("act", {"mean": value}, {"mean": won}, rate, value)
    units = name_units(record, torch.rand(3, 3), CONCEPTS, summary="mean", similarity="cosine")
    assert [unit.named for unit in units] == [True, False, False]
    assert [unit.support for unit in units] == [5, 4, 0]
    assert units[1].description == "" and units[1].similarity == 0 and units[1].candidates == ()
    assert units[0].win_rate == pytest.approx(0.25) and units[0].mean_when_winning == pytest.approx(-2)
    assert units[2].win_rate == 0 and units[2].mean_when_winning == 0
    few = name_units(record, torch.rand(3, 3), CONCEPTS, summary="mean", similarity="cosine", minimum_support=1)
    assert [unit.named for unit in few] == [True, True, False]


def test_the_mean_when_winning_weighs_every_position_alike():
    won = torch.tensor([[True], [True]])
    record = LayerRecord(
        "act", {"mean": torch.ones(2, 1)}, {"mean": won}, torch.tensor([[0.1], [0.9]]), torch.tensor([[10.0], [0.0]])
    )
    unit = name_units(record, torch.rand(1, 3), CONCEPTS, summary="mean", similarity="cosine")[0]
    assert unit.mean_when_winning == pytest.approx(1.0) and unit.win_rate == pytest.approx(0.5)


def test_winners_are_handed_to_the_similarity():
    """A unit that wins negatively on the boats and loses (0) elsewhere is about boats."""
    kind = torch.arange(60) % 3
    images = torch.eye(3)[kind]
    won = (kind == 0)[:, None]
    record = LayerRecord("act", {"mean": torch.where(won, -1.0, 0.0)}, {"mean": won}, won.float(), won.float())
    other = torch.randn(60, 4)
    layer = LayerRecord(
        "act",
        {"mean": torch.cat([record.summaries["mean"], other], 1)},
        {"mean": torch.cat([won, torch.ones(60, 4, dtype=torch.bool)], 1)},
    )
    scores = score_units(layer, images, torch.eye(3), summary="mean", similarity="soft_wpmi")
    assert scores[0].argmax() == 0


def test_an_unknown_similarity_offers_the_nearest():
    record = LayerRecord("act", {"mean": torch.rand(20, 2)})
    with pytest.raises(ValueError, match=r"Expected a similarity among .* but got 'cosin', did you mean 'cosine'"):
        score_units(record, torch.rand(20, 2), torch.rand(3, 2), summary="mean", similarity="cosin")


def test_embeddings_of_other_images_are_refused():
    record = LayerRecord("act", {"mean": torch.rand(20, 2)})
    with pytest.raises(ValueError, match="Expected embeddings of the 20 recorded images of layer 'act' but got 19"):
        score_units(record, torch.rand(19, 2), torch.rand(3, 2), summary="mean", similarity="cosine")


def test_scores_of_another_number_of_concepts_are_refused():
    record = LayerRecord("act", {"mean": torch.rand(20, 2)})
    with pytest.raises(ValueError, match="Expected scores of 3 concepts but got 2"):
        name_units(record, torch.rand(2, 2), CONCEPTS, summary="mean", similarity="cosine")
