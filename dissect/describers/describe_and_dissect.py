"""Describe-and-Dissect (Bai et al. 2024, arXiv 2403.13771): captions of top images, summarised, tried on made pictures.

1. The unit's ten strongest among its top images and crops around its regions. 2. A caption of each, simplified and
summarised five times by a language model. 3. Ten pictures made of each summary; the unit ranks all of them together,
and the three best labels come out with their scores.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..backends.in_order import in_order
from ..backends.protocols import Captioner, LanguageModel, Request, TextToImage, parallel
from ..encoders.pictures import encode_pictures
from ..encoders.protocol import PixelEncoder
from ..exemplars.regions import attended_boxes, crops
from ..naming.description import Candidate
from .describer import Described, Probed, Proposals
from .rank_scores import SCORINGS, image_products, joint_ranks, label_scores
from .tools import Tools

METHOD = "dnd"
IMAGES = 10  # K: of a unit, before crops and after
CANDIDATES = 5  # N
MADE = 10  # Q: pictures a candidate
LABELS = 3
TEMPERATURE = 0.3
CODED_PIXELS = 32  # the published code shrinks made pictures to this
CODED_SIDE = 375  # and stretches those of the probe to a square of this
_UNITS = 16  # at a time
_DESIGNS = ("design", "designs", "graphic", "graphics")

SIMPLIFY = (
    "Say in one short, coherent label what the description below shows. Leave out needless detail and repetition. "
    "No full stop, no quotation marks, no numbering."
)
_SHARED = (
    "These descriptions are of pictures that have something in common. Name what most of them, not necessarily all, "
    "share, in one coherent label of one to five words. Do not repeat the descriptions. No full stop"
)
SUMMARISE, SUMMARISE_AGAIN = f"{_SHARED}, no quotation marks.", f"{_SHARED}."  # again: as coded, of commas
SIMPLIFIED = ((("a dark green leaf, green leaves and a green plant on a green green background",), "green leaves"),)
SUMMARISED = (
    (("a zebra on grass", "a striped shirt", "a street crossing", "bars of a window", "a barcode"), "striped patterns"),
    (("yellow taxi", "a yellow flower", "a lemon", "a banana on a table", "yellow wall"), "yellow objects"),
)


@dataclass(frozen=True)
class DescribeAndDissect:
    """The describer.

    Args:
        scoring: how labels are ranked, of `SCORINGS`; of the published code it is always the product.
        coded: as the published code does where it differs from the paper: pictures are stretched to 375 x 375, maps
            become 8 bits by wrapping, crops and made pictures are ranked by the mean whatever the summary is, made
            pictures are shrunk to 32 px, an answer with commas is summarised again (without the examples and the
            prompt's last clause), "... design" is also tried as "... design background".
    """

    captioner: Captioner
    language_model: LanguageModel
    text_to_image: TextToImage
    scoring: str = "topk-compare"
    coded: bool = False

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise ValueError(f"Expected a scoring among {', '.join(SCORINGS)} but got {self.scoring!r}")

    @property
    def method(self) -> str:
        return f"{METHOD}-coded" if self.coded else METHOD

    @property
    def options(self) -> Mapping[str, Any]:
        asked = [self.captioner.identity, self.language_model.identity, self.text_to_image.identity]
        prompts = [SIMPLIFY, SUMMARISE, SUMMARISE_AGAIN]
        return {"asked": asked, "scoring": self.scoring, "prompts": prompts, "counts": [IMAGES, MADE]}

    def propose(self, probed: Probed) -> Proposals:
        """Three labels a unit with their scores.

        Raises:
            ValueError: the encoder sees no pixels: made pictures cannot be compared with the unit's own.
            BackendError: a model gives no answer; what was answered is kept.
        """
        if not isinstance(probed.encoder, PixelEncoder):
            raise ValueError(
                f"Expected an encoder that sees pictures for {self.method}, which compares made ones with the unit's "
                "own, but got precomputed embeddings; take --clip bundled, MODEL/TAG or MODEL/FILE"
            )
        return probed.unit_by_unit(self, partial(self._of, probed, probed.encoder), together=_UNITS)

    def _of(self, probed: Probed, encoder: PixelEncoder, units: Sequence[int]) -> Iterator[Described]:
        """The three steps: the first of all units from one pass, the third of each unit in a batch of its own."""
        pictures = self._strongest(probed, units)
        for unit, own, labels in zip(units, pictures, self._labels(units, pictures), strict=True):
            yield self._ranked(probed, encoder, unit, own, labels)

    def _values(self, probed: Probed, pictures: Sequence[Image.Image]) -> Float[Tensor, "pictures units"]:
        """What the units say; where they lost, less than anything."""
        by_mean = self.coded and probed.summary in ("max", "quantile")  # token summaries stay: it has no others
        values = (replace(probed.reader, summary="mean") if by_mean else probed.reader).values(pictures)
        return values.values if values.won is None else values.values.masked_fill(~values.won, -torch.inf)

    def _strongest(self, probed: Probed, units: Sequence[int]) -> list[list[Image.Image]]:
        """Step 1: of each unit the ten pictures that it answers to most, of its top images and crops of them."""
        of = [self._with_crops(probed, unit) for unit in units]
        values = self._values(probed, [picture for pictures in of for picture in pictures])
        kept = []
        for unit, pictures, said in zip(units, of, values.split([len(pictures) for pictures in of]), strict=True):
            best = said[:, unit].sort(descending=True, stable=True).indices[:IMAGES]
            kept.append([pictures[i] for i in best.tolist()])
        return kept

    def _with_crops(self, probed: Probed, unit: int) -> list[Image.Image]:
        exemplars = probed.exemplars
        originals = [self._stretched(probed.probe[place]) for place in exemplars.places(unit)[:IMAGES]]
        if exemplars.maps[unit, 0].numel() == 1:
            return originals
        pictures = list(originals)
        for picture, heat in zip(originals, exemplars.maps[unit], strict=False):
            heat = (heat.float() * 255).long().remainder(256).float() if self.coded else heat.float()
            size = (picture.height, picture.width)
            stretched = interpolate(heat[None, None], size=size, mode="bicubic", align_corners=False)[0, 0]
            pictures += crops(picture, attended_boxes(stretched))
        return pictures

    def _stretched(self, picture: Image.Image) -> Image.Image:
        return picture.resize((CODED_SIDE, CODED_SIDE), Image.Resampling.BICUBIC) if self.coded else picture

    def _labels(self, units: Sequence[int], pictures: Sequence[Sequence[Image.Image]]) -> Iterator[list[str]]:
        """Step 2: up to five labels a unit; of endpoints several units are asked about at a time."""
        captioned = in_order(self.captioner.caption, pictures, workers=parallel(self.captioner))
        asked = ((unit, [caption for caption in said if caption]) for unit, said in zip(units, captioned, strict=True))
        yield from in_order(lambda one: self._summed_up(*one), asked, workers=parallel(self.language_model))

    def _summed_up(self, unit: int, captions: Sequence[str]) -> list[str]:
        """Its captions, each simplified, summarised five times (in an order that the seed, not a set's hashing,
        decides)."""
        simple = [self._asked(Request(SIMPLIFY, (caption,), SIMPLIFIED)) for caption in captions]
        texts, shuffled, labels = [text for text in simple if text], random.Random(unit), []
        for draw in range(CANDIDATES if texts else 0):
            label = self._asked(Request(SUMMARISE, tuple(texts), SUMMARISED), temperature=TEMPERATURE, draw=draw)
            if self.coded and (parts := tuple(part.strip() for part in label.split(",") if part.strip()))[1:]:
                label = self._asked(Request(SUMMARISE_AGAIN, parts), temperature=TEMPERATURE, draw=draw)
            labels.append(label)
            shuffled.shuffle(texts)
        if self.coded:
            labels += [f"{label} background" for label in labels if label.split(" ")[-1] in _DESIGNS]
        return [label for label in dict.fromkeys(labels) if label]

    def _asked(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str:
        return tidy(self.language_model.answer(request, temperature=temperature, draw=draw))

    def _ranked(
        self, probed: Probed, encoder: PixelEncoder, unit: int, pictures: Sequence[Image.Image], labels: Sequence[str]
    ) -> Described:
        """Step 3: the best labels by the pictures made of them."""
        made = [self._made(label) for label in labels]
        flat, sizes = [picture for of in made for picture in of], [len(of) for of in made]
        if not flat:
            return ()
        ranks = joint_ranks(self._values(probed, flat)[:, unit]).split(sizes)
        own, shown = encode_pictures(encoder, pictures), encode_pictures(encoder, flat).split(sizes)
        products = [image_products(own, of, rank) for of, rank in zip(shown, ranks, strict=True)]
        scores = label_scores(ranks, products, scoring=self.scoring)
        best = sorted(range(len(labels)), key=lambda j: -scores[j])[:LABELS]
        return tuple(Candidate(labels[j], scores[j], self.method) for j in best if made[j])

    def _made(self, label: str) -> list[Image.Image]:
        made = self.text_to_image.draw(label, MADE)
        small = (CODED_PIXELS, CODED_PIXELS)
        return [picture.resize(small, Image.Resampling.BICUBIC) for picture in made] if self.coded else made


def from_tools(tools: Tools) -> DescribeAndDissect:
    """As published, with the models and the scoring that the user chose."""
    return DescribeAndDissect(*tools.models.of_labels(), tools.scoring)


def coded_from_tools(tools: Tools) -> DescribeAndDissect:
    """As the published code does, with the same models."""
    return DescribeAndDissect(*tools.models.of_labels(), coded=True)


def tidy(answer: str) -> str:
    """A label in plain form: what follows a colon, lower-case, without quotation marks and a final stop.

    >>> tidy('Label: "Red-themed scenes."')
    'red-themed scenes'
    """
    label = answer.partition(":")[2].strip() or answer
    return label.strip().strip("\"'`*").rstrip(".").strip("\"'`*").strip().lower()
