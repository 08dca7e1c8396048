"""What every similarity promises, whatever its formula."""

import pytest
import torch
from torch.nn.functional import normalize

from dissect.similarity import DEFAULT_SIMILARITY, SIMILARITIES, WITH_PRIOR

N, K, M, D = 400, 6, 9, 32
every = pytest.mark.parametrize("similarity", SIMILARITIES.values(), ids=SIMILARITIES)


@pytest.fixture
def planted():
    """Unit k fires on the images of concept k, which lie near its embedding, the stronger the nearer."""
    generator = torch.Generator().manual_seed(1)
    concepts = normalize(torch.randn(M, D, generator=generator), dim=1)
    kind = torch.arange(N) % M
    strength = torch.rand(N, 1, generator=generator)
    noise = torch.randn(N, D, generator=generator) * 0.08
    images = normalize(concepts[kind] * (0.5 + strength) + noise, dim=1)
    seen = images @ concepts.T
    activations = torch.where(kind[:, None] == torch.arange(K), seen[:, :K], 0.0)
    return activations, images, concepts


@pytest.fixture
def competing(planted):
    """Losers hold 0, and every winner is negative."""
    activations, images, concepts = planted
    won = activations > 0
    return torch.where(won, activations - 2, 0.0), images, concepts, won


def test_the_default_is_one_of_them():
    assert DEFAULT_SIMILARITY in SIMILARITIES and SIMILARITIES.keys() >= WITH_PRIOR.keys()


@every
def test_scores_have_a_row_a_unit_and_are_numbers(similarity, planted):
    scores = similarity(*planted)
    assert scores.shape == (K, M) and scores.dtype == torch.float32 and scores.isfinite().all()


@every
def test_planted_concepts_are_found(similarity, planted):
    assert similarity(*planted).argmax(1).tolist() == list(range(K))


@pytest.mark.parametrize("name", sorted(SIMILARITIES.keys() - {"cosine", "cosine_cubed"}))
def test_planted_concepts_are_found_when_every_winner_is_negative(name, competing):
    """Not by the cosines, which follow the sign: there a negative winner says no to its concept."""
    activations, images, concepts, won = competing
    assert SIMILARITIES[name](activations, images, concepts, won=won).argmax(1).tolist() == list(range(K))


@every
def test_the_order_of_the_images_does_not_matter(similarity, planted):
    activations, images, concepts = planted
    shuffle = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        similarity(activations[shuffle] + 0, images[shuffle], concepts), similarity(*planted), rtol=1e-3, atol=1e-4
    )


@every
def test_shuffled_units_shuffle_the_rows(similarity, planted):
    activations, images, concepts = planted
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    torch.testing.assert_close(
        similarity(activations[:, order], images, concepts), similarity(*planted)[order], rtol=1e-4, atol=1e-4
    )


@every
def test_inputs_stay_as_they_are(similarity, planted):
    before = [tensor.clone() for tensor in planted]
    similarity(*planted)
    assert all(torch.equal(old, new) for old, new in zip(before, planted, strict=True))


@every
def test_a_known_score_matrix_goes_in_with_an_identity(similarity, planted):
    """`claims` regresses on what it is given, embeddings or scores: the names are the same, not the numbers."""
    activations, images, concepts = planted
    found, expected = similarity(activations, images @ concepts.T, torch.eye(M)), similarity(*planted)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    if similarity.__name__ != "claims":
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@every
@pytest.mark.parametrize("value", [0.0, 3.0, -1.0])
def test_a_constant_unit_gets_zeros(similarity, planted, value):
    activations, images, concepts = planted
    activations = activations.clone()
    activations[:, 2] = value
    scores = similarity(activations, images, concepts)
    assert scores.isfinite().all() and not scores[2].any() and scores[1].any()


@every
def test_a_unit_that_never_won_gets_zeros(similarity, planted):
    activations, images, concepts = planted
    won = activations > 0
    won[:, 4] = False
    scores = similarity(activations, images, concepts, won=won)
    assert scores.isfinite().all() and not scores[4].any() and scores[3].any()


@every
def test_a_layer_without_any_support_gets_zeros(similarity, planted):
    activations, images, concepts = planted
    scores = similarity(torch.zeros_like(activations), images, concepts)
    assert not scores.any()


@every
def test_losers_do_not_count(similarity, planted):
    activations, images, concepts = planted
    won = activations > 0
    loud = torch.where(won, activations, 99.0)
    torch.testing.assert_close(
        similarity(loud, images, concepts, won=won), similarity(activations, images, concepts, won=won)
    )


@every
@pytest.mark.parametrize("images_left", [1, 2, 7])
def test_few_images_are_enough_for_a_number(similarity, planted, images_left):
    activations, images, concepts = planted
    assert similarity(activations[:images_left], images[:images_left], concepts).isfinite().all()


@every
def test_negative_cosines_break_nothing(similarity, planted):
    """Encoders like SigLIP put every cosine below zero."""
    activations, images, concepts = planted
    scores = similarity(activations, images @ concepts.T - 1.5, torch.eye(M))
    assert scores.isfinite().all()
    if similarity.__name__ != "cosine":  # not centred, by definition
        assert scores.argmax(1).tolist() == list(range(K))


@every
def test_halves_are_as_good_as_floats(similarity, planted):
    activations, images, concepts = planted
    assert similarity(activations.half(), images, concepts).argmax(1).tolist() == list(range(K))


@every
def test_chunks_of_concepts_change_nothing(similarity, planted, monkeypatch):
    from dissect.similarity import support

    whole = similarity(*planted)
    monkeypatch.setattr(support.chunks, "__kwdefaults__", {"budget": 4 * N})
    torch.testing.assert_close(similarity(*planted), whole, rtol=1e-4, atol=1e-4)


@every
def test_ties_and_constant_columns_give_numbers(similarity, planted):
    """Images that are the same, values that are the same, a concept that says the same of all."""
    activations, images, concepts = planted
    same = torch.arange(N) // 8 * 8
    scores = (images @ concepts.T)[same]
    scores[:, 3] = 0.0
    found = similarity(activations[same].round(decimals=1), scores, torch.eye(M))
    assert found.isfinite().all() and found[0].argmax() == 0


@pytest.mark.gpu
@every
@pytest.mark.parametrize("competition", [False, True])
def test_an_accelerator_gives_the_same(similarity, planted, competition):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    won = planted[0] > 0 if competition else None
    there = similarity(*(tensor.cuda() for tensor in planted), won=None if won is None else won.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), similarity(*planted, won=won), rtol=1e-4, atol=1e-4)
