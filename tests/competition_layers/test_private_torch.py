"""What this torch does where it promises nothing: a newer one that does otherwise is found here."""

import pytest
import torch

from competition_layers.private_torch import (
    assert_on_device,
    backward_in_progress,
    in_forward_mode,
    is_under_vmap,
    next_node_number,
    softmax_backward,
)


def test_an_assertion_raises_on_a_cpu_and_is_silent_when_all_is_right():
    assert_on_device(torch.tensor(True), "not shown")
    with pytest.raises(RuntimeError, match="what was wrong"):
        assert_on_device(torch.tensor(False), "what was wrong")


def test_a_tensor_knows_that_it_is_under_vmap():
    seen = []
    look = lambda row: seen.append(is_under_vmap(row)) or row.sum()  # noqa: E731
    torch.vmap(look)(torch.zeros(2, 3))
    torch.vmap(torch.func.grad(look))(torch.zeros(2, 3))
    torch.func.grad(look)(torch.zeros(3))
    assert seen == [True, True, False] and not is_under_vmap(torch.zeros(2, 3))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_forward_mode_is_seen_however_it_is_reached():
    seen = []
    look = lambda x: seen.append(in_forward_mode()) or x.square().sum()  # noqa: E731
    x = torch.zeros(3)
    torch.func.jvp(look, (x,), (x,))
    torch.func.hessian(look)(x)
    with torch.autograd.forward_ad.dual_level():
        look(torch.autograd.forward_ad.make_dual(x, x))
    assert seen == [True] * 3
    torch.func.grad(look)(x)
    torch.func.jacrev(torch.func.jacrev(look))(x)
    assert seen[3:] == [False] * 2 and not in_forward_mode()


def test_nodes_are_numbered_as_they_are_made():
    h = torch.zeros(2, requires_grad=True)
    before = next_node_number()
    y = h.sin()
    assert y.grad_fn._sequence_nr() == before and next_node_number() == before + 1


def test_a_backward_pass_says_which_node_runs():
    seen = []
    h = torch.zeros(2, requires_grad=True)
    y = h.sin()
    y.register_hook(lambda _: seen.append(backward_in_progress()))
    assert backward_in_progress() is None
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    (first, node, name), (second, other, _) = seen
    assert first != second and node == other == y.grad_fn._sequence_nr() and name == "SinBackward0"
    assert backward_in_progress() is None


def test_the_gradient_of_a_softmax_is_its_formula():
    x, grad = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 4, 3, dtype=torch.float64)
    soft = x.softmax(1)
    (expected,) = torch.autograd.grad(soft, x, grad)
    torch.testing.assert_close(softmax_backward(grad, soft.detach(), 1), expected)


@pytest.mark.parametrize("axis", [1, 2], ids=["strided", "last"])
@pytest.mark.parametrize("shape", [(2, 4, 3), (50, 8, 96), (3, 200, 255)])
def test_the_gradient_of_a_softmax_can_be_written_over_what_comes_in(shape, axis):
    """Whatever torch chooses by the size of the axis and of what lies behind it."""
    soft, grad = torch.randn(shape).softmax(axis), torch.randn(shape)
    expected = softmax_backward(grad, soft, axis)
    assert softmax_backward(grad, soft, axis, out=grad) is grad
    assert torch.equal(grad, expected)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_gradient_of_a_softmax_is_written_where_its_tensor_says(gaps):
    """In memory of another order than its axes, as channels-last images lie, and with other numbers in between."""
    soft, grad = (torch.randn(2, 3, 5, 8).movedim(-1, 1) for _ in range(2))
    soft, out = soft.softmax(1), torch.zeros(2, 3, 5, 16)[..., :8].movedim(-1, 1) if gaps else grad
    expected = softmax_backward(grad.contiguous(), soft.contiguous(), 1)
    assert softmax_backward(grad, soft, 1, out=out) is out
    torch.testing.assert_close(out, expected)
