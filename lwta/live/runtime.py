"""onnxruntime-web, from the archive of its npm package: the two files that a live page carries, pinned by hash."""

import hashlib
import tarfile
from pathlib import Path

from dissect.report.live import Runtime

from .archive import ARCHIVE, VERSION, default_archive, how_to_get

_MODULE, _WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
SHA256 = {
    _MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    _WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def runtime_for(what: str, archive: Path | None = None) -> Runtime:
    """All that `what` needs, checked before any work.

    Raises:
        ImportError: the exporter's packages are missing. FileNotFoundError, ValueError: see `open_runtime`.
    """
    from ..exported import need_onnx

    need_onnx(what)
    return open_runtime(archive)


def open_runtime(archive: Path | None = None) -> Runtime:
    """The runtime in `archive`, by default in the one of the user's cache.

    Raises:
        FileNotFoundError: no archive; says how to get it. ValueError: it is damaged, or of another version.
    """
    path = archive or default_archive()
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected the runtime that a live page carries in {str(path)!r} but it is not there (11 MB of the page); "
            f"get it once with\n  {how_to_get(default_archive())}\nor name the archive: --runtime {ARCHIVE}"
        )
    found = {}
    try:
        with tarfile.open(path) as packed:
            for name in SHA256:
                member = packed.extractfile(name)
                found[name] = b"" if member is None else member.read()
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise ValueError(f"Expected the npm archive {ARCHIVE} but got {str(path)!r} ({error})") from error
    for name, content in found.items():
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise ValueError(
                f"Expected {name} of onnxruntime-web {VERSION} in {str(path)!r} but it is another (sha256 differs); "
                f"get it anew with\n  {how_to_get(default_archive())}"
            )
    return Runtime(VERSION, found[_MODULE], found[_WASM])
