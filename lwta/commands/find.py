"""`lwta find`: the units that answer to a phrase."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from competition_layers.terminal import aligned

from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(find, argv, prog="lwta find", positionals=["phrase"])
    return 0


def find(
    phrase: str,
    dissection: Path,
    layers: str | list[str] | None = None,
    top: int = 10,
    clip: str | None = None,
) -> None:
    """List the units whose activations follow a phrase best, whatever their names are.

    Args:
        phrase: a few words, such as "a red boat".
        dissection: the folder that `lwta describe` wrote.
        layers: a name or glob of its layers, or a list of them; by default all.
        top: how many units.
        clip: the encoder of the dissection, as for `lwta describe`: needed for a phrase that is none of its concepts,
            unless it is the bundled one.
    """
    if not phrase.strip():
        raise ValueError(f"Expected a phrase, a few words, but got {phrase!r}")
    from competition_layers.names import match_names
    from dissect import Dissection, find_units

    described = Dissection.open(dissection)
    where = match_names(layers, described.layers, what="layer") if layers else described.layers
    embedding = embedded(described, phrase, clip)
    answers = find_units(described, embedding, layers=where, top=top)
    rows = [("layer", "unit", "r", "95 % interval", "precision", "p", "q", "name")]
    rows += [
        (
            *(a.layer, str(a.unit), f"{a.predictability:.2f}", f"{a.low:.2f} to {a.high:.2f}", f"{a.precision:.2f}"),
            *(f"{a.p:.4f}", f"{a.q:.4f}", a.description or "unnamed"),
        )
        for a in answers
    ]
    print("\n".join(aligned(rows, left=(0, 7))))
    print(
        f"r: how well {phrase!r} predicts the unit over {len(described.images)} probe images, by the dissection's own "
        "encoder; p: permuted images; q: false discoveries among the units searched."
    )


def embedded(described: Any, phrase: str, clip: str | None) -> Any:
    """The phrase's embedding by the dissection's encoder: from the dissection where it is one of its concepts.

    Raises:
        ValueError: the encoder is another one, or is to be named by the user: a dissection may come from anybody, so no
            encoder is fetched by what it says.
    """
    from dissect import ConceptSet, load_encoder
    from dissect.folder.sources import read_encoder

    if phrase in described.concepts and clip is None:
        return described.concept_embeddings()[described.concepts.index(phrase)]
    known, folder = described.manifest["encoder"], str(described.folder)
    name = clip or read_encoder(described.folder)
    if name.endswith(".safetensors") and phrase not in described.concepts:
        raise ValueError(
            f"Expected one of the {len(described.concepts)} concepts of {folder!r} but got {phrase!r}: precomputed "
            "embeddings know no other phrase"
        )
    if clip is None and name != "bundled":
        raise ValueError(
            f"Expected --clip from you for a phrase that is none of the concepts of {folder!r}; it calls its encoder "
            f"{name!r}"
        )
    encoder = load_encoder(name)
    if encoder.identity != known:
        raise ValueError(
            f"Expected the encoder of {folder!r} ({known}) but got {name!r} ({encoder.identity}); say --clip"
        )
    prompts = tuple(described.manifest["concepts"].get("templates", ("{}",)))
    return encoder.encode_texts(ConceptSet((phrase,), prompts, source="the command line"))[0]
