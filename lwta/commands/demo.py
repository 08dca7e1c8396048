"""`lwta demo`: everything once, offline, on the built-in scenes."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from itertools import zip_longest
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from competition_layers.terminal import plain

from ..demo_folder import FIGURES, LIVE, NETWORKS, PAGE, PAGES, UNITS, alone_in, is_finished, make_room, refuse_others
from ..live.archive import how_to_run_in_a_page
from ..open_model import open_model, training_seconds
from ..parsing import parse_call
from .explain import how_named
from .units import write_units

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


FULL = Settings(train=4000, probe=1200, test=400, epochs=9)
QUICK = Settings(train=1200, probe=500, test=300, epochs=4, explained=3, beside_random=False, batch_size=16, lr=6e-3)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(demo, argv, prog="lwta demo")
    return 0


def demo(
    out: Path = Path("demo"),
    quick: bool = False,
    overwrite: bool = False,
    live: bool = False,
    runtime: Path | None = None,
) -> None:
    """Paint scenes, train a sparse network and its dense twin, name their units, explain a few pictures.

    Args:
        out: the folder for all of it. One that holds this demo already is shown again, not made again.
        quick: smaller and faster, with worse networks.
        overwrite: make it anew; only what a demo writes is replaced, nothing else in the folder is touched.
        live: also write live.html, a page in which the sparse network itself runs, for photos of one's own.
        runtime: the npm archive of onnxruntime-web, which such a page carries; by default the one in the user's cache.
    """
    from ..live.runtime import runtime_for

    carried = runtime_for("--live", runtime) if live else None
    settings = QUICK if quick else FULL
    with one_thread():
        run_demo(out, settings, overwrite=overwrite)
        if carried is not None:
            print(f"The live page is {plain(add_live_page(out, carried, settings))}")


def add_live_page(out: Path, runtime: Any, settings: Settings) -> Path:
    """The page in which the sparse network of a finished demo runs."""
    from competition_layers import load_model
    from dissect import Dissection

    from ..live.writing import write_live

    pictures = to_explain(out / "scenes" / "test", settings.explained)
    names = Dissection.open(out / "names-sparse")
    network = load_model(str(out / "sparse"))
    beside_it: dict[str, Any] = {"dissection": names, "pictures": pictures, "made": how_named(names), "pages": PAGES}
    return write_live(out / LIVE, network, runtime, **beside_it)


def run_demo(out: Path, settings: Settings, *, overwrite: bool = False) -> dict[str, Any]:
    """The demo in the folder `out`; returns its figures, which repeat (times aside)."""
    made_from = asdict(settings)
    if not is_finished(out, made_from) or overwrite:
        refuse_others(out, overwrite=overwrite)
        with alone_in(out):
            make_room(out, made_from, overwrite=overwrite)
            make_demo(out, settings)
    else:
        print((out / "table.txt").read_text(encoding="utf-8"))
        print(f"This demo was made before; --overwrite makes it anew. The page is {plain(out / PAGE)}")
    return json.loads((out / FIGURES).read_text(encoding="utf-8"))


def make_demo(out: Path, settings: Settings) -> None:
    """Paint, train, name, explain, compare; everything into `out`."""
    started = time.perf_counter()
    from competition_layers import load_model
    from dissect import compare, explain_many, open_probe, render_report
    from dissect.comparing.comparing import Compared
    from dissect.folder.sources import ModelSource
    from dissect.report import comparison_text, explanation_text
    from dissect.report.live import render_live_how
    from dissect.report.numbers import duration

    step(1, "painting scenes: what is in each picture is known")
    scenes = paint(out / "scenes", settings)
    step(2, f"training for {settings.epochs} epochs: a network that ends in a decision layer, beside it its dense twin")
    networks = {name: load_model(run) for name, run in train_both(out, scenes, settings).items()}
    dissections = {}
    step(3, "naming the units of both with the bundled CLIP")
    for name, network in networks.items():
        random = (
            open_model(str(out / name), random_weights=True) if name == "sparse" and settings.beside_random else None
        )
        dissections[name] = name_units(out / f"names-{name}", scenes / "probe", network, random)
        ModelSource.of(out / f"names-{name}", str(out / name)).write(out / f"names-{name}")
    step(4, f"explaining {settings.explained} pictures, comparing on {settings.test}")
    shown = to_explain(scenes / "test", settings.explained)
    explanations = {}
    for name, network in networks.items():
        found = explain_many(network, shown, dissection=dissections[name])
        explanations[name] = [replace(each, truth=file.parent.name) for each, file in zip(found, shown, strict=True)]
    known = {
        name: Compared(networks[name], training_seconds(str(out / name)), dissections[name])
        for name in ("sparse", "dense")
    }
    comparison = compare(known, open_probe(scenes / "test"))
    table = f"{explanation_text(explanations['sparse'][0])}\n\n{comparison_text(comparison)}\n"
    (out / "table.txt").write_text(table, encoding="utf-8")
    render_report(out / NETWORKS, comparison=comparison, pages=PAGES)
    write_units(out / UNITS, dissections["sparse"], networks["sparse"], PAGES)
    render_live_how(out / LIVE, [*how_to_run_in_a_page(), f"lwta demo --out {out} --live"], pages=PAGES)
    page = render_report(
        out / PAGE,
        explanations["sparse"],
        twins=explanations["dense"],
        comparison=comparison,
        pages=PAGES,
        made={**how_named(dissections["sparse"]), "Training": how_trained(settings)},
    )
    print(f"\n{table}\nDone in {duration(time.perf_counter() - started)}. The page is {plain(page)}")


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


def paint(folder: Path, settings: Settings) -> Path:
    """Pictures for training, validation, naming and testing; held-out ones combine things as training never does."""
    from pictures.scenes import write_scenes

    sizes = {"train": settings.train, "val": settings.test, "probe": settings.probe, "test": settings.test}
    return write_scenes(folder, splits=sizes, seed=settings.seed)


def train_both(out: Path, scenes: Path, settings: Settings) -> Mapping[str, Path]:
    """Each network in a process of its own, with one thread: the figures are those of one after the other.

    Raises:
        RuntimeError: one of them failed; its own words stand above.
    """
    spawn = get_context("spawn")
    names = ("dense", "sparse")
    processes = {
        name: spawn.Process(target=train, args=(out / name, scenes, settings, name == "sparse"), daemon=True)
        for name in names
    }
    for process in processes.values():
        process.start()
    told = dict.fromkeys(names, 0)
    try:
        while any(process.is_alive() for process in processes.values()) or min(told.values()) < settings.epochs:
            wait([process.sentinel for process in processes.values() if process.is_alive()], timeout=1)
            for name, process in processes.items():
                told[name] += tell_epochs(name, out / name, told[name], settings)
                if process.exitcode:
                    raise RuntimeError(f"Expected to train the {name} network but it failed, see above")
    finally:
        for process in processes.values():
            process.terminate()
            process.join()
    return {name: out / name for name in names}


def tell_epochs(name: str, run: Path, told: int, settings: Settings) -> int:
    """Say how a run stands after each epoch that was not told yet; returns their number."""
    from training.callbacks import read_metrics

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
    with one_thread(), redirect_stdout(StringIO()):  # the demo tells how it goes
        return fit(
            classifier,
            data,
            run=Run(run, seed=settings.seed),
            epochs=settings.epochs,
            trainer_args={"enable_progress_bar": False},
        )


def name_units(folder: Path, probe: Path, network: Any, random: Any = None) -> Any:
    """The units of the last place where the network's units compete (or, in the twin, could), named by scene words;
    beside them those of the same network with `random` weights."""
    from dissect import DescribeOptions, describe, describe_beside, load_concepts, load_encoder, open_probe

    asked = open_probe(probe), load_concepts("scenes"), load_encoder("bundled")
    found = describe(network, *asked, out=folder)
    return found if random is None else describe_beside(found, random, *asked, DescribeOptions())


def to_explain(folder: Path, count: int) -> list[Path]:
    """The first picture of each class, class by class, until there are enough: nothing is picked by hand."""
    classes = [sorted(path.glob("*.png")) for path in sorted(folder.iterdir()) if path.is_dir()]
    return [picture for pictures in zip_longest(*classes) for picture in pictures if picture is not None][:count]


def how_trained(settings: Settings) -> str:
    """The recipe in words, for the page's last lines."""
    return (
        f"Both networks: {settings.train} painted scenes, {settings.epochs} epochs, AdamW at {settings.lr:g}, the same "
        f"batches in the same order (seed {settings.seed}). The sparse one has groups of {settings.competitors} in its "
        f"blocks and ends in a decision layer of {settings.units} units, of which one wins at each of 8 x 8 places. "
        "A demonstration, not a result: neither was tuned."
    )


def step(number: int, what: str) -> None:
    """Say what begins."""
    print(f"[{number}/4] {what}", flush=True)
