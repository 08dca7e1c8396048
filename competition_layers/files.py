"""Nothing is ever half written or lost: a temporary name beside the target, then a rename; errors say what to do."""

import errno
import os
import re
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_REMEDIES = {
    errno.ENOENT: "it is not there",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "its quota is used up: make room",
    errno.EFBIG: "files may not grow so large here: raise the limit (ulimit -f)",
    errno.EACCES: "there is no permission: change it, or choose another place",
    errno.EPERM: "there is no permission: change it, or choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENAMETOOLONG: "its name is too long: choose a shorter one",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another place",
    errno.EIO: "the device failed: choose another place",
}


@contextmanager
def write_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is renamed to `path`, otherwise removed.

    Raises:
        OSError: a full disk, no permission; in one line, with the remedy.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()
            mode = temporary.stat().st_mode  # by the umask
            yield temporary
            temporary.chmod(mode)  # safetensors puts a private file there
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(folder: str | Path, *, names: Collection[str], ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`; when the block ends well its files take the place of the old.

    A kill at any moment leaves the former folder, or the new one, under its name or under one from which
    `recover_folder` puts it back. What others put into `folder` stays there.

    Args:
        names: of the files that are written.
        ours: whether an older folder that holds some of them was written here.

    Raises:
        FileExistsError: files of these names that were not written here. OSError: as for `write_file`.
    """
    folder = Path(folder).absolute()
    temporary, whole, old = (_beside(folder, suffix) for suffix in (f"{os.getpid()}.tmp", "new", "old"))
    with _in_words(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(folder)
        refuse_others(folder, names=names, ours=ours)
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            if not _is_running(left.name.split(".")[-2]):
                _remove(left, names)
        temporary.mkdir()
        try:
            yield temporary
            for path in temporary.iterdir():
                path.chmod(temporary.stat().st_mode & 0o666)  # by the umask; safetensors writes private files
            _remove(whole, names)
            os.replace(temporary, whole)
            if folder.exists():
                _empty_into(old, folder, names)
                os.replace(folder, old)
            os.replace(whole, folder)
            _empty_into(old, folder, names)
        finally:
            _remove(temporary, names)


def refuse_others(folder: Path, *, names: Collection[str], ours: Callable[[Path], bool]) -> None:
    """Refuse, before any work, a folder that `write_folder` would not replace.

    Raises:
        FileExistsError: see there.
    """
    standing = [name for name in names if (folder / name).exists()]
    if folder.is_file() or (standing and not ours(folder)):
        what = f"it holds {standing[0]!r} of another kind" if standing else "it is a file"
        raise FileExistsError(
            f"Expected a new folder {str(folder)!r}, or an older one of ours, but {what}; choose another"
        )


def recover_folder(folder: str | Path) -> None:
    """Put `folder` back where a kill left `write_folder` between two renames: the new one, or else the old one."""
    folder = Path(folder).absolute()
    for suffix in ("new", "old"):
        if not folder.exists() and _beside(folder, suffix).exists():
            os.replace(_beside(folder, suffix), folder)


@contextmanager
def alone(lock: Path, refusal: Callable[[str], str], *, patience: float = 0.0) -> Iterator[FileLock]:
    """Hold the operating system's lock on the file `lock`, which ends with the process.

    Args:
        refusal: the error text, given the process that holds it.
        patience: seconds to wait for it.

    Raises:
        FileExistsError: another process holds it.
    """
    held, by = FileLock(lock, timeout=patience), lock.with_name(f"{lock.name}.by")
    try:
        held.acquire()
    except Timeout as error:
        who = by.read_text() if by.is_file() else "another command"
        raise FileExistsError(refusal(who)) from error
    try:
        by.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield held
    finally:
        by.unlink(missing_ok=True)
        held.release()


def check_place(path: str | Path) -> None:
    """Refuse, before any work, a path that nothing can be written to: its nearest folder says so.

    Raises:
        OSError: a file stands where a folder is needed, or there is no permission; in one line, with the remedy.
    """
    near = next(place for place in Path(path).absolute().parents if place.exists())
    number = errno.ENOTDIR if not near.is_dir() else 0 if os.access(near, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise OSError(number, f"Expected to write {str(path)!r} but {_REMEDIES[number]}")


def os_error_in_words(error: OSError, path: str | Path | None = None) -> str:
    """One line for people: the file, what is wrong, and the remedy.

    >>> os_error_in_words(PermissionError(13, "Permission denied", "runs/x"))
    "Expected to use 'runs/x' but there is no permission: change it, or choose another place"
    """
    if error.errno is None or str(error.strerror).startswith("Expected"):
        return error.strerror or str(error)
    where = repr(str(path or error.filename)) if path or error.filename else "a file"
    return f"Expected to use {where} but {_REMEDIES.get(error.errno) or error.strerror}"


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _empty_into(old: Path, folder: Path, names: Collection[str]) -> None:
    """Remove the files of `names`, and move what others put beside them into `folder`."""
    for path in old.iterdir() if old.is_dir() else ():
        if path.name not in names:
            os.replace(path, folder / path.name)
    _remove(old, names)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        pass
    return True


def _remove(folder: Path, names: Collection[str]) -> None:
    """Remove a folder of our own, if it is there: the files that we write, and the folder if it is empty then."""
    for path in [folder / name for name in names] + list(folder.glob(".tmp??????")):  # safetensors' temporary names
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """A full disk, a missing permission: said once and clearly, whoever was writing (safetensors has its own error)."""
    try:
        yield
    except Exception as error:
        found = re.search(r"os error (\d+)|\bcode: (\d+)", str(error))
        number = error.errno if isinstance(error, OSError) else int(found[1] or found[2]) if found else None
        elsewhere = getattr(error, "filename", None) and path.name not in str(error.filename)  # type: ignore[attr-defined]
        if number not in _REMEDIES or number == errno.ENOENT or elsewhere or "Expected" in str(error):
            raise
        remedy = f"{_REMEDIES[number]}, and run the same command again; what was written whole is kept"
        raise OSError(number, f"Expected to write {str(path)!r} but {remedy}") from error
