"""The head refitted: the last linear map learns again what its inputs are worth, after units were switched off.

Switching off alone shifts the decision, since the other weights were fitted with those units there. The map is fitted
to the cross-entropy of given pictures with an L2 penalty on its weights, as in SHIFT (Marks et al. 2024, section 4)
and deep feature reweighting (Kirichenko et al. 2022), by L-BFGS from 0: the problem is convex, nothing is drawn.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from competition_layers import predict
from competition_layers.decision import has_decision
from competition_layers.names import nearest

STEPS = 200


@torch.no_grad()
def head_inputs(
    model: nn.Module, passes: Iterable[Float[Tensor, "images channels height width"]]
) -> Float[Tensor, "images features"]:
    """What the head of `model` reads, on the CPU."""
    seen: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    handle = model.get_submodule(head_of(model)).register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach().float().cpu())
    )
    try:
        for x in passes:
            predict(model, x, generator=generator)
    finally:
        handle.remove()
    return torch.cat(seen)


def refit_head(
    model: nn.Module,
    inputs: Float[Tensor, "images features"],
    targets: Int[Tensor, "images"],
    *,
    penalty: float = 1e-3,
) -> None:
    """Change `model` in place: its last linear map is fitted anew to `targets`.

    Inputs that it did not read, a decision layer's units that are switched off, stay unread; those that were scaled are
    weighed anew.

    Args:
        inputs: of the head, see `head_inputs`.
        penalty: of half the mean squared weight on standardised inputs.

    Raises:
        ValueError: a head that is no Linear, other numbers of inputs and targets, a class that it does not know.
    """
    head: Any = model.get_submodule(head_of(model))
    classes, features = head.weight.shape
    if inputs.shape != (len(targets), features):
        raise ValueError(
            f"Expected {features} inputs of the head and a class for each picture but got {list(inputs.shape)} and "
            f"{list(targets.shape)}"
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise ValueError(
            f"Expected classes from 0 to {classes - 1} but got {int(targets.min())} to {int(targets.max())}"
        )
    read = (head.weight.detach().cpu() != 0).any(0)
    weight, bias = _fitted(inputs, targets, classes, read | ~read.any(), penalty)
    with torch.no_grad():
        head.weight.copy_(weight)
        if head.bias is None:
            head.bias = nn.Parameter(torch.zeros(classes, device=head.weight.device, dtype=head.weight.dtype))
        head.bias.copy_(bias)


def head_of(model: Any) -> str:
    """The name of the last linear map of `model`.

    Raises:
        ValueError: its classifier is no Linear.
    """
    if has_decision(model):
        return "decision_votes"
    modules = dict(model.named_modules())
    said = getattr(model, "get_classifier", lambda: None)()
    name = next((name for name, module in modules.items() if module is said and said is not None), "")
    name = name or next((name for name, m in reversed(modules.items()) if isinstance(m, nn.Linear)), "")
    if not isinstance(modules.get(name), nn.Linear):
        raise ValueError(
            f"Expected a network whose classifier is a Linear but {type(model).__name__} has "
            f"{type(modules.get(name)).__name__}{nearest(name, modules)}; give it a decision layer"
        )
    return name


def _fitted(
    inputs: Tensor, targets: Tensor, classes: int, read: Tensor, penalty: float
) -> tuple[Float[Tensor, "classes features"], Float[Tensor, "classes"]]:
    x = inputs.double()
    mean, std = x.mean(0), x.std(0, correction=0)
    speaks = (read & (std > 1e-6 * std.max())).double()  # an input that is always the same tells nothing
    x = (x - mean) / std.clamp_min(1e-12) * speaks
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    steps = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def loss() -> Tensor:
        steps.zero_grad()
        value = F.cross_entropy(x @ weight.t() + bias, targets) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        steps.step(loss)
    found = weight.detach() * speaks / std.clamp_min(1e-12)
    return found.float(), (bias.detach() - found @ mean).float()
