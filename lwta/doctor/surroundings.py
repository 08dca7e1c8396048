"""The cache of weights, a browser for the tests of the page, cores and memory."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..live.archive import how_to_get
from .finding import Finding

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check_chromium(names: Sequence[str] = BROWSERS) -> Finding:
    """A browser is needed by the tests of the page alone."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found:
        return Finding(True, f"{found}: the tests can look at the report")
    return Finding(False, "no Chromium: the tests of the report's page are skipped", "apt-get install chromium")


def check_runtime(archive: Path) -> Finding:
    """onnxruntime-web is carried by live pages alone."""
    if archive.is_file():
        return Finding(True, f"{archive}: `lwta explain --live` can write pages in which a network runs")
    return Finding(False, "no onnxruntime-web: `lwta explain --live` cannot write its page", how_to_get(archive))


def cache_folder(env: Mapping[str, str]) -> Path:
    """Where pretrained weights from a hub are kept (huggingface_hub's rule)."""
    cache = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".cache")
    return Path(env.get("HF_HOME") or Path(cache) / "huggingface")


def check_cache(folder: Path) -> Finding:
    """Can pretrained weights be written, and is there room for them?"""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        what = f"pretrained weights cannot be kept in {folder}: {error.strerror}"
        return Finding(False, what, "export HF_HOME=/a/folder/you/can/write")
    free = shutil.disk_usage(there).free / 2**30
    if free < 2:
        return Finding(
            False, f"{folder} has {free:.1f} GiB left for pretrained weights", "export HF_HOME=/a/larger/disk"
        )
    return Finding(True, f"pretrained weights are kept in {folder} ({free:.0f} GiB free)")


def check_machine() -> Finding:
    """Cores that this process may use, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    if 0 < memory < 4:
        return Finding(False, f"{cores} cores, {memory:.1f} GiB of memory: little for training", "use smaller batches")
    return Finding(True, f"{cores} cores" + (f", {memory:.0f} GiB of memory" if memory else ""))
