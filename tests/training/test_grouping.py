"""Groups from the data: planted exclusive units, brute force, balance."""

from itertools import permutations

import pytest
import torch

from competition_layers import Groups
from training.conversion.grouping import balanced_groups, coactivation, grouping_cost, order_of, random_groups


def planted(groups, *, positions=400, seed=0):
    """Activations of which exactly one unit of each planted group is above 0 at every position."""
    generator = torch.Generator().manual_seed(seed)
    count, competitors = groups.shape
    winner = torch.randint(competitors, (positions, count), generator=generator)
    activations = torch.full((positions, groups.numel()), -0.1)
    units = groups[torch.arange(count), winner]
    return activations.scatter(1, units, torch.rand(positions, count, generator=generator) + 0.5)


@pytest.mark.parametrize("count, competitors", [(2, 2), (4, 2), (6, 4), (8, 8)])
def test_units_that_exclude_one_another_end_up_in_one_group(count, competitors):
    groups = random_groups(count * competitors, competitors, seed=3)
    found = balanced_groups(coactivation(planted(groups)), competitors)
    assert {frozenset(group) for group in found.tolist()} == {frozenset(group) for group in groups.tolist()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("competitors", [2, 3])
def test_no_grouping_of_six_units_costs_less(competitors, seed):
    a = torch.randn(50, 6, generator=torch.Generator().manual_seed(seed))
    cost = coactivation(a)
    least = min(float(grouping_cost(cost, torch.tensor(p).reshape(-1, competitors))) for p in permutations(range(6)))
    assert float(grouping_cost(cost, balanced_groups(cost, competitors, starts=8))) == pytest.approx(least)


def test_coactivation_is_the_mean_product_of_what_is_above_zero():
    a = torch.randn(20, 4)
    expected = [
        [0.0 if i == j else float(sum(max(0, r[i]) * max(0, r[j]) for r in a)) / 20 for j in range(4)] for i in range(4)
    ]
    torch.testing.assert_close(coactivation(a), torch.tensor(expected))


def test_a_refined_grouping_costs_less_than_index_and_random():
    a = torch.randn(300, 8) @ torch.randn(8, 64)
    cost = coactivation(a)
    by_index = torch.arange(64).reshape(8, 8)
    found = balanced_groups(cost, 8)
    assert sorted(found.flatten().tolist()) == list(range(64))
    assert grouping_cost(cost, found) < 0.9 * grouping_cost(cost, by_index)
    assert grouping_cost(cost, found) < 0.9 * grouping_cost(cost, random_groups(64, 8, seed=0))


@pytest.mark.parametrize("competitors", [1, 8])
def test_one_group_of_all_and_groups_of_one_are_left_as_they_are(competitors):
    found = balanced_groups(coactivation(torch.randn(10, 8)), competitors)
    assert found.tolist() == torch.arange(8).reshape(-1, competitors).tolist()


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
def test_the_order_puts_each_group_where_the_layout_has_it(layout):
    from competition_layers.groups import grouped

    groups = random_groups(12, 3, seed=1)
    numbered, axis = grouped(order_of(groups, layout), Groups(3, channel_dim=0, layout=layout))
    torch.testing.assert_close(numbered.movedim(axis, 1), groups)
