"""Small pictures in class folders, for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def paint(
    folder: Path, *, classes: Sequence[str] = ("blue", "red"), each: int = 10, size: int = 16, seed: int = 0
) -> Path:
    """FOLDER/CLASS/0.png ...: noise with a tint."""
    random = np.random.default_rng(seed)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            pixels = random.integers(0, 120, (size, size, 3), dtype=np.uint8)
            pixels[..., k % 3] += 100
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder
