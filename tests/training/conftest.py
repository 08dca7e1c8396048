"""Small pictures of two classes, and a network that learns them in a second."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from made_pictures import paint


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder with train/ and test/, 20 pictures each."""
    folder = tmp_path_factory.mktemp("pictures")
    paint(folder / "train")
    paint(folder / "test", seed=1)
    return folder


@pytest.fixture
def painted() -> Callable[..., Path]:
    return paint


@pytest.fixture
def tiny() -> Callable:
    """Makes a small Classifier; options go on top."""
    from training import Classifier, Execution, Start

    def make(*, start=None, model_args=None, **options):
        args = {"patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2, **(model_args or {})}
        start = Start(model_args=args, **(start or {}))
        return Classifier(
            **{"image_size": 16, "competitors": 8, "execution": Execution(samples=2), "start": start, **options}
        )

    return make


@pytest.fixture
def images(pictures) -> Callable:
    """Makes ImageData of the small pictures; options, those of splits and loading among them, go on top."""
    from training import Augmentation, ImageData, Loading, Splits

    def make(**options):
        def group(kind, **defaults):
            mine = {f.name: options.pop(f.name) for f in fields(kind) if f.name in options and f.name != "seed"}
            return kind(**{**defaults, **mine})

        groups = {"splits": group(Splits, val_fraction=0.2), "loading": group(Loading, batch_size=4, workers=0)}
        defaults = {"data_dir": str(pictures), "augmentation": Augmentation(scale=(0.5, 1.0)), **groups}
        return ImageData(**{**defaults, **options})

    return make


@pytest.fixture
def train(tmp_path, tiny, images) -> Callable:
    """Fits the small network on the small pictures into tmp_path/NAME."""
    from training import Run, fit

    def run(name="run", *, classifier=None, data=None, epochs=2, trainer_args=None, logger=False, **options):
        asked = {"accelerator": "cpu", "enable_progress_bar": False, **(trainer_args or {})}
        return fit(
            classifier or tiny(),
            data or images(),
            run=Run(tmp_path / name, **options),
            epochs=epochs,
            trainer_args=asked if logger else {**asked, "logger": False},
        )

    return run
