"""A network as a file that runs without this package: torch.export's .pt2, or ONNX."""

import copy
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from competition_layers import competitions, data_config, inference_rule, predict, spec_of, winner_mask
from competition_layers.gates import carry_gate
from competition_layers.groups import Groups, grouped
from competition_layers.spec import site_config

FORMAT = 1  # of the metadata inside the file
METADATA = "lwta.json"  # its name among the extra files of a .pt2; ONNX keeps it under "lwta" in metadata_props
ONNX = ("onnx", "onnxscript", "onnxruntime")


def need_onnx(what: str) -> None:
    """Refuse `what` before any work where the packages are missing.

    Raises:
        ImportError: one is; says how to install it.
    """
    missing = [name for name in ONNX if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Expected {', '.join(ONNX)} for {what} but {', '.join(missing)} is not installed; pip install 'lwta[onnx]'"
        )


def metadata(network: nn.Module, image_size: int | None = None) -> dict[str, Any]:
    """What travels with the weights: labels, how images are prepared, where units compete."""
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


def write_torch(network: nn.Module, images: Tensor, about: Mapping[str, Any], path: Path) -> Callable:
    """Write a .pt2 file; return the network that is read back from it."""
    with path.open("wb") as file:  # the temporary name does not end in .pt2
        torch.export.save(traced(network, images), file, extra_files={METADATA: json.dumps(about)})
    with path.open("rb") as file:
        return torch.export.load(file).module()


def write_onnx(network: nn.Module, images: Tensor, about: Mapping[str, Any], path: Path) -> Callable:
    """Write an ONNX file; return the network that onnxruntime reads back from it."""
    import onnxruntime

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


def onnx_compatible(network: nn.Module) -> nn.Module:
    """A copy whose competitions are ONNX's ArgMax (the first of equals): ONNX knows no view as another type."""

    plain = copy.deepcopy(network)
    for name, layer in competitions(plain).items():
        plain.set_submodule(name, carry_gate(layer, _Argmax(layer.groups)))
    return plain


def traced(network: nn.Module, images: Tensor):
    """torch.export's program of `network` under argmax, for any number of images."""
    with torch.no_grad(), inference_rule(network, "argmax"):
        return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("images")},))


def difference(network: nn.Module, run: Callable, images: Tensor) -> float:
    """The largest absolute difference of the logits."""
    with torch.no_grad():
        return float((run(images) - predict(network, images, samples=0)).abs().max())


WRITERS = {"torch": write_torch, "onnx": write_onnx}


class _Argmax(nn.Module):
    def __init__(self, groups: Groups):
        super().__init__()
        self.groups = groups

    def forward(self, h: Tensor) -> Tensor:
        z, axis = grouped(h, self.groups)
        return h * winner_mask(z.argmax(axis).to(torch.uint8), self.groups)
