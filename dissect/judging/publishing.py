"""A dissection's names as the tables of other tools; `read_published` reads all of them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from competition_layers.names import nearest

from ..folder.dissection import Dissection
from ..folder.tables import write_table
from ..naming.description import Description

Row = tuple[object, ...]
LABELS = 3  # of Describe-and-Dissect


def _dnd(one: Description) -> Iterator[Row]:
    labels = list(dict.fromkeys(candidate.description for candidate in one.candidates))[:LABELS]
    yield one.unit, *labels, *[" "] * (LABELS - len(labels))


def _named(one: Description, *row: object) -> Iterator[Row]:
    if one.named:
        yield row


# the columns of each tool, a row a unit, and whether it is a file a layer
FORMS: dict[str, tuple[tuple[str, ...], Callable[[Description], Iterator[Row]], bool]] = {
    "cosy": (("neuron", "concept"), lambda one: _named(one, one.unit, one.description), True),
    "dnd": (("Neuron ID", "Label 1", "Label 2", "Label 3"), _dnd, True),
    "milan": (("layer", "unit", "description"), lambda one: _named(one, one.layer, one.unit, one.description), False),
    "netdissect": (  # counts units from 1
        ("unit", "category", "label", "score"),
        lambda one: _named(one, one.unit + 1, "concept", one.description.replace(" ", "_"), one.similarity),
        True,
    ),
    "prism": (
        ("layer", "unit", "description", "mean_activation", "highlights"),
        lambda one: _named(one, one.layer, one.unit, one.description, one.mean_when_winning or "", ""),
        False,
    ),
}


def write_published(dissection: Dissection, form: str, out: str | Path) -> Sequence[Path]:
    """Write `OUT/FORM_LAYER.csv`, or `OUT/FORM.csv` where the tool has a column for the layer.

    CLIP-Dissect's own form, which CoSy reads too, is the dissection's `descriptions.csv`. Names alone are written (of
    Describe-and-Dissect the three first that differ, whoever proposed them): what was not verified has no row.

    Raises:
        ValueError: an unknown form (the nearest is offered).
    """
    if form not in FORMS:
        raise ValueError(f"Expected a form among {', '.join(FORMS)} but got {form!r}{nearest(form, FORMS)}")
    header, rows_of, by_layer = FORMS[form]
    written = []
    for layers in [(layer,) for layer in dissection.layers] if by_layer else [dissection.layers]:
        path = Path(out) / (f"{form}_{layers[0]}.csv" if by_layer else f"{form}.csv")
        units = [dissection.description(layer, unit) for layer in layers for unit in range(dissection.units(layer))]
        write_table(path, header, [row for one in units for row in rows_of(one)])
        written.append(path)
    return written
