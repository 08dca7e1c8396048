"""`lwta explain`: the few units that decided about an image, and what each of them did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..open_model import open_dissected, open_model
from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(explain, argv, prog="lwta explain", positionals=["images"])
    return 0


def explain(
    images: list[str],
    dissection: Path,
    model: str | None = None,
    twin: str | None = None,
    layer: str | None = None,
    top: int = 8,
    rule: Literal["argmax", "sample"] | None = None,
    out: Path | None = None,
) -> None:
    """Explain images by the units of a described network: a table for each, and a page.

    Args:
        images: image files; a folder stands for the images in it.
        dissection: the folder that `lwta describe` wrote.
        model: the network it describes; by default the one that `lwta describe` was given.
        twin: a network to set beside it, by its dissection or its model.
        layer: a described layer; by default the last one.
        top: so many units are shown and switched off.
        rule: how winners are picked; by default the rule saved with the network.
        out: the page; by default report.html in the dissection's folder.
    """
    from dissect import explain as explain_image
    from dissect import render_report
    from dissect.folder.layout import Layout
    from dissect.report import explanation_text

    described, network = open_dissected(dissection, model)
    layer = layer or described.layers[-1]
    described.units(layer)  # an unknown layer is told before work starts
    files = readable_images(images)
    twin_names, twin_network = None, None
    if twin is not None and Layout(Path(twin)).is_finished:
        twin_names, twin_network = open_dissected(Path(twin))
    elif twin is not None:
        twin_network = open_model(twin)
    explanations, twins = [], []
    for file in files:
        options = {"top": top, "rule": rule}
        explanations.append(explain_image(network, file, layer=layer, dissection=described, **options))
        print(explanation_text(explanations[-1]), end="\n\n")
        if twin_network is not None:
            where = twin_layer(twin_names, twin_network, layer)
            twins.append(explain_image(twin_network, file, layer=where, dissection=twin_names, **options))
    page = render_report(out or described.layout.page, explanations, twins=twins, made=how_named(described))
    print(f"The page is {page}")


def readable_images(names: Sequence[str]) -> list[Path]:
    """The image files that were named, folders opened; unreadable ones are left out and said.

    Raises:
        FileNotFoundError: a name that is not there. ValueError: nothing readable is left.
    """
    from pictures.decoding import EXTENSIONS, why_unreadable

    files: list[Path] = []
    for path in map(Path, names):
        if not path.exists():
            raise FileNotFoundError(
                f"Expected an image or a folder of images but got {str(path)!r}, which is not there"
            )
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS) if path.is_dir() else [path]
        files += inside
    reasons = {file: why_unreadable(file) for file in files}
    for file, reason in reasons.items():
        if reason:
            print(f"skipped {file}: {reason}")
    readable = [file for file, reason in reasons.items() if not reason]
    if not readable:
        raise ValueError(f"Expected a readable image among {', '.join(names)} but got none")
    return readable


def twin_layer(dissection: Any, network: Any, layer: str) -> str | None:
    """The same layer where the twin has it (and its dissection knows it), else its last one (`None`: its default)."""
    if dissection is not None:
        return layer if layer in dissection.layers else dissection.layers[-1]
    return layer if layer in dict(network.named_modules()) else None


def how_many_named(dissection: Any) -> str:
    """Of each layer how many units have a name, and why the others have none."""
    said = []
    for layer in dissection.layers:
        count = dissection.outcomes(layer)
        said.append(
            f"{layer}: {count['named']} of {dissection.units(layer)} units are named; of the others "
            f"{count['chance']} follow their best concept no better than chance, "
            f"{count['rival']} follow a rival better, {count['too few images']} speak on too few images."
        )
    return " ".join(said)


def how_named(dissection: Any) -> dict[str, str]:
    """Where the units' names come from, in words, for the page's last lines."""
    manifest = dissection.manifest
    probe, concepts, options = manifest["probe"], manifest["concepts"], manifest["options"]
    return {
        "Names": f"The concept, of {concepts['count']} in {concepts['source']}, whose presence in "
        f"{probe['images']} probe images the unit follows best: similarity {options['similarity']}, encoder "
        f"{manifest['encoder']}. It is chosen on one half of the images and judged on the other, by the same encoder: "
        "it must predict the unit better than on permuted images (false discoveries 5 %), and no other concept may do "
        f"so clearly better. {how_many_named(dissection)}",
        "Strips": "The probe images on which the unit is strongest, among those it won where it competes.",
    }
