"""Whether the kernels of GPUs compute a competition: where Triton is, after a check on the GPU at hand."""

import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from .competition import Estimator
from .groups import Groups
from .noise import key_of


def kernels_for(h: Tensor, groups: Groups, noise: Tensor | None, estimator: Estimator) -> ModuleType | None:
    """The module `kernels`, where it computes what is asked; compilers write their own kernels."""
    if not h.is_cuda or torch.compiler.is_compiling() or not _computes_alike(h.device):
        return None
    from . import kernels

    return kernels if kernels.fit(h, groups, noise, estimator) else None


@cache
def _computes_alike(device: torch.device) -> bool:
    """Whether Triton is there and gives, on a few numbers, what torch gives: kernels are compiled for each GPU anew."""
    if find_spec("triton") is None:
        return False
    from . import kernels
    from .functional import compete

    groups, key = Groups(8, channel_dim=1), key_of(0)
    with torch.inference_mode(False), torch.enable_grad():
        numbers = torch.arange(2400.0, device="cpu").view(50, 48)
        h, grad_y = numbers.sin(), numbers.cos()
        y, index = compete(h.requires_grad_(), groups, noise=key)
        here = (y, index, *torch.autograd.grad(y, h, grad_y))
    h, grad_y = h.detach().to(device), grad_y.to(device)
    y, index = kernels.compete(h, groups, key, 1.0, "gumbel")
    there = (y, index, kernels.gradient(h, grad_y, index, groups, key, (1.0, 1.0, "gumbel")))
    alike = all(torch.allclose(a.float(), b.cpu().float(), 1e-4, 1e-5) for a, b in zip(here, there, strict=True))
    if not alike:
        warnings.warn(f"Triton's kernels compute something else on {device}: competitions run in torch", stacklevel=2)
    return alike
