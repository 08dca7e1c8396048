"""`lwta compare`: networks against each other on the same labelled images."""

from collections.abc import Sequence
from pathlib import Path

from competition_layers.terminal import plain

from ..open_model import open_dissected, open_model, recall_model, training_seconds
from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(compare, argv, prog="lwta compare", positionals=["runs"])
    return 0


def compare(
    runs: list[str],
    data: Path,
    layer: str | None = None,
    samples: int = 8,
    robustness: bool = False,
    seeds: bool = False,
    probe: Path | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
    out: Path = Path("comparison.html"),
) -> None:
    """Compare networks on the same images: accuracy, densities, named units, training and inference time.

    Args:
        runs: run folders, model folders, hub names; or folders that `lwta describe` wrote, whose named and unnamed
            units are then counted too.
        data: a folder of test images, one folder a class.
        layer: where densities are measured; by default each network's last site.
        samples: draws to average over, where units compete.
        robustness: also corrupted pictures (fifteen kinds, five strengths) and an attack, on up to 500 images: long.
        seeds: runs whose names differ in their last number alone (sparse-0, sparse-1) are seeds of one network: means
            with intervals over them.
        probe: the pictures that the dissections were made of: then each network is also named with random weights:
            what its count of names is worth.
        limit: so many images only, evenly spread.
        batch_size: images a step, and in each timed run.
        device: cpu, cuda, ...; by default an accelerator where there is one.
        out: the page.
    """
    import torch

    from dissect import compare as compare_networks
    from dissect import open_probe, render_report
    from dissect.comparing.comparing import Compared, Extras
    from dissect.folder.layout import Layout
    from dissect.report import comparison_text
    from pictures import print_skipped

    images = open_probe(data, limit=limit, labelled=True)
    print_skipped(images.skipped)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    pictures = None if probe is None else open_probe(probe)
    networks = {}
    for name, run in zip(short_names(runs), runs, strict=True):
        dissection = None
        if Layout(Path(run)).is_finished:
            dissection, network = open_dissected(Path(run))
            run = recall_model(Path(run))
        else:
            network = open_model(run)
        networks[name] = Compared(network.to(where), training_seconds(run), dissection, pictures)
    comparison = compare_networks(
        networks, images, layer=layer, samples=samples, batch_size=batch_size, extras=Extras(robustness, seeds)
    )
    print(comparison_text(comparison))
    print(f"The page is {plain(render_report(out, comparison=comparison))}")


def short_names(runs: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole where two would be the same.

    >>> short_names(["runs/dense", "runs/sparse/"]), short_names(["a/model", "b/model"])
    (['dense', 'sparse'], ['a/model', 'b/model'])

    Raises:
        ValueError: the same run twice.
    """
    whole = [run.rstrip("/") for run in runs]
    last = [run.rsplit("/", 1)[-1] for run in whole]
    names = last if len(set(last)) == len(last) else whole
    if len(set(names)) < len(names):
        raise ValueError(f"Expected different networks but got {', '.join(runs)}")
    return names
