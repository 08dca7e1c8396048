"""Libraries that not everybody needs: imported when a model of theirs is asked for, or named with the command."""

from importlib import import_module
from typing import Any


def needed(library: str, extra: str) -> Any:
    """The library.

    Raises:
        ModuleNotFoundError: it is not installed; the command that installs it is named.
    """
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Expected the library {error.name!r} but it is not installed; install it with: pip install 'lwta[{extra}]'"
        ) from error
