"""`lwta explain`: the few units that decided about an image, and what each of them did."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from competition_layers.files import check_place, write_file
from competition_layers.terminal import plain

from ..how_named import how_named
from ..open_model import open_dissected, open_model
from ..parsing import parse_call

GRAPH_UNITS = 6  # of each layer
CLASSES_PAGE = "classes.html"
MISTAKES = 24  # explained one by one beside it, the most certain


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(explain, argv, prog="lwta explain", positionals=["images"])
    return 0


def explain(
    images: list[str],
    dissection: Path | None = None,
    model: str | None = None,
    twin: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    top: int = 8,
    rule: Literal["argmax", "sample"] | None = None,
    out: Path | None = None,
    only: Literal["right", "wrong"] | None = None,
    sort: Literal["given", "lead", "class"] = "given",
    classes: str | None = None,
    graph: bool = False,
    live: bool = False,
    runtime: Path | None = None,
) -> None:
    """Explain images by the units of a network: a table for each, a page, and its figures as JSON beside it.

    Args:
        images: image files; a folder stands for the images in it. Where an image lies in a folder named as one of the
            network's classes, right and wrong answers are marked.
        dissection: the folder that `lwta describe` wrote, for names and exemplars; without it units have numbers.
        model: the network; by default the one that `lwta describe` was given.
        twin: a network to set beside it, by its dissection or its model.
        layer: a layer; by default the last one described, or where units compete last.
        target: the class to explain; by default what is predicted for each image.
        top: so many units are shown and switched off.
        rule: how winners are picked; by default the rule saved with the network.
        out: the page; by default report.html in the dissection's folder, or explanation.html.
        only: explain right answers alone, or wrong ones, of pictures in folders named as classes.
        sort: the order of pictures: as given, by the answer's lead (the least certain first), or by the class said.
        classes: instead of one picture after the other: what decides this class over all the pictures, or with `all`
            each class, and the mistakes with the unit each came from. The page is classes.html; beside it
            classes-mistakes.html explains the 24 most certain mistakes one by one.
        graph: also say why the units fired: what fed each of the strongest, layer by layer, down to the picture; beside
            the page the same in Neuronpedia's schema, NAME-graph-1.json and so on. Some 10 s a picture of 224 pixels.
        live: also write live.html beside it, a page in which the network itself runs, for photos of one's own. Without
            a decision layer what units did is measured there, by running without each.
        runtime: the npm archive of onnxruntime-web, which such a page carries; by default the one in the user's cache.
    """
    if dissection is None and model is None:
        raise ValueError("Expected --dissection FOLDER or --model NETWORK but got neither")
    refuse_beside_classes(classes, {"graph": graph, "live": live, "twin": twin, "only": only})
    from competition_layers import inference_rule
    from dissect import explain_graph, explain_many, render_report
    from dissect.explaining.explain_image import classes_of
    from dissect.report import explanation_text

    from ..live.network import refuse_others
    from ..live.runtime import runtime_for
    from ..live.writing import PAGE, write_live

    carried = runtime_for("--live", runtime) if live else None
    described, network = open_subject(dissection, model)
    if described is not None:
        layer = layer or described.layers[-1]
        described.units(layer)  # an unknown layer or class is told before work starts
    page = out or (Path("explanation.html") if described is None else described.layout.page)
    check_place(page)  # a colleague's dissection may be there to be read alone
    classes_of(network, target)
    if carried is not None:
        refuse_others(network)
    files = readable_images(images)
    if classes is not None:
        with inference_rule(network, rule):
            explain_classes(network, files, classes, dissection=described, layer=layer, page=out)
        return
    with inference_rule(network, rule):
        files = chosen(network, files, only, sort)
    other_side = open_twin(twin)
    explanations: list[Any] = []
    twins: list[Any] = []
    asked: dict[str, Any] = {"target": target, "top": top}
    with inference_rule(network, rule):
        for file, found in zip(
            files, explain_many(network, files, dissection=described, layer=layer, **asked), strict=True
        ):
            if graph:
                lead = (found.target, found.runner_up)
                why = explain_graph(network, file, dissection=described, target=lead, units=GRAPH_UNITS)
                found = replace(found, graph=why)
            explanations.append(replace(found, truth=class_of(file, network)))
            print(explanation_text(explanations[-1]), end="\n\n")
    if other_side is not None:
        names, other = other_side
        where = twin_layer(names, other, explanations[0].at.layer)
        with inference_rule(other, rule):
            twins = list(explain_many(other, files, dissection=names, layer=where, **asked))
    made = how_made(described, live=live)
    pages = pages_beside(page, described, live=live)
    print(f"The page is {plain(render_report(page, explanations, twins=twins, made=made, pages=pages))}")
    for path in write_graphs(page, explanations):
        print(f"A graph in Neuronpedia's schema is {plain(path)}")
    if carried is not None:
        beside_it: dict[str, Any] = {"dissection": described, "pictures": files, "made": made, "pages": pages}
        beside_it["layer"] = layer
        written = write_live(page.with_name(PAGE), network, carried, **beside_it)
        print(f"The live page is {plain(written)}")


def refuse_beside_classes(classes: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options of a page picture by picture, for one that is about all of them."""
    asked = next((name for name, value in options.items() if value), None)
    if classes is not None and asked:
        raise ValueError(f"Expected --classes, a page about all pictures together, alone but got --{asked} with it")


def chosen(
    network: Any, files: list[Path], only: Literal["right", "wrong"] | None, sort: Literal["given", "lead", "class"]
) -> list[Path]:
    """The pictures to explain, in order, by one pass over all of them; as they are where nothing is asked for."""
    if only is None and sort == "given":
        return files
    from dissect.explaining.selecting import answers, select
    from dissect.recording.subject import label_names

    truths = [class_of(file, network) for file in files]
    return select(answers(network, files, truths, label_names(network)), only=only, order=sort)


def open_twin(twin: str | None) -> tuple[Any, Any] | None:
    """The dissection, or None, and the network of the twin; None without one."""
    if twin is None:
        return None
    from dissect.folder.layout import Layout

    return open_subject(Path(twin), None) if Layout(Path(twin)).is_finished else open_subject(None, twin)


def explain_classes(
    network: Any, files: Sequence[Path], label: str, *, dissection: Any, layer: str | None, page: Path | None
) -> None:
    """Print and write what decides class `label`, or `all`, and the explanations of the most certain mistakes."""
    from dissect import render_report
    from dissect.explaining.class_summary import only_class, summarise_classes
    from dissect.explaining.mistakes import explain_mistakes
    from dissect.report.classes import classes_text, render_classes

    truths = [class_of(file, network) for file in files]
    report = summarise_classes(network, files, truths, dissection=dissection, layer=layer)
    if label != "all":
        report = only_class(report, label)
    print(classes_text(report), end="\n\n")
    page = page or (Path(CLASSES_PAGE) if dissection is None else dissection.layout.page.with_name(CLASSES_PAGE))
    made = {} if dissection is None else how_named(dissection)
    explained = explain_mistakes(network, report.mistakes[:MISTAKES], dissection=dissection, layer=report.layer)
    pages = {"Classes": page.name}
    mistakes = page.with_name(f"{page.stem}-mistakes.html")
    if explained:
        pages["Mistakes"] = mistakes.name
    pages |= units_beside(page, dissection)
    print(f"The page is {plain(render_classes(page, report, explained=explained, pages=pages, made=made))}")
    if explained:
        render_report(mistakes, explained, title="Why it was wrong", made=made, pages=pages)
        print(f"Mistakes are explained in {plain(mistakes)}")


def write_graphs(page: Path, explanations: Sequence[Any]) -> list[Path]:
    """Each explanation's graph beside the page, numbered from 1."""
    from dissect.explaining.neuronpedia import neuronpedia_graph

    written = []
    for number, each in enumerate(explanations, start=1):
        if each.graph is not None:
            path = page.with_name(f"{page.stem}-graph-{number}.json")
            found = neuronpedia_graph(each.graph, slug=path.stem, scan=each.at.architecture)
            with write_file(path) as temporary:
                temporary.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
            written.append(path)
    return written


def pages_beside(page: Path, dissection: Any, *, live: bool) -> dict[str, str]:
    """Titles and addresses, as seen from `page`, of the pages that are there: itself, the units', the live one."""
    from ..live.writing import PAGE

    return {"Pictures": page.name} | units_beside(page, dissection) | ({"Your own photo": PAGE} if live else {})


def units_beside(page: Path, dissection: Any) -> dict[str, str]:
    """The page of units, as seen from `page`, where there is one."""
    if dissection is None or not dissection.layout.units_page.is_file():
        return {}
    return {"Units": os.path.relpath(dissection.layout.units_page, page.parent)}


def open_subject(dissection: Path | None, model: str | None) -> tuple[Any, Any]:
    """A dissection and its network; None and the network, where there is none."""
    if dissection is not None:
        return open_dissected(dissection, model)
    assert model is not None
    return None, open_model(model)


def class_of(file: Path, network: Any) -> str:
    """The network's class that the folder of `file` is named after; "" where it is none. Nested names have slashes."""
    from dissect.recording.subject import label_names

    labels = set(label_names(network))
    folders = file.absolute().parent.parts
    return next((name for at in range(1, len(folders)) if (name := "/".join(folders[at:])) in labels), "")


def readable_images(names: Sequence[str]) -> list[Path]:
    """The image files that were named, folders opened; unreadable ones are left out and said.

    Raises:
        FileNotFoundError: a name that is not there. ValueError: nothing readable is left.
    """
    from pictures import open_files, print_skipped

    pictures = open_files(names)
    print_skipped(pictures.skipped)
    return list(pictures.files)


def twin_layer(dissection: Any, network: Any, layer: str) -> str | None:
    """The same layer where the twin has it (and its dissection knows it), else its last one (`None`: its default)."""
    if dissection is not None:
        return layer if layer in dissection.layers else dissection.layers[-1]
    return layer if layer in dict(network.named_modules()) else None


def how_made(dissection: Any, *, live: bool) -> dict[str, str]:
    """The page's last lines: where names come from, and how to have the network in a page where it is not."""
    names = {} if dissection is None else how_named(dissection)
    if live:
        return names
    how = "lwta explain --live also writes a page in which the network itself runs, for any photo; what is missing for "
    return names | {"Your own photo": f"{how}that it names, with the command that gets it."}
