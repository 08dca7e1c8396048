"""Projected gradient descent on pictures, against the network's argmax and against the average of its draws."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from competition_layers import seed_noise
from competition_layers.inference import inference_rule, logits_of
from competition_layers.modes import evaluating

Scale = tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]  # mean and deviation of a network's input


def pgd(
    model: nn.Module,
    x: Float[Tensor, "images 3 height width"],
    targets: Int[Tensor, "images"],
    scale: Scale,
    *,
    epsilon: float = 2 / 255,
    steps: int = 10,
    draws: int = 0,
) -> Float[Tensor, "images 3 height width"]:
    """Inputs at most `epsilon` away (of full scale, each value) that raise the cross-entropy (Madry et al. 2018).

    Starts at random, moves by sign(gradient) * 2.5 epsilon / steps, and stays among pictures.

    Args:
        scale: how pixels become the network's input.
        draws: 0: gradients of the `argmax` network. n: gradients averaged over n draws of its winners at every step
            (Athalye et al. 2018): a network that draws hides its gradients from an attack that looks once.
    """
    mean, std = (each.to(x) for each in scale)
    pixels = (x * std + mean).clamp(0, 1)
    generator = torch.Generator().manual_seed(0)
    start = (2 * torch.rand(x.shape, generator=generator) - 1) * epsilon
    found = (pixels + start.to(x)).clamp(0, 1)
    seed_noise(model, 0)
    with evaluating(model), inference_rule(model, "sample" if draws else "argmax"), torch.enable_grad():
        for _ in range(steps):
            moved = found.detach().requires_grad_()
            losses = [F.cross_entropy(logits_of(model, (moved - mean) / std), targets) for _ in range(max(1, draws))]
            (slope,) = torch.autograd.grad(torch.stack(losses).sum(), moved)
            found = moved.detach() + slope.sign() * 2.5 * epsilon / steps
            found = (pixels + (found - pixels).clamp(-epsilon, epsilon)).clamp(0, 1)
    return (found - mean) / std
