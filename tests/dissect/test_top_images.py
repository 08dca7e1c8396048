"""Top images kept while they pass are those of a sort over all of them, in whatever parts they came."""

import pytest
import torch

from dissect.recording.top_images import KEPT, SIDE, content_ranks, grid_of, merged, no_top_images, with_batch
from dissect.recording.unit_values import UnitValues


def pictures(images=30, units=5, side=4, *, levels=6):
    """Values with many ties."""
    torch.manual_seed(0)
    y = torch.randint(0, levels, (images, units, side * side)).float()
    return y, y.amax(2), torch.rand(images, units) < 0.7


HASHES = [f"{31 * i % 101}" for i in range(30)]  # contents in another order than that of storage
ORDER = content_ranks(HASHES)


def kept(y, values, won, batches, grid=(4, 4), order=ORDER):
    tops = no_top_images(y.shape[1], grid)
    for run in batches:
        rows = slice(run.start, run.stop)
        said = UnitValues(values[rows], None if won is None else won[rows])
        tops = with_batch(tops, run, said, y[rows], grid, order)
    return tops


@pytest.mark.parametrize("competes", [True, False])
def test_they_are_the_best_by_value_then_by_content_among_images_won(competes):
    y, values, won = pictures()
    tops = kept(y, values, won if competes else None, [range(7), range(7, 20), range(20, 30)])
    for unit in range(5):
        candidates = [i for i in range(30) if won[i, unit] or not competes]
        best = sorted(candidates, key=lambda i: (-values[i, unit], HASHES[i]))[:KEPT]
        assert tops.indices[unit].tolist() == best
        assert torch.equal(tops.values[unit], values[best, unit])
        assert torch.equal(tops.maps[unit].flatten(1), y[best, unit].half())


def test_parts_in_any_order_merge_to_the_same():
    y, values, won = pictures()
    one = kept(y, values, won, [range(30)])
    parts = [kept(y, values, won, [run]) for run in (range(20, 30), range(8), range(8, 20))]
    for name, tensor in merged(parts, ORDER).tensors().items():
        assert torch.equal(tensor, one.tensors()[name])


def test_how_the_pictures_are_stored_decides_nothing():
    y, values, won = pictures()
    stored = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    one = kept(y, values, won, [range(9), range(9, 30)])
    runs = [range(20), range(20, 30)]
    other = kept(y[stored], values[stored], won[stored], runs, order=content_ranks([HASHES[i] for i in stored]))
    assert torch.equal(stored[other.indices.long()], one.indices.long()) and torch.equal(other.maps, one.maps)


def test_fewer_images_than_places_leave_empty_ones():
    y, values, won = pictures(images=3)
    tops = kept(y, values, won, [range(3)])
    assert ((tops.indices >= 0).sum(1) == won.sum(0)).all()
    assert (tops.values[tops.indices < 0] == -torch.inf).all()


def test_large_maps_are_averaged_down_and_class_tokens_left_out():
    y = torch.rand(2, 3, 1 + 28 * 28)
    tops = with_batch(no_top_images(3, (28, 28)), range(2), UnitValues(y.mean(2)), y, (28, 28), ORDER)
    assert tops.maps.shape == (3, KEPT, SIDE, SIDE)
    first = int(tops.indices[0, 0])
    expected = y[first, 0, 1:].view(14, 2, 14, 2).mean((1, 3))
    torch.testing.assert_close(tops.maps[0, 0].float(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "shape, axis, prefix, grid",
    [
        ((2, 8, 5, 7), 1, 0, (5, 7)),
        ((2, 5, 7, 8), 3, 0, (5, 7)),
        ((2, 50, 8), 2, 1, (7, 7)),
        ((2, 50, 8), 2, 0, None),
        ((2, 8), 1, 1, None),
    ],
)
def test_the_grid_of_the_positions(shape, axis, prefix, grid):
    assert grid_of(shape, axis, prefix) == grid
