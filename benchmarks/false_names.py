"""How often units that follow no concept get a name, where pictures are not apart or not alike.

    python benchmarks/false_names.py [--layers N] [--quick]

Each layer has 40 units of noise; there are 200 concepts. No name is right: the rule allows 5 % of the layers one (of
false discoveries where nothing is true). Names are written whatever their r. Painted scenes stand for photographs that
move: 40 clips of 8 frames, pan, zoom and light, by the bundled encoder; a unit answers to the clip.
"""

import argparse
from collections.abc import Callable, Sequence
from math import sqrt

import torch
from PIL import ImageEnhance
from torch import Tensor
from torch.nn.functional import normalize

from dissect import LayerRecord, Naming, Space, load_concepts, load_encoder, name_verified
from dissect.naming.halves import halve
from pictures.scenes import paint

UNITS, DIM, CONCEPTS = 40, 64, 200
CLIPS, FRAMES, MOTION = 40, 8, 2
World = Callable[[torch.Generator], tuple[Tensor, Space, Sequence[str] | None]]  # values, images and concepts, blocks


def cone(count: int, generator: torch.Generator) -> Tensor:
    """Unit vectors in a narrow cone, some directions long and some short, as encoders give them."""
    spread = normalize(torch.randn(count, DIM, generator=generator) * torch.linspace(2, 0.3, DIM), dim=1)
    return normalize(0.6 * spread + 0.8 * normalize(torch.ones(DIM), dim=0), dim=1)


def space_of(images: Tensor, generator: torch.Generator) -> Space:
    return Space(images, cone(CONCEPTS, generator), tuple(f"concept-{i}-x" for i in range(CONCEPTS)))


def apart(g: torch.Generator) -> tuple[Tensor, Space, None]:
    return torch.randn(500, UNITS, generator=g), space_of(cone(500, g), g), None


def bursts(g: torch.Generator) -> tuple[Tensor, Space, None]:
    """200 bursts of 25 near-duplicates of dull pictures beside 100 varied ones: means of 25 beside single values."""
    dull = cone(200, g)
    dull = normalize(dull + 0.9 * (dull.mean(0) - dull), dim=1).repeat_interleave(25, 0)
    images = torch.cat([cone(100, g), normalize(dull + 0.0002 * torch.randn(dull.shape, generator=g), dim=1)])
    return torch.randn(len(images), UNITS, generator=g), space_of(images, g), None


def loud(g: torch.Generator) -> tuple[Tensor, Space, None]:
    """Units are louder on unusual pictures, with a sign that is drawn."""
    images = cone(500, g)
    far = (images - images.mean(0)).norm(dim=1, keepdim=True)
    values = torch.randn(500, UNITS, generator=g) * (1.5 * (far - far.mean()) / far.std()).exp()
    return values, space_of(images, g), None


def clips(known: bool) -> World:
    """Frames of clips, which the user names (--blocks) or does not; each clip has a level of its own."""
    encoder = load_encoder("bundled")
    concepts, _ = encoder.known(load_concepts("scenes"))
    frames = []
    for clip in range(CLIPS):
        image = paint("probe", clip, size=112).image
        for t in (i / (FRAMES - 1) for i in range(FRAMES)):
            x, y, side = int(16 * MOTION * t), int(8 * MOTION * t), int(64 - 4 * MOTION * t)
            frames.append(ImageEnhance.Brightness(image.crop((x, y, x + side, y + side))).enhance(0.9 + 0.2 * t))
    images = torch.cat([encoder.encode_batch(torch.stack([encoder.preprocess(f)])) for f in frames])
    space = Space(images, encoder.encode_texts(concepts), concepts.names)
    blocks = [str(i // FRAMES) for i in range(len(frames))] if known else None

    def world(g: torch.Generator) -> tuple[Tensor, Space, Sequence[str] | None]:
        level = torch.randn(CLIPS, UNITS, generator=g).repeat_interleave(FRAMES, 0)
        return level + 0.3 * torch.randn(level.shape, generator=g), space, blocks

    return world


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--layers", type=int, default=100, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="4 layers of each kind")
    options = parser.parse_args(argv)
    layers = 4 if options.quick else options.layers
    worlds: dict[str, World] = {
        "pictures that are apart": apart,
        "bursts beside single pictures": bursts,
        "units louder on unusual pictures": loud,
        "frames of clips, named by --blocks": clips(known=True),
        "frames of clips, nobody said so": clips(known=False),
    }
    print(f"{'units of noise':36} layers with a name, 95 %   units named")
    for title, world in worlds.items():
        shares = []
        for seed in range(layers):
            values, space, blocks = world(torch.Generator().manual_seed(seed))
            halves = halve(space.image_embeddings, blocks=blocks)
            units, _ = name_verified(LayerRecord("noise", {"mean": values}), "mean", space, halves, Naming(least_r=0.0))
            shares.append(sum(unit.named for unit in units) / UNITS)
        low, high = wilson(sum(share > 0 for share in shares), layers)
        layer = sum(share > 0 for share in shares) / layers
        print(f"{title:36} {layer:6.1%} ({low:5.1%} to {high:5.1%})   {sum(shares) / layers:12.2%}", flush=True)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / count
    middle, half = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


if __name__ == "__main__":
    main()
