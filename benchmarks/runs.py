"""What the benchmarks share: timing in turns; recipes, pictures, commands as processes, the figures of runs."""

import argparse
import json
import math
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev

CONFIGS = {
    name: f"configs/train/{file}.yaml"
    for name, file in (("vit", "cifar10_vit"), ("resnet", "cifar10_resnet"), ("scenes", "scenes"))
}
# what differs from the recipes: the scenes are shorter, so that a run takes a minute
OPTIONS = {
    "vit": (),
    "resnet": (),
    "scenes": ("--data.splits.subset=4000", "--trainer.max_epochs=6", "--trainer.precision=bf16-mixed"),
}
# 97.5 % points of Student's t for 1 .. 9 degrees of freedom
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def lwta(*words: object, log: Path) -> None:
    """One `lwta` command in a process with one thread, what it says going to `log`."""
    command = [sys.executable, "-m", "lwta", *map(str, words)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        code = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode
    if code:
        raise SystemExit(
            f"{' '.join(command)} failed; the end of {log}:\n" + "\n".join(log.read_text().split("\n")[-15:])
        )


def in_turns(
    work: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    finish: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """The median seconds of each; they take turns, so that a busy machine slows all of them alike.

    On a GPU `finish` is `torch.cuda.synchronize`: the clock is read when the work is done, not when it is asked for.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for i in range(rounds + 2):
        for name, run in work.items():
            finish()
            start = clock()
            run()
            finish()
            if i > 1:  # the first rounds warm up and compile
                times[name].append(clock() - start)
    return {name: median(taken) for name, taken in times.items()}


def all_of(job: Callable[..., None], arguments: Iterable[tuple], *, workers: int) -> None:
    """`job` with each of the `arguments`, so many at a time; the first that fails ends it."""
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(job, *each) for each in arguments]:
            done.result()


def in_processes(job: Callable[..., None], arguments: Iterable[tuple], *, workers: int) -> None:
    """`job` with each of the `arguments`, in as many processes of one thread; the first that fails ends it."""
    if workers == 1:
        for each in arguments:
            job(*each)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        for done in as_completed([pool.submit(job, *each) for each in arguments]):
            done.result()


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work and the device")


def figures(run: Path) -> dict | None:
    """What a finished run wrote: validation figures and seconds, and the test figures where they were read."""
    config, test = run / "model" / "config.json", run / "test.json"
    notes = json.loads(config.read_text())["training"] if config.is_file() else {}
    if not notes.get("finished"):
        return None
    return notes | (json.loads(test.read_text()) if test.is_file() else {})


def pictures(network: str, options: argparse.Namespace) -> Path | None:
    """The folder of a network's images, painted or unpacked where they are not there yet; None without CIFAR-10."""
    if network != "scenes":
        return _unpacked(options.data, options.out)
    folder = options.out / "scenes"
    if not folder.is_dir() and not options.table:
        from pictures.scenes import write_scenes

        sizes = {"train": 256, "val": 64, "test": 64} if options.quick else {"train": 4000, "val": 1000, "test": 4000}
        write_scenes(folder, splits=sizes, seed=0)
    return folder


def interval(values: list[float], *, sign: str = "", digits: int = 2) -> str:
    """Mean and half width of the 95 % interval (Student's t over seeds); `sign="+"` writes that of a difference."""
    if len(values) < 2:
        return f"{values[0]:{sign}.{digits}f}" if values else ""
    half = T[len(values) - 2] * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):{sign}.{digits}f} ± {half:.{digits}f}"


def _unpacked(data: Path, out: Path) -> Path | None:
    """CIFAR-10: the folder with `train` and `test`, out of the archive where need be."""
    for folder in (data, out / "images"):
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            return folder
    archive = data / "cifar10_jpeg_imagefolder.tar.gz"
    if not archive.is_file():
        return None
    temporary = out / "images.part"
    with tarfile.open(archive) as tar:
        tar.extractall(temporary, filter="data")
    root = next(path.parent for path in sorted(temporary.rglob("train")) if path.is_dir())
    root.rename(out / "images")
    return out / "images"
