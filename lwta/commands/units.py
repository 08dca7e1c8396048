"""`lwta units`: a page of all units of a dissection, to search and to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from competition_layers.terminal import plain

from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(units, argv, prog="lwta units", positionals=["dissection"])
    return 0


def units(dissection: Path, model: str | None = None, out: Path | None = None) -> None:
    """Write a page of all units: pictures, names and how sure they are, values, rivals, the classes they vote for.

    Args:
        dissection: the folder that `lwta describe` wrote.
        model: the network; by default the one that `lwta describe` was given. Without one at hand rivals and votes are
            left out.
        out: the page; by default units.html in the dissection's folder.
    """
    from dissect import Dissection

    from ..open_model import open_dissected

    try:
        described, network = open_dissected(dissection, model)
    except (FileNotFoundError, ValueError) as error:
        if model is not None:
            raise
        described, network = Dissection.open(dissection), None
        print(f"Rivals and votes are left out, since the network is not at hand: {plain(str(error))}")
    page = write_units(out or described.layout.units_page, described, network)
    print(f"The page is {plain(page)}")


def write_units(page: Path, dissection: Any, network: Any = None, pages: Any = None) -> Path:
    """The page of a dissection's units."""
    from dissect.explaining.at_random import at_random
    from dissect.explaining.unit_entries import unit_entries
    from dissect.report.units import render_units

    from ..how_named import how_named

    entries, beside = unit_entries(dissection, network), at_random(dissection)
    return render_units(page, entries, at_random=beside, made=how_named(dissection), pages=pages)
