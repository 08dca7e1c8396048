"""Record, embed, score, name: the units of a network described. What was computed before is not computed again."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from competition_layers import activation_sites, competitions
from competition_layers.files import write_file, write_folder
from competition_layers.names import match_names, nearest

from .activations import SUMMARIES, default_transform, record_activations
from .concepts import ConceptSet
from .describers.concept_match import MINIMUM_SUPPORT
from .describers.description import Description
from .describers.honest import NAMING, name_honestly
from .dissection import Dissection
from .encoders import ImageTextEncoder
from .exemplars import Exemplar, draw_strips, find_exemplars
from .naming.halves import Halves, halve
from .probe import ProbeImages
from .records import LayerRecord
from .similarity import DEFAULT_SIMILARITY, SIMILARITIES, WITH_PRIOR, wpmi_prior
from .store import FORMAT, digest, load_tensors, model_fingerprint, save_tensors, transform_fingerprint
from .tables import write_descriptions, write_exemplars

AUTO = "auto"


def describe(
    model: nn.Module,
    probe: ProbeImages,
    concepts: ConceptSet,
    encoder: ImageTextEncoder,
    *,
    out: str | Path,
    layers: str | Sequence[str] | None = None,
    similarity: str = DEFAULT_SIMILARITY,
    summary: str = AUTO,
    transform: Callable[[Image.Image], Tensor] | None = None,
    batch_size: int = 64,
) -> Dissection:
    """Name the units of `layers` and write the dissection folder `out`.

    A second call with the same inputs returns at once; with some of them changed, only what depends on those is
    computed.

    Args:
        layers: names or globs; by default the last place where units compete (or could).
        similarity: a key of `SIMILARITIES`.
        summary: `cls`, `mean` or `max`; `auto` is the class token where the network reads its answer from it, else
            the mean.
        transform: from a picture to the network's input; by default timm's for `model`.

    Raises:
        ValueError: an unknown layer, similarity or summary (the nearest is offered).
    """
    out = Path(out)
    check_choices(similarity, summary)
    names = match_names(
        default_layer(model) if layers is None else layers, [n for n, _ in model.named_modules() if n], what="layer"
    )
    transform = transform or default_transform(model)
    manifest = _inputs(model, probe, concepts, encoder)
    manifest["options"] = {
        "layers": names,
        "similarity": similarity,
        "summary": summary,
        "transform": transform_fingerprint(transform),
        "batch_size": batch_size if _sampled(model) else None,  # noise falls differently in other batches
        "minimum_support": MINIMUM_SUPPORT,
        "naming": NAMING,
    }
    key = digest(json.dumps(manifest, sort_keys=True))
    if _finished(out, key):
        return Dissection.open(out)
    # phrases first: a word that the encoder refuses is told before the long work, and before anything is touched
    texts = _embedded(out / "embeddings" / "concepts.safetensors", encoder, concepts, encoder.encode_texts)
    images = _embedded(out / "embeddings" / "images.safetensors", encoder, probe, encoder.encode_images)
    (out / "manifest.json").unlink(missing_ok=True)  # unfinished from here on: the manifest is written last
    records = _record(model, probe, names, transform, batch_size, out, manifest)
    described: list[Description] = []
    halves = halve(images)
    manifest["observations"] = halves.observations
    manifest["layers"] = {}
    for name, record in records.items():
        chosen = next(iter(record.summaries))
        prior = _prior(record, images, texts, halves, chosen, similarity, out)
        options = {"summary": chosen, "similarity": similarity, "prior": prior}
        named = name_honestly(record, images, texts, concepts, halves, **options)
        described += named
        manifest["layers"][name] = {"units": len(named), "summary": chosen, "competes": record.won is not None}
    write_descriptions(out, described)
    _show_exemplars(probe, records, out)
    with write_file(out / "manifest.json") as temporary:
        temporary.write_text(json.dumps({**manifest, "key": key}, indent=1) + "\n")
    return Dissection.open(out)


def check_choices(similarity: str, summary: str) -> None:
    """Refuse an unknown similarity or summary; the nearest is offered."""
    for what, value, known in (("similarity", similarity, SIMILARITIES), ("summary", summary, (AUTO, *SUMMARIES))):
        if value not in known:
            raise ValueError(f"Expected a {what} among {', '.join(known)} but got {value!r}{nearest(value, known)}")


def default_layer(model: nn.Module) -> str:
    """The last place where units compete, or in a dense network the last where they could."""
    sites = getattr(getattr(model, "lwta", None), "sites", ()) or activation_sites(model)
    return sites[-1].name


def inference_rules(model: nn.Module) -> dict[str, str]:
    """How each competition of `model` picks its winners, in words."""
    return {
        name: layer.inference if layer.inference == "argmax" else f"sample (noise {layer.noise:g})"
        for name, layer in competitions(model).items()
    }


def _inputs(model: nn.Module, probe: ProbeImages, concepts: ConceptSet, encoder: ImageTextEncoder) -> dict[str, Any]:
    """What the manifest says of the inputs: their content hashes, and a few words for people."""
    spec = getattr(model, "lwta", None)
    return {
        "format": FORMAT,
        "model": {
            "fingerprint": model_fingerprint(model),
            "architecture": getattr(spec, "architecture", type(model).__name__),
            "label_names": list(getattr(spec, "label_names", ())),
            "rules": inference_rules(model),
        },
        "probe": {
            "fingerprint": probe.fingerprint,
            "images": len(probe),
            "names": list(probe.names),
            "skipped": [list(entry) for entry in probe.skipped],
        },
        "concepts": {"fingerprint": concepts.fingerprint, "count": len(concepts), "source": Path(concepts.source).name},
        "encoder": encoder.identity,
    }


def _record(
    model: nn.Module,
    probe: ProbeImages,
    names: Sequence[str],
    transform: Callable[[Image.Image], Tensor],
    batch_size: int,
    out: Path,
    manifest: Mapping[str, Any],
) -> dict[str, LayerRecord]:
    """The records of all layers: those on disk under the right key, and the missing ones from one pass together."""
    options = manifest["options"]
    made_from = [manifest["model"]["fingerprint"], probe.fingerprint]
    made_from += [options[name] for name in ("summary", "transform", "batch_size")]
    keys = {name: digest(name, made_from) for name in names}
    path = {name: out / "activations" / f"{name}.safetensors" for name in names}
    records = {}
    for name in names:
        if tensors := load_tensors(path[name], key=keys[name]):
            records[name] = LayerRecord.from_tensors(name, tensors)
    missing = [name for name in names if name not in records]
    if missing:
        wanted = None if options["summary"] == AUTO else (options["summary"],)
        fresh = record_activations(model, probe, missing, summaries=wanted, transform=transform, batch_size=batch_size)
        for name, record in fresh.items():
            save_tensors(path[name], record.tensors(), key=keys[name])
        records |= fresh
    return {name: records[name] for name in names}


def _embedded(path: Path, encoder: ImageTextEncoder, data: Any, encode: Callable[[Any], Tensor]) -> Tensor:
    """The embeddings of the probe or the concepts, from the file if it was made from the same."""
    key = digest(encoder.identity, data.fingerprint)
    tensors = load_tensors(path, key=key)
    if tensors is None:
        tensors = {"embeddings": encode(data)}
        (path.parent.parent / "manifest.json").unlink(missing_ok=True)  # it speaks of the file that is replaced now
        save_tensors(path, tensors, key=key)
    return tensors["embeddings"]


def _prior(
    record: LayerRecord, images: Tensor, texts: Tensor, halves: Halves, summary: str, similarity: str, out: Path
) -> Tensor | None:
    """The layer's prior on the choosing half, kept in the folder: names do not depend on which units are asked for."""
    if similarity not in WITH_PRIOR:
        return None
    half = halves.choosing
    won = None if record.won is None else record.won[summary][half]
    prior = wpmi_prior(record.summaries[summary][half], images[half], texts, won=won, similarity=similarity)
    save_tensors(out / "priors" / f"{record.layer}.safetensors", {"prior": prior}, key=digest(prior))
    return prior


def _show_exemplars(probe: ProbeImages, records: Mapping[str, LayerRecord], out: Path) -> None:
    rows: list[Exemplar] = []
    tiles: dict[int, Image.Image] = {}
    with write_folder(out / "exemplars") as temporary:
        for name, record in records.items():
            found = find_exemplars(record, probe, summary=next(iter(record.summaries)))
            draw_strips(temporary / name, found, tiles, probe)
            for unit, images in enumerate(found):
                rows += [
                    Exemplar(name, unit, rank, probe.names[i], value) for rank, (i, value) in enumerate(images, start=1)
                ]
    write_exemplars(out, rows)


def _finished(out: Path, key: str) -> bool:
    try:
        same = json.loads((out / "manifest.json").read_text()).get("key") == key
    except (FileNotFoundError, ValueError):
        return False
    return same and all((out / name).exists() for name in ("descriptions.csv", "candidates.csv", "exemplars"))


def _sampled(model: nn.Module) -> bool:
    return any(layer.inference == "sample" for layer in competitions(model).values())
