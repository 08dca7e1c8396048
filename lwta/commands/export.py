"""`lwta export`: the network as a file that runs without this package: torch.export's .pt2, or ONNX."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from competition_layers.terminal import plain

from ..parsing import parse_call

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1  # of the metadata inside the file
METADATA = "lwta.json"  # its name among the extra files of a .pt2; ONNX keeps it under "lwta" in metadata_props
_ONNX = ("onnx", "onnxscript", "onnxruntime")


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
    if format == "onnx":
        need_onnx("--format onnx")
    if out.exists() and not overwrite:
        raise FileExistsError(f"Expected a new file but {str(out)!r} exists; --overwrite replaces it")

    import torch

    from competition_layers import load_model
    from competition_layers.files import write_file

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


def need_onnx(what: str) -> None:
    """Refuse `what` before any work where the packages are missing.

    Raises:
        ImportError: one is; says how to install it.
    """
    missing = [name for name in _ONNX if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Expected {', '.join(_ONNX)} for {what} but {', '.join(missing)} is not installed; "
            "pip install 'lwta[onnx]'"
        )


def metadata(network: "nn.Module", image_size: int | None = None) -> dict[str, Any]:
    """What travels with the weights: labels, how images are prepared, where units compete."""
    from competition_layers import data_config, spec_of
    from competition_layers.spec import site_config

    spec = spec_of(network)
    preprocessing = data_config(network)
    if callable(getattr(network, "image_transform", None)):  # whose mean and deviation are its own affair
        preprocessing = {"input_size": preprocessing["input_size"]}
    if image_size is not None:
        preprocessing |= {"input_size": (3, image_size, image_size), "crop_pct": 1.0, "crop_mode": "center"}
    sites = [{**site_config(network, site), "inference": "argmax"} for site in spec.sites]
    return {
        "format": FORMAT,
        "architecture": spec.architecture,
        "label_names": list(spec.label_names),
        "preprocessing": preprocessing,
        "competition": {"sites": sites},
    }


def write_torch(network: "nn.Module", images: "Tensor", about: Mapping[str, Any], path: Path) -> Callable:
    """Write a .pt2 file; return the network that is read back from it."""
    import torch

    with path.open("wb") as file:  # the temporary name does not end in .pt2
        torch.export.save(traced(network, images), file, extra_files={METADATA: json.dumps(about)})
    with path.open("rb") as file:
        return torch.export.load(file).module()


def write_onnx(network: "nn.Module", images: "Tensor", about: Mapping[str, Any], path: Path) -> Callable:
    """Write an ONNX file; return the network that onnxruntime reads back from it."""
    import onnxruntime
    import torch

    program = torch.onnx.export(
        traced(onnx_compatible(network), images),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    program.model.metadata_props["lwta"] = json.dumps(about)
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def onnx_compatible(network: "nn.Module") -> "nn.Module":
    """A copy whose competitions are ONNX's ArgMax (the first of equals): ONNX knows no view as another type."""
    import copy

    import torch

    from competition_layers import competitions, winner_mask
    from competition_layers.gates import carry_gate
    from competition_layers.groups import grouped

    class Argmax(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.groups = layer.groups

        def forward(self, h):
            z, axis = grouped(h, self.groups)
            return h * winner_mask(z.argmax(axis).to(torch.uint8), self.groups)

    plain = copy.deepcopy(network)
    for name, layer in competitions(plain).items():
        plain.set_submodule(name, carry_gate(layer, Argmax(layer)))
    return plain


WRITERS = {"torch": write_torch, "onnx": write_onnx}


def traced(network: "nn.Module", images: "Tensor"):
    """torch.export's program of `network` under argmax, for any number of images."""
    import torch

    from competition_layers import inference_rule

    with torch.no_grad(), inference_rule(network, "argmax"):
        return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("images")},))


def difference(network: "nn.Module", run: Callable, images: "Tensor") -> float:
    """The largest absolute difference of the logits."""
    import torch

    from competition_layers import predict

    with torch.no_grad():
        return float((run(images) - predict(network, images, samples=0)).abs().max())
