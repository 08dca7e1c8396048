"""Small probes for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dissect import ProbeImages, open_probe


@pytest.fixture
def probe(tmp_path: Path) -> ProbeImages:
    """Ten random pictures of 8 pixels in a safetensors file."""
    pixels = torch.randint(0, 256, (10, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    save_file({"images": pixels}, tmp_path / "probe.safetensors")
    return open_probe(tmp_path / "probe.safetensors")


@pytest.fixture
def to_tensor() -> Callable[..., Tensor]:
    """A picture as (3, H, W) between -1 and 1."""
    return lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1
