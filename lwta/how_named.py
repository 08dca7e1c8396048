"""Where the names of units come from, in words: the last lines of every page that shows some."""

import re
from typing import Any


def how_named(dissection: Any) -> dict[str, str]:
    """Where the units' names come from, in words, for the page's last lines."""
    manifest = dissection.manifest
    probe, concepts, options = manifest["probe"], manifest["concepts"], manifest["options"]
    says = _short(manifest["encoder"])
    return {
        "Names": f"The concept, of {concepts['count']} in {concepts['source']}, whose presence in "
        f"{probe['images']} probe images the unit follows best (similarity: {options['similarity']}). Whether a "
        f"concept is in an image a second network says ({says}). The concept is chosen on one half of the images and "
        "judged on the other, by the same network: it must predict the unit better than on permuted images (false "
        f"discoveries 5 %), and no other concept may do so clearly better. {_how_many(dissection)}",
        "Strips": "The probe images on which the unit is strongest, among those it won where it competes.",
    }


def _how_many(dissection: Any) -> str:
    """Of each layer how many units have a name, and why the others have none."""
    why = {
        "weak": "follow theirs more weakly than was asked for",
        "chance": "follow their best concept no better than chance",
        "rival": "follow a rival better",
        "too few images": "speak on too few images",
    }
    lines = []
    for layer in dissection.layers:
        count = dissection.outcomes(layer)
        others = ", ".join(f"{count[outcome]} {meaning}" for outcome, meaning in why.items())
        lines.append(f"{layer}: {count['named']} of {dissection.units(layer)} units are named; of the others {others}.")
        random = dissection.named_at_random(layer)
        lines += [] if random is None else [f"With random weights {random} of them are."]
    return " ".join(lines)


def _short(identity: str) -> str:
    """An encoder as people read it: of a hash the first eight digits."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b", r"\1", identity)
