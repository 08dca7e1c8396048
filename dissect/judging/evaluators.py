"""Who says how much of a label is in an image: the encoder that gave the names, or better another one."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoders.concepts import ConceptSet
from ..encoders.protocol import ImageTextEncoder
from ..folder.dissection import Dissection
from ..probe.probe_images import ProbeImages
from .bench import Embed, Evaluator, Labels


def own_evaluator(dissections: Sequence[Dissection], encoder: ImageTextEncoder | None = None) -> Evaluator:
    """The dissections' own encoder, from what they hold; `encoder`, the same one, reads labels that none of them holds.

    Raises:
        ValueError: dissections by different encoders.
    """
    first = dissections[0]
    identities = {each.manifest["encoder"] for each in dissections}
    if len(identities) > 1 or (encoder is not None and encoder.identity not in identities):
        raise ValueError(
            f"Expected dissections by one encoder but got {', '.join(sorted(identities))}: judge them by another one "
            "(--evaluator, --images)"
        )
    held: dict[str, Tensor] = {}
    for each in dissections:
        space = each.space()
        held |= dict(zip(space.names, space.concept_embeddings.unbind(0), strict=True))
    prompts = tuple(first.manifest["concepts"].get("templates", ("{}",)))
    images = first.image_embeddings()
    return Evaluator(first.manifest["encoder"], images, _texts(held, encoder, prompts, images.shape[1]))


def other_evaluator(encoder: ImageTextEncoder, probe: ProbeImages, dissections: Sequence[Dissection]) -> Evaluator:
    """An encoder that reads the probe's pictures anew.

    Raises:
        ValueError: `probe` is not what the dissections looked at.
    """
    wanted = dissections[0].images
    places = {name: i for i, name in enumerate(probe.names)}
    lost = [name for name in wanted if name not in places]
    if lost:
        raise ValueError(
            f"Expected the {len(wanted)} images of the dissection but {probe.source!r} has no {lost[0]!r}"
            + (f" and lacks {len(lost) - 1} others" if len(lost) > 1 else "")
        )
    images = encoder.encode_images(probe.some([places[name] for name in wanted]))
    own = any(each.manifest["encoder"] == encoder.identity for each in dissections)
    return Evaluator(encoder.identity, images, _texts({}, encoder, ("{}",), images.shape[1]), own=own)


def _texts(held: dict[str, Tensor], encoder: ImageTextEncoder | None, prompts: tuple[str, ...], width: int) -> Embed:
    """Embeds labels; a label that nobody reads is NaN."""

    def texts(labels: Labels) -> Float[Tensor, "labels dim"]:
        fresh = [label for label in dict.fromkeys(labels) if label not in held]
        if fresh and encoder is not None:
            held.update(_read(encoder, ConceptSet(tuple(fresh), prompts, "the labels", tuple(fresh))))
        unread = torch.full((width,), torch.nan)
        return torch.stack([held.get(label, unread) for label in labels])

    return texts


def _read(encoder: ImageTextEncoder, phrases: ConceptSet) -> Iterator[tuple[str, Tensor]]:
    try:
        known, _ = encoder.known(phrases)
    except ValueError:  # it reads none of them
        return
    yield from zip(known.names, encoder.encode_texts(known).unbind(0), strict=True)
