"""Pictures from anywhere, checked and named once, with their classes; and the painted scenes."""

from importlib import import_module

_HOMES = {
    "EXTENSIONS": "decoding",
    "OnBad": "opening",
    "PictureError": "decoding",
    "Pictures": "opening",
    "Place": "sources.listing",
    "class_numbers": "classes",
    "decode": "decoding",
    "open_files": "opening",
    "open_pictures": "opening",
    "print_skipped": "opening",
    "read_rgb": "decoding",
    "to_rgb": "decoding",
    "why_unreadable": "decoding",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    # nothing is imported before it is used
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
