"""`lwta fit|validate|test|predict`: names of options are looked at here, the rest takes seconds to import."""

from collections.abc import Sequence

from training.moved import MOVED

from ..keys import refuse_unknown_keys
from ..recipes import find_recipe


def main(argv: Sequence[str]) -> int:
    """Run the command `argv[0]` with the options that follow."""
    command, *args = argv
    args = find_recipe(args)
    refuse_unknown_keys(args, MOVED)
    from ..training_cli import run

    run(command, args)
    return 0
