"""Who works on a dissection folder: one command alone, or several that record a share of it each."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: str | Path, *, share: tuple[int, int] | None = None) -> Iterator[None]:
    """Inside the block no other command works on `folder`; those that record other shares of it (i of n) may.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        FileExistsError: another command is at work there; its process and machine are named.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [".lock"] if share is None else [".lock", f".lock-{share[0]}-of-{share[1]}"]
    files = [(folder / name).open("a+") for name in names]
    try:
        for file, name in zip(files, names, strict=True):
            _take(file, folder, shared=share is not None and name == ".lock")
        files[-1].truncate(0)
        files[-1].write(f"process {os.getpid()} on {socket.gethostname()}")
        files[-1].flush()
        yield
        files[-1].truncate(0)
    finally:
        for file in files:
            file.close()


def _take(file, folder: Path, *, shared: bool) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        who = file.read() or "another command"
        raise FileExistsError(
            f"Expected to be alone on the folder {str(folder)!r} but {who} is at work there; wait for it, or give "
            "another --out"
        ) from error
