"""How long pages take in Chromium and Firefox: a live page to ready and to its first answer, that of units to be seen.

2,100 units, each with pictures of its own. The demo's network (64 pixels) and a DeiT-T (224), random weights, each with
a decision layer and without. Live pages need onnxruntime-web in the cache (docs/explaining.md) and lwta[onnx]; a
browser that is not there is left out.

python benchmarks/live_page.py [--part units|live] [--quick] [--rounds 3]
"""

import argparse
import io
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from explaining import REGIONS, network, pictures
from PIL import Image

from competition_layers import DecisionLayer
from dissect.explaining.unit_entries import Histogram, UnitEntry
from dissect.naming.description import Candidate, Description
from dissect.naming.evidence import Evidence
from dissect.report.units import render_units
from lwta.live.runtime import runtime_for
from lwta.live.writing import write_live

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from browser import open_browser
from firefox import open_firefox

PAGES = (  # network, pixels, decision layer, the aim in seconds
    ("resnet18", 64, REGIONS, 3),
    ("resnet18", 64, None, 3),
    ("deit_tiny_patch16_224", 224, DecisionLayer(), 12),
    ("deit_tiny_patch16_224", 224, None, 12),
)
TIMES = "lwta.ready.then(() => [performance.getEntriesByName('ready')[0].startTime / 1000, performance.now() / 1000])"
SEEN = """new Promise((tell) => { const look = () => {
    const [seen] = performance.getEntriesByName("first-contentful-paint");
    if (seen) tell([seen.startTime / 1000, performance.getEntriesByType("navigation")[0].loadEventEnd / 1000]);
    else setTimeout(look, 20); }; setTimeout(look, 100); })"""
UNITS = 2100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("units", "live"), help="by default both")
    parser.add_argument("--quick", action="store_true", help="the small network alone, once")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    browsers = {name: opened for name, opened in BROWSERS.items() if shutil.which(name)}
    rounds = 1 if options.quick else options.rounds
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        if options.part != "live":
            page = units_page(folder / "units.html")
            print(f"{UNITS:,} units: {page.stat().st_size / 2**20:.1f} MiB, aim 1 s", flush=True)
            tell(browsers, page, SEEN, ("first sight", "all there"), rounds)
        if options.part == "units":
            return
        runtime = runtime_for("this benchmark")
        for name, side, decision, aim in PAGES[: 1 if options.quick else None]:
            pictures(1, side)[0].save(folder / "mine.png")
            model = network(name, side, decision)
            page = write_live(folder / "live.html", model, runtime, pictures=[folder / "mine.png"])
            what = f"{name}, {side} pixels, {'decision layer' if decision else 'units measured'}"
            print(f"{what}: {page.stat().st_size / 2**20:.1f} MiB, aim {aim} s", flush=True)
            tell(browsers, page, TIMES, ("ready", "first answer"), rounds)


def units_page(path: Path) -> Path:
    """The page of units that have everything a page shows."""
    evidence = Evidence(0.5, 0.4, 0.6, 0.3, 0.001, 0.002)
    entries = []
    for unit in range(UNITS):
        words = (Candidate(f"word {unit // 3}", 0.5, "claims"), Candidate("another", 0.25, "claims"))
        about = Description("decision", unit, words[0].description, 0.5, 0.06, 1.5, 40, words, 0.25, evidence)
        generator = torch.Generator().manual_seed(unit)
        pixels = torch.randint(0, 256, (8, 66, 3), dtype=torch.uint8, generator=generator).numpy()
        strip = io.BytesIO()
        Image.fromarray(pixels).resize((66 * 8 - 2, 64)).save(strip, "JPEG")
        entries.append(
            UnitEntry(
                about,
                Histogram(-0.5, 2.0, tuple(range(24))),
                0.4,
                rivals=((unit + 1, "another"),) * 6,
                group_size=16,
                votes=(("harbour", 1.25), ("farm", -0.75)) * 3,
                exemplars=strip.getvalue(),
                masks=(((1.0, None), (0.0, 0.5)),) * 8,
            )
        )
    return render_units(path, entries)


def tell(browsers: Mapping[str, Any], page: Path, times: str, what: tuple[str, str], rounds: int) -> None:
    """Print how long each browser takes to both, the median of some rounds."""
    for browser, opened in browsers.items():
        found = [timed(opened, page.with_name(f"profile-{next(PROFILES)}"), page, times) for _ in range(rounds)]
        first, second = (spread([each[k] for each in found]) for k in (0, 1))
        print(f"  {browser}: {what[0]} after {first}, {what[1]} after {second}", flush=True)


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


def timed(opened: Callable[[Path], Any], folder: Path, page: Path, times: str) -> tuple[float, float]:
    """Both seconds that the script `times` gives; a browser of its own, nothing warm."""
    with opened(folder) as window:
        window.open(page.as_uri())
        first, second = window.evaluate(times)
        return first, second


PROFILES = count()
BROWSERS = {"chromium": partial(open_browser, "chromium"), "firefox": partial(open_firefox, "firefox")}

if __name__ == "__main__":
    main()
