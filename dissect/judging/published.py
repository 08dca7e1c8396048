"""Descriptions of units as other tools publish them, read from their tables by the names of the columns.

CLIP-Dissect and Linear Explanations (`layer,unit,description,...`; the latter's `unit,description,...`), MILAN
(`description`, or `summary` for people's), PRISM (`description`, or `explanation` beside its scores),
Describe-and-Dissect (`Neuron ID,Label 1,...`), NetDissect (`unit` from 1, `label`), INVERT and CoSy (`neuron,concept`).
As texts: MAIA's `LAYER/UNIT/history.json`, delphi's `explanations/`. `write_published` writes what it reads.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition_layers.cells import plain

from .published_texts import Said, read_maia, read_texts

Row = Mapping[str, str]
_TEXTS = ("description", "summary", "explanation")
_SCORES = ("similarity", "sim correlation", "mean_activation", "score", "metric", "AUC")


@dataclass(frozen=True)
class PublishedDescription:
    """What one table says of one unit, counted from 0; several rows a unit have ranks 1, 2, ...; `score` as it stands,
    None where the table has none."""

    layer: str
    unit: int
    description: str
    rank: int
    score: float | None = None


def read_published(path: str | Path, *, layer: str | None = None) -> tuple[PublishedDescription, ...]:
    """Every description of a table, of a history or of a folder of histories or explanations; empty ones are left out.

    Args:
        layer: of tables without a column for it; by default what the file's name says (`..._layer4.csv`, `..._fc.csv`,
            what follows the form in the names that `write_published` gives).

    Raises:
        FileNotFoundError: none there. ValueError: columns of no known tool, a unit that is no number, no layer.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder) / "net_layer2.csv"
    ...     _ = table.write_text("Neuron ID,Label 1,Label 2\\n7,red boats,boats\\n")
    ...     [(one.layer, one.unit, one.description, one.rank) for one in read_published(table)]
    [('layer2', 7, 'red boats', 1), ('layer2', 7, 'boats', 2)]
    """
    table = Path(path)
    if table.is_dir():
        said = read_texts(table)
    else:
        said = list(read_maia(table)) if table.suffix == ".json" and table.is_file() else _rows(table)
    ranks: dict[tuple[str, int], int] = {}
    found = []
    for of, unit, description, score in said:
        if description:
            place = (of or layer or _layer_of(table), unit)
            ranks[place] = ranks.get(place, 0) + 1
            found.append(PublishedDescription(*place, description, ranks[place], score))
    return tuple(found)


def _rows(table: Path) -> list[Said]:
    if not table.is_file():
        raise FileNotFoundError(f"Expected a CSV file of descriptions but got {str(table)!r}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = [name.strip() for name in rows.fieldnames or ()]
            cells = [{(k or "").strip(): plain(v or "") for k, v in row.items() if k} for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected a CSV file in UTF-8 but got {str(table)!r} ({error})") from error
    return list(_said(cells, columns, table))


def _said(rows: Sequence[Row], columns: list[str], table: Path) -> Iterator[Said]:
    """Layer ("": none), unit from 0, description and score, row by row."""
    score = next((name for name in _SCORES if name in columns), None)
    text = next((name for name in _TEXTS if name in columns), None)
    labels = [name for name in columns if re.fullmatch(r"label( \d+)?", name, re.IGNORECASE)]
    for row in rows:
        layer, value = row.get("layer", ""), _score(row.get(score, "")) if score else None
        if "Neuron ID" in columns and labels:
            for name in labels:
                yield layer, _unit(row["Neuron ID"], table), row[name].strip(), None
        elif "unit" in columns and text:
            yield layer, _unit(row["unit"], table), row[text].strip(), value
        elif "unit" in columns and "category" in columns and "label" in columns:  # NetDissect counts from 1
            yield layer, _unit(row["unit"], table, first=1), _netdissect(row["label"]), value
        elif "neuron" in columns and "concept" in columns:
            yield layer, _unit(row["neuron"], table), row["concept"].strip(), value
        else:
            raise ValueError(
                "Expected the columns of a known tool (layer,unit,description; unit,category,label; Neuron ID,Label 1; "
                f"neuron,concept) in {str(table)!r} but got {', '.join(columns)}"
            )


def _unit(cell: str, table: Path, *, first: int = 0) -> int:
    """The number of a unit from 0, of a tool that counts from `first`."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", cell) or int(cell) < first:
        raise ValueError(f"Expected the number of a unit, from {first}, in {str(table)!r} but got {cell!r}")
    return int(cell) - first


def _score(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _netdissect(label: str) -> str:
    """A label in plain words.

    >>> _netdissect("swimming_pool-s"), _netdissect("red-c"), _netdissect("t-shirt")
    ('swimming pool', 'red', 't-shirt')
    """
    return re.sub(r"-[cs]$", "", label.strip()).replace("_", " ")


def _layer_of(table: Path) -> str:
    ours = re.fullmatch(r"(?:cosy|dnd|netdissect)_(.+)", table.stem)
    found = ours or re.search(r"(?:^|_)(conv1|layer\d+|fc|avgpool|encoder)(?:_|$)", table.stem)
    if not found:
        raise ValueError(
            f"Expected a column 'layer', or a file name that ends in one (NAME_layer4.csv), but got {str(table)!r}; "
            "say layer="
        )
    return found[1]
