"""Which module computes a competition: `formula`, or on a GPU that computes alike its twin in Triton, `kernels`."""

import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from . import formula
from .formula import Options
from .groups import Groups
from .noise import key_of


def formula_for(h: Tensor, groups: Groups, noise: Tensor | None, options: Options) -> ModuleType:
    """`kernels` where they compute what is asked, else `formula`.

    Compilers write their own kernels, and a gradient that is differentiated once more is one of torch's operations.
    """
    if not h.is_cuda or torch.compiler.is_compiling() or torch.is_grad_enabled() or not _computes_alike(h.device):
        return formula
    from . import kernels

    return kernels if kernels.fit(h, groups, noise, options[-1]) else formula


@cache
def _computes_alike(device: torch.device) -> bool:
    """Whether Triton is there and gives, on a few numbers, what torch gives: kernels are compiled for each GPU anew."""
    if find_spec("triton") is None:
        return False
    from . import kernels

    groups, key = Groups(8, channel_dim=1), key_of(0)
    options: Options = (1.0, 1.0, "gumbel")
    with torch.inference_mode(False), torch.no_grad():
        numbers = torch.arange(2400.0, device="cpu").view(50, 48)
        both = []
        for module, place in ((formula, torch.device("cpu")), (kernels, device)):
            h, grad_y = numbers.sin().to(place), numbers.cos().to(place)
            y, index = module.compete(h, groups, key, options)
            both.append((y, index, module.gradient(h, grad_y, index, groups, key, options)))
    alike = all(torch.allclose(a.float(), b.cpu().float(), 1e-4, 1e-5) for a, b in zip(*both, strict=True))
    if not alike:
        warnings.warn(f"Triton's kernels compute something else on {device}: competitions run in torch", stacklevel=2)
    return alike
