"""A run's tables: CSV files with one or more rows an epoch, written whole each time."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from competition_layers.files import write_file


def add_epoch(path: Path, epoch: int, new: Sequence[Mapping[str, str]]) -> None:
    """Put the rows of one epoch at the end of a table, which is written whole."""
    # rows after the checkpoint belong to what was lost when the run was stopped
    rows = [old for old in read_metrics(path) if int(old["epoch"]) < epoch]
    rows += [{"epoch": str(epoch), **row} for row in new]
    columns = list(dict.fromkeys(name for each in rows for name in each))
    with write_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a table with one or more rows an epoch; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
