"""`claims`, our own similarity, against a naive double loop over its formula, and what it is for."""

import math
import sys

import pytest
import torch
from torch.nn.functional import normalize

from dissect.similarity import claims, scores_and_prior

N, K, M, D = 60, 4, 7, 5


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(N, D, generator=generator) + 0.5, dim=1)
    concepts = normalize(torch.randn(M, D, generator=generator) - 0.5, dim=1)
    return torch.randn(N, K, generator=generator), images, concepts


@pytest.fixture
def won():
    """Unit 0 wins 30 images, unit 1 three, unit 2 one, unit 3 none."""
    mask = torch.zeros(N, K, dtype=torch.bool)
    mask[:30, 0] = mask[5:8, 1] = mask[9, 2] = True
    return mask


def mean(values):
    return sum(values) / len(values)


def oracle(activations, images, concepts, won, sharpness=2.5, free=0.1, few=2):
    """Unit by unit: a ridge regression of the weights on the images, its direction set against each text."""
    x = images.double() - images.double().mean(0)
    t = concepts.double() - concepts.double().mean(0)
    covariance = x.T @ x / N
    scale = (covariance @ covariance).trace() / covariance.trace()
    regressed = x @ torch.linalg.inv(torch.eye(D) + covariance / scale)
    spread = [math.sqrt(mean([(row @ text).item() ** 2 for row in regressed])) for text in t]
    logs = []
    for k in range(K):
        q = activations[:, k].double().tolist()
        counted = [n for n in range(N) if (q[n] > min(q) if won is None else won[n, k])]
        if not counted:
            logs.append(None)
            continue
        middle = mean([q[n] for n in counted])
        power = max(1.0, math.log(len(counted) / few, 4))
        weights = {n: max(0.0, q[n] - middle) ** power for n in counted}
        if not sum(weights.values()):
            weights = dict.fromkeys(counted, 1.0)
        total = sum(weights.values())
        direction = sum(w / total * regressed[n] for n, w in weights.items())
        z = [(direction @ text).item() / length for text, length in zip(t, spread, strict=True)]
        deviation = math.sqrt(mean([(value - mean(z)) ** 2 for value in z]))
        odds = [math.exp(sharpness * (value - mean(z)) / deviation) for value in z]
        logs.append([math.log(value / sum(odds)) for value in odds])
    prior = [math.log(free + sum(math.exp(row[m]) for row in logs if row)) for m in range(M)]
    scores = [[row[m] - prior[m] if row else 0.0 for m in range(M)] for row in logs]
    return torch.tensor(scores), torch.tensor(prior)


@pytest.mark.parametrize("masking", [False, True])
def test_claims_are_their_formula(data, won, masking, monkeypatch):
    monkeypatch.setattr(sys.modules["dissect.similarity.claims"], "FEW", 2)  # so that powers above 1 are met
    mask = won if masking else None
    scores, prior = oracle(*data, mask)
    torch.testing.assert_close(claims(*data, won=mask), scores, rtol=1e-4, atol=1e-4)
    found = scores_and_prior(*data, similarity="claims", won=mask)
    torch.testing.assert_close(found, (scores, prior), rtol=1e-4, atol=1e-4)


def test_with_the_layers_prior_a_few_units_score_as_all_of_them(data):
    activations, images, concepts = data
    found = claims(activations[:, 2:3], images, concepts, prior=scores_and_prior(*data, similarity="claims")[1])
    torch.testing.assert_close(found, claims(*data)[2:3])


def test_a_unit_alone_has_a_name(data):
    """Where soft_wpmi's prior takes everything away, claims keep the order that the unit gives its concepts."""
    activations, images, concepts = data
    alone = claims(activations[:, 2:3], images, concepts)
    without_others = claims(activations[:, 2:3], images, concepts, prior=torch.zeros(M))
    assert torch.equal(alone.argsort(), without_others.argsort())


def test_neither_size_nor_offset_of_an_activation_matters(data):
    activations, images, concepts = data
    torch.testing.assert_close(claims(3e4 * activations - 7e3, images, concepts), claims(*data), rtol=1e-3, atol=1e-3)


def test_a_concept_near_all_images_is_nobodys_name():
    """Hub: every image lies next to it, so raw cosines name every unit by it."""
    generator = torch.Generator().manual_seed(3)
    hub = normalize(torch.ones(1, 32), dim=1)
    concepts = normalize(torch.randn(9, 32, generator=generator), dim=1)
    kind = torch.arange(360) % 9
    noise = 0.1 * torch.randn(360, 32, generator=generator)
    images = normalize(3 * hub + concepts[kind] + noise, dim=1)
    activations = (kind[:, None] == torch.arange(9)).float() + 0.1 * torch.rand(360, 9, generator=generator)
    everything = torch.cat([concepts, hub])
    assert ((activations.T @ images) @ everything.T).argmax(1).tolist() == [9] * 9
    assert claims(activations, images, everything).argmax(1).tolist() == list(range(9))


@pytest.mark.parametrize("per_class", [1, 3, 40])
def test_classes_of_few_and_of_many_images_are_found(per_class):
    generator = torch.Generator().manual_seed(4)
    concepts = normalize(torch.randn(20, 64, generator=generator), dim=1)
    kind = torch.arange(20).repeat_interleave(per_class)
    images = normalize(concepts[kind] + 0.08 * torch.randn(len(kind), 64, generator=generator), dim=1)
    logits = 9.0 * (kind[:, None] == torch.arange(20)) + torch.randn(len(kind), 20, generator=generator)
    for activations in (logits, logits.relu(), logits.softmax(1)):
        assert claims(activations, images, concepts).argmax(1).tolist() == list(range(20))


def test_a_concept_of_which_the_images_say_nothing_is_no_trouble(data):
    """A column of P that is the same for every image."""
    activations, images, concepts = data
    p = images @ concepts.T
    p[:, 3] = 0.25
    assert claims(activations, p, torch.eye(M)).isfinite().all()
    alike = images[:1].expand(N, D)
    assert claims(activations, alike, concepts).isfinite().all()


def test_relatives_are_told_apart():
    """Two concepts share most of what they say; what a unit does follows the first, and half of that the second."""
    generator = torch.Generator().manual_seed(6)
    directions = torch.linalg.qr(torch.randn(24, 24, generator=generator)).Q
    shared, own, other = directions[:3]
    concepts = normalize(torch.stack([shared + 0.6 * own, shared + 0.6 * other, *directions[3:12]]), dim=1)
    traits = torch.randn(4000, 24, generator=generator) * torch.tensor([2.0, *[1.0] * 23])
    unit = (traits[:, 0] + 2 * traits[:, 1] + traits[:, 2])[:, None]
    first, second = (unit * (traits @ directions @ concepts[:2].T)).mean(0)
    assert first < 1.35 * second  # hardly ahead as it stands
    lead = claims(unit, traits @ directions, concepts)[0, :2].diff()
    assert lead < math.log(3 / 4)


def test_units_that_carry_one_concept_all_keep_it():
    generator = torch.Generator().manual_seed(7)
    concepts = normalize(torch.randn(30, 64, generator=generator), dim=1)
    kind = torch.arange(600) % 30
    images = normalize(concepts[kind] + 0.1 * torch.randn(600, 64, generator=generator), dim=1)
    carried = torch.tensor([0] * 12 + [1, 2, 3, 4])
    activations = 4.0 * (kind[:, None] == carried) + torch.randn(600, 16, generator=generator)
    assert torch.equal(claims(activations, images, concepts).argmax(1), carried)
