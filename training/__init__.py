"""How a network learns: images, the classifier, the run folder."""

_HOMES = {
    "Augmentation": "data",
    "Classifier": "classifier",
    "ImageData": "data",
    "Schedule": "annealing",
    "evaluate": "run",
    "fit": "run",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    # lightning takes seconds to import: the painter of the scenes does without
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
