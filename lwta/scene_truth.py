"""What is true of painted scenes, phrase by phrase, for the images of a dissection."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def scene_truth(folder: Path, images: Sequence[str], phrases: Sequence[str]) -> dict[str, Any]:
    """For each phrase that says a fact about scenes, on which images it is true: int8, 1, 0, or -1 for unknown.

    Args:
        folder: the pictures of one split, which `scenes.jsonl` in the folder above describes.
        images: names relative to `folder`, as a dissection of it lists them.

    Raises:
        FileNotFoundError: no painted scenes there. ValueError: an image that is not in the table.
    """
    import numpy as np
    import torch

    from dissect.naming.synonyms import plain_form

    from .bundled_clip.statements import all_statements, truth

    scenes, facts = scenes_by_name(folder), all_statements()
    strange = [name for name in images if name not in scenes]
    if strange:
        raise ValueError(
            f"Expected pictures of {str(folder)!r} but got {strange[0]!r} and {len(strange) - 1} others; "
            "--truth takes the split that was the probe"
        )
    held = torch.from_numpy(np.stack([truth(scenes[name], facts) for name in images]))
    column = {plain_form(phrase): n for n, fact in enumerate(facts) for phrase in fact.phrases}
    return {phrase: held[:, column[plain_form(phrase)]] for phrase in phrases if plain_form(phrase) in column}


def scenes_by_name(folder: Path) -> dict[str, Any]:
    """The painted scenes of a split's folder by their files' names, relative to it; without their pictures.

    Raises:
        FileNotFoundError: no painted scenes there.
    """
    from PIL import Image

    from pictures.scenes import Scene, Thing
    from pictures.scenes.table import decode_mask

    folder = Path(folder).resolve()
    header = folder.parent / "scenes.json"
    if not header.is_file():
        raise FileNotFoundError(
            f"Expected the pictures of a split of painted scenes, SCENES/SPLIT, but got {str(folder)!r}, "
            "which has no scenes.json above it"
        )
    scenes = {}
    try:
        size = json.loads(header.read_text(encoding="utf-8"))["size"]
        blank = Image.new("1", (size, size))  # the facts are in the table: thousands of pictures need not be opened
        with (folder.parent / "scenes.jsonl").open(encoding="utf-8") as table:
            for row in map(json.loads, table):
                if row["split"] == folder.name:
                    things = tuple(
                        Thing(t["name"], t["colour"], decode_mask(t["mask"], size), tuple(t["box"]), t["visible"])
                        for t in row["things"]
                    )
                    scene = Scene(blank, row["label"], things, row["attributes"], tuple(row["captions"]))
                    scenes[row["file"].removeprefix(f"{folder.name}/")] = scene
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"Expected the whole table of painted scenes in {str(folder.parent)!r} but got another: "
            f"{type(error).__name__} {error}"
        ) from error
    return scenes
