"""Noise from a key: its law, its independence, its passes."""

import math
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from competition_layers import StochasticLWTA
from competition_layers.noise import gumbel_noise, key_of, uniform_noise


def unlikely(counts):
    """How many standard deviations the chi-square of equally likely `counts` lies off its mean."""
    expected, n = counts.double().mean(), len(counts)
    return ((((counts - expected) ** 2) / expected).sum() - (n - 1)).item() / math.sqrt(2 * (n - 1))


def test_gumbel_noise_is_finite_and_standard():
    """Mean = Euler's gamma, variance = pi^2/6; two million draws."""
    g = gumbel_noise((1000, 2000), key_of(1))
    assert g.dtype == torch.float32 and g.isfinite().all()
    assert abs(g.mean().item() - 0.5772157) < 0.005
    assert abs(g.var().item() - math.pi**2 / 6) < 0.01


def test_uniform_noise_is_never_0_nor_1_and_fills_65536_bins_alike():
    u = uniform_noise((2, 1000, 2000), key_of(2))
    assert u.min() > 0 and u.max() < 1
    assert abs(unlikely(torch.bincount((u.flatten() * 65536).long(), minlength=65536))) < 4


@pytest.mark.parametrize(
    "places", [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 0), (3, 96)), ((0, 0), (0, 5), (7, 0), (7, 5))]
)
def test_noise_at_neighbouring_places_is_independent(places):
    """Pairs in a row, in a column, across, and the corners of rectangles, over 4,096 joint bins."""
    u, bins = uniform_noise((788, 768), key_of(3)), {2: 64, 4: 8}[len(places)]
    joint = sum((u[r : r + 780, c : c + 672] * bins).long() * bins**n for n, (r, c) in enumerate(places))
    assert abs(unlikely(torch.bincount(joint.flatten(), minlength=4096))) < 4


def test_noise_has_no_direction_of_its_own():
    """The largest singular value is that of independent numbers (Marchenko and Pastur): no row repeats another."""
    u = uniform_noise((400, 600), key_of(4)).double().sub(0.5).mul(math.sqrt(12))
    largest = torch.linalg.matrix_norm(u, 2).item() / (math.sqrt(400) + math.sqrt(600))
    assert largest == pytest.approx(1, abs=0.03)


def test_every_bit_of_every_number_matters_to_a_key():
    keys = [int(key_of(*numbers)) for numbers in ((0, 0), (0, 1), (1, 0), (2**62, 1), (2**62 + 1, 1))]
    assert len(set(keys)) == len(keys)
    first, second = (uniform_noise((100, 1000), torch.tensor(key)) for key in (keys[0], keys[0] + 1))
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.02


def layer():
    a = StochasticLWTA(4, channel_dim=-1).train()
    a.stream.restore(0)
    return a


class Block(nn.Module):
    """A block of which the second map and the exponential ask for the first's noise again."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.second = nn.Linear(8, 16), layer(), nn.Linear(16, 8)

    def forward(self, x):
        return self.second(self.act(self.first(x)).exp()).sin()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("order", ["together", "first in, first out", "last in, first out"])
def test_each_of_several_passes_meets_its_own_noise_again(reentrant, order):
    """Three passes of one input before any backward, a pass without gradient among them."""
    found = []
    for checkpointed in (False, True):
        block, x = Block(), torch.ones(5, 8).requires_grad_()
        passes = []
        for _ in range(3):
            passes.append(checkpoint(block, x, use_reentrant=reentrant) if checkpointed else block(x))
            with torch.no_grad():
                block(x)
        losses = [(i + 1) * y.square().sum() for i, y in enumerate(passes)]
        for loss in {"together": [sum(losses)], "first in, first out": losses}.get(order, losses[::-1]):
            loss.backward()
        assert block.act.stream.state()[1] == 6, "running again is no new pass"
        found.append([x.grad, *(p.grad for p in block.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_restarting_the_noise_between_a_pass_and_its_backward_changes_nothing():
    grads = []
    for through in (lambda f, x: f(x), lambda f, x: checkpoint(f, x, use_reentrant=False)):
        block, x = Block(), torch.ones(5, 8).requires_grad_()
        y = through(block, x)
        block.act.stream.restore(9)
        block(x)
        y.sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


def test_a_layer_that_runs_twice_in_a_checkpointed_block_is_refused():
    a, x = layer(), torch.randn(5, 16, requires_grad=True)
    a.name = "blocks.0.act"
    y = checkpoint(lambda x: a(a(x).exp()).exp(), x, use_reentrant=False)
    with pytest.raises(RuntimeError, match=r"'blocks.0.act' to run once in a checkpointed block.* got a second call"):
        y.sum().backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_is_too_long_ago_is_refused(reentrant, monkeypatch):
    monkeypatch.setattr("competition_layers.streams._REMEMBERED", 2)
    block, x = Block(), torch.ones(5, 8).requires_grad_()
    passes = [checkpoint(block, x, use_reentrant=reentrant) for _ in range(3)]
    with pytest.raises(RuntimeError, match="in one of its last 2 passes, but got an older one"):
        passes[0].sum().backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_passes_remembered_in_another_process_are_forgotten(reentrant):
    """A layer that was pickled after use: its numbers are those of graphs that are no more."""
    grads = []
    for checkpointed in (False, True):
        block, x = Block(), torch.ones(5, 8).requires_grad_()
        block.act.stream._latest.extend([(10**15, 9, 1), (10**15 + 9, 9, 2)])
        block.act = pickle.loads(pickle.dumps(block.act))
        y = checkpoint(block, x, use_reentrant=reentrant) if checkpointed else block(x)
        y.sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


def test_mapped_layers_follow_the_randomness_that_was_asked_for():
    a, h = layer(), torch.zeros(64, 1).expand(64, 16).contiguous()
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(a)(h)
    same, different = (
        torch.vmap(lambda row: a.draw(row) + 0 * row.sum().long(), randomness=r)(h) for r in ("same", "different")
    )
    assert len(set(same.tolist())) == 1 and len(set(different.tolist())) == 64
