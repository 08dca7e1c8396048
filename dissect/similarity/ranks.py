"""Does a concept order a unit's top images as the unit does?"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import chunks, supported, top_images


def rank_reorder(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top_fraction: float = 0.05,
    power: float = 3.0,
    strength: float = 0.5,
) -> Float[Tensor, "units concepts"]:
    """-err_m / (base (mean_x P_xm)^strength), over the unit's top images x, the best `top_fraction` of all.

    v are their values, best first; r_m(x) is the place of image x among them by P_m. err_m = mean_x |v(x) - v at
    place r_m(x)|^power, and base is the same for a random order: the mean over 5 permutations (CLIP-Dissect's code;
    there unseeded, here of a fixed generator).

    Where we leave it: at least 2 images are compared, a mean of P below 1e-3 counts as 1e-3 (the published code gives
    NaN for negative ones), and a unit whose top values are all equal gets zeros. `prior` is not used.
    """
    n = min(max(2, int(top_fraction * len(images))), len(images))
    order, counts = top_images(activations, won, n)
    speaks = supported(activations, won)
    scores = torch.zeros(activations.shape[1], len(concepts), device=activations.device)
    bases: dict[int, list[Tensor]] = {}
    for unit, count in enumerate(counts.tolist()):
        top = order[:count, unit]
        v = activations[top, unit].float()
        if count < 2 or not speaks[unit] or v[0] == v[-1]:
            continue
        if count not in bases:
            shuffles = torch.Generator().manual_seed(count)
            bases[count] = [torch.randperm(count, generator=shuffles).to(v.device) for _ in range(5)]
        base = torch.stack([(v - v[shuffle]).abs() ** power for shuffle in bases[count]]).mean()
        rows = images[top].float()
        for where, chunk in chunks(concepts, rows=4 * count):
            p = rows @ chunk.T
            place = p.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
            error = ((v[:, None] - v[place]).abs() ** power).mean(0) / base.clamp(min=torch.finfo(v.dtype).tiny)
            scores[unit, where] = -error / p.mean(0).clamp(min=1e-3) ** strength
    return scores
