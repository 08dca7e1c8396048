"""Record, embed, score, name: the units of a network described. What was computed before is not computed again."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from competition_layers import competitions
from competition_layers.competition import Competition
from competition_layers.files import remove_leftovers, write_file
from competition_layers.names import match_names, nearest

from .describers.concept_matching import NAMING, Naming, name_verified
from .encoders.concepts import ConceptSet
from .encoders.encoders import ImageTextEncoder, PixelEncoder
from .folder.dissection import Dissection
from .folder.lock import locked
from .folder.shard_store import ShardStore, read_embeddings, read_record
from .folder.store import FORMAT, digest, load_tensors, model_fingerprint, save_tensors, transform_fingerprint
from .folder.strips import STRIPS, showing
from .folder.tables import write_descriptions
from .naming.description import Description
from .naming.halves import halve
from .naming.space import Space
from .probe.passes import Transform
from .probe.probe_images import ProbeImages
from .recording.recorder import default_transform, recording
from .recording.recording import record_shards
from .recording.subject import architecture, default_layer, label_names
from .recording.summaries import SUMMARIES
from .similarity import DEFAULT_SIMILARITY, SIMILARITIES

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
    transform: Transform | None = None,
    batch_size: int = 64,
) -> Dissection:
    """Name the units of `layers` and write the dissection folder `out`.

    A second call with the same inputs returns at once; with some of them changed, only what depends on those is
    computed; after a killed call, what is missing.

    Args:
        layers: names or globs; by default the last place where units compete (or could).
        similarity: a key of `SIMILARITIES`.
        summary: a name of `SUMMARIES`; `auto` is the class token where the network reads its answer from it, else the
            mean.
        transform: from a picture to the network's input; by default the model's own.

    Raises:
        ValueError: an unknown layer, similarity or summary (the nearest is offered).
        FileExistsError: another command is at work on `out`.
    """
    out = Path(out)
    check_choices(similarity, summary)
    options = _recorded_by(model, probe, layers, summary, transform, batch_size)
    options |= {"similarity": similarity, "naming": NAMING, "strips": STRIPS}
    manifest = {**_inputs(model, probe, concepts, encoder), "options": options}
    key = digest(json.dumps(manifest, sort_keys=True))
    if _finished(out, key):
        return Dissection.open(out)
    with locked(out):
        remove_leftovers(out)
        # phrases first: a word that the encoder refuses is told before the long work, and before anything is touched
        texts = _embed_phrases(out / "embeddings" / "concepts.safetensors", encoder, concepts)
        shelf = _shelf(out, model, probe, encoder, options)
        _record_and_embed(shelf, model, encoder, transform, batch_size, shelf.shards, options["summary"])
        (out / "manifest.json").unlink(missing_ok=True)  # unfinished from here on: the manifest is written last
        shelf.finalise()
        space = Space(read_embeddings(out), texts, concepts.names)
        halves = halve(space.image_embeddings)
        manifest |= {"observations": halves.observations, "layers": {}}
        described: list[Description] = []
        with showing(probe, out) as show:
            for name in options["layers"]:
                record = read_record(out, name)
                summary = next(iter(record.summaries))
                named, prior = name_verified(record, summary, space, halves, Naming(similarity))
                described += named
                _keep_prior(out / "priors" / f"{name}.safetensors", prior)
                about = {"units": len(named), "summary": summary, "competes": record.won is not None}
                manifest["layers"][name] = about
                show(record, summary=summary)
        write_descriptions(out, described)
        with write_file(out / "manifest.json") as temporary:
            temporary.write_text(json.dumps({**manifest, "key": key}, indent=1) + "\n")
    return Dissection.open(out)


def record_share(
    model: nn.Module,
    probe: ProbeImages,
    encoder: ImageTextEncoder,
    *,
    out: str | Path,
    share: tuple[int, int],
    layers: str | Sequence[str] | None = None,
    summary: str = AUTO,
    transform: Transform | None = None,
    batch_size: int = 64,
) -> None:
    """Record and embed share i of n (counted from 0) of the images into `out`, beside processes that do the others.

    `describe` with the same options finds all shares there, and only names. A share that is missing it does itself.
    """
    check_share(share)
    options = _recorded_by(model, probe, layers, summary, transform, batch_size)
    with locked(out, share=share):
        shelf = _shelf(Path(out), model, probe, encoder, options)
        mine = shelf.shards[share[0] :: share[1]]
        _record_and_embed(shelf, model, encoder, transform, batch_size, mine, options["summary"])


def check_share(share: tuple[int, int]) -> None:
    """Refuse a share that is none of 0/n ... (n-1)/n."""
    if not 0 <= share[0] < share[1]:
        raise ValueError(f"Expected a share i/n with i between 0 and n-1 but got {share[0]}/{share[1]}")


def check_choices(similarity: str, summary: str) -> None:
    """Refuse an unknown similarity or summary; the nearest is offered."""
    for what, value, known in (("similarity", similarity, SIMILARITIES), ("summary", summary, (AUTO, *SUMMARIES))):
        if value not in known:
            raise ValueError(f"Expected a {what} among {', '.join(known)} but got {value!r}{nearest(value, known)}")


def inference_rules(model: nn.Module) -> dict[str, str]:
    """How each competition of `model` picks its winners, in words."""
    return {name: _rule_in_words(layer.competition) for name, layer in competitions(model).items()}


def _rule_in_words(competition: Competition) -> str:
    return "argmax" if competition.inference == "argmax" else f"sample (noise {competition.noise_scale:g})"


def _inputs(model: nn.Module, probe: ProbeImages, concepts: ConceptSet, encoder: ImageTextEncoder) -> dict[str, Any]:
    """What the manifest says of the inputs: their content hashes, and a few words for people."""
    return {
        "format": FORMAT,
        "model": {
            "fingerprint": model_fingerprint(model),
            "architecture": architecture(model),
            "label_names": list(label_names(model)),
            "rules": inference_rules(model),
        },
        "probe": {
            "fingerprint": probe.fingerprint,
            "images": len(probe),
            "names": list(probe.names),
            "skipped": [list(entry) for entry in probe.skipped],
        },
        "concepts": {
            "fingerprint": concepts.fingerprint,
            "names": list(concepts.names),
            "templates": list(concepts.templates),
            "count": len(concepts),
            "source": Path(concepts.source).name,
        },
        "encoder": encoder.identity,
    }


def _recorded_by(
    model: nn.Module,
    probe: ProbeImages,
    layers: str | Sequence[str] | None,
    summary: str,
    transform: Transform | None,
    batch_size: int,
) -> dict[str, Any]:
    """The options that a recording depends on, as the manifest says them."""
    known = [name for name, _ in model.named_modules() if name]
    transform = transform or default_transform(model)
    if layers is None:
        first = next(model.parameters(), torch.empty(0))
        layers = default_layer(model, transform(probe[0])[None].to(first.device))
    return {
        "layers": match_names(layers, known, what="layer"),
        "summary": summary,
        "transform": transform_fingerprint(transform),
        "batch_size": batch_size if _sampled(model) else None,  # noise falls differently in other batches
    }


def _shelf(
    out: Path, model: nn.Module, probe: ProbeImages, encoder: ImageTextEncoder, options: Mapping[str, Any]
) -> ShardStore:
    made_from = digest(model_fingerprint(model), *(options[name] for name in ("summary", "transform", "batch_size")))
    by_place = () if isinstance(encoder, PixelEncoder) else (probe.positions, probe.found)  # rows of a file
    return ShardStore(out, probe, options["layers"], made_from, digest(encoder.identity, by_place))


def _record_and_embed(
    shelf: ShardStore,
    model: nn.Module,
    encoder: ImageTextEncoder,
    transform: Transform | None,
    batch_size: int,
    shards: Sequence[range],
    summary: str,
) -> None:
    """What is missing of `shards`, from one pass of their images through the network and the encoder."""
    layers, embed, lacking = shelf.missing(shards)
    if lacking:
        (shelf.folder / "manifest.json").unlink(missing_ok=True)  # it speaks of the files that are replaced now
    pixels = encoder if embed and isinstance(encoder, PixelEncoder) else None
    transform = transform or default_transform(model)
    with recording(model, layers, None if summary == AUTO else (summary,)) if layers else nullcontext() as recorder:
        for shard in record_shards(recorder, pixels, shelf.probe, transform, lacking, batch_size=batch_size):
            shelf.put(shard, model)
    if embed and pixels is None:
        rows = encoder.encode_images(shelf.probe)
        for images in lacking:
            shelf.put_embeddings(images, rows[images.start : images.stop])


def _embed_phrases(path: Path, encoder: ImageTextEncoder, concepts: ConceptSet) -> Tensor:
    """The embeddings of the concepts, from the file if it was made from the same."""
    key = digest(encoder.identity, concepts.fingerprint)
    tensors = load_tensors(path, key=key)
    if tensors is None:
        tensors = {"embeddings": encoder.encode_texts(concepts)}
        (path.parent.parent / "manifest.json").unlink(missing_ok=True)  # it speaks of the file that is replaced now
        save_tensors(path, tensors, key=key)
    return tensors["embeddings"]


def _keep_prior(path: Path, prior: Tensor | None) -> None:
    """The layer's prior: with it some of its units are named as all of them were."""
    if prior is None:
        path.unlink(missing_ok=True)
    else:
        save_tensors(path, {"prior": prior}, key=digest(prior))


def _finished(out: Path, key: str) -> bool:
    try:
        same = json.loads((out / "manifest.json").read_text()).get("key") == key
    except (FileNotFoundError, ValueError):
        return False
    return same and all((out / name).exists() for name in ("descriptions.csv", "candidates.csv", "exemplars"))


def _sampled(model: nn.Module) -> bool:
    return any(layer.competition.inference == "sample" for layer in competitions(model).values())
