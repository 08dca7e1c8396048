"""Does a concept order a unit's top images as the unit does?"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .sorting import sort_columns
from .support import chunks, supported, top_images

_AT_ONCE = 2**20  # numbers that are sorted together: they stay in a processor's cache


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
    order, counts = top_images(activations, won, n)
    counted = torch.arange(len(order), device=order.device)[:, None] < counts
    values = _from_0_to_1(activations.gather(0, order).float(), counted)
    speaks = supported(activations, won) & (values.amax(0) > 0)
    rows, order = order.unique(return_inverse=True)
    order.masked_fill_(~counted, len(rows))
    tops = F.pad(images[rows].float(), (0, 0, 0, 1))  # the last row stands where a unit has no more images
    means = F.embedding_bag(order.T, tops, mode="sum") / counts.clamp(min=1)[:, None]
    scores = torch.zeros(activations.shape[1], len(concepts), device=activations.device)
    worth = _errors_by_chance(values, counts, power)
    for where, chunk in chunks(concepts, rows=8 * len(tops)):
        places = _places(tops[:-1], chunk)
        for units, errors in _errors(places, order, values, power):
            scores[units, where] = errors / counts[units, None].clamp(min=1)
        scores[:, where] /= -worth[:, None] * (means @ chunk.T).clamp(min=1e-3) ** strength
    scores[~speaks] = 0.0
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


def _places(tops: Float[Tensor, "tops dim"], chunk: Float[Tensor, "chunk dim"]) -> Int[Tensor, "places chunk"]:
    """Of each image by each concept: 0 for the highest score, the same for the same score; the row after is behind."""
    scores, images = (chunk @ tops.T).sort(dim=1, descending=True)
    steps = F.pad(scores[:, 1:] != scores[:, :-1], (1, 0)).cumsum(1)
    return F.pad(torch.empty_like(steps).scatter_(1, images, steps), (0, 1), value=len(tops)).T.contiguous()


def _errors(
    places: Int[Tensor, "places chunk"],
    order: Int[Tensor, "ranks units"],
    values: Float[Tensor, "ranks units"],
    power: float,
) -> Iterator[tuple[slice, Float[Tensor, "some_units chunk"]]]:
    """Sum over a unit's images of |v(x) - v at x's place|^power, units in blocks.

    A key holds an image's place above its rank in the unit, counted from the last: one sort of the keys puts the
    unit's values in the concept's order, without indices.
    """
    size = 1 << (len(order) - 1).bit_length()
    short = len(places) * size < 2**31
    keys_of = (places * size).to(torch.int32 if short else torch.int64)
    order = F.pad(order, (0, 0, 0, size - len(order)), value=len(places) - 1)
    values = F.pad(values, (0, 0, 0, size - len(values)))
    backwards = values.flip(0).T.contiguous()
    ranks = torch.arange(size - 1, -1, -1, device=order.device, dtype=keys_of.dtype)[:, None, None]
    units, chunk = order.shape[1], places.shape[1]
    block = max(1, _AT_ONCE // (size * chunk))
    for start in range(0, units, block):
        some = slice(start, min(start + block, units))
        keys = keys_of.index_select(0, order[:, some].flatten()).view(size, -1, chunk).bitwise_or_(ranks)
        found = sort_columns(keys.view(size, -1)).view(size, -1, chunk).bitwise_and_(size - 1)
        found += torch.arange(len(keys[0]), device=found.device, dtype=found.dtype)[:, None] * size
        reordered = backwards[some].flatten().index_select(0, found.flatten()).view(found.shape)
        yield some, reordered.sub_(values[:, some, None]).abs_().pow_(power).sum(0)
