"""Each similarity against a naive double loop over its published formula."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from dissect.similarity import (
    cosine,
    cosine_cubed,
    jensen_shannon,
    rank_reorder,
    scores_and_prior,
    soft_wpmi,
    wpmi,
)
from dissect.similarity.sorting import sort_rows

N, K, M, D = 60, 4, 7, 5


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(N, D, generator=generator), dim=1)
    concepts = normalize(torch.randn(M, D, generator=generator), dim=1)
    return torch.randn(N, K, generator=generator), images, concepts


@pytest.fixture
def won():
    """Unit 0 wins 30 images, unit 1 three, unit 2 one, unit 3 none."""
    mask = torch.zeros(N, K, dtype=torch.bool)
    mask[:30, 0] = mask[5:8, 1] = mask[9, 2] = True
    return mask


def columns(images, concepts):
    p = (images.double() @ concepts.double().T).tolist()
    return [[p[n][m] for n in range(len(p))] for m in range(len(concepts))]


def masked(activations, won):
    values = activations.double() if won is None else torch.where(won, activations.double(), 0.0)
    return values.T.tolist()


def allowed_images(activations, won, unit):
    values = activations[:, unit].tolist()
    return [n for n, v in enumerate(values) if (v > min(values) if won is None else won[n, unit])]


def assert_matches(scores, oracle, speaks=None):
    expected = torch.tensor(oracle, dtype=torch.float64)
    if speaks is not None:
        expected[~torch.tensor(speaks)] = 0
    torch.testing.assert_close(scores.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masking", [False, True])
def test_cosine_is_that_of_the_two_columns(data, won, masking):
    mask = won if masking else None
    oracle = []
    for q in masked(data[0], mask):
        row = []
        for p in columns(*data[1:]):
            dot = sum(a * b for a, b in zip(q, p, strict=True))
            row.append(dot / max(1e-12, math.sqrt(sum(a * a for a in q)) * math.sqrt(sum(b * b for b in p))))
        oracle.append(row)
    assert_matches(cosine(*data, won=mask), oracle, (True, True, True, not masking))


@pytest.mark.parametrize("masking", [False, True])
def test_cosine_cubed_is_that_of_the_centred_cubes(data, won, masking):
    mask = won if masking else None

    def cubed(values):
        mean = sum(values) / len(values)
        return [(v - mean) ** 3 for v in values]

    def floored(values):
        return max(1e-3, math.sqrt(sum(v * v for v in values)))

    oracle = [
        [
            sum(a * b for a, b in zip(cubed(q), cubed(p), strict=True)) / floored(cubed(q)) / floored(cubed(p))
            for p in columns(*data[1:])
        ]
        for q in masked(data[0], mask)
    ]
    assert_matches(cosine_cubed(*data, won=mask), oracle, (True, True, True, not masking))


def wpmi_oracle(activations, images, concepts, won, *, soft, top, scale, strength, prior=None):
    """L - strength * share * prior over each unit's images, and the prior, by loops and in double precision."""
    p = images.double() @ concepts.double().T
    s = [[math.exp(scale * v) for v in row] for row in p.tolist()]
    s = [[v / sum(row) for v in row] for row in s]
    top = min(top, len(images)) if not soft else top
    evidence, shares = [], []
    for k in range(activations.shape[1]):
        allowed = allowed_images(activations, won, k)
        best = sorted(allowed, key=lambda n: -activations[n, k].item())[:top]
        row = []
        for m in range(len(concepts)):
            total = 0.0
            for rank, n in enumerate(best):
                p_in = 0.998 - rank / top * (0.998 - 0.97) if soft else 1.0
                total += math.log(1 + p_in * (s[n][m] - 1) + 1e-7)
            row.append(total)
        evidence.append(row)
        shares.append(len(best) / min(top, len(images)))
    speaking = [k for k, share in enumerate(shares) if share]
    if prior is None:
        prior = [
            math.log(sum(math.exp(evidence[k][m] / shares[k]) for k in speaking) / len(speaking))
            for m in range(len(concepts))
        ]
    scores = [
        [evidence[k][m] - strength * shares[k] * prior[m] for m in range(len(concepts))] for k in range(len(evidence))
    ]
    return scores, prior


@pytest.mark.parametrize("masking", [False, True])
@pytest.mark.parametrize(
    "similarity, constants",
    [
        (wpmi, {"soft": False, "top": 28, "scale": 2.0, "strength": 0.6}),
        (soft_wpmi, {"soft": True, "top": 100, "scale": 10.0, "strength": 1.0}),
    ],
)
def test_wpmi_is_its_formula_with_the_published_constants(data, won, masking, similarity, constants):
    mask = won if masking else None
    oracle, prior = wpmi_oracle(*data, mask, **constants)
    assert_matches(similarity(*data, won=mask), oracle, (True, True, True, not masking))
    found = scores_and_prior(*data, won=mask, similarity=similarity.__name__)[1]
    torch.testing.assert_close(found, torch.tensor(prior, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("similarity", [wpmi, soft_wpmi])
def test_with_the_layers_prior_a_few_units_score_as_all_of_them(data, similarity):
    activations, images, concepts = data
    prior = scores_and_prior(*data, similarity=similarity.__name__)[1]
    whole = similarity(*data)
    torch.testing.assert_close(similarity(activations[:, 2:3], images, concepts, prior=prior), whole[2:3])
    alone = similarity(activations[:, 2:3], images, concepts)
    assert not torch.allclose(alone, whole[2:3])  # what the published code gives


@pytest.mark.parametrize("similarity", [wpmi, soft_wpmi])
def test_sums_of_hundreds_keep_five_decimals(similarity):
    """L is near -430 or -270, where fp32 has steps of 3e-5; the published code, in fp32, errs by as much."""
    generator = torch.Generator().manual_seed(3)
    images = normalize(torch.randn(150, 16, generator=generator), dim=1)
    concepts = normalize(torch.randn(3000, 16, generator=generator), dim=1)
    activations = torch.randn(150, 3, generator=generator)
    soft = similarity is soft_wpmi
    top, scale, strength, first, last = (100, 10.0, 1.0, 0.998, 0.97) if soft else (28, 2.0, 0.6, 1.0, 1.0)
    s = (scale * images.double() @ concepts.double().T).softmax(1)
    p = first - torch.arange(top).double() / top * (first - last)
    best = activations.topk(top, dim=0).indices
    evidence = torch.stack([(1 + p[:, None] * (s[best[:, k]] - 1) + 1e-7).log().sum(0) for k in range(3)])
    expected = evidence - strength * (evidence.logsumexp(0) - math.log(3))
    assert evidence.mean() < -200
    torch.testing.assert_close(similarity(activations, images, concepts).double(), expected, rtol=0, atol=2e-5)


def test_the_evidence_survives_a_hundred_unlikely_images():
    """100 factors of 1e-7 are 1e-700: no number holds their product."""
    images, concepts = torch.eye(2)[[0] * 100], torch.eye(2)
    everywhere = torch.ones(100, 1, dtype=torch.bool)
    found = wpmi(torch.randn(100, 1), images, concepts, won=everywhere, top=100, scale=1000.0, prior=torch.zeros(2))
    torch.testing.assert_close(found, torch.tensor([[0.0, 100 * math.log(1e-7)]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masking", [False, True])
def test_rank_reorder_is_its_formula(data, won, masking):
    mask = won if masking else None
    fraction, n = 0.2, 12
    oracle = []
    for k in range(K):
        allowed = allowed_images(data[0], mask, k)
        best = sorted(allowed, key=lambda i: -data[0][i, k].item())[:n]
        v = [data[0][i, k].item() for i in best]
        shuffles = torch.Generator().manual_seed(len(v))
        drawn = [torch.randperm(len(v), generator=shuffles).tolist() for _ in range(5)] if len(v) > 1 else []
        gaps = [abs(v[j] - v[shuffle[j]]) ** 3 for shuffle in drawn for j in range(len(v))]
        row = []
        for p in columns(*data[1:]):
            if len(v) < 2:
                row.append(0.0)
                continue
            ascending = sorted(v)
            rank = {i: r for r, i in enumerate(sorted(best, key=lambda i: p[i]))}
            error = sum(abs(v[j] - ascending[rank[i]]) ** 3 for j, i in enumerate(best)) / len(v)
            mean = max(1e-3, sum(p[i] for i in best) / len(v))
            row.append(-error / (sum(gaps) / len(gaps)) / math.sqrt(mean))
        oracle.append(row)
    assert_matches(rank_reorder(*data, won=mask, top_fraction=fraction), oracle)


def test_images_that_a_concept_cannot_tell_apart_count_against_it():
    """The first concept orders the images as the unit does, the second not at all, the third the other way round."""
    scores = torch.stack([torch.linspace(0.3, 0.4, 20), torch.full((20,), 0.35), torch.linspace(0.4, 0.3, 20)], 1)
    found = rank_reorder(torch.linspace(0, 1, 20)[:, None], scores, torch.eye(3), top_fraction=1.0)
    assert found[0, 0] == 0
    torch.testing.assert_close(found[0, 1], found[0, 2], rtol=0.01, atol=0)


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 256])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_are_sorted(rows, dtype):
    keys = torch.randint(-20, 20, (33, rows), dtype=dtype, generator=torch.Generator().manual_seed(rows))
    assert torch.equal(sort_rows(keys.clone()), keys.sort(dim=1).values)


def test_units_in_blocks_have_the_same_ranks(data, monkeypatch):
    whole = rank_reorder(*data, top_fraction=0.2)
    monkeypatch.setattr("dissect.similarity.ranks._AT_ONCE", 1)
    torch.testing.assert_close(rank_reorder(*data, top_fraction=0.2), whole)


def test_lengths_from_the_gram_matrix_do_not_cancel():
    """Concepts that no image resembles: |P_m|^2 is 1e-8 of what its terms are."""
    generator = torch.Generator().manual_seed(4)
    images = normalize(torch.randn(300, 8, generator=generator) * torch.tensor([1.0] * 7 + [1e-4]), dim=1)
    concepts = torch.eye(8)[[7] * 40] + 1e-5 * torch.randn(40, 8, generator=generator)
    activations = torch.randn(300, 3, generator=generator)
    p = images.double() @ concepts.double().T
    expected = (activations.double().T @ p) / activations.double().norm(dim=0)[:, None] / p.norm(dim=0)
    torch.testing.assert_close(cosine(activations, images, concepts).double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("masking", [False, True])
def test_jensen_shannon_is_its_definition(data, won, masking):
    mask = won if masking else None
    oracle = []
    for q in masked(data[0], mask):
        q = [max(v, 0) for v in q]
        q = [v / sum(q) if sum(q) else 0.0 for v in q]
        row = []
        for p in columns(*data[1:]):
            p = [math.exp(100 * (v - max(p))) for v in p]
            p = [v / sum(p) for v in p]
            jsd = 0.0
            for a, b in zip(q, p, strict=True):
                middle = (a + b) / 2
                jsd += (a * math.log(a / middle) if a else 0) / 2 + (b * math.log(b / middle) if b else 0) / 2
            row.append(1 - jsd / math.log(2))
        oracle.append(row)
    positive = [k for k, q in enumerate(masked(data[0], mask)) if max(q) > 0]  # the others are another test's
    assert len(positive) >= 2
    assert_matches(jensen_shannon(*data, won=mask)[positive], [oracle[k] for k in positive])


def test_a_unit_that_is_never_positive_still_has_a_distribution():
    """Activations -4, -3, -2, -1 weigh 0, 1, 2, 3."""
    images, concepts = torch.eye(4), torch.eye(4)
    low = torch.tensor([[-4.0], [-3.0], [-2.0], [-1.0]])
    torch.testing.assert_close(jensen_shannon(low, images, concepts), jensen_shannon(low + 4, images, concepts))
