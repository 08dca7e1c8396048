"""The demo's two networks: each trained and its units named in a process of its own, with one thread."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

from .open_model import open_model

# ResNet-18's plan with one block a stage; its last map has 8 x 8 places
BACKBONE = "resnet18"
MODEL_ARGS = {
    "layers": (1, 1, 1, 1),
    "channels": (32, 48, 64, 96),
    "stem_type": "deep",
    "stem_width": 16,
    "output_stride": 8,
}
# Where units compete before the decision: inside the blocks; the residual stream between stays dense. The twin is
# looked at where it is read, at its last activation
INCLUDE, READ = ["layer*.act1"], "layer4.0.act2"


@dataclass(frozen=True)
class Settings:
    """How large a demo is: pictures a split, epochs, competitors in a group, pictures explained.

    The sparse network ends in a decision layer of `units`, of which one wins at each place: the picture is cut into
    regions with names.
    """

    train: int
    probe: int
    test: int
    epochs: int
    competitors: int = 8
    units: int = 64
    noise_scale: float = 0.3  # of the decision layer
    explained: int = 6
    beside_random: bool = True  # also name the sparse network with random weights
    batch_size: int = 32
    lr: float = 8e-3
    seed: int = 0


FULL = Settings(train=4000, probe=1200, test=400, epochs=8)
QUICK = Settings(train=1200, probe=500, test=300, epochs=4, explained=3, beside_random=False, batch_size=16, lr=6e-3)


def make_both(out: Path, scenes: Path, settings: Settings) -> Iterator[str]:
    """Train both networks into `out` and name their units; the name of each as soon as it is done.

    Each in a process of its own: the figures are those of one after the other.

    Raises:
        RuntimeError: one of them failed; its own words stand above.
    """
    spawn, names = get_context("spawn"), ("dense", "sparse")
    processes = {
        name: spawn.Process(target=make_network, args=(name, out, scenes, settings), daemon=True) for name in names
    }
    for process in processes.values():
        process.start()
    told, at_work = dict.fromkeys(names, 0), list(names)
    try:
        while at_work:
            wait([processes[name].sentinel for name in at_work], timeout=1)
            for name in tuple(at_work):
                code = processes[name].exitcode
                told[name] += tell_epochs(name, out / name, told[name], settings)
                if code:
                    raise RuntimeError(f"Expected to make the {name} network but it failed, see above")
                if code == 0:
                    at_work.remove(name)
                    yield name
    finally:
        for process in processes.values():
            process.terminate()
            process.join()


def make_network(name: str, out: Path, scenes: Path, settings: Settings) -> None:
    """Train one of them and name its units, beside them those of the sparse network with random weights."""
    train(out / name, scenes, settings, name == "sparse")
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), one_thread():  # the demo tells how it goes
        name_units(name, out, scenes / "probe", beside_random=name == "sparse" and settings.beside_random)


def tell_epochs(name: str, run: Path, told: int, settings: Settings) -> int:
    """Say how a run stands after each epoch that was not told yet; returns their number."""
    from training.tables import read_metrics

    rows = read_metrics(run / "metrics.csv")[told:]
    for row in rows:
        epoch, share = int(row["epoch"]) + 1, 100 * float(row["val_accuracy"])
        print(f"      {name:6}  epoch {epoch} of {settings.epochs}: {share:.1f} % right", flush=True)
    return len(rows)


def train(run: Path, scenes: Path, settings: Settings, sparse: bool) -> Path:
    """Both networks by the same recipe: they see the same batches, and differ in their competitions alone."""
    from competition_layers.decision import DecisionLayer
    from training import Augmentation, Classifier, Execution, ImageData, Loading, Optimizer, Run, Splits, Start, fit

    data = ImageData(
        str(scenes),
        splits=Splits(val="val"),
        loading=Loading(batch_size=settings.batch_size, workers=0, cache=True, on_bad="trust"),
        augmentation=Augmentation(scale=(0.7, 1.0), interpolation="bilinear"),
    )
    # focus would make units of classes
    decision = DecisionLayer(settings.units, settings.units, "positions", noise_scale=settings.noise_scale, focus=0)
    classifier = Classifier(
        BACKBONE,
        competitors=settings.competitors if sparse else 1,
        decision=decision if sparse else None,
        image_size=64,
        include=INCLUDE if sparse else [*INCLUDE, READ],
        start=Start(model_args=MODEL_ARGS),
        optimizer=Optimizer(lr=settings.lr, warmup_epochs=1),
        execution=Execution(channels_last=True, samples=1),
    )
    with redirect_stdout(StringIO()), one_thread():
        return fit(
            classifier,
            data,
            run=Run(run, seed=settings.seed),
            epochs=settings.epochs,
            trainer_args={"enable_progress_bar": False},
        )


def name_units(name: str, out: Path, probe: Path, *, beside_random: bool) -> None:
    """The units of the last place where the network's units compete (or, in the twin, could), named by scene words.

    The probe is embedded once for both, where the dense network was done before.
    """
    from competition_layers import load_model
    from dissect import DescribeOptions, describe, describe_beside, load_concepts, load_encoder, open_probe
    from dissect.folder.layout import Layout
    from dissect.folder.shard_store import copy_embeddings
    from dissect.folder.sources import ModelSource

    folder, done = out / f"names-{name}", Layout(out / "names-dense")
    if done.is_finished:
        copy_embeddings(done, Layout(folder))
    asked = open_probe(probe), load_concepts("scenes"), load_encoder("bundled")
    found = describe(load_model(out / name), *asked, out=folder)
    if beside_random:
        found = describe_beside(found, open_model(str(out / name), random_weights=True), *asked, DescribeOptions())
        beside = found.layout.beside_random
        ModelSource.of(beside, str(out / name), random_weights=True).write(beside)
    ModelSource.of(folder, str(out / name)).write(folder)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block torch computes with one thread.

    The figures are then the same on any number of cores, and beside other busy processes two threads that wait for one
    another were measured twenty times slower than one; the other core trains the other network.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
