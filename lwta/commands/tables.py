"""`lwta tables`: the names of a dissection in the forms that other tools read."""

from collections.abc import Sequence
from pathlib import Path

from competition_layers.terminal import plain

from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(tables, argv, prog="lwta tables", positionals=["dissection"])
    return 0


def tables(dissection: Path, form: str, out: Path) -> None:
    """Write the names of units as another tool publishes them.

    Args:
        dissection: the folder that `lwta describe` wrote; its descriptions.csv is CLIP-Dissect's form (CoSy reads it).
        form: cosy (neuron,concept; INVERT's too), dnd (Neuron ID,Label 1,...), milan, netdissect (from 1), prism, or,
            as a file a unit, maia (LAYER/UNIT/history.json) or delphi (explanations/LAYER_latentUNIT.txt).
        out: the folder to write FORM.csv, or a FORM_LAYER.csv a layer, or those files into.
    """
    from dissect import Dissection
    from dissect.judging.publishing import write_published

    for path in write_published(Dissection.open(dissection), form, out):
        print(plain(path))
