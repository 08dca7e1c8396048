"""Features of pictures on disk: half precision, shards written whole, named by the hash of what they came from.

A pass that was killed goes on behind its last whole shard; the same backbone, pictures and transform are never computed
again, whatever the decision layer is.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from competition_layers import decision_features, spec_of
from competition_layers.files import write_file
from competition_layers.fingerprints import transform_fingerprint
from competition_layers.origins import is_function

from ..labelled import LabelledPictures
from ..sampling import NOT_COUNTED, Draw, EpochSampler, SeededDataset

SHARD_BYTES = 2**25  # a shard is written when it has so many,
SHARD_SECONDS = 30  # or so much time has gone into it: what a kill costs
_LOOKED_AT = 64  # pictures whose pixels enter the hash, evenly spread; of files also names, sizes and times


@dataclass(frozen=True)
class Pass:
    """What a pass over pictures computes.

    Args:
        views: how often each picture is seen; more than once only with a transform that augments.
        seed: of the augmentation.
        batch_size, workers: of the loader; they change no feature.
        skip_bad: in the place of a picture that cannot be read comes the next one, see `SeededDataset`.
    """

    views: int = 1
    seed: int = 0
    batch_size: int = 64
    workers: int = 0
    skip_bad: bool = False


class StoredFeatures(Dataset[tuple[Tensor, Tensor]]):
    """Features and labels by batches of draws; of several views the draw's seed picks one."""

    def __init__(self, folder: Path, pictures: int, views: int):
        self.pictures, self.views = pictures, views
        shards = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
        self.shards = [shard.get_tensor("features") for shard in shards]  # mapped into memory, read when asked for
        self.labels = torch.cat([shard.get_tensor("labels") for shard in shards])
        self.ends = np.cumsum([len(shard) for shard in self.shards])
        if len(self.labels) != pictures * views:
            raise ValueError(
                f"Expected {pictures * views} features in {str(folder)!r} but got {len(self.labels)}: remove it"
            )

    def __len__(self) -> int:
        return self.pictures

    def __getitem__(self, draws: Sequence[Draw]) -> tuple[Tensor, Tensor]:
        places = [(draw.seed % self.views) * self.pictures + draw.index for draw in draws]
        shards = np.searchsorted(self.ends, places, side="right")
        rows = [self.shards[s][place - self.ends[s]] for s, place in zip(shards, places, strict=True)]  # from its end
        labels = self.labels[torch.tensor(places)].clone()
        labels[torch.tensor([not draw.counts for draw in draws])] = NOT_COUNTED
        return torch.stack(rows).float(), labels


def stored_features(model: Any, images: Any, transform: Any, root: Path, how: Pass) -> StoredFeatures:
    """The features of `images` that the decision layer of `model` reads, computed where they are not there yet.

    Args:
        images: (picture, label) by index.
        root: holds a folder for each backbone, pictures and transform.
    """
    facts = {
        "format": 2,
        "backbone": _hash_of_weights(model),
        "at": model.lwta.decision.at,
        "transform": transform_fingerprint(transform),
        "images": _hash_of_images(images),
        "views": how.views,
        "seed": how.seed if how.views > 1 else None,
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # a second run, or process, of the same features waits for them
        if not (folder / "finished.json").is_file():
            _compute(model, images, transform, folder, how)
            with write_file(folder / "finished.json") as temporary:
                temporary.write_text(json.dumps(facts, indent=1) + "\n")
    return StoredFeatures(folder, len(images), how.views)


def _compute(model: Any, images: Any, transform: Any, folder: Path, how: Pass) -> None:
    for unfinished in folder.glob(".*.tmp"):  # of a pass that was killed: the folder is locked
        unfinished.unlink()
    sampler = EpochSampler(len(images), seed=how.seed, shuffle=False)
    draws: list[Draw] = []
    for view in range(how.views):
        sampler.set_epoch(view)
        draws += sampler
    done = sorted(folder.glob("*.safetensors"))
    seen = sum(safe_open(path, "pt").get_slice("labels").get_shape()[0] for path in done)
    if seen:
        print(f"features: {seen:,} of {len(draws):,} are there already", flush=True)
    seen_images = SeededDataset(images, transform, skip_bad=how.skip_bad)
    loader = DataLoader(seen_images, batch_size=how.batch_size, num_workers=how.workers, sampler=draws[seen:])
    told = seen
    for number, (features, labels) in enumerate(_shards(model, loader, images), len(done)):
        with write_file(folder / f"{number:05}.safetensors") as temporary:
            save_file({"features": features, "labels": labels}, temporary)
        seen += len(labels)
        if seen - told >= len(draws) // 10 or seen == len(draws):
            print(f"features: {seen:,} of {len(draws):,}", flush=True)
            told = seen


@torch.inference_mode()
def _shards(model: nn.Module, loader: DataLoader, images: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Features and labels, so many at a time that a shard has at most `SHARD_BYTES` or took about `SHARD_SECONDS`."""
    training, device = model.training, next(model.parameters()).device
    waiting: list[tuple[Tensor, Tensor]] = []
    held, most, begun = 0, 0, monotonic()
    model.eval()
    try:
        for pixels, labels in loader:
            features = _halved(decision_features(model, pixels.to(device))).cpu()
            most = most or max(1, SHARD_BYTES // features[0].nbytes)
            for start in range(0, len(labels), most):
                waiting.append((features[start : start + most], labels[start : start + most]))
                held += len(waiting[-1][1])
                while held >= most:
                    whole = [torch.cat(parts) for parts in zip(*waiting, strict=True)]
                    yield whole[0][:most].contiguous(), whole[1][:most].contiguous()
                    waiting, held, begun = [(whole[0][most:], whole[1][most:])], held - most, monotonic()
            if held and monotonic() - begun > SHARD_SECONDS:
                yield torch.cat([f for f, _ in waiting]), torch.cat([label for _, label in waiting])
                waiting, held, begun = [], 0, monotonic()
        if held:
            yield torch.cat([f for f, _ in waiting]), torch.cat([label for _, label in waiting])
    finally:
        model.train(training)


def _halved(features: Tensor) -> Tensor:
    """In half precision, as they are stored; what it has no number for ends the pass, not a training later."""
    half = features.half()
    if not half.isfinite().all():
        most = features.abs().max().item()
        raise ValueError(
            f"Expected features of the frozen backbone within {torch.finfo(torch.half).max:,.0f}, which half precision "
            f"holds, but got {most:,.0f}: train through the decision layer (--model.train all), or scale the last layer"
        )
    return half


def _hash_of_weights(model: nn.Module) -> str:
    """Of the backbone: weights and buffers outside the decision layer, how it was built, the code of one's own."""
    spec = spec_of(model)
    digest = hashlib.sha256(json.dumps([spec.architecture, repr(spec.model_args)]).encode())
    if is_function(spec.architecture):  # whose code may change under the same name
        modules = {spec.architecture.partition(":")[0], *(type(module).__module__ for module in model.modules())}
        for file in (getattr(sys.modules.get(name), "__file__", None) for name in sorted(modules)):
            digest.update(Path(file).read_bytes() if file else b"")
    for name, value in model.state_dict().items():
        if not name.startswith("decision"):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _hash_of_images(images: Any) -> str:
    digest = hashlib.sha256(str(len(images)).encode())
    if isinstance(images, LabelledPictures):
        pictures = images.pictures
        for index in images.indices:
            facts = pictures.files[index].stat() if pictures.files else None
            size, time = (facts.st_size, facts.st_mtime_ns) if facts else (0, 0)
            digest.update(f"{pictures.names[index]} {images.numbers[index]} {size} {time}\n".encode())
    for index in np.linspace(0, len(images) - 1, min(_LOOKED_AT, len(images))).astype(int):
        picture, label = images[int(index)]
        digest.update(np.asarray(picture).tobytes() + str(label).encode())
    return digest.hexdigest()
