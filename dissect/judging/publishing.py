"""A dissection's names in the formats of other tools; `read_published` reads all of them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from competition_layers.files import write_file
from competition_layers.names import nearest

from ..folder.dissection import Dissection
from ..folder.tables import write_table
from ..naming.description import Description

Row = tuple[object, ...]
LABELS = 3  # of Describe-and-Dissect, and of MAIA


@dataclass(frozen=True)
class Table:
    """A form that is a table: its columns, the rows of a unit, and whether it is a file a layer."""

    name: str
    header: tuple[str, ...]
    rows: Callable[[Description], Iterator[Row]]
    by_layer: bool = False

    def __call__(self, dissection: Dissection, out: Path) -> list[Path]:
        written = []
        for layers in [(layer,) for layer in dissection.layers] if self.by_layer else [dissection.layers]:
            path = out / (f"{self.name}_{layers[0]}.csv" if self.by_layer else f"{self.name}.csv")
            rows = [row for layer in layers for one in _units(dissection, layer) for row in self.rows(one)]
            write_table(path, self.header, rows)
            written.append(path)
        return written


def _named(one: Description, *row: object) -> Iterator[Row]:
    if one.named:
        yield row


def _dnd(one: Description) -> Iterator[Row]:
    labels = _labels(one)
    yield one.unit, *labels, *[" "] * (LABELS - len(labels))


def _netdissect(one: Description) -> Iterator[Row]:
    """Units count from 1, "_" stands for a space, and "-c" and "-s" at the end say colour and scene."""
    label = re.sub("(-[cs])$", r"\1\1", one.description.replace(" ", "_"))
    yield from _named(one, one.unit + 1, "concept", label, one.similarity)


def _maia(dissection: Dissection, out: Path) -> list[Path]:
    """`LAYER/UNIT/history.json`: the last thing said is the description and the labels."""
    for layer in dissection.layers:
        _refuse_old(out / layer)
    for layer in dissection.layers:
        for one in filter(lambda one: one.named, _units(dissection, layer)):
            texts = [
                ("DESCRIPTION", one.description),
                *((f"LABEL {n}", said) for n, said in enumerate(_labels(one), 1)),
            ]
            # brackets are MAIA's own marks
            said = "\n".join(f"[{mark}]: {text.translate({91: '(', 93: ')'})}" for mark, text in texts)
            _write_json(
                out / layer / str(one.unit) / "history.json",
                [{"role": "assistant", "content": [{"type": "text", "text": said}]}],
            )
    return [out / layer for layer in dissection.layers]


def _delphi(dissection: Dissection, out: Path) -> list[Path]:
    """`explanations/LAYER_latentUNIT.txt`: a JSON text each."""
    place = out / "explanations"
    _refuse_old(place)
    for layer in dissection.layers:
        for one in filter(lambda one: one.named, _units(dissection, layer)):
            _write_json(place / f"{layer}_latent{one.unit}.txt", one.description)
    return [place]


FORMS: dict[str, Callable[[Dissection, Path], list[Path]]] = {
    "cosy": Table("cosy", ("neuron", "concept"), lambda one: _named(one, one.unit, one.description), by_layer=True),
    "delphi": _delphi,
    "dnd": Table("dnd", ("Neuron ID", "Label 1", "Label 2", "Label 3"), _dnd, by_layer=True),
    "maia": _maia,
    "milan": Table(
        "milan",
        ("layer", "unit", "description"),
        lambda one: _named(one, one.layer, one.unit, one.description),
    ),
    "netdissect": Table("netdissect", ("unit", "category", "label", "score"), _netdissect, by_layer=True),
    "prism": Table(
        "prism",
        ("layer", "unit", "description", "mean_activation", "highlights"),
        lambda one: _named(one, one.layer, one.unit, one.description, one.mean_when_winning or "", ""),
    ),
}


def write_published(dissection: Dissection, form: str, out: str | Path) -> list[Path]:
    """Write `OUT/FORM_LAYER.csv`, or `OUT/FORM.csv` where the tool has a column for the layer; a file a unit of
    MAIA and delphi. The tables, or the folders, are returned.

    CLIP-Dissect's own form, which CoSy reads too, is the dissection's `descriptions.csv`. Names alone are written (of
    Describe-and-Dissect the three first that differ, whoever proposed them): what was not verified has no row.

    Raises:
        ValueError: an unknown form (the nearest is offered). FileExistsError: a folder of files a unit that stands.
    """
    if form not in FORMS:
        raise ValueError(f"Expected a form among {', '.join(FORMS)} but got {form!r}{nearest(form, FORMS)}")
    return FORMS[form](dissection, Path(out))


def _units(dissection: Dissection, layer: str) -> list[Description]:
    return [dissection.description(layer, unit) for unit in range(dissection.units(layer))]


def _labels(one: Description) -> list[str]:
    """The first candidates that differ."""
    return list(dict.fromkeys(candidate.description for candidate in one.candidates))[:LABELS]


def _refuse_old(place: Path) -> None:
    """Files of units that have no name any more would stay."""
    if place.exists():
        raise FileExistsError(f"Expected a new folder {str(place)!r} but it stands already; choose another")


def _write_json(path: Path, content: object) -> None:
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
