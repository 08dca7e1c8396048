"""`lwta export`: the network as a file that runs without this package, compared with the original."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from competition_layers.terminal import plain

from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(export, argv, prog="lwta export", positionals=["model"])
    return 0


def export(
    model: str,
    out: Path,
    format: Literal["torch", "onnx"] = "torch",
    image_size: int | None = None,
    tolerance: float = 1e-3,
    overwrite: bool = False,
    random_weights: bool = False,
) -> None:
    """Write the network that reads its competitions by argmax, for any number of images, and compare its outputs.

    Args:
        model: a run or model folder, hf-hub:OWNER/NAME, local-dir:PATH, or a timm name (its pretrained weights).
        out: the file to write.
        format: torch (torch.export, .pt2) or onnx.
        image_size: pixels of a side; by default what the network was made for.
        tolerance: the largest difference of the logits on random images that is accepted.
        overwrite: replace an older file.
        random_weights: a timm name without its weights.
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"Expected a new file but {str(out)!r} exists; --overwrite replaces it")

    import torch

    from competition_layers import load_model
    from competition_layers.files import write_file

    from ..exported import WRITERS, difference, metadata, need_onnx

    if format == "onnx":
        need_onnx("--format onnx")

    network = load_model(model, random_weights=random_weights)
    about = metadata(network, image_size)
    size = about["preprocessing"]["input_size"]
    with write_file(out) as temporary:
        run = WRITERS[format](network, torch.randn(2, *size), about, temporary)
        worst = max(difference(network, run, torch.randn(n, *size)) for n in (1, 3))
        if not worst <= tolerance:
            raise ValueError(
                f"Expected outputs of the export within --tolerance {tolerance:g} of the network's but got a "
                f"difference of {worst:.3g} on random images; nothing was written"
            )
    print(f"largest difference from the network's logits on random images: {worst:.2g}")
    print(f"The export is in {plain(out)}")
