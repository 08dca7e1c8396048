"""Names: the best concept, unless there is too little to go by; the one that is written is the one that was judged."""

import pytest
import torch
from torch.nn.functional import normalize

from dissect import LayerRecord, Naming, Space, name_units, name_verified, score_units
from dissect.naming.halves import halve
from dissect.naming.predictability import correlation, prediction_targets

COSINE = Naming("cosine")


@pytest.fixture
def space():
    """20 images among three concepts."""
    return Space(torch.rand(20, 3), torch.eye(3), ("boat", "palm", "sun"))


def test_a_unit_gets_its_best_concept_and_the_next_ones(space):
    follows = space.image_embeddings.argmax(1)[:, None] == torch.tensor([1, 0])
    record = LayerRecord("act", {"mean": follows.float()})
    first, second = name_units(record, "mean", space, COSINE)
    scores = score_units(record, "mean", space, COSINE)
    assert (first.description, second.description) == ("palm", "boat")
    assert [c.description for c in first.candidates] == [space.names[i] for i in scores[0].argsort(descending=True)]
    assert first.similarity == scores[0, 1] and first.candidates[0].method == "clip-dissect"
    assert (first.layer, first.unit, second.unit) == ("act", 0, 1)
    assert first.win_rate is None and first.mean_when_winning is None and first.outcome == "named"


def test_a_unit_with_too_few_wins_stays_unnamed(space):
    won = torch.zeros(20, 3, dtype=torch.bool)
    won[:3, 0] = won[:2, 1] = True
    rate, value = won.float(), torch.where(won, -2.0, 0.0)
    record = LayerRecord("act", {"mean": value}, {"mean": won}, rate, value)
    units = name_units(record, "mean", space, COSINE)
    assert [unit.named for unit in units] == [True, False, False]
    assert [unit.support for unit in units] == [3, 2, 0]
    assert units[1].description == "" and units[1].similarity == 0 and units[1].candidates == ()
    assert units[0].win_rate == pytest.approx(0.15) and units[0].mean_when_winning == pytest.approx(-2)
    assert units[2].win_rate == 0 and units[2].mean_when_winning == 0


def test_the_mean_when_winning_weighs_every_position_alike(space):
    won = torch.tensor([[True]] * 20)
    rate, value = torch.tensor([[0.1], [0.9]] * 10), torch.tensor([[10.0], [0.0]] * 10)
    record = LayerRecord("act", {"mean": torch.ones(20, 1)}, {"mean": won}, rate, value)
    unit = name_units(record, "mean", space, COSINE)[0]
    assert unit.mean_when_winning == pytest.approx(1.0) and unit.win_rate == pytest.approx(0.5)


def test_winners_are_handed_to_the_similarity():
    """A unit that wins negatively on the boats and loses (0) elsewhere is about boats."""
    kind = torch.arange(60) % 3
    won = torch.cat([(kind == 0)[:, None], torch.ones(60, 4, dtype=torch.bool)], 1)
    values = torch.cat([torch.where(kind == 0, -1.0, 0.0)[:, None], torch.randn(60, 4)], 1)
    space = Space(torch.eye(3)[kind], torch.eye(3), ("boat", "palm", "sun"))
    scores = score_units(LayerRecord("act", {"mean": values}, {"mean": won}), "mean", space, Naming("soft_wpmi"))
    assert scores[0].argmax() == 0


def test_a_slip_is_told():
    with pytest.raises(ValueError, match=r"Expected a similarity among .* but got 'cosin', did you mean 'cosine'"):
        Naming("cosin")
    with pytest.raises(ValueError, match=r"Expected least_r, a correlation, from 0 to below 1 but got 1.5"):
        Naming(least_r=1.5)


def test_embeddings_of_other_images_are_refused(space):
    record = LayerRecord("act", {"mean": torch.rand(19, 2)})
    with pytest.raises(ValueError, match="Expected embeddings of the 19 recorded images of layer 'act' but got 20"):
        score_units(record, "mean", space)


@pytest.fixture
def layer():
    """300 images, 60 concepts; units 0 to 3 follow the first concepts, more and less, the next four are noise."""
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(300, 24, generator=generator) + 1, dim=1)
    concepts = normalize(torch.randn(60, 24, generator=generator), dim=1)
    noise = torch.randn(300, 8, generator=generator)
    scores = normalize(images - images.mean(0), dim=1) @ concepts[:8].T
    values = scores * torch.tensor([20.0, 20.0, 5.0, 3.0, 0, 0, 0, 0]) + noise
    return values, Space(images, concepts, tuple(f"concept-{i}-x" for i in range(60)))


def test_a_unit_that_speaks_on_one_half_alone_is_not_described(layer):
    """Else its scores are all 0, and the first concept of the list would be chosen and judged."""
    values, space = layer
    halves = halve(space.image_embeddings)
    won = torch.rand(300, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    won[halves.choosing, 1] = won[halves.judging, 2] = False
    won[halves.judging[:2], 2] = True
    record = LayerRecord("act", {"mean": torch.where(won, values, 0.0)}, {"mean": won})
    described, _ = name_verified(record, "mean", space, halves)
    assert [unit.outcome for unit in described[1:3]] == ["too few images"] * 2
    assert described[1].candidates == () and all(unit.evidence for unit in described if unit.unit not in (1, 2))


@pytest.mark.parametrize("distinct", [1, 2, 3])
@pytest.mark.parametrize("copies", [1, 8])
def test_hardly_any_pictures_are_no_ground_for_a_name_however_often_they_are_there(distinct, copies):
    images = torch.randn(distinct, 24).repeat(copies, 1)
    space = Space(
        normalize(images, dim=1), normalize(torch.randn(30, 24), dim=1), tuple(f"concept-{i}-x" for i in range(30))
    )
    record = LayerRecord("act", {"mean": images[:, :6].clone()})
    described, _ = name_verified(record, "mean", space, halve(space.image_embeddings))
    assert len(described) == 6 and not any(unit.named for unit in described)


def test_the_name_that_is_written_is_the_one_that_was_judged(layer):
    values, space = layer
    halves = halve(space.image_embeddings)
    targets = halves.judged(prediction_targets(values, None))
    scores = halves.judged(space.image_embeddings) @ space.concept_embeddings.double().T
    described, _ = name_verified(LayerRecord("act", {"mean": values}), "mean", space, halves)
    for unit in described:
        own = space.names.index(unit.candidates[0].description)
        r = correlation(targets[:, [unit.unit]], scores[:, [own]]).item()
        assert unit.evidence.predictability == pytest.approx(r)
        assert unit.description in ("", unit.candidates[0].description)


def test_a_name_below_the_least_r_is_weak(layer):
    values, space = layer
    halves, record = halve(space.image_embeddings), LayerRecord("act", {"mean": values})
    free, _ = name_verified(record, "mean", space, halves, Naming(least_r=0.0))
    strict, _ = name_verified(record, "mean", space, halves, Naming(least_r=0.6))
    for one, other in zip(free, strict, strict=True):
        assert other.named == (one.named and one.evidence.predictability >= 0.6)
        assert other.outcome == ("weak" if one.named and not other.named else one.outcome)
    assert {"named", "weak", "chance"} <= {unit.outcome for unit in strict}


@pytest.mark.parametrize("similarity", ["claims", "soft_wpmi", "rank_reorder", "cosine_cubed"])
def test_names_do_not_depend_on_how_the_pictures_are_sorted(layer, similarity):
    """To the last bit, near-duplicates and ties included."""
    values, space = layer
    values, images = values.round().repeat(2, 1), space.image_embeddings.repeat(2, 1)
    images[300:] += 0.001 * torch.randn(300, 24, generator=torch.Generator().manual_seed(2))
    found = []
    for order in (torch.arange(600), torch.randperm(600, generator=torch.Generator().manual_seed(3))):
        here = Space(images[order], space.concept_embeddings, space.names)
        record = LayerRecord("act", {"mean": values[order]})
        halves = halve(here.image_embeddings)
        assert set(order[halves.choosing].tolist()) | set(order[halves.judging].tolist()) == set(range(600))
        found.append(name_verified(record, "mean", here, halves, Naming(similarity))[0])
    assert found[0] == found[1] and any(unit.named for unit in found[0])
