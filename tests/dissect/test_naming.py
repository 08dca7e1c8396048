"""The statistics of names, each against a loop that says the same slowly."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dissect.naming.blocks import blocks_by
from dissect.naming.halves import choosing_half, halve
from dissect.naming.near_duplicates import block_means, near_duplicates
from dissect.naming.permutation_test import alike_in_size, benjamini_hochberg, permutation_p_values
from dissect.naming.predictability import (
    auroc,
    average_precision,
    best_predictors,
    bootstrap,
    correlation,
    interval,
    prediction_targets,
    top_precision,
)
from dissect.naming.synonyms import distinct_names, plain_form


def pearson(x, y):
    return float(np.corrcoef(x, y)[0, 1])


def studentised(x, y):
    """Correlation over its standard error: t of the regression of y on x, the error from the residuals at each x."""
    x, y = (v - v.mean() for v in (x, y))
    residuals = y - (x @ y) / (x @ x) * x
    return (x @ y) / math.sqrt(float((x**2) @ residuals**2))


def test_p_is_the_share_of_permutations_that_correlate_as_much():
    """The same permutations one by one: a random order, shifted, after each of the random permutations."""
    n, units = 12, 4
    a, s = torch.randn(n, units).round(decimals=1), torch.randn(n, units)
    a[:, 1] = 2 * s[:, 1] + 0.01 * torch.randn(n)
    p = permutation_p_values(a, s, draws=60, seed=3)
    generator = torch.Generator().manual_seed(3)
    orders = [torch.randperm(n, generator=generator) for _ in range(5)]
    for unit in range(units):
        fixed, moved = s[orders[0], unit].double().numpy(), a[orders[0], unit].double().numpy()
        reached = 0
        for coset, order in enumerate(orders):
            turned = moved if coset == 0 else a[order, unit].double().numpy()
            for shift in range(n):
                reached += studentised(np.roll(turned, shift), fixed) >= studentised(moved, fixed) - 1e-6
        assert p[unit] == pytest.approx(reached / 60)
    assert p[1] == pytest.approx(1 / 60)


@pytest.mark.parametrize("n", [30, 101])
def test_p_is_uniform_where_nothing_is_related_whatever_the_tails(n):
    a, s = torch.randn(n, 4000).exp() ** 2, torch.randn(n, 4000).exp()
    p = permutation_p_values(a, s, draws=1000)
    for level in (0.01, 0.05, 0.2):
        error = 4 * math.sqrt(level * (1 - level) / 4000) + 0.01  # the draws are shared by the units
        assert float((p <= level).double().mean()) == pytest.approx(level, abs=error)


def test_unequal_variances_are_no_correlation():
    """Units are loud, of random sign, where the score is far from its mean: no score predicts them."""
    s = torch.randn(200, 2000)
    a = torch.randn(200, 2000) * s.abs()
    p = permutation_p_values(a, s, draws=1000)
    assert float((p <= 0.05).double().mean()) < 0.075 and float((p <= 0.005).double().mean()) < 0.012


def test_only_images_of_one_stratum_are_exchanged():
    """The same permutations one by one: each stratum in a random order, turned by a number of its own."""
    a, s, strata = torch.randn(12, 3), torch.randn(12, 3), torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 0, 1])
    p = permutation_p_values(a, s, strata=strata, draws=36, seed=3)
    generator, within = torch.Generator().manual_seed(3), [(strata == i).nonzero()[:, 0] for i in (0, 1)]
    drawn = []
    for _ in range(3):
        orders = [own[torch.randperm(len(own), generator=generator)] for own in within]
        drawn.append((orders, [torch.randint(len(own), (12,), generator=generator).tolist() for own in within]))
    drawn[0][1][0][0] = drawn[0][1][1][0] = 0
    for unit in range(3):
        fixed, reached = s[torch.cat(drawn[0][0]), unit].double().numpy(), []
        for orders, shifts in drawn:
            for turns in zip(*shifts, strict=True):
                moved = [np.roll(a[own, unit].double().numpy(), -by) for own, by in zip(orders, turns, strict=True)]
                reached.append(studentised(np.concatenate(moved), fixed))
        assert p[unit] == pytest.approx(np.mean(np.array(reached) >= reached[0] - 1e-6))


def test_blocks_of_other_sizes_are_no_discovery():
    """Bursts beside single pictures, in another part of the space and with units that are louder there by chance of the
    network: within the bursts and within the singles no score predicts them."""
    burst = torch.cat([torch.zeros(60), torch.ones(60)])[:, None]
    s = torch.randn(120, 400) + burst
    a = torch.randn(120, 400) * (1 - 0.8 * burst) + burst
    sizes = torch.tensor([1] * 60 + [25] * 60)
    share = [
        float((permutation_p_values(a, s, strata=strata, draws=1000) <= 0.05).double().mean())
        for strata in (None, alike_in_size(sizes))
    ]
    assert share[0] > 0.5 and share[1] < 0.1
    found = a + s
    assert float((permutation_p_values(found, s, strata=alike_in_size(sizes)) <= 0.01).double().mean()) > 0.99


def test_strata_are_powers_of_two_with_enough_blocks_to_exchange():
    sizes = torch.tensor([1] * 4 + [2] * 12 + [3] * 10 + [9] * 3 + [40] * 20 + [100] * 2)
    strata = alike_in_size(sizes)
    assert [strata[sizes == size].unique().tolist() for size in (1, 2, 3, 9, 40, 100)] == [[1], [1], [1], [1], [5], [5]]
    assert alike_in_size(torch.ones(5, dtype=torch.long)).unique().numel() == 1
    halves = halve(torch.cat([normalize(torch.randn(100, 16), dim=1)] * 2))
    assert halves.strata.shape == (halves.observations["distinct"],)


def test_units_of_few_images_are_still_found():
    s, a = torch.randn(500, 50), torch.zeros(500, 50)
    a.scatter_(0, s.topk(12, dim=0).indices, 1.0)
    assert (permutation_p_values(a, s) < 1e-3).all()


def test_a_constant_column_is_no_discovery():
    constant = torch.full((20, 1), 0.3)
    assert permutation_p_values(constant, torch.randn(20, 1)).item() == 1
    assert permutation_p_values(torch.randn(20, 1), constant).item() == 1
    assert correlation(constant, torch.randn(20, 1)).item() == 0
    assert interval(torch.zeros(1), bootstrap(constant, torch.randn(20, 1)))[0].isfinite()


def test_the_rule_of_benjamini_and_hochberg():
    """Reject the k smallest p, k the largest with p_(k) <= level k / m."""
    p = torch.cat([torch.rand(60), torch.rand(20) / 500]).double()
    q = benjamini_hochberg(p)
    for level in (0.01, 0.05, 0.3):
        ordered = sorted(p.tolist())
        k = max((i for i, x in enumerate(ordered, 1) if x <= level * i / len(p)), default=0)
        assert int((q <= level).sum()) == k
    assert benjamini_hochberg(torch.zeros(0)).shape == (0,)


def test_the_interval_is_that_of_a_bootstrap_done_one_by_one():
    x = torch.randn(60, 1)
    y = (0.6 * x + torch.randn(60, 1)).relu()
    low, high = interval(correlation(y, x), bootstrap(y, x, resamples=4000))
    random = np.random.default_rng(0)
    drawn = [math.atanh(pearson(x[i, 0], y[i, 0])) for i in (random.integers(0, 60, 60) for _ in range(4000))]
    centre, half = math.atanh(pearson(x[:, 0], y[:, 0])), 1.96 * float(np.std(drawn))
    assert low.item() == pytest.approx(math.tanh(centre - half), abs=0.02)
    assert high.item() == pytest.approx(math.tanh(centre + half), abs=0.02)


def test_many_images_in_groups_give_the_same_interval():
    x = torch.randn(5000, 1)
    y = 0.3 * x + torch.randn(5000, 1)
    r = correlation(y, x)
    low, high = interval(r, bootstrap(y, x, resamples=2000))
    assert (high - low).item() == pytest.approx(2 * 1.96 * (1 - r.item() ** 2) / math.sqrt(5000), rel=0.1)


def test_precision_on_top_images_is_that_of_the_definition():
    a, s = torch.randn(40, 3).relu(), torch.randn(40, 3)
    found = top_precision(a, s, share=0.2)
    for unit in range(3):
        top = set(a[:, unit].argsort(descending=True)[:8].tolist())
        ranked = s[:, unit].argsort(descending=True).tolist()
        precisions = [sum(i in top for i in ranked[: place + 1]) / (place + 1) for place in range(40)]
        expected = sum(p for i, p in zip(ranked, precisions, strict=True) if i in top) / 8
        assert found[unit] == pytest.approx(expected)
    binary = (torch.arange(40) < 20).float()[:, None]  # the top 20 %, and all that tie with them
    assert top_precision(binary, -binary).item() == pytest.approx(0.5)
    silent = torch.zeros(40, 1)
    assert top_precision(silent, s[:, :1]).item() == 0
    assert average_precision(s, s > 0).tolist() == pytest.approx([1, 1, 1])


def test_the_area_under_the_curve_is_a_count_of_pairs():
    values, positive = torch.randn(40).round(decimals=1), torch.rand(40) > 0.6
    pairs = [(p > n) + 0.5 * (p == n) for p in values[positive].tolist() for n in values[~positive].tolist()]
    assert auroc(values[:, None], positive[:, None]).item() == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("metric", [average_precision, auroc])
def test_equal_scores_count_together(metric):
    """A unit that is 0 on 80 % of the images, whatever their order: chance, beyond 0 and 1 too."""
    scores, positive = 50 * torch.randn(2000, 1).relu() * (torch.rand(2000, 1) < 0.4), torch.rand(2000, 1) < 0.3
    shuffle = torch.randperm(2000)
    first = metric(scores, positive)
    assert metric(scores[shuffle], positive[shuffle]).equal(first)
    values, share = scores[:, 0].tolist(), []
    for bar in sorted(set(values), reverse=True):
        at = [positive[i, 0].item() for i, v in enumerate(values) if v >= bar]
        share.append((sum(at), len(at)))
    gained = [
        (hits - before, hits / count) for (hits, count), (before, _) in zip(share, [(0, 0), *share], strict=False)
    ]
    if metric is average_precision:
        assert first.item() == pytest.approx(
            sum(more * precision for more, precision in gained) / share[-1][0], abs=1e-4
        )
    else:
        assert first.item() == pytest.approx(0.5, abs=0.05)


def test_the_best_predictor_is_the_concept_whose_score_correlates_most():
    images, concepts, answers = torch.randn(50, 6), torch.randn(30, 6), torch.randn(50, 4)
    answers[:, 2] = 0.01 * (images @ concepts[17]) + 5
    scores = images @ concepts.T
    expected = [max(range(30), key=lambda m: pearson(scores[:, m], answers[:, u])) for u in range(4)]
    assert best_predictors(answers, images, concepts).tolist() == expected
    assert expected[2] == 17


def test_a_negative_winner_answers_more_than_a_loser():
    values = torch.tensor([[-1.0, 2.0], [-3.0, 0.0], [0.0, 5.0]])
    won = torch.tensor([[True, True], [True, False], [False, True]])
    assert prediction_targets(values, won).tolist() == [[-1, 2], [-3, 0], [-6, 5]]
    assert prediction_targets(values, None).equal(values)


def test_near_duplicates_are_one_block_and_never_on_both_sides():
    images = normalize(torch.randn(400, 32), dim=1) + 0.7  # in a cone, as encoders put them
    copies = images[:100] + 0.01 * torch.randn(100, 32)
    chain = images[:100] + 0.02 * torch.randn(100, 32)
    blocks = near_duplicates(torch.cat([images, copies, chain]))
    assert blocks[:400].unique().numel() == 400
    assert blocks[400:500].equal(blocks[:100]) and blocks[500:].equal(blocks[:100])
    half = choosing_half(blocks)
    assert 290 <= int(half.sum()) <= 310
    assert set(blocks[half].tolist()).isdisjoint(blocks[~half].tolist())


def test_near_duplicates_are_found_among_many():
    images = normalize(torch.randn(20_000, 16), dim=1)
    images[10_000:] = images[:10_000] + 0.01 * torch.randn(10_000, 16)
    blocks = near_duplicates(images)
    assert float((blocks[:10_000] == blocks[10_000:]).double().mean()) > 0.99


def test_a_chain_is_one_block():
    angles = torch.arange(45) * 2 * math.pi / 200
    arc = torch.stack([angles.cos(), angles.sin(), *torch.zeros(30, 45)], 1)
    blocks = near_duplicates(torch.cat([normalize(torch.randn(400, 32), dim=1), arc]))
    assert blocks[400:].unique().numel() == 1 and blocks.unique().numel() == 401


def test_a_long_burst_is_one_block_and_a_narrow_domain_is_many():
    """Half of the probe in one burst; and 8,000 different pictures of 5 dimensions, whose chains reach everywhere."""
    burst = normalize(torch.randn(1, 32) + 0.02 * torch.randn(300, 32), dim=1)
    assert near_duplicates(torch.cat([burst, normalize(torch.randn(300, 32), dim=1)]))[:300].unique().numel() == 1
    narrow = halve(normalize(torch.cat([torch.randn(8000, 5), torch.full((8000, 1), 3.0)], 1), dim=1))
    assert narrow.observations["choosing"] == 4000 and narrow.observations["distinct"] > 1000


def test_blocks_that_the_user_names_stand_on_one_side():
    images = torch.randn(60, 16)
    images[59] = images[0] + 1e-3  # of another clip, and the same picture
    clips = [f"clip {i // 5}" for i in range(60)]
    halves = halve(images, blocks=clips)
    sides = {clip: {int(i in halves.choosing) for i in range(60) if clips[i] == clip} for clip in clips}
    assert all(len(side) == 1 for side in sides.values()) and sides["clip 0"] == sides["clip 11"]
    assert halves.judged(images).shape[0] == halves.observations["distinct"] <= 6
    with pytest.raises(ValueError, match="Expected the block of each of the 60 images but got 59"):
        halve(images, blocks=clips[:59])


def test_blocks_come_from_folders_prefixes_or_a_table(tmp_path):
    names = ["a/clip1_001.png", "a/clip1_002.png", "b/x-7.jpg"]
    assert blocks_by(names, "folder") == ("a", "a", "b")
    assert blocks_by(names, "prefix") == ("a/clip1", "a/clip1", "b/x")
    table = tmp_path / "blocks.csv"
    table.write_text("image,block\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names)))
    assert blocks_by(names, table) == ("0", "1", "2")
    with pytest.raises(ValueError, match=r"Expected a block in .* for every picture but got none for \['c.png'\]"):
        blocks_by([*names, "c.png"], table)
    table.write_text("file;clip\n")
    with pytest.raises(ValueError, match="Expected the columns image, block"):
        blocks_by(names, table)
    with pytest.raises(FileNotFoundError, match="Expected blocks by folder, prefix or a CSV file but got 'foldr'"):
        blocks_by(names, "foldr")


def test_a_block_is_judged_by_its_mean():
    blocks = torch.tensor([4, 7, 4, 9])
    means = block_means(torch.tensor([[1.0], [5.0], [3.0], [0.0]]), blocks)
    assert means.tolist() == [[2], [5], [0]]


def test_the_halves_do_not_depend_on_the_network():
    images = torch.randn(50, 8)
    one, other = halve(images), halve(images.clone())
    assert one.choosing.equal(other.choosing) and one.judged(images).shape == (25, 8)
    assert one.observations == {"choosing": 25, "judging": 25, "distinct": 25}


def test_near_synonyms_are_one_name():
    names = ("boat", "Boats", "a boat", "ship", "sea", "vessel", "sun")
    embeddings = torch.eye(7)
    embeddings[5] = normalize(torch.tensor([0, 0, 0, 1, 0, 0.1, 0]), dim=0)  # all but "ship"
    order = torch.tensor([[1, 0, 3, 5, 2, 6, 4], [6, 5, 4, 3, 2, 1, 0]])
    kept = distinct_names(order, names, embeddings, keep=3)
    assert [[names[order[u, r]] for r in ranks] for u, ranks in enumerate(kept)] == [
        ["Boats", "ship", "sun"],
        ["sun", "vessel", "sea"],
    ]


def test_plain_forms_keep_other_words_apart():
    different = ["bus", "glass", "grass", "canvas", "moss", "cactus", "boat", "box", "berry", "the", "an", "tennis"]
    forms = sorted(map(plain_form, different))
    assert all(a != b for a, b in pairwise(forms))
