"""A safetensors file with uint8 `images` (N, H, W, 3), maybe `labels` (N,); pictures are read one by one."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..names import natural_key
from .listing import Listing, Place, numbered


def open_tensors(place: Place) -> Listing:
    """Pictures by their index; the file may be larger than memory."""
    from safetensors import SafetensorError, safe_open

    path = Path(place.source)
    try:
        with safe_open(path, framework="numpy") as file:
            known = sorted(file.keys())
            if "images" not in known:
                raise ValueError(f"Expected a tensor 'images' in {str(path)!r} but got {', '.join(known) or 'none'}")
            images = file.get_slice("images")
            kind, shape = images.get_dtype(), tuple(images.get_shape())
            labels = [str(label) for label in file.get_tensor("labels").tolist()] if "labels" in known else []
    except SafetensorError as error:
        raise ValueError(f"Expected a safetensors file but got {str(path)!r}: {error}") from error
    if kind != "U8" or len(shape) != 4 or shape[-1] != 3 or not shape[0]:
        raise ValueError(f"Expected 'images' in {str(path)!r} as uint8 (N, H, W, 3) but got {kind} {shape}")
    if labels and len(labels) != shape[0]:
        raise ValueError(f"Expected {shape[0]} labels in {str(path)!r} but got {len(labels)}")
    digits = len(str(shape[0] - 1))
    return Listing(
        names=tuple(f"{i:0{digits}d}" for i in range(shape[0])),
        load=partial(_row, path),
        **(numbered([*labels], sorted(set(labels), key=natural_key)) if labels else {}),
        unlabelled="" if labels else f"Expected a tensor 'labels' in {str(path)!r} but got images alone",
    )


def _row(path: Path, index: int) -> np.ndarray[Any, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.get_slice("images")[index : index + 1][0]
