"""Claims about calibration, likeness of pictures, corruption, attack, and what a comparison says of them."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from competing import change, small_resnet
from made_pictures import paint
from PIL import Image

from competition_layers import DecisionLayer
from competition_layers.transforms import pixel_scale
from dissect import Dissection, compare, describe, load_concepts, load_encoder, open_probe, render_report
from dissect.comparing import robustness
from dissect.comparing.attack import pgd
from dissect.comparing.calibration import calibration_error, fit_temperature, measure_calibration
from dissect.comparing.comparing import Compared, Extras
from dissect.comparing.corruptions import CORRUPTIONS, corrupt
from dissect.comparing.decisions import measure_decision, named_decisions
from dissect.comparing.figures import Accuracy, Alike, Names, NetworkFigures, Sparsity, UntrainedNames
from dissect.comparing.findings import PerPicture, mcnemar, mean_with_interval, paired_findings
from dissect.comparing.monosemanticity import measure_alike, ms_scores
from dissect.comparing.robustness import measure_robustness
from dissect.comparing.seeds import kinds_of, seed_figures, seed_findings
from dissect.comparing.untrained import untrained_twin
from dissect.explaining.picture import network_input
from dissect.report import comparison_text

LABELS = ("blue", "red")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return open_probe(paint(tmp_path_factory.mktemp("p"), each=8, size=40), labelled=True)


@pytest.fixture
def few(images):
    return images.some([0, 1, 8, 9])


def test_the_temperature_is_that_of_which_the_logits_were_made():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 5, generator=generator)
    targets = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0]
    for temperature in (0.4, 1.0, 3.0):
        assert fit_temperature(temperature * true, targets) == pytest.approx(temperature, rel=0.06)
        grid = [float(F.cross_entropy(true * temperature / t, targets)) for t in torch.linspace(0.2, 5, 200)]
        found = fit_temperature(temperature * true, targets)
        assert float(F.cross_entropy(true * temperature / found, targets)) <= min(grid) + 1e-6


def test_calibration_error_is_the_mean_gap_bin_by_bin():
    generator = torch.Generator().manual_seed(1)
    logits, targets = 3 * torch.randn(300, 4, generator=generator), torch.randint(4, (300,), generator=generator)
    confidence, said = logits.softmax(1).max(1)
    total = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            gap = (said == targets)[inside].float().mean() - confidence[inside].mean()
            total += float(gap.abs() * inside.float().mean())
    assert calibration_error(logits, targets) == pytest.approx(total, abs=1e-5)


def test_scaling_mends_what_a_factor_spoiled_and_is_fitted_on_other_pictures():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(2000, 3, generator=generator)
    targets = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0]
    found = measure_calibration(5 * true, targets)
    assert found.nll_scaled < found.nll and found.error_scaled < found.error / 3
    even = torch.arange(2000) % 2 == 0
    by_odd = float(F.cross_entropy(5 * true[even] / fit_temperature(5 * true[~even], targets[~even]), targets[even]))
    by_even = float(F.cross_entropy(5 * true[~even] / fit_temperature(5 * true[even], targets[even]), targets[~even]))
    assert found.nll_scaled == pytest.approx((by_odd + by_even) / 2, abs=1e-5)


def test_ms_score_is_the_weighted_mean_over_pairs():
    generator = torch.Generator().manual_seed(0)
    a, e = torch.randn(9, 3, generator=generator), F.normalize(torch.randn(9, 4, generator=generator), dim=1)
    a[:, 2] = 1.0
    for unit in range(2):
        scaled = (a[:, unit] - a[:, unit].min()) / (a[:, unit].max() - a[:, unit].min())
        over = under = 0.0
        for i in range(9):
            for j in range(i):
                over += float(scaled[i] * scaled[j] * (e[i] @ e[j]))
                under += float(scaled[i] * scaled[j])
        assert ms_scores(a, e)[unit] == pytest.approx(over / under, abs=1e-5)
    assert ms_scores(a, e)[2].isnan()


def test_a_unit_of_one_meaning_scores_higher_than_one_of_two():
    angles = torch.tensor([0.0, 0.1, 0.2, 1.5, 1.6, 1.7])
    e = torch.stack([angles.cos(), angles.sin()], 1)
    one, both = torch.tensor([1.0, 1, 1, 0, 0, 0]), torch.tensor([1.0, 1, 0, 1, 1, 0])
    scores = ms_scores(torch.stack([one, both], 1), e)
    assert scores[0] > 0.95 > scores[1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_repeat_grow_and_keep_the_size(name):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((64, 48)).convert("RGB")
    size = corrupt(image, "brightness", 1, side=32).size
    assert size == (43, 32)
    clean = np.asarray(image.resize(size, Image.Resampling.BICUBIC), float)
    apart = []
    for strength in range(1, 6):
        found = corrupt(image, name, strength, side=32)
        assert found.size == size and found.mode == "RGB"
        assert np.array_equal(np.asarray(found), np.asarray(corrupt(image, name, strength, side=32)))
        apart.append(np.abs(np.asarray(found, float) - clean).mean())
    assert apart[4] > apart[0] > 0 and all(b > a * 0.97 for a, b in pairwise(apart))


@pytest.mark.parametrize("name", ["defocus blur", "glass blur", "motion blur", "zoom blur", "elastic", "contrast"])
def test_a_blur_leaves_a_plain_picture_as_it_is(name):
    plain = Image.new("RGB", (40, 32), (200, 90, 10))
    assert np.abs(np.asarray(corrupt(plain, name, 5, side=32), float) - np.asarray(plain)).max() <= 1


def test_a_point_becomes_a_disc_out_of_focus_and_a_line_in_motion():
    point = Image.new("RGB", (65, 65))
    point.putpixel((32, 32), (255, 255, 255))
    y, x = np.mgrid[-32:33, -32:33]
    disc, line = (
        np.asarray(corrupt(point, name, 5, side=65), float)[..., 0] for name in ("defocus blur", "motion blur")
    )
    assert (disc[np.hypot(x, y) < 3] > 0).all() and not disc[np.hypot(x, y) > 0.06 * 65 + 0.5].any()
    assert np.allclose(disc, disc.T) and np.allclose(disc, disc[::-1])
    spread = np.linalg.eigvalsh(np.cov(np.stack([x, y]).reshape(2, -1), aweights=line.ravel()))
    assert spread[1] > 10 * spread[0]
    for spread_out in (disc, line):
        assert spread_out.sum() == pytest.approx(255, rel=0.1)  # whole numbers of light


def test_impulse_noise_strikes_its_share_of_the_values_and_no_other():
    grey = Image.new("RGB", (100, 100), (128, 128, 128))
    found = np.asarray(corrupt(grey, "impulse noise", 5, side=100))
    assert set(np.unique(found)) == {0, 128, 255}
    assert (found != 128).mean() == pytest.approx(0.16, abs=0.01)


def test_fog_frost_and_snow_whiten_a_dark_picture():
    dark = Image.new("RGB", (64, 64), (20, 20, 60))
    for name in ("fog", "frost", "snow"):
        brighter = [np.asarray(corrupt(dark, name, strength, side=64), float).mean() for strength in range(1, 6)]
        assert brighter == sorted(brighter) and brighter[0] > 34


def test_a_slip_in_a_corruption_is_answered():
    with pytest.raises(ValueError, match="at a strength from 1 to 5 but got 'fog', 6"):
        corrupt(Image.new("RGB", (8, 8)), "fog", 6, side=8)


@pytest.mark.parametrize(("competitors", "draws"), [(1, 0), (4, 0), (4, 3)])
def test_an_attack_stays_close_and_raises_the_loss(competitors, draws, few):
    model = small_resnet(competitors, LABELS)
    scale = pixel_scale(model)
    x = torch.cat([network_input(model, image) for image in few])
    targets = model(x).argmax(1)
    found = pgd(model, x, targets, scale, epsilon=4 / 255, draws=draws)
    pixels, moved = (each * scale[1] + scale[0] for each in (x, found))
    assert (pixels - moved).abs().max() <= 4 / 255 + 1e-5
    assert moved.min() >= -1e-5 and moved.max() <= 1 + 1e-5
    assert F.cross_entropy(model(found), targets) > F.cross_entropy(model(x), targets)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(found, pgd(model, x, targets, scale, epsilon=4 / 255, draws=draws))


def test_the_average_of_draws_is_attacked_by_more_than_one_draw(few):
    model = change(small_resnet(4, LABELS), noise_scale=1.0)
    x = torch.cat([network_input(model, image) for image in few])
    targets = torch.zeros(len(x), dtype=torch.long)
    one, several, argmax = (pgd(model, x, targets, pixel_scale(model), draws=draws) for draws in (1, 4, 0))
    assert not torch.equal(one, several) and not torch.equal(several, argmax)


@pytest.fixture
def few_corruptions(monkeypatch):
    monkeypatch.setattr(robustness, "CORRUPTIONS", {name: CORRUPTIONS[name] for name in ("gaussian noise", "fog")})


def test_a_network_that_hides_its_scale_is_not_attacked(images, few_corruptions):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 2))
    model.label_names = LABELS
    model.image_transform = lambda image: torch.tensor(np.array(image.resize((8, 8))) / 255.0).float().permute(2, 0, 1)
    assert pixel_scale(model) is None
    found = measure_robustness(model, images, torch.tensor(images.numbers(LABELS)))
    assert found.attack is None and found.images == 16


def test_intervals_hold_the_mean_and_narrow_with_pictures():
    generator = torch.Generator().manual_seed(0)
    few, many = (mean_with_interval(torch.randn(n, generator=generator)) for n in (50, 5000))
    for mean, low, high in (few, many):
        assert low < mean < high
    assert many[2] - many[1] == pytest.approx(2 * 1.96 / math.sqrt(5000), rel=0.15)
    assert few[2] - few[1] > 5 * (many[2] - many[1])


def test_mcnemar_is_the_binomial_test_on_the_pictures_where_one_is_right():
    for a, b in ((0, 0), (5, 5), (2, 9), (9, 2), (0, 6)):
        n, least = a + b, min(a, b)
        tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
        assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail))


def test_a_sentence_says_ahead_only_where_the_interval_does():
    truth = torch.ones(200, dtype=torch.bool)
    half = torch.arange(200) % 2 == 0
    ahead, level, *_ = paired_findings({"a": pictures_of(half), "b": pictures_of(truth)})
    assert ahead.startswith("b is ahead of a by 50.0 points of accuracy (95 % interval +4")
    assert "200 pictures, 1.6e-28 % likely if they were alike" in ahead
    assert level.startswith("b and a are level: 0.000 of log-loss apart")
    (behind, *_) = paired_findings({"b": pictures_of(truth), "a": pictures_of(half)})
    assert behind.startswith("a is behind b by 50.0 points")


def pictures_of(right, confidence=None, units=None, layer="decision"):
    of = [torch.full((len(right),), 0.75) if one is None else one for one in (confidence, units)]
    return PerPicture(right, torch.zeros(len(right)), *of, layer)


def test_calibration_and_units_are_paired_over_pictures():
    generator = torch.Generator().manual_seed(0)
    confidence = 0.5 + torch.rand(600, generator=generator) / 2
    right = torch.rand(600, generator=generator) < confidence
    sure = pictures_of(right, confidence.sqrt(), 0.5 + 0.1 * torch.rand(600, generator=generator))
    fair = pictures_of(right, confidence, torch.full((600,), 0.125))
    *_, gaps, units = paired_findings({"sure": sure, "fair": fair})
    errors = []
    for one in (sure, fair):
        logits = torch.stack([one.confidence, 1 - one.confidence], 1).log()
        errors.append(100 * calibration_error(logits, (~right).long()))
    assert gaps.startswith(f"fair is ahead of sure by {errors[0] - errors[1]:.1f} points of calibration error (95 %")
    apart = 100 * float((sure.units - fair.units).mean())
    assert units.startswith(f"fair is ahead of sure by {apart:.1f} points of the units that make 90 % of the lead")
    elsewhere = replace(fair, layer="layer4.0.act2")  # its units are other ones
    assert not any("90 %" in said for said in paired_findings({"sure": sure, "fair": elsewhere}))


def test_seeds_are_told_by_the_last_number():
    assert kinds_of(["vit-u8-0", "vit-u8-1", "vit_seed3"]) == {
        "vit-u8": {"0": "vit-u8-0", "1": "vit-u8-1"},
        "vit": {"3": "vit_seed3"},
    }
    with pytest.raises(ValueError, match=r"names that end in the number of a seed .* but got 'dense'"):
        kinds_of(["sparse-0", "dense"])


def test_seeds_are_means_with_intervals_and_paired(few):
    networks = {
        f"{kind}-{seed}": small_resnet(u, LABELS) for kind, u in (("dense", 1), ("sparse", 4)) for seed in (0, 1)
    }
    for name, model in networks.items():
        torch.manual_seed(int(name[-1]))
        model.fc.weight.data += 5 * torch.randn_like(model.fc.weight)
    comparison = compare(networks, few, extras=Extras(seeds=True), samples=2, batch_size=8)
    accuracy = {network.name: network.accuracy.saved for network in comparison.networks}
    dense, sparse = comparison.seeds
    assert (dense.name, sparse.seeds) == ("dense", 2)
    mean, half = sparse.figures["accuracy"]
    values = torch.tensor([accuracy["sparse-0"], accuracy["sparse-1"]])
    assert mean == pytest.approx(values.mean().item())
    assert half == pytest.approx(12.706 * values.std().item() / math.sqrt(2), rel=1e-5)
    said = comparison.findings
    assert "points of accuracy" in said[0] and "of log-loss" in said[1]
    assert all("paired over 2 seeds" in one for one in said)
    loss = {network.name: network.calibration.nll for network in comparison.networks}
    apart = sum(loss[f"dense-{seed}"] - loss[f"sparse-{seed}"] for seed in (0, 1)) / 2
    assert f"{abs(apart):.3f}" in said[1]  # ahead is the smaller one
    assert "Over seeds" in comparison_text(comparison)


def test_names_have_their_control_and_their_sentence_over_seeds():
    sparsity = Sparsity(
        "act", 10, "direct", density=None, effective_density=0.5, untrained=0.5, kept=1.0, kept_without_any=0.5
    )

    def of(name, named):
        names = Names("act", {"named": named, "chance": 10 - named}, named, Alike(named / 10, 0.9, 0.1))
        names = replace(names, untrained=UntrainedNames(1, 1, 0.05))
        return NetworkFigures(name, "resnet18", 4, "argmax", Accuracy(0.5), sparsity, 10, 1.0, 10, None, (names,))

    seeds = [of("dense-0", 2), of("dense-1", 4), of("sparse-0", 6), of("sparse-1", 8)]
    figures = {kind.name: kind.figures for kind in seed_figures(seeds)}
    assert figures["sparse"]["named"][0] == pytest.approx(0.7)
    assert figures["sparse"]["named, random weights"] == (0.1, 0.0)
    assert figures["sparse"]["likeness, random weights"][0] == pytest.approx(0.05)
    said = seed_findings(seeds)
    assert any(one.startswith("sparse is ahead of dense by 40.0 points of the units with a name") for one in said)
    assert any(one.startswith("sparse is ahead of dense by 0.400 of likeness (MS score)") for one in said)


def test_everything_measured_stands_on_the_page_and_in_its_record(few, few_corruptions, tmp_path):
    model = small_resnet(4, LABELS)
    networks = {"sparse": model, "dense": small_resnet(1, LABELS)}
    comparison = compare(networks, few, extras=Extras(robustness=True), samples=2)
    sparse, dense = comparison.networks
    assert sparse.robustness.attack.sample is not None and dense.robustness.attack.sample is None
    assert set(sparse.robustness.corrupted) == {"gaussian noise", "fog"}
    said = comparison_text(comparison)
    page = render_report(tmp_path / "c.html", comparison=comparison)
    record = json.loads(page.with_suffix(".json").read_text("utf-8"))
    for title in ("How far its probabilities can be believed", "Right answers on corrupted pictures", "under attack"):
        assert title in said and title in page.read_text("utf-8")
    headers = re.findall(r'<th scope="col">(.*?)</th>', page.read_text("utf-8"))
    assert {header for header in headers if 'class="term"' not in header} == {"Network", "sparse", "dense"}
    for finding in comparison.findings:
        assert finding in said
    assert f"{sparse.calibration.nll:.3f}" in page.read_text("utf-8")
    told = json.dumps(record)
    assert f'"nll": {sparse.calibration.nll}' in told and '"gaussian noise"' in told


def test_likeness_is_counted_for_each_dissected_layer(images, tmp_path):
    model = small_resnet(4, LABELS)
    where = describe(model, images, load_concepts("scenes"), load_encoder("bundled"), out=tmp_path / "d")
    assert isinstance(where, Dissection)
    alike = measure_alike(where, where.layers[0])
    vectors = where.image_embeddings().float()
    pairs = [float(vectors[i] @ vectors[j]) for i in range(16) for j in range(i)]
    assert alike.chance == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)
    assert alike.best >= alike.median
    comparison = compare({"a": replace(Compared(model), dissection=where)}, images)
    assert f"{alike.median:.3f}" in comparison_text(comparison)


def test_names_stand_beside_those_of_random_weights(images, tmp_path):
    model = small_resnet(4, LABELS, decision=DecisionLayer(16, 4))
    where = describe(model, images, load_concepts("scenes"), load_encoder("bundled"), out=tmp_path / "d")
    comparison = compare({"a": Compared(model, dissection=where, probe=images)}, images)
    (names,) = comparison.networks[0].names
    twin = untrained_twin(model)
    again = describe(twin, images, load_concepts("scenes"), load_encoder("bundled"), out=tmp_path / "random")
    described = [again.description(names.layer, unit) for unit in range(names.units)]
    assert names.untrained.named == sum(unit.named for unit in described)
    assert names.untrained.alike == pytest.approx(
        measure_alike(again, names.layer).median, abs=0.005
    )  # half precision on disk
    passes = [network_input(twin, image) for image in images]
    decided = measure_decision(twin, passes, named_decisions(again, LABELS)).names
    assert vars(names.untrained.decision) == pytest.approx(vars(decided), abs=1e-5)
    said = comparison_text(comparison)
    assert "What names are worth" in said and " random  " in said
    others = open_probe(images.source, limit=5)
    with pytest.raises(ValueError, match=r"Expected the 16 pictures that .* was made of but got .* with others"):
        compare({"a": Compared(model, dissection=where, probe=others)}, images)
