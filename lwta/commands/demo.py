"""`lwta demo`: everything once, offline, on the built-in scenes."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from competition_layers.terminal import plain

from ..demo_folder import FIGURES, LIVE, NETWORKS, PAGE, PAGES, UNITS, alone_in, is_finished, make_room, refuse_others
from ..demo_networks import FULL, QUICK, Settings, make_both, one_thread
from ..how_named import how_named
from ..live.archive import how_to_run_in_a_page
from ..open_model import training_seconds
from ..parsing import parse_call
from .units import write_units


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
    run_demo(out, settings, overwrite=overwrite)
    if carried is not None:
        print(f"The live page is {plain(add_live_page(out, carried, settings))}")


@one_thread()
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
    step(1, "painting scenes: what is in each picture is known")
    scenes = paint(out / "scenes", settings)
    step(2, f"training {settings.epochs} epochs, naming units: a network that ends in a decision layer, its dense twin")
    pictures = to_explain(scenes / "test", settings.explained)
    # the dense one is done first, and looked at while the other core is still at the other
    seen = {name: look_at(name, out, pictures) for name in make_both(out, scenes, settings)}
    step(3, f"comparing them on {settings.test} pictures")
    table, page = write_pages(out, settings, seen)
    from dissect.numbers import duration

    took = duration(time.perf_counter() - started)
    print(f"\n{table}\nDone in {took}. The page is {plain(page)}")


@one_thread()
def look_at(name: str, out: Path, pictures: Sequence[Path]) -> tuple[Any, list[Any]]:
    """The finished network `name` as `compare` takes it, and pictures explained; says how many units have a name."""
    from competition_layers import load_model
    from dissect import Dissection, explain_many
    from dissect.comparing.comparing import Compared

    network, dissection = load_model(str(out / name)), Dissection.open(out / f"names-{name}")
    (layer,) = dissection.layers
    named = dissection.outcomes(layer)["named"]
    print(f"      {name:6}  {named} of {dissection.units(layer)} units have a name", flush=True)
    found = explain_many(network, pictures, dissection=dissection)
    explanations = [replace(each, truth=file.parent.name) for each, file in zip(found, pictures, strict=True)]
    return Compared(network, training_seconds(str(out / name)), dissection), explanations


@one_thread()
def write_pages(out: Path, settings: Settings, seen: Mapping[str, tuple[Any, list[Any]]]) -> tuple[str, Path]:
    """Compare both and write all pages; the table for the terminal, and the page of pictures.

    Args:
        seen: what `look_at` gave of each network.
    """
    from dissect import compare, open_probe, render_report
    from dissect.report import comparison_text, explanation_text
    from dissect.report.live import render_live_how

    (sparse, explanations), (dense, twins) = seen["sparse"], seen["dense"]
    comparison = compare({"sparse": sparse, "dense": dense}, open_probe(out / "scenes" / "test"))
    table = f"{explanation_text(explanations[0])}\n\n{comparison_text(comparison)}\n"
    (out / "table.txt").write_text(table, encoding="utf-8")
    render_report(out / NETWORKS, comparison=comparison, pages=PAGES)
    write_units(out / UNITS, sparse.dissection, sparse.model, PAGES)
    render_live_how(out / LIVE, [*how_to_run_in_a_page(), f"lwta demo --out {out} --live"], pages=PAGES)
    page = render_report(
        out / PAGE,
        explanations,
        twins=twins,
        comparison=comparison,
        pages=PAGES,
        made={**how_named(sparse.dissection), "Training": how_trained(settings)},
    )
    return table, page


def paint(folder: Path, settings: Settings) -> Path:
    """Pictures for training, validation, naming and testing; held-out ones combine things as training never does."""
    from pictures.scenes import write_scenes

    sizes = {"train": settings.train, "val": settings.test, "probe": settings.probe, "test": settings.test}
    return write_scenes(folder, splits=sizes, seed=settings.seed)


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
    print(f"[{number}/3] {what}", flush=True)
