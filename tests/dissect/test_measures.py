"""The judge's measures: naive oracles, labels that say nothing, and the published verdicts of the sanity tests."""

import math

import pytest
import torch

from dissect.judging.bench import Bench
from dissect.judging.controls import Labelling, controlled
from dissect.judging.judge import LayerVerdicts
from dissect.judging.measures import MEASURES
from dissect.judging.measures.seen import Seen
from dissect.judging.methods import Field
from dissect.judging.sanity import sanity
from dissect.judging.verdicts import Verdict, mean_interval, verdicts
from dissect.report.verdict_text import skipped_lines

IMAGES, UNITS = 200, 6


def made(seed=0, group=None):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(IMAGES, UNITS, generator=generator).double()
    present = (values + torch.rand(IMAGES, UNITS, generator=generator) > 1.5).double()
    return Seen(values, present, group)


@pytest.mark.parametrize("name", [name for name, each in MEASURES.items() if each.reads not in ("effect", "class")])
def test_a_measure_looks_at_no_order_of_images(name):
    seen = made(group=torch.tensor([0, 0, 0, 1, 1, 1]))
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))
    turned = Seen(seen.values[order], seen.concept[order], seen.group)
    assert MEASURES[name].of(turned).allclose(MEASURES[name].of(seen))


@pytest.mark.parametrize("name", ["true r", "true AUPRC", "F1", "IoU", "CoSy AUC", "CoSy MAD"])
def test_images_that_nobody_can_judge_count_for_nothing(name):
    seen = made()
    unsure = seen.concept.clone()
    unsure[:50] = math.nan
    without = Seen(seen.values[50:], seen.concept[50:])
    assert MEASURES[name].of(Seen(seen.values, unsure)).allclose(MEASURES[name].of(without))
    assert MEASURES[name].of(Seen(seen.values, torch.zeros_like(unsure))).isnan().all()  # true of no image


def test_f1_iou_and_cosy_are_what_a_loop_counts():
    seen = made(3)
    for unit in range(UNITS):
        value, present = seen.values[:, unit].tolist(), (seen.concept[:, unit] == 1).tolist()
        high = set(sorted(range(IMAGES), key=lambda i: -value[i])[:10])
        labelled = {i for i in range(IMAGES) if present[i]}
        assert MEASURES["IoU"].of(seen)[unit] == pytest.approx(len(high & labelled) / len(high | labelled))
        assert MEASURES["F1"].of(seen)[unit] == pytest.approx(2 * len(high & labelled) / (len(high) + len(labelled)))
        pairs = [(i, j) for i in labelled for j in range(IMAGES) if j not in labelled]
        auc = sum(value[i] > value[j] for i, j in pairs) / len(pairs)
        assert MEASURES["CoSy AUC"].of(seen)[unit] == pytest.approx(auc)
        mean = sum(value) / IMAGES
        spread = (sum((v - mean) ** 2 for v in value) / IMAGES) ** 0.5
        excess = sum(value[i] for i in labelled) / len(labelled) - mean
        assert MEASURES["CoSy MAD"].of(seen)[unit] == pytest.approx(excess / spread)


def test_ties_count_half_in_auc_and_together_in_auprc():
    seen = Seen(torch.tensor([[0.0], [0.0], [0.0], [1.0]]), torch.tensor([[1.0], [0.0], [0.0], [1.0]]))
    assert MEASURES["CoSy AUC"].of(seen).item() == pytest.approx((0.5 + 1) / 2)
    assert MEASURES["true AUPRC"].of(seen).item() == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_rivals_are_told_apart_by_their_own_labels_and_by_chance_with_others():
    """Groups of 4: the label's score follows who wins; a constant label gives 1 / 4; a silent unit none."""
    generator = torch.Generator().manual_seed(0)
    winner = torch.randint(4, (4000,), generator=generator)
    values = torch.nn.functional.one_hot(winner, 4).double()
    group = torch.zeros(4, dtype=torch.int64)
    score = MEASURES["rivals"].of
    assert score(Seen(values, 5 + 3 * values, group)).allclose(torch.ones(4).double())
    assert score(Seen(values, torch.full_like(values, 7), group)).allclose(torch.full((4,), 0.25).double())
    same = torch.rand(4000, 1, generator=generator).double().expand(-1, 4)
    assert score(Seen(values, same, group)).allclose(torch.full((4,), 0.25).double())
    noise = torch.rand(4000, 4, generator=generator).double()
    assert score(Seen(values, noise, group)).mean().item() == pytest.approx(0.25, abs=0.02)
    assert score(Seen(values, noise, None)).isnan().all()
    silent = torch.cat([values, torch.zeros(4000, 1).double()], 1)
    found = score(Seen(silent, silent, torch.zeros(5, dtype=torch.int64)))
    assert found[:4].allclose(torch.ones(4).double()) and found[4].isnan()


def test_the_sanity_tests_give_the_published_verdicts():
    """Oikarinen et al. 2025, table 2: correlation, AUPRC, F1 and IoU pass; AUC and MAD of CoSy miss missing labels,
    inverse AUPRC extra ones (at .499); of classes, likeness in words misses extra ones (a label may be like many)."""
    found = {name: sanity(measure) for name, measure in MEASURES.items()}
    assert {name for name, each in found.items() if each.passes} == {"r", "AUPRC", "true r", "F1", "IoU", "effect"}
    assert found["CoSy AUC"].missing < 0.005 < found["CoSy AUC"].extra
    assert found["CoSy MAD"].missing == pytest.approx(0, abs=0.005)
    assert found["true AUPRC"].extra < 0.005 < found["true AUPRC"].missing
    assert found["text"] == found["sentence"] and found["text"].extra < 0.005 < found["text"].missing


def test_a_label_that_says_nothing_is_worth_what_the_controls_say():
    words = ("boat", "palm", "sun", "rock")
    table = torch.eye(4)[:, [0, 0, 1, 2]]  # of unit: what each word is worth
    labels = Labelling("ours", (("boat", "sun"), ("boat",), ("palm", "rock"), ("sun", "boat")))

    def score(names):
        return torch.tensor([float(table[words.index(name), unit]) for unit, name in enumerate(names)])

    found = controlled(labels, words, score)
    assert found[""].tolist() == [1, 1, 1, 1]
    assert found["constant"].tolist() == [1, 1, 0, 0]  # boat, the most frequent
    assert 0 < found["random"].mean() < 0.6 and 0 < found["shuffled"].mean() < 0.9
    assert (found["best of 2"] >= found[""]).all() and {"best of 2", "best of 2 random"} < set(found)
    one = controlled(Labelling("one", (("boat",),) * 4), words, score)
    assert set(one) == {"", "constant", "shuffled", "random"}


def test_all_methods_are_judged_on_the_units_that_each_can_be_judged_on():
    values = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)).double()

    def view(labels):
        concept = torch.stack([values[:, u] if label != "?" else torch.full((50,), math.nan).double()
                               for u, label in enumerate(labels)], 1)  # fmt: skip
        return Seen(values, concept)

    bench = Bench("layer", (0, 1, 2, 3), 50, {"score": view})
    methods = [Labelling("a", (("x",), ("x",), ("x",), ("x",))), Labelling("b", (("x",), ("?",), ("x",), ("x",)))]
    found, leads = verdicts(bench, methods, ("x", "y"))
    own = {each.method: each for each in found if each.measure == "r" and not each.control}
    assert own["a"].units == own["b"].units == 3 and own["a"].mean == pytest.approx(1)
    assert [(lead.other, lead.mean) for lead in leads if lead.measure == "r"] == [("b", pytest.approx(0))]


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """200 samples of 80 numbers: the 95 % interval holds 0 in 90 to 99 % of them."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(200):
        _, low, high = mean_interval(torch.randn(80, generator=generator))
        held += low <= 0 <= high
    assert 180 <= held <= 198
    assert all(math.isnan(each) for each in mean_interval(torch.full((3,), math.nan)))


def test_units_that_a_column_does_not_judge_are_told_with_the_reason():
    def verdict(measure, units):
        return Verdict("layer", "ours", "", measure, 0.5, 0.4, 0.6, units)

    judged = [verdict("r", 4), verdict("rivals", 3), verdict("true r", 2), verdict("F1", 2)]
    table = LayerVerdicts(Field("layer", (0, 1, 2, 3), 4, (), {"ours": 0}), 50, judged, ())
    assert skipped_lines(table) == [
        "  1 not judged in rivals: a unit that wins none of the images alone, or whose rivals are not judged",
        "  2 not judged in true r, F1: a label that is known to be true of no held-out image, or false of none",
    ]
