"""Every call of torch that torch does not promise to keep; a test of its own holds what each of them does."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def assert_on_device(all_right: Tensor, message: str) -> None:
    """Raise a RuntimeError unless `all_right`; a GPU asserts it by itself and is not stopped to ask.

    Under `torch.vmap`, which knows no assertions, nothing is said.
    """
    if torch.compiler.is_compiling() or not is_under_vmap(all_right):
        torch._assert_async(all_right, message)


def is_exporting() -> bool:
    """Whether torch.export is at work; to `torch.compiler.is_exporting` torch 2.11 says yes in what it compiles too."""
    return torch.compiler._is_exporting_flag


def is_under_vmap(t: Tensor) -> bool:
    """Whether `t` stands for a batch of tensors inside `torch.vmap`, at whatever depth."""
    while torch._C._functorch.is_gradtrackingtensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    return torch._C._functorch.is_batchedtensor(t)


def in_forward_mode() -> bool:
    """Whether derivatives are computed in forward mode: `torch.func.jvp` and its kin, or a level of `forward_ad`."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return forward_ad._current_level >= 0 or any(i.key() == torch._C._functorch.TransformType.Jvp for i in stack)


def next_node_number() -> int:
    """The number that the next node of this thread's autograd graphs gets; nodes are numbered as they are made."""
    return torch._C._autograd._get_sequence_nr()


def backward_in_progress() -> tuple[int, int, str] | None:
    """Of the backward pass that runs this line (activation checkpointing runs blocks again inside it), or None.

    Returns:
        A number of that backward pass; the number and the name of the node whose gradient is being computed.
    """
    node = torch._C._current_autograd_node()
    return None if node is None else (torch._C._current_graph_task_id(), node._sequence_nr(), node.name())


def softmax_backward(grad: Tensor, soft: Tensor, axis: int, *, out: Tensor | None = None) -> Tensor:
    """The gradient of a softmax's input, `soft * (grad - (grad * soft).sum(axis))`; `out` can be `grad` itself.

    torch 2.15 fills `out` as if it were contiguous, whatever its strides say: so axes are put in the order of memory.
    """
    if out is None:
        return torch._softmax_backward_data(grad, soft, axis, soft.dtype)
    order = sorted(range(out.ndim), key=out.stride, reverse=True)
    lying = out.permute(order)
    if not lying.is_contiguous():
        return out.copy_(torch._softmax_backward_data(grad, soft, axis, soft.dtype))
    place = order.index(axis % out.ndim)
    torch._softmax_backward_data(grad.permute(order), soft.permute(order), place, soft.dtype, grad_input=lying)
    return out
