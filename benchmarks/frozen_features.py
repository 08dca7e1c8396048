"""Features of frozen networks that benchmarks learn on: computed once, in half precision, one file a network."""

import io
import random
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from class_units import CLASSES, SmallResNet, find_data
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from competition_layers import DecisionLayer, add_decision, decision_features, load_model
from competition_layers.files import write_file
from competition_layers.heads import At, features_of, take_classifier_out
from dissect import open_probe
from dissect.comparing.measuring import inputs_of
from pictures.scenes import write_scenes

DATA = find_data()


@torch.inference_mode()
def cifar_features(depth: int, out: Path) -> dict[str, Tensor]:
    """Pooled features in half precision, computed once."""
    path = out / f"features-resnet{depth}.safetensors"
    if path.is_file():
        return load_file(path)
    model = _published(depth)
    centre, spread = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    found = cifar_jpegs()
    splits = {"train": found["train"][:20_000], "val": found["val"], "test": found["test"]}
    tensors = {}
    for split, pictures in splits.items():
        parts = []
        for start in range(0, len(pictures), 250):
            batch = [_pixels(data) for data, _ in pictures[start : start + 250]]
            parts.append(features_of(model, (torch.stack(batch) / 255 - centre) / spread).half())
            print(f"\r{split}: {start + len(batch):,} of {len(pictures):,}", end="", flush=True)
        tensors |= {split: torch.cat(parts), f"{split}_labels": torch.tensor([label for _, label in pictures])}
    with write_file(path) as temporary:
        save_file(tensors, temporary)
    return tensors


@torch.inference_mode()
def seconds_of_pass(depth: int, pictures: int) -> float:
    """Processor seconds of the network's pass over so many pictures, decoding not counted; measured on 2,000."""
    model, x = _published(depth), torch.randn(250, 3, 32, 32)
    start = time.process_time()
    for _ in range(8):
        features_of(model, x)
    return (time.process_time() - start) / 2000 * pictures


def _published(depth: int) -> nn.Module:
    model = SmallResNet((depth - 2) // 6)
    model.load_state_dict(load_file(DATA / "cifar10-resnets" / f"resnet{depth}.safetensors"))
    take_classifier_out(model.eval(), classifier="linear", inputs=torch.zeros(1, 3, 32, 32))
    return model


def cifar_jpegs() -> dict[str, list[tuple[bytes, int]]]:
    """Files of CIFAR-10 and their classes: `train` shuffled, its last 5,000 once more as `val`; `test`."""
    found: dict[str, list[tuple[bytes, int]]] = {"train": [], "test": []}
    with tarfile.open(DATA / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and parts[-2] in CLASSES:
                found[parts[-3]].append((archive.extractfile(member).read(), CLASSES.index(parts[-2])))
    random.Random(0).shuffle(found["train"])
    return {**found, "val": found["train"][45_000:]}


def _pixels(data: bytes) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).permute(2, 0, 1).float()


def flickr_features() -> dict[str, Tensor]:
    """Features and the teacher's answers; every fourth photo is tested, every fourth after it chosen by."""
    found = load_file(DATA / "flickr8k-dev" / "mobilenetv2.safetensors")
    features, labels = found["features"], found["logits"].argmax(1)
    place = torch.arange(len(features)) % 4
    splits = {"test": place == 0, "val": place == 1, "train": place > 1}
    return {
        k: v for name, kept in splits.items() for k, v in ((name, features[kept]), (f"{name}_labels", labels[kept]))
    }


@torch.inference_mode()
def scenes_features(demo: Path, out: Path, *, at: At = "pooled", stages: int = 4) -> dict[str, Tensor]:
    """Features of the demo's dense network, computed once; `val` are 2,000 pictures of a seed of their own."""
    path = out / f"features-scenes-{at}{'' if stages == 4 else f'-{stages}'}.safetensors"
    if path.is_file():
        return load_file(path)
    model = scenes_network(demo, stages)
    add_decision(model, DecisionLayer(at=at))
    tensors = {}
    val = write_scenes(out / "val-scenes", splits={"val": 2000}, seed=2) / "val"
    folders = {"train": demo / "scenes" / "train", "val": val, "test": test_scenes(out)}
    for split, folder in folders.items():
        pictures = open_probe(folder)
        features = [decision_features(model, x).half() for x in inputs_of(model, pictures, 100)]
        tensors[split] = torch.cat(features).contiguous()
        tensors[f"{split}_labels"] = torch.tensor(pictures.numbers(model.lwta.label_names, whose="the demo's network"))
    with write_file(path) as temporary:
        save_file(tensors, temporary)
    return tensors


def scenes_network(demo: Path, stages: int = 4) -> nn.Module:
    """The demo's dense network, or its first stages with a classifier of their width, to be exchanged."""
    model = load_model(demo / "dense").eval()
    for stage in range(stages + 1, 5):
        model.set_submodule(f"layer{stage}", nn.Identity())
    width = model.get_submodule(f"layer{stages}")[-1].conv2.out_channels
    model.fc = nn.Linear(width, model.num_classes)
    return model


def test_scenes(out: Path) -> Path:
    """2,000 test pictures, of another seed than the demo's."""
    return write_scenes(out / "test-scenes", splits={"test": 2000}, seed=1) / "test"
