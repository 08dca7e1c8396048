"""Does a concept order a unit's top images as the unit does?"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .sorting import sort_rows
from .support import chunks, has_support, top_images

_AT_ONCE = 2**18  # numbers that are sorted together: they stay in a processor's cache


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
    NaN for negative ones), images that a concept cannot tell apart stand in the order that is worst for it, and a unit
    whose top values are all equal gets zeros. `prior` is not used.
    """
    n = min(max(2, int(top_fraction * len(images))), len(images))
    order, counts = top_images(activations, won, n, images)
    counted = torch.arange(len(order), device=order.device)[:, None] < counts
    values = _from_0_to_1(activations.gather(0, order).float(), counted)
    supported = has_support(activations, won) & (values.amax(0) > 0)
    rows, order = order.unique(return_inverse=True)
    order.masked_fill_(~counted, len(rows))
    tops = F.pad(images[rows].float(), (0, 0, 0, 1))  # the last row stands where a unit has no more images
    means = F.embedding_bag(order.T, tops, mode="sum") / counts.clamp(min=1)[:, None]
    scores = torch.zeros(activations.shape[1], len(concepts), device=activations.device)
    worth = _errors_by_chance(values, counts, power)
    for where, chunk in chunks(concepts, rows=8 * len(tops)):
        places = _places(tops[:-1], chunk)
        scores[:, where] = _errors(places, order, values, power) / counts[:, None].clamp(min=1)
        scores[:, where] /= -worth[:, None] * (means @ chunk.T).clamp(min=1e-3) ** strength
    scores[~supported] = 0.0
    return scores


def _from_0_to_1(values: Float[Tensor, "ranks units"], counted: Bool[Tensor, "ranks units"]) -> Tensor:
    """The counted values of each unit less the smallest, over their range: err / base stays the same."""
    values = values - values.masked_fill(~counted, torch.inf).amin(0)
    values = torch.where(counted, values, 0.0)
    return values / values.amax(0).clamp(min=torch.finfo(values.dtype).tiny)


def _errors_by_chance(
    values: Float[Tensor, "ranks units"], counts: Int[Tensor, "units"], power: float
) -> Float[Tensor, "units"]:
    worth = torch.ones_like(values[0])
    for count in counts.unique().tolist():
        generator = torch.Generator().manual_seed(count)
        shuffles = torch.stack([torch.randperm(count, generator=generator) for _ in range(5)])
        v = values[:count, counts == count]
        for_each = [(v - v[shuffle]).abs() ** power for shuffle in shuffles.to(v.device)]
        worth[counts == count] = torch.stack(for_each).mean((0, 1)) if count > 1 else 1.0
    return worth.clamp(min=torch.finfo(worth.dtype).tiny)


def _places(tops: Float[Tensor, "tops dim"], chunk: Float[Tensor, "chunk dim"]) -> Int[Tensor, "chunk places"]:
    """Of each image by each concept: 0 for the highest score, the same for the same score; the column after: behind."""
    scores, images = (chunk @ tops.T).sort(dim=1, descending=True)
    steps = F.pad(scores[:, 1:] != scores[:, :-1], (1, 0)).cumsum(1)
    return F.pad(torch.empty_like(steps).scatter_(1, images, steps), (0, 1), value=len(tops))


def _errors(
    places: Int[Tensor, "chunk places"],
    order: Int[Tensor, "ranks units"],
    values: Float[Tensor, "ranks units"],
    power: float,
) -> Float[Tensor, "units chunk"]:
    """Sum over a unit's images of |v(x) - v at x's place|^power, concept by concept, units in blocks.

    A key holds an image's place above its rank in the unit, counted from the last: one sort of the keys puts the
    unit's values in the concept's order, without indices.
    """
    ranks, units = order.shape
    size = 1 << (ranks - 1).bit_length()
    keys_of = (places * size).to(torch.int32 if places.shape[1] * size < 2**31 else torch.int64)
    from_last = torch.arange(ranks - 1, -1, -1, device=order.device, dtype=keys_of.dtype)
    order, backwards, values = order.T.contiguous(), values.flip(0).T.contiguous(), values.T.contiguous()
    block = max(1, _AT_ONCE // ranks)
    first = torch.arange(min(block, units), device=order.device, dtype=keys_of.dtype)[:, None] * ranks
    errors = values.new_empty(len(places), units)
    for start in range(0, units, block):
        some = slice(start, start + block)
        images, theirs, reversed_ = order[some].flatten(), values[some], backwards[some].flatten()
        for concept, keys in enumerate(keys_of):
            found = sort_rows(keys.index_select(0, images).view(theirs.shape).bitwise_or_(from_last))
            found.bitwise_and_(size - 1).add_(first[: len(found)])
            reordered = reversed_.index_select(0, found.flatten()).view(theirs.shape)
            errors[concept, some] = reordered.sub_(theirs).abs_().pow_(power).sum(1)
    return errors.T
