"""The competition against naive loops written here."""

import itertools
import math

import pytest
import torch

from competition_layers import Groups
from competition_layers.competition import ESTIMATORS
from competition_layers.functional import (
    competition_kl,
    lwta,
    winners,
)
from competition_layers.groups import divisors, grouped, winner_mask, winner_units
from competition_layers.noise import draw_noise, gumbel_noise, key_of

KEY = key_of(5)

SHAPES = {
    "vector": ((5, 12), -1),
    "tokens": ((2, 7, 12), -1),
    "channels first": ((2, 12, 3, 4), 1),
    "channels last": ((2, 3, 4, 12), 3),
}
LAYOUTS = ("strided", "adjacent")


def members(group, competitors, width, layout):
    """The channels of a group, by definition."""
    groups = width // competitors
    return (
        [group + u * groups for u in range(competitors)]
        if layout == "strided"
        else list(range(group * competitors, (group + 1) * competitors))
    )


def naive(h, competitors, channel_dim, layout, noise=None):
    """Loop over positions and groups: the winner's value, 0 for the others; and the winners' indices."""
    rows = h.movedim(channel_dim, -1).reshape(-1, h.shape[channel_dim])
    noisy = rows if noise is None else rows + noise.movedim(channel_dim, -1).reshape(rows.shape)
    y, index = torch.zeros_like(rows), torch.zeros(len(rows), rows.shape[1] // competitors, dtype=torch.uint8)
    for n in range(len(rows)):
        for b in range(rows.shape[1] // competitors):
            units = members(b, competitors, rows.shape[1], layout)
            won = max(range(competitors), key=lambda u: (noisy[n, units[u]].item(), -u))
            y[n, units[won]], index[n, b] = rows[n, units[won]], won
    back = h.movedim(channel_dim, -1).shape
    return y.reshape(back).movedim(-1, channel_dim), index.reshape(*back[:-1], -1).movedim(-1, channel_dim)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("competitors", [2, 4])
@pytest.mark.parametrize("shape, channel_dim", SHAPES.values(), ids=SHAPES.keys())
def test_forward_and_winners_equal_a_naive_loop(shape, channel_dim, competitors, layout):
    h, g = torch.randn(shape), torch.randn(shape)
    for noise in (None, g):
        y, index = naive(h, competitors, channel_dim, layout, noise)
        groups = Groups(competitors, channel_dim, layout)
        torch.testing.assert_close(lwta(h, groups, noise=noise), y, rtol=0, atol=0)
        assert torch.equal(winners(h, groups, noise=noise), index)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape, channel_dim", SHAPES.values(), ids=SHAPES.keys())
def test_value_and_gradient_are_the_estimator_s_formula(shape, channel_dim, layout, estimator):
    """Against autograd through h (stopgrad(hard - soft) + soft), and through h soft for `relaxed`, in float64."""
    groups, tau, scale = Groups(4, channel_dim, layout), 0.7, 0.5
    h = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    g, grad_y = draw_noise(h, groups, KEY, estimator=estimator), torch.randn_like(h)
    options = {"noise": g, "noise_scale": scale, "estimator": estimator}
    z, axis = grouped(h, groups)
    if estimator in ("gumbel", "relaxed"):
        z = z + scale * g.double().reshape(z.shape)
    if estimator == "softmax":  # the winner is the first whose cumulated probability exceeds the uniform number
        cdf = (z / scale).softmax(axis).cumsum(axis)
        index = (cdf > g.double().unsqueeze(axis)).double().argmax(axis)
    else:
        index = z.argmax(axis)
    soft = (z / tau).softmax(axis)
    hard = torch.nn.functional.one_hot(index, 4).movedim(-1, axis).to(h)
    passed = soft if estimator == "relaxed" else (hard - soft).detach() + soft
    expected = h * passed.reshape(shape)
    y = lwta(h, groups, temperature=tau, **options)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert torch.equal(winners(h.detach(), groups, **options).long(), index)
    gradients = [torch.autograd.grad(f, h, grad_y)[0] for f in (y, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_temperature_never_changes_who_wins():
    h, g = torch.randn(64, 24), gumbel_noise((64, 24), KEY)
    outputs = [lwta(h, Groups(8, channel_dim=-1), noise=g, temperature=tau) for tau in (0.01, 0.67, 1.67)]
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[1], outputs[2])


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("estimator", ["gumbel", "softmax", "relaxed"])
def test_winners_follow_the_softmax(estimator, scale):
    """P(u wins) = softmax(h/s)_u; 40,000 draws, so a share is off by more than 0.015 with probability below 1e-8."""
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    h = logits.expand(40_000, 4)
    index = winners(h, Groups(4, channel_dim=-1), noise=KEY, noise_scale=scale, estimator=estimator)
    shares = torch.bincount(index.flatten().long(), minlength=4) / len(h)
    torch.testing.assert_close(shares, (logits / scale).softmax(0), rtol=0, atol=0.015)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fill", [0.0, -1.5, None], ids=["all zero", "all equal", "coarse values"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_winner_per_group_whatever_the_ties(dtype, fill, layout):
    h = (torch.randn(50, 24) * 2).round() if fill is None else torch.full((50, 24), fill)
    index = winners(h.to(dtype), Groups(8, channel_dim=-1, layout=layout))
    mask = winner_mask(index, Groups(8, channel_dim=-1, layout=layout))
    assert (
        grouped(mask, Groups(8, channel_dim=-1, layout=layout))[0].sum(-2 if layout == "strided" else -1) == 1
    ).all()
    if fill is not None:
        assert (index == 0).all(), "the first of equals wins"


def test_a_negative_winner_keeps_its_sign():
    y = lwta(torch.tensor([[-3.0, -1.0, -2.0, -5.0]]), Groups(4, channel_dim=-1))
    assert y.tolist() == [[0.0, -1.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_forward_and_backward(dtype):
    h = (torch.randn(256, 48) * 30).to(dtype).requires_grad_()
    y = lwta(h, Groups(24, channel_dim=-1), noise=KEY, temperature=0.1)
    y.sum().backward()
    assert y.dtype == dtype and h.grad.dtype == dtype
    assert y.isfinite().all() and h.grad.isfinite().all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nan_is_passed_on_and_never_counted_as_a_winner(estimator):
    h = torch.tensor([[1.0, float("nan"), 3.0, 2.0]])
    options = {"noise": KEY, "estimator": estimator}
    assert lwta(h, Groups(2, channel_dim=-1), **options).isnan().any()
    index = winners(h, Groups(2, channel_dim=-1), **options)
    assert index[0, 0] < 2 and index[0, 1] == 2, "group 1 holds the NaN: index U, which no unit has"


@pytest.mark.parametrize("scale", [1.0, 0.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_comes_in_is_left_as_it_was(estimator, scale):
    h = torch.randn(6, 24)
    noise = draw_noise(h, Groups(4, channel_dim=-1), KEY, estimator=estimator)
    before = [h.clone(), None if noise is None else noise.clone()]
    for given in (noise, KEY, None):
        lwta(h, Groups(4, channel_dim=-1), noise=given, noise_scale=scale, estimator=estimator)
    assert torch.equal(h, before[0])
    assert noise is None or torch.equal(noise, before[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kl_equals_a_double_loop_and_has_the_right_ends(layout):
    h = torch.randn(3, 12, dtype=torch.float64)
    total = 0.0
    for n in range(3):
        for b in range(3):
            q = torch.stack([h[n, k] for k in members(b, 4, 12, layout)]).softmax(0)
            total += sum(p * math.log(4 * p) for p in q.tolist())
    assert competition_kl(h, Groups(4, channel_dim=-1, layout=layout)).item() == pytest.approx(total / 9, abs=1e-6)
    assert competition_kl(torch.zeros(2, 8), Groups(8, channel_dim=-1)).item() == pytest.approx(0, abs=1e-6)
    certain = torch.tensor([[1000.0, 0, 0, 0]])
    assert competition_kl(certain, Groups(4, channel_dim=-1)).item() == pytest.approx(math.log(4), abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_winner_units_name_the_channels_that_passed(layout):
    h = torch.randn(2, 12, 3, 4)
    index = winners(h, Groups(4, channel_dim=1, layout=layout))
    units = winner_units(index, Groups(4, channel_dim=1, layout=layout))
    passed = lwta(h, Groups(4, channel_dim=1, layout=layout)) != 0
    assert torch.equal(torch.zeros_like(passed).scatter(1, units, True), passed)
    assert torch.equal(winner_mask(index, Groups(4, channel_dim=1, layout=layout)), passed)


def test_a_width_that_does_not_divide_is_refused_with_the_divisors():
    with pytest.raises(ValueError, match=r"5 competitors divide but got 12; numbers that would do: 2, 3, 4, 6, 12"):
        lwta(torch.zeros(1, 12), Groups(5, channel_dim=-1))
    with pytest.raises(ValueError, match="strided, adjacent but got 'stripes'"):
        Groups(4, channel_dim=-1, layout="stripes")
    assert divisors(12) == [2, 3, 4, 6, 12]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_key_is_its_noise_drawn_again_and_keeps_a_byte_a_group(estimator):
    h, results, kept = torch.randn(64, 24), [], []
    for noise in (KEY, draw_noise(h, Groups(8, channel_dim=-1), KEY, estimator=estimator)):
        x, saved = h.clone().requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=saved: to.append(t.nbytes) or t, lambda t: t):
            y = lwta(x, Groups(8, channel_dim=-1), noise=noise, noise_scale=0.5, estimator=estimator)
        results.append((y, *torch.autograd.grad(y.square().sum(), x)))
        kept.append(sum(saved))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
    groups, key = h.numel() // 8, 8
    assert kept[0] <= h.nbytes + groups + key


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (2, 3, 0, 1), (1, 3, 2, 0)])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_where_numbers_lie_in_memory_changes_nothing(estimator, keyed, order):
    """Neither those of h nor those of dL/dy: channels-last images, transposed tokens."""
    h, grad_y = torch.randn(4, 24, 3, 5), torch.randn(4, 24, 3, 5)
    back = [order.index(axis) for axis in range(4)]
    outcomes = []
    for lie_h, lie_y in itertools.product((False, True), repeat=2):
        x = h.permute(order).contiguous().permute(back) if lie_h else h.clone()
        g = grad_y.permute(order).contiguous().permute(back) if lie_y else grad_y
        y = lwta(x.requires_grad_(), Groups(8, 1), noise=key_of(1) if keyed else None, estimator=estimator)
        outcomes.append((y.detach(), *torch.autograd.grad(y, x, g)))
    for values, gradient in outcomes[1:]:
        torch.testing.assert_close(values, outcomes[0][0])
        torch.testing.assert_close(gradient, outcomes[0][1])


@pytest.mark.parametrize("temperature", [1.0, math.inf])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_channels_last_maps_stay_so(estimator, temperature):
    h, grad_y = (torch.randn(4, 24, 3, 5).to(memory_format=torch.channels_last) for _ in range(2))
    y = lwta(h.requires_grad_(), Groups(8, 1), noise=key_of(1), temperature=temperature, estimator=estimator)
    (gradient,) = torch.autograd.grad(y, h, grad_y)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap has no rule for comparisons in place
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("drawn", [False, True], ids=["key", "noise"])
def test_vmap_and_functional_grad_agree_with_autograd(estimator, drawn):
    h, noise = torch.randn(5, 12), torch.stack([key_of(i) for i in range(5)])
    if drawn:
        each = [
            draw_noise(row, Groups(4, channel_dim=-1), key, estimator=estimator)
            for row, key in zip(h, noise, strict=True)
        ]
        noise = None if each[0] is None else torch.stack(each)

    def loss(row, noise):
        return (lwta(row, Groups(4, channel_dim=-1), noise=noise, estimator=estimator) ** 2).sum()

    mapped = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None if noise is None else 0))(h, noise)
    x = h.clone().requires_grad_()
    sum(loss(x[i], None if noise is None else noise[i]) for i in range(5)).backward()
    torch.testing.assert_close(mapped, x.grad)
