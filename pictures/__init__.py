"""Pictures from anywhere, checked and named once, with their classes; and the painted scenes."""

from competition_layers.lazy import lazy_names

_HOMES = {
    "EXTENSIONS": ".decoding",
    "OnBad": ".opening",
    "PictureError": ".decoding",
    "Pictures": ".opening",
    "Place": ".sources.listing",
    "class_numbers": ".classes",
    "decode": ".decoding",
    "open_files": ".opening",
    "open_pictures": ".opening",
    "print_skipped": ".opening",
    "read_rgb": ".decoding",
    "to_rgb": ".decoding",
    "why_unreadable": ".decoding",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
