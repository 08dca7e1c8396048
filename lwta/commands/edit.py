"""`lwta edit`: units switched off, scaled, limited or renamed; the result is an ordinary model folder."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from competition_layers.files import recover_folder
from competition_layers.terminal import aligned, plain

from ..open_model import open_dissected, open_model, training_notes
from ..parsing import parse_call

_PLACE = re.compile(r"(?P<layer>[\w.]+):(?P<unit>\d+)")  # as --off takes a unit by its number


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(edit, argv, prog="lwta edit", positionals=["model"])
    return 0


def edit(
    model: str,
    with_: Path | None = None,
    off: str | list[str] | None = None,
    dissection: Path | None = None,
    layers: str | list[str] = "*",
    refit: Literal["head"] | None = None,
    train: Path | None = None,
    data: Path | None = None,
    groups: Path | None = None,
    batch_size: int = 64,
    out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Change what single units say, and write the network as a new model folder.

    Args:
        model: the network: a run or model folder, hf-hub:, local-dir:, or a timm name.
        with_: a JSON file of edits (docs/acting.md).
        off: switch these units off: a name that the dissection gave, LAYER:UNIT, or a list of them.
        dissection: the folder that `lwta describe` wrote of this network; says which units have a name.
        layers: globs on its layers, where names are looked for.
        refit: `head`: fit the last linear map anew to the pictures in `train`.
        train: labelled pictures for that, one folder a class: those that the network was trained on.
        data: labelled pictures to measure the network on, before and after.
        groups: a table (CSV) with columns image and group for `data`: the worst group is reported, not the worst class.
        batch_size: images a step.
        out: the new model folder.
        overwrite: replace an older model in it.
    """
    if out is None:
        raise ValueError("Expected a folder for the edited network but got none: --out FOLDER")
    if with_ is None and not off:
        raise ValueError('Expected edits but got none: --with FILE.json, or --off "a name" or --off LAYER:UNIT')
    if (refit is None) != (train is None):
        raise ValueError("Expected --refit head together with --train FOLDER, the pictures that it is fitted to")
    if groups is not None and data is None:
        raise ValueError("Expected --data FOLDER, whose pictures --groups sorts, but got none")
    recover_folder(out)
    if (out / "config.json").exists() and not overwrite:
        raise ValueError(f"Expected a new folder but {str(out)!r} holds a model; --overwrite replaces it")
    if Path(model.removeprefix("local-dir:")).resolve() in (out.resolve(), out.resolve().parent):
        raise ValueError(f"Expected a folder of its own for the edited network but {str(out)!r} is the network's own")
    from competition_layers import save_model
    from dissect import edit_network, model_fingerprint, open_probe
    from dissect.editing.edit_file import read_edits

    described, network = open_dissected(dissection, model) if dissection else (None, open_model(model))
    edits = list(read_edits(with_, model=model_fingerprint(network), dissection=described)) if with_ else []
    edits += _asked_off([off] if isinstance(off, str) else off or [], described, layers)
    pictures = None if data is None else open_probe(data, labelled=True)
    done = edit_network(
        network,
        edits,
        refit_on=None if train is None else open_probe(train, labelled=True),
        data=pictures,
        groups=None if groups is None or pictures is None else read_groups(groups, pictures.names),
        batch_size=batch_size,
    )
    notes = training_notes(Path(model.removeprefix("local-dir:")))
    save_model(network, out, edited=done.to_dict(), **({"training": notes} if notes else {}))
    print(edited_text(done))
    print(f"The edited network is in {plain(out)}")


def edited_text(done: Any) -> str:
    """A line for each edit, and the figures before and after."""
    rows = [("layer", "unit", "name", "what", "how")]
    for edit in done.edits:
        limits = f"{'' if edit.low is None else f'{edit.low:g}'} to {'' if edit.high is None else f'{edit.high:g}'}"
        detail = {"off": "", "scale": f" by {edit.factor}", "clamp": f" {limits}", "rename": f" to {edit.to!r}"}
        how = "the name alone" if edit.do == "rename" else done.done[edit.layer]
        rows.append((edit.layer, str(edit.unit), edit.name, edit.do + detail[edit.do], how))
    lines = aligned(rows, left=(0, 2, 3, 4))
    if done.refit is not None:
        lines.append(
            f"  {done.refit.head} was fitted anew to {done.refit.images} pictures of {plain(done.refit.source)}"
        )
    if done.before is not None and done.after is not None:
        lines += ["", f"  {done.after.images} pictures of {plain(done.data)}, before and after:"]
        lines += [f"  right   {100 * done.before.accuracy:5.1f} %  {100 * done.after.accuracy:5.1f} %"]
        worst = [f"{100 * each.worst:5.1f} %" for each in (done.before, done.after)]
        lines += [f"  worst   {'  '.join(worst)}  ({plain(done.before.worst_group)}; {plain(done.after.worst_group)})"]
        if done.refit is not None and done.refit.source == done.data:
            lines.append("  These are the pictures that the head was fitted to: say --data with others to judge by.")
    return "\n".join(lines)


def read_groups(path: Path, names: Sequence[str]) -> list[str]:
    """The group of each of the pictures called `names`, from a table with columns image and group.

    Raises:
        ValueError: no such columns, or a picture without a group.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"image", "group"} <= set(table.fieldnames or ()):
            raise ValueError(f"Expected columns image and group in {str(path)!r} but got {table.fieldnames}")
        of = {row["image"]: row["group"] for row in table}
    lost = [name for name in names if not of.get(name)]
    if lost:
        raise ValueError(
            f"Expected a group for each picture in {str(path)!r} but got none for {lost[0]!r} ({len(lost)})"
        )
    return [of[name] for name in names]


def _asked_off(asked: Sequence[str], described: Any, layers: str | list[str]) -> list[Any]:
    from dissect import Edit
    from dissect.editing.edits import switched_off

    numbered = {entry: _PLACE.fullmatch(entry) for entry in asked}
    found = [Edit(place["layer"], int(place["unit"])) for place in numbered.values() if place]
    names = [entry for entry, place in numbered.items() if not place]
    if names and described is None:
        raise ValueError(
            f"Expected --dissection FOLDER, which says what units are called, or LAYER:UNIT but got --off {names[0]!r}"
        )
    return [*found, *switched_off(described, names, layers=layers)] if names else found
