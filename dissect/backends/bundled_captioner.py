"""The captioner that comes with the package: what the bundled CLIP's image tower sees of a painted scene, in words.

The tower is frozen; heads on its map say how likely each kind of thing and each colour is at each of 4 x 4 places, and
how likely the place, weather and time of day are. `python -m lwta.bundled_clip.train_captioner` trains them. The
sentence is put together by the grammar of the scenes' own captions; of other pictures it says what a scene would be.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, pixel_unshuffle

from pictures.scenes import COLOURED, COLOURS, OBJECTS, SCENES
from pictures.scenes.captions import WHEN, join, say, with_article
from pictures.scenes.phrases import wanted_by
from pictures.scenes.plan import Wanted
from pictures.scenes.vocabulary import TIMES, WEATHERS

from ..encoders import bundled_clip
from ..fingerprints import digest

WEIGHTS = "captioner.safetensors"
SIDE = 4  # places a side
KINDS, PAINTS = tuple(OBJECTS), tuple(COLOURS)
WHOLES = (tuple(SCENES), tuple(WEATHERS), tuple(TIMES))  # one of each holds of a picture
THINGS = 4  # at most in a caption
UNHEARD = -10.0  # nats: of a phrase without a word of the scenes
_MAP, _WHOLE, _HIDDEN, _BATCH = 1152, 128, 256, 64


class Tower:
    """The frozen image tower: a map of 4 x 4 places (the third stage, and the four places of the second that lie there)
    and the picture's embedding."""

    def __init__(self, folder: Path = bundled_clip.HERE) -> None:
        model, self.preprocess, _ = bundled_clip.load(folder)
        self.visual = model.get_submodule("visual")

    @torch.no_grad()
    def see(
        self, x: Float[Tensor, "pictures 3 64 64"]
    ) -> tuple[Float[Tensor, "pictures places seen"], Float[Tensor, "pictures dim"]]:
        """Of prepared pictures."""
        visual = self.visual
        fine = visual.layer2(visual.layer1(visual.stem(x)))
        coarse = visual.layer3(fine)
        both = torch.cat([pixel_unshuffle(fine, 2), coarse], 1)
        return both.flatten(2).transpose(1, 2), normalize(visual.attnpool(visual.layer4(coarse)), dim=1)


class SceneHeads(nn.Module):
    """Logits of the kinds and colours at each place, and of the scenes, weathers and times of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(_MAP, _HIDDEN)
        self.things = nn.Linear(_HIDDEN, len(KINDS) + len(PAINTS))
        self.whole = nn.Linear(_HIDDEN + _WHOLE, sum(map(len, WHOLES)))

    def forward(
        self, maps: Float[Tensor, "pictures places seen"], embeddings: Float[Tensor, "pictures dim"]
    ) -> tuple[
        Float[Tensor, "pictures places kinds"],
        Float[Tensor, "pictures places colours"],
        list[Float[Tensor, "pictures _"]],
    ]:
        hidden = self.look(maps).relu()
        kinds, colours = self.things(hidden).split([len(KINDS), len(PAINTS)], 2)
        wholes = self.whole(torch.cat([hidden.mean(1), embeddings], 1)).split([len(of) for of in WHOLES], 1)
        return kinds, colours, list(wholes)


class BundledCaptioner:
    """The captioner in a folder (by default the package's): captions, and how likely phrases hold.

    Raises:
        FileNotFoundError: none there.
    """

    def __init__(self, folder: Path = bundled_clip.HERE) -> None:
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"Expected a captioner in {str(folder)!r} but got none; `python -m lwta.bundled_clip.train_captioner` "
                "trains it"
            )
        weights = {name: weight.float() for name, weight in load_file(folder / WEIGHTS).items()}
        self.heads = SceneHeads()
        self.heads.load_state_dict(weights)
        self.identity = f"bundled captioner {digest(sorted(weights.items()))}"

    @cached_property
    def _tower(self) -> Tower:
        return Tower()

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        """One caption a picture, such as "a rainy beach by day with a red boat and a palm": what is likelier there than
        not, the surest first."""
        said = []
        for kinds, colours, (scene, weather, time) in self._seen(pictures):
            sure, where = kinds.max(0)
            best = [int(kind) for kind in sure.argsort(descending=True) if sure[kind] > 0 and KINDS[kind] != "window"]
            things = []
            for kind in best[:THINGS]:
                colour = PAINTS[int(colours[where[kind]].argmax())] if KINDS[kind] in COLOURED else None
                things.append(say(KINDS[kind], colour))
            place, air, when = (of[int(x.argmax())] for of, x in zip(WHOLES, (scene, weather, time), strict=True))
            begin = f"{with_article(air)} {place} {WHEN[when]}"
            said.append(f"{begin} with {join(things)}" if things else begin)
        return said

    def log_likelihoods(
        self, pictures: Sequence[Image.Image], phrases: Sequence[str]
    ) -> Float[Tensor, "pictures phrases"]:
        """Log-probability that all holds that a phrase says: each kind somewhere, its colour where it is surest, the
        place, the weather, the time. `UNHEARD` for phrases of which it knows no word."""
        wanted = [wanted_by(phrase) for phrase in phrases]
        rows = [[UNHEARD if one is None else _likely(one, *seen) for one in wanted] for seen in self._seen(pictures)]
        return torch.tensor(rows).reshape(len(pictures), len(phrases))

    def _seen(self, pictures: Sequence[Image.Image]) -> Iterator[tuple[Tensor, Tensor, list[Tensor]]]:
        """What the heads say of each picture."""
        for at in range(0, len(pictures), _BATCH):
            x = torch.stack([self._tower.preprocess(picture) for picture in pictures[at : at + _BATCH]])
            with torch.no_grad():
                kinds, colours, wholes = self.heads(*self._tower.see(x))
            for i in range(len(x)):
                yield kinds[i], colours[i], [of[i] for of in wholes]


def _likely(
    wanted: Wanted, kinds: Float[Tensor, "places kinds"], colours: Float[Tensor, "places colours"], wholes: list[Tensor]
) -> float:
    total = 0.0
    for kind, colour in wanted.things:
        logit, where = kinds[:, KINDS.index(kind)].max(0)
        total += float(logsigmoid(logit))
        total += float(colours[where].log_softmax(0)[PAINTS.index(colour)]) if colour else 0.0
    for names, said, logits in zip(WHOLES, (wanted.label, wanted.weather, wanted.time), wholes, strict=True):
        total += float(logits.log_softmax(0)[names.index(said)]) if said else 0.0
    known = wanted.things or wanted.label or wanted.weather or wanted.time
    return total if known else UNHEARD
