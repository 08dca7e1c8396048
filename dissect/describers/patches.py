"""Activated patches against a vocabulary (Zhao, Qian, Shi, Huai & Liu 2024, arXiv 2310.10708).

From a unit back to the parts of pictures that activate it, and from those to the phrases that a vision-language model
finds in them. The paper gives no aggregation, counts or list sizes: those here are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..backends.protocols import LanguageModel, Request
from ..encoders.pictures import encode_pictures
from ..encoders.protocol import PixelEncoder
from ..encoders.space import Space, with_phrases
from ..exemplars.regions import Box, connected_boxes
from ..naming.description import Candidate
from ..naming.synonyms import distinct_names
from .class_ablation import class_ablation
from .describer import Probed, Proposals
from .tools import Tools

METHOD = "patches"
CANDIDATES = 5
CONTROLS = 128  # random patches of a layer: what every phrase gets from any patch
LEAST_SIDE = 1 / 7  # of the picture: 32 of 224 pixels
_LOOKED_AT = 25

KINDS = ("colours", "textures", "materials", "parts of things", "objects", "scenes", "actions", "attributes")
ASK = (
    "List 12 short phrases (one to three words each) for {kind} that can be seen in pictures of the domain below. "
    "Separate them by commas; no numbering, nothing else."
)


@dataclass(frozen=True)
class Patches:
    """The describer: the phrases whose score is highest, S(m) = sum_j w_j cos(patch_j, m) - mean cos(control, m).

    The weights w_j are the unit's values on its images, as shares. Control patches have the shapes of the layer's
    patches, at random places of random images: they take off what a phrase gets from any patch.

    Args:
        domain: of the vocabulary that `language_model` is asked for; "" takes the concepts as they are.
    """

    language_model: LanguageModel | None = None
    domain: str = ""
    method: str = METHOD

    @property
    def options(self) -> Mapping[str, Any]:
        asked = self.language_model.identity if self.language_model and self.domain else ""
        return {"domain": self.domain, "asked": [asked, ASK, KINDS], "counts": [CONTROLS, LEAST_SIDE]}

    def propose(self, probed: Probed) -> Proposals:
        """Five phrases a unit that mean different things, with their scores; what switching it off costs each class,
        where the pictures and the network say their classes.

        Raises:
            ValueError: the encoder sees no pixels, or reads too little of the vocabulary.
        """
        encoder, exemplars = probed.encoder, probed.exemplars
        if not isinstance(encoder, PixelEncoder):
            raise ValueError(
                "Expected an encoder that sees pictures for patches but got precomputed embeddings; take --clip "
                "bundled, MODEL/TAG or MODEL/FILE"
            )
        space = self._vocabulary(probed)
        phrases = space.concept_embeddings
        boxes = {unit: region_boxes(probed, unit) for unit in range(probed.units)}
        baseline = (_controls(probed, encoder, [box for of in boxes.values() for box in of]) @ phrases.T).mean(0)
        candidates: list[tuple[Candidate, ...]] = []
        for unit in range(probed.units):
            places = exemplars.places(unit)
            if not places:
                candidates.append(())
                continue
            cut = [probed.probe[place].crop(box) for place, box in zip(places, boxes[unit], strict=True)]
            size = exemplars.values[unit, : len(places)].abs().double() + 1e-12
            scores = (size / size.sum()).float() @ encode_pictures(encoder, cut) @ phrases.T - baseline
            best = scores.topk(min(_LOOKED_AT, len(space.names))).indices
            (kept,) = distinct_names(best[None], space.names, phrases, keep=CANDIDATES)
            chosen = [int(best[rank]) for rank in kept]
            candidates.append(tuple(Candidate(space.names[i], float(scores[i]), self.method) for i in chosen))
        ablation = class_ablation(probed)
        return Proposals(candidates, ablation.tensors() if ablation else {})

    def _vocabulary(self, probed: Probed) -> Space:
        """The phrases to match: the concepts, or those that the language model lists for the domain."""
        if not self.domain:
            return probed.space
        assert self.language_model is not None
        asked = made_vocabulary(self.language_model, self.domain)
        wide = with_phrases(probed.space, asked, probed.encoder, probed.concepts)
        place = {name: i for i, name in enumerate(wide.names)}
        read = [place[phrase] for phrase in asked if phrase in place]
        if len(read) < CANDIDATES:
            raise ValueError(
                f"Expected at least {CANDIDATES} phrases that are read for {self.domain!r} but got {len(read)} "
                f"of {len(asked)}; take another language model (--language_model), or a word list (--concepts)"
            )
        names = tuple(wide.names[i] for i in read)
        return Space(wide.image_embeddings, wide.concept_embeddings[read], names)


def from_tools(tools: Tools) -> Patches:
    """The describer, with the concepts or with a vocabulary for the domain that the user named."""
    return Patches(tools.asked_for_phrases(), tools.domain)


def made_vocabulary(model: LanguageModel, domain: str) -> list[str]:
    """Phrases of a domain, kind by kind, each once: what a language model answers is data.

    >>> class Model:
    ...     identity = "fixed"
    ...     def answer(self, request, **options):
    ...         return "1. Red, blue - dark green"
    >>> made_vocabulary(Model(), "flags")
    ['red', 'blue', 'dark green']
    """
    found: dict[str, None] = {}
    for kind in KINDS:
        answer = model.answer(Request(ASK.format(kind=kind), (domain,)))
        for part in answer.replace(" - ", ",").replace(";", ",").split(","):
            phrase = part.strip().lstrip("0123456789.)-* ").rstrip(".").lower()
            if phrase and len(phrase.split()) <= 4:
                found[phrase] = None
    return list(found)


def region_boxes(probed: Probed, unit: int) -> list[Box]:
    """The box of the largest region of each of a unit's masks, at least `LEAST_SIDE` wide and high; without a region
    (a small picture of a weak unit, a layer of vectors) the whole picture."""
    boxes = []
    for rank, place in enumerate(probed.exemplars.places(unit)):
        picture = probed.probe[place]
        mask = probed.exemplars.masks(unit, (picture.height, picture.width))[rank]
        found = connected_boxes(mask) if bool(mask.any()) else [(0, 0, *picture.size)]
        boxes.append(_at_least(found[0], picture.size))
    return boxes


def _at_least(box: Box, size: tuple[int, int]) -> Box:
    """The box widened around its middle to the least side, inside the picture."""
    sides = []
    for low, high, whole in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        side = max(high - low, round(LEAST_SIDE * whole), 1)
        start = min(max((low + high - side) // 2, 0), whole - side)
        sides.append((start, start + side))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def _controls(probed: Probed, encoder: PixelEncoder, boxes: Sequence[Box]) -> Float[Tensor, "controls dim"]:
    """Embeddings of patches of the layer's shapes at random places of random choosing images."""
    generator = torch.Generator().manual_seed(0)
    chosen, cut = probed.halves.choosing, []  # in `content_order`: the same draws whatever the probe's
    for _ in range(CONTROLS if boxes else 0):
        picture = probed.probe[int(chosen[torch.randint(len(chosen), (), generator=generator)])]
        box = boxes[int(torch.randint(len(boxes), (), generator=generator))]
        width, height = min(box[2] - box[0], picture.width), min(box[3] - box[1], picture.height)
        left = int(torch.randint(picture.width - width + 1, (), generator=generator))
        top = int(torch.randint(picture.height - height + 1, (), generator=generator))
        cut.append(picture.crop((left, top, left + width, top + height)))
    return encode_pictures(encoder, cut) if cut else probed.space.image_embeddings[:1] * 0
