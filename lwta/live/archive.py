"""Where the npm archive of onnxruntime-web is looked for, and the command that puts it there."""

import os
from pathlib import Path

VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"


def default_archive() -> Path:
    """In `lwta/` of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lwta" / ARCHIVE


def how_to_get(archive: Path) -> str:
    """The command that puts it there."""
    folder = archive.parent
    return f"mkdir -p {folder} && npm pack onnxruntime-web@{VERSION} --pack-destination {folder}"


def how_to_run_in_a_page() -> list[str]:
    """The commands that install what a live page needs."""
    return [how_to_get(default_archive()), "pip install 'lwta[onnx]'"]
