"""Describers that look at pixels beside those that do not, on CIFAR-10 with real CLIP embeddings.

    python benchmarks/cifar_describers.py [--data DIR] [--quick]

The 64 features of a ResNet-20 with published weights on 500 lossless pictures, 1,203 LVIS names. CLIP itself is not at
hand, its embeddings of the 500 are: any other picture (a crop, a held-out picture) is seen by a student, a ridge
regression of those embeddings on the features of a ResNet-56, fitted on the half that chooses names. Describe-and-
Dissect captions by the nearest names, counts words and finds pictures among 500 of the training set; MILAN is taught on
sets of 15 other training pictures of a class, whose description is the class: it can say nothing else.
Judged by real CLIP embeddings on the half that chose no name.
"""

import argparse
import io
import random
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from class_units import CLASSES, SmallResNet, find_data, load_resnet20, to_input
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from dissect import ConceptSet, DescribeOptions, Dissection, Naming, Sight, describe, judge_layer, open_probe
from dissect.backends.concept_captions import ConceptCaptioner
from dissect.backends.text_to_image import Retrieval
from dissect.backends.word_statistics import WordStatistics
from dissect.describers.concept_matching import ConceptMatching
from dissect.describers.describe_and_dissect import DescribeAndDissect
from dissect.describers.fitting import Fitting
from dissect.describers.milan import Milan
from dissect.describers.patches import Patches
from dissect.judging.bench import Evaluator
from dissect.milan.backbone import Backbone
from dissect.milan.saving import load_milan, save_milan
from dissect.milan.training import Annotated, train_milan
from dissect.naming.halves import halve
from dissect.probe.probe_images import ProbeImages
from dissect.report.verdict_text import verdict_text

RIDGE = 0.1
SAID = {name: name for name in CLASSES} | {"automobile": "car (automobile)", "ship": "boat", "truck": "truck"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Student:
    """CLIP's embedding of each of the 500 pictures; of any other what the features of a ResNet-56 make of it."""

    identity = "CLIP of 500 pictures, a student of it for others"

    def __init__(self, model: SmallResNet, pictures: Tensor, embeddings: Tensor, names: Sequence[str], texts: Tensor):
        self.model, self.texts = model, dict(zip(names, texts, strict=True))
        self.known = self._readable
        self._rows = {self._key(x): row for x, row in zip(self._prepared(pictures), embeddings, strict=True)}

        halves = halve(embeddings)
        x = self._features(self._prepared(pictures)[halves.choosing])
        y = embeddings[halves.choosing].double()
        self.mean, self.middle = x.mean(0), y.mean(0)
        gram = (x - self.mean).T @ (x - self.mean)
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        self.weights = torch.linalg.solve(gram + ridge, (x - self.mean).T @ (y - self.middle))
        held = self._seen(self._prepared(pictures)[halves.judging])
        self.agreement = float((held * embeddings[halves.judging]).sum(1).mean())
        self.unseen = float((normalize(self.middle, dim=0).float() * embeddings[halves.judging]).sum(1).mean())

    def preprocess(self, picture: Image.Image) -> Tensor:
        return to_input(picture.resize((32, 32), Image.Resampling.BICUBIC))

    def encode_batch(self, x: Tensor) -> Tensor:
        seen = self._seen(x)
        return torch.stack([self._rows.get(self._key(one), row) for one, row in zip(x, seen, strict=True)])

    def encode_images(self, probe: ProbeImages) -> Tensor:
        return self.encode_batch(torch.stack([self.preprocess(probe[i]) for i in range(len(probe))]))

    def encode_texts(self, concepts: ConceptSet) -> Tensor:
        kept, lost = self.known(concepts)
        if lost:
            raise ValueError(f"Expected LVIS names but got {concepts.names}")
        return torch.stack([self.texts[name] for name in kept.names])

    def _readable(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        kept = tuple(name for name in concepts.names if name in self.texts)
        if not kept:
            raise ValueError("Expected LVIS names but got none")
        return ConceptSet(kept, concepts.templates, concepts.source, kept), len(concepts) - len(kept)

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        return torch.cat([_stages(self.model, part) for part in x.split(250)]).double()

    def _seen(self, x: Tensor) -> Tensor:
        return normalize((self._features(x) - self.mean) @ self.weights + self.middle, dim=1).float()

    @staticmethod
    def _prepared(pictures: Tensor) -> Tensor:
        return torch.stack([to_input(Image.fromarray(picture.numpy())) for picture in pictures])

    @staticmethod
    def _key(x: Tensor) -> bytes:
        return np.ascontiguousarray(x.numpy()).tobytes()


def _stages(model: SmallResNet, x: Tensor) -> Tensor:
    """The means of the last two stages, 32 and 64 numbers."""
    fine = model.layer2(model.layer1(torch.relu(model.bn1(model.conv1(x)))))
    return torch.cat([fine.mean((2, 3)), model.layer3(fine).mean((2, 3))], 1)


def training_pictures(data: Path, each: int) -> dict[str, list[Image.Image]]:
    """So many pictures a class of the training set's JPEG copies."""
    chosen = random.Random(0)
    with tarfile.open(data / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        names: dict[str, list[str]] = {name: [] for name in CLASSES}
        for member in archive:
            *_, split, label, _ = ("", "", *member.name.split("/"))[-4:]
            if member.isfile() and split == "train" and label in names:
                names[label].append(member.name)
        wanted = {name: label for label, some in names.items() for name in chosen.sample(sorted(some), each)}
    found: dict[str, list[Image.Image]] = {name: [] for name in CLASSES}
    with tarfile.open(data / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        for member in archive:
            if member.name in wanted:
                picture = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
                found[wanted[member.name]].append(picture)
    return found


def taught(folder: Path, model: SmallResNet, pictures: dict[str, list[Image.Image]], sets: int) -> Milan:
    """MILAN on sets of 15 pictures of a class."""
    backbone = Backbone(model, ("layer1", "layer2", "layer3"), 32, MEAN, STD)
    draw, whole = random.Random(0), torch.ones(1, 1)
    units = [
        Annotated(backbone.features(draw.sample(some, 15), [whole] * 15), (SAID[label],))
        for label, some in pictures.items()
        for _ in range(sets)
    ]
    draw.shuffle(units)
    save_milan(folder, train_milan(units, epochs=30, hidden=64), backbone.identity)
    return Milan(load_milan(folder), backbone)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--quick", action="store_true", help="few pictures to teach and to find")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    torch.set_num_threads(1)
    source = data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors"
    held, names = load_file(source), (data / "clip-text" / "lvis1203.txt").read_text("utf-8").splitlines()
    texts = load_file(data / "clip-text" / "lvis1203.safetensors")["embeddings"]
    embeddings, texts = (normalize(rows.float(), dim=1) for rows in (held["embeddings"], texts))
    larger = SmallResNet(9)
    larger.load_state_dict(load_file(data / "cifar10-resnets" / "resnet56.safetensors"))
    student = Student(larger.eval(), held["images"], embeddings, names, texts)
    print(
        f"the student's cosine with CLIP on held-out pictures {student.agreement:.3f}, of the mean {student.unseen:.3f}"
    )
    each = 40 if options.quick else 100
    pictures = training_pictures(data, each)
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "found").mkdir()
        for label, some in pictures.items():
            for i, picture in enumerate(some[: each // 2]):
                picture.save(folder / "found" / f"{label}-{i}.png")
        concepts = ConceptSet(tuple(names), source="LVIS", lines=tuple(names))
        started = time.process_time()
        rest = {label: some[each // 2 :] for label, some in pictures.items()}
        milan = taught(folder / "taught", larger, rest, 4 if options.quick else 40)
        print(f"MILAN taught in {time.process_time() - started:.0f} s")
        found = Retrieval(open_probe(folder / "found"), student)
        describers = {
            "lwta": [Fitting(found)],
            "claims": [ConceptMatching(Naming("claims"))],
            "soft_wpmi": [ConceptMatching(Naming("soft_wpmi"))],
            "dnd": [DescribeAndDissect(ConceptCaptioner(student, concepts), WordStatistics(), found)],
            "patches": [Patches()],
            "milan": [milan],
        }
        opened: dict[str, Dissection] = {}
        for name, some in describers.items():
            started = time.process_time()
            given = DescribeOptions(layers=["layer3"], summary="mean", transform=to_input, describers=some)
            opened[name] = describe(load_resnet20(data), open_probe(source), concepts, student, folder / name, given)
            print(
                f"  {name:10} {time.process_time() - started:5.0f} s of the processor, recording included", flush=True
            )

        def read(labels: Sequence[str]) -> Tensor:
            unread = torch.full((texts.shape[1],), torch.nan)
            return torch.stack([student.texts.get(label, unread) for label in labels])

        table = judge_layer(opened, "layer3", Sight(Evaluator("CLIP ViT-B/32", embeddings, read)))
        print(verdict_text(table))


if __name__ == "__main__":
    main()
