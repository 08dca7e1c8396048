"""Where the embeddings of painted scenes lie: 16 centres, by which a probe of other pictures is recognised.

    python -m lwta.bundled_clip.centres [FOLDER]

FOLDER is a bundle as `python -m lwta.bundled_clip.train` writes it (default: the one of the package).
"""

import sys
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

PICTURES, CENTRES, STEPS = 2000, 16, 30


def spherical_means(rows: Float[Tensor, "rows dim"], count: int) -> Float[Tensor, "centres dim"]:
    """Spherical k-means, from `count` rows evenly spread."""
    centres = rows[:: len(rows) // count][:count]
    for _ in range(STEPS):
        nearest = (rows @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = normalize(torch.where(sums.any(1, keepdim=True), sums, centres), dim=1)
    return centres


def main(folder: Path) -> None:
    """Writes FOLDER/centres.safetensors."""
    from dissect.encoders.bundled_clip import load
    from pictures.scenes.painter import paint

    model, preprocess, _ = load(folder)
    parts = []
    with torch.no_grad():
        for start in range(0, PICTURES, 100):
            pictures = [preprocess(paint("clip", i).image) for i in range(start, start + 100)]
            parts.append(normalize(model.encode_image(torch.stack(pictures)).float(), dim=1))
    save_file({"centres": spherical_means(torch.cat(parts), CENTRES)}, folder / "centres.safetensors")


if __name__ == "__main__":
    from dissect.encoders.bundled_clip import HERE

    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
