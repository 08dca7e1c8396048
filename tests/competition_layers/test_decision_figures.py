"""Figures of a decision, against counts made by hand."""

import torch

from competition_layers import Votes
from competition_layers.decision_figures import (
    classes_served,
    curve_areas,
    necessary_units,
    sufficient_units,
    tautology,
    units_for_lead,
)

# two classes, four units in two groups; unit 0 speaks for class 0, unit 3 for class 1, units 1 and 2 for both alike
WEIGHTS = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])


def made(units, values):
    units, values = torch.tensor(units), torch.tensor(values)
    by_unit = torch.zeros(len(units), 4).scatter_add(1, units.flatten(1), values.flatten(1))
    return Votes(by_unit @ WEIGHTS.T, torch.zeros(2), units, values, WEIGHTS, ())


ONE = made([[[0, 3]]], [[[5.0, 2.0]]])  # the lead of class 0 is 5 - 2
PLACES = made([[[0], [0], [3]]], [[[2.0], [2.0], [3.0]]])


def test_how_many_carry_the_lead():
    assert units_for_lead(ONE).tolist() == [2] and units_for_lead(ONE, share=0.7).tolist() == [1]
    assert units_for_lead(PLACES).tolist() == [2]  # a unit that won at two places is one


def test_how_many_are_enough_and_how_many_are_needed():
    assert sufficient_units(ONE).tolist() == [0]  # without any, class 0 is the first of equals
    assert necessary_units(ONE).tolist() == [1]
    other = made([[[0, 3]]], [[[2.0, 5.0]]])  # class 1
    assert sufficient_units(other).tolist() == [1] and necessary_units(other).tolist() == [1]
    none = made([[[0, 0]]], [[[0.0, 0.0]]])
    assert necessary_units(none).tolist() == [5]


def test_units_that_won_nowhere_are_not_counted_as_kept():
    # unit 0 speaks for the runner-up alone, yet without it a third class would be ahead
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0], [-3.0, 2.0, 0.0, 0.0]])
    units, values = torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2)
    bias = torch.tensor([0.0, 0.0, 0.1])
    found = Votes((values @ weights[:, :2].T)[:, 0] + bias, bias, units, values, weights, ())
    assert sufficient_units(found).tolist() == [2]


def test_areas_are_those_of_curves_drawn_unit_by_unit():
    torch.manual_seed(0)
    weights, bias, values = torch.randn(3, 5), torch.randn(3), torch.randn(4, 1, 5)
    units = torch.arange(5).expand(4, 1, 5)
    found = Votes(values[:, 0] @ weights.T + bias, bias, units, values, weights, ())
    for i, (deleted, inserted) in enumerate(zip(*curve_areas(found), strict=True)):
        first, second = found.logits[i].topk(2).indices
        order = sorted(range(5), key=lambda u: -float(values[i, 0, u] * (weights[first, u] - weights[second, u])))
        curves: dict[str, list[float]] = {"deleted": [], "inserted": []}
        for count in range(6):
            for name, on in (("deleted", order[count:]), ("inserted", order[:count])):
                logits = sum((values[i, 0, u] * weights[:, u] for u in on), bias)
                curves[name].append(float(logits.softmax(0)[first]))
        for area, heights in ((deleted, curves["deleted"]), (inserted, curves["inserted"])):
            assert abs(float(area) - (sum(heights) - (heights[0] + heights[-1]) / 2) / 5) < 1e-5


def test_in_random_order_an_answer_lasts_longer():
    torch.manual_seed(1)
    weights, values = torch.randn(3, 40), torch.randn(50, 1, 40)
    found = Votes(values[:, 0] @ weights.T, torch.zeros(3), torch.arange(40).expand(50, 1, 40), values, weights, ())
    best, drawn = curve_areas(found), curve_areas(found, generator=torch.Generator().manual_seed(0))
    assert best[0].mean() < drawn[0].mean() and best[1].mean() > drawn[1].mean()


def test_a_detector_serves_one_class():
    weights = torch.tensor([[3.0, 2.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
    served = classes_served(torch.tensor([1.0, 1.0, torch.nan]), weights)
    assert torch.allclose(served[:2], torch.tensor([1.0, 2.0]))
    assert served[2].isnan()


def test_what_its_own_name_decides():
    same = torch.tensor([[True, False], [False, False], [False, False], [False, True]])
    assert torch.allclose(tautology(ONE, same), torch.tensor([5 / 7]))


def test_the_smallest_numbers_are_those_of_every_prefix():
    generator = torch.Generator().manual_seed(0)
    units = torch.randint(30, (25, 3, 4), generator=generator)
    values, weights = torch.randn(25, 3, 4, generator=generator), torch.randn(5, 30, generator=generator)
    bias, one = (
        torch.randn(5, generator=generator),
        torch.zeros(25, 30).scatter_add(1, units.flatten(1), values.flatten(1)),
    )
    found = Votes(one @ weights.T + bias, bias, units, values, weights, ())
    for image in range(25):
        first, second = found.logits[image].topk(2).indices
        lead = one[image] * (weights[first] - weights[second])
        won = sorted(set(units[image].flatten().tolist()), key=lambda unit: -lead[unit])
        added = [bias + weights[:, won[:n]] @ one[image, won[:n]] for n in range(len(won) + 1)]
        enough = [n for n, logits in enumerate(added) if logits.argmax() == first]
        needed = [n for n, logits in enumerate(added) if (found.logits[image] + bias - logits).argmax() != first]
        assert sufficient_units(found)[image] == enough[0]
        assert necessary_units(found)[image] == (needed[0] if needed else 31)
