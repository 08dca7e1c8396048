"""How long a live page takes from opening to ready, and to the first answer: Chromium and Firefox, page by page.

The demo's network (64 pixels) and a DeiT-T (224), random weights, each with a decision layer and without. Needs
onnxruntime-web in the cache (docs/explaining.md) and lwta[onnx]; a browser that is not there is left out.

python benchmarks/live_page.py [--quick] [--rounds 3]
"""

import argparse
import shutil
import sys
import warnings
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from explaining import REGIONS, network, pictures

from competition_layers import DecisionLayer
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small network alone, once")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runtime = runtime_for("this benchmark")
    profiles = count()
    browsers = {name: opened for name, opened in BROWSERS.items() if shutil.which(name)}
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        for name, side, decision, aim in PAGES[: 1 if options.quick else None]:
            pictures(1, side)[0].save(folder / "mine.png")
            model = network(name, side, decision)
            page = write_live(folder / "live.html", model, runtime, pictures=[folder / "mine.png"])
            what = f"{name}, {side} pixels, {'decision layer' if decision else 'units measured'}"
            print(f"{what}: {page.stat().st_size / 2**20:.1f} MiB, aim {aim} s", flush=True)
            for browser, opened in browsers.items():
                rounds = 1 if options.quick else options.rounds
                found = [timed(opened, folder / f"profile-{next(profiles)}", page) for _ in range(rounds)]
                ready, answered = (spread([each[k] for each in found]) for k in (0, 1))
                print(f"  {browser}: ready after {ready}, first answer after {answered}", flush=True)


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


def timed(opened: Callable[[Path], Any], folder: Path, page: Path) -> tuple[float, float]:
    """Seconds until the page is ready, and until the example is answered; a browser of its own, nothing warm."""
    with opened(folder) as window:
        window.open(page.as_uri())
        ready, answered = window.evaluate(TIMES)
        return ready, answered


BROWSERS = {"chromium": partial(open_browser, "chromium"), "firefox": partial(open_firefox, "firefox")}

if __name__ == "__main__":
    main()
