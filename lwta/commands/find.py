"""`lwta find`: the units that answer to a phrase."""

from collections.abc import Sequence
from pathlib import Path

from ..open_model import recall_encoder
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
        clip: the encoder of the dissection, as for `lwta describe`; by default what the dissection says.
    """
    from competition_layers.names import match_names
    from dissect import ConceptSet, Dissection, find_units, load_encoder

    if not phrase.strip():
        raise ValueError(f"Expected a phrase, a few words, but got {phrase!r}")
    if top < 1:
        raise ValueError(f"Expected --top of at least 1 but got {top}")
    described = Dissection.open(dissection)
    where = match_names(layers, described.layers, what="layer") if layers else described.layers
    name = clip or recall_encoder(dissection)
    encoder = load_encoder(name)
    if encoder.identity != described.manifest["encoder"]:
        raise ValueError(
            f"Expected the encoder of {str(dissection)!r} ({described.manifest['encoder']}) but got {name!r} "
            f"({encoder.identity}); say --clip"
        )
    if phrase in described.concepts:
        embedding = described.concept_embeddings()[described.concepts.index(phrase)]
    elif name.endswith(".safetensors"):
        raise ValueError(
            f"Expected one of the {len(described.concepts)} concepts of {str(dissection)!r} but got {phrase!r}: "
            "precomputed embeddings know no other phrase"
        )
    else:
        prompts = tuple(described.manifest["concepts"].get("templates", ("{}",)))
        embedding = encoder.encode_texts(ConceptSet((phrase,), prompts, source="the command line"))[0]
    answers = find_units(described, embedding, layers=where, top=top)
    width = max(map(len, ("layer", *(answer.layer for answer in answers))))
    print(f"{'layer':{width}}   unit      r   95 % interval  precision       p       q  name")
    for a in answers:
        between = f"{a.low:.2f} to {a.high:.2f}"
        print(
            f"{a.layer:{width}}  {a.unit:5}  {a.predictability:5.2f}  {between:>14}  {a.precision:9.2f}  {a.p:6.4f}  "
            f"{a.q:6.4f}  {a.description or 'unnamed'}"
        )
    print(
        f"r: how well {phrase!r} predicts the unit over {len(described.images)} probe images, by the dissection's own "
        "encoder; p: permuted images; q: false discoveries among the units searched."
    )
