"""Checkpoints are written beside their place and renamed: at any moment the last whole one stands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from competition_layers.files import write_file


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's file by file copy from TMPDIR tears a checkpoint when it is killed or the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with write_file(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's own, of the file that it could not close after the system's error
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def load_checkpoint(
        self, path: Any, map_location: Callable | None = lambda storage, loc: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, map_location, weights_only)
        except FileNotFoundError:
            raise
        except Exception as error:  # zip, pickle and torch each have errors of their own for a damaged file
            raise ValueError(
                f"Expected a whole checkpoint in {str(path)!r} but it is damaged ({error}); the network of the last "
                "finished epoch is in model/: start a new run from it with --model.start.weights"
            ) from error
