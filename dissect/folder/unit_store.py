"""What a describer said of single units, a small file each, until the layer is done: a killed run goes on behind it."""

import json
from dataclasses import dataclass
from pathlib import Path

from competition_layers.files import write_file

from ..describers.describer import Described, Describer
from ..fingerprints import digest
from ..naming.description import Candidate
from .layout import Layout

FORMAT = 1


@dataclass(frozen=True)
class KeptUnits:
    """Of one layer; `made_from` is all that any describer looks at."""

    layout: Layout
    layer: str
    made_from: str

    def said(self, describer: Describer, unit: int) -> Described | None:
        """What the describer, with these options, said; None where it did not, or the file is damaged."""
        try:
            kept = json.loads(self._path(describer, unit).read_text(encoding="utf-8"))
            if kept["format"] == FORMAT and kept["key"] == self._key(describer):
                return tuple(Candidate(str(text), float(score), describer.method) for text, score in kept["candidates"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def keep(self, describer: Describer, unit: int, said: Described) -> None:
        rows = [[one.description, one.similarity] for one in said]
        content = {"format": FORMAT, "key": self._key(describer), "candidates": rows}
        with write_file(self._path(describer, unit)) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _key(self, describer: Describer) -> str:
        return digest(self.made_from, describer.method, json.dumps(describer.options, sort_keys=True))

    def _path(self, describer: Describer, unit: int) -> Path:
        return self.layout.unit_said(self.layer, describer.method, unit)
