"""Mistakes explained one by one: why the class that is said, and not the one that the picture shows."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ..folder.dissection import Dissection
from .class_summary import Mistake
from .explain_image import explain_many
from .explanation import Explanation


def explain_mistakes(
    model: nn.Module, mistakes: Sequence[Mistake], *, dissection: Dissection | None = None, layer: str | None = None
) -> list[Explanation]:
    """An explanation for each of `mistakes`, in their order: of the lead of the wrong class over the right one.

    Args:
        dissection, layer: as in `explain`.
    """
    explained: dict[str, Explanation] = {}
    for wrong, right in dict.fromkeys((each.predicted, each.truth) for each in mistakes):
        images = [each.image for each in mistakes if (each.predicted, each.truth) == (wrong, right)]
        found = explain_many(model, images, dissection=dissection, layer=layer, target=(wrong, right))
        explained |= {image: replace(one, truth=right) for image, one in zip(images, found, strict=True)}
    return [explained[each.image] for each in mistakes]
