"""What switching units off costs classes, for a terminal: the units whose class loses most."""

from competition_layers.terminal import aligned

from ..describers.class_ablation import ClassAblation
from ..describers.patches import METHOD
from ..folder.dissection import Dissection
from ..numbers import percent

SHOWN = 8  # units


def losses_text(dissection: Dissection, layer: str) -> list[str]:
    """A line a unit and the class that loses most right answers without it, those that lose most first; nothing where
    `patches` did not look."""
    labels, units = dissection.manifest["model"].get("label_names") or (), dissection.units(layer)
    found = ClassAblation.from_tensors(dissection.kept(layer, METHOD), units=units, classes=len(labels))
    if found is None:
        return []
    worst = [(loss, unit) for unit in range(units) for loss in found.losses(unit, labels)[:1]]
    worst.sort(key=lambda row: -row[0].images * (row[0].accuracy - row[0].without))
    begin = f"{layer}, single units switched off on {int(found.images.sum())} images"
    if not worst:
        return [f"{begin}: no class loses an answer"]
    rows = [("unit", "name", "class", "images", "right", "without it")]
    for loss, unit in worst[:SHOWN]:
        name = dissection.description(layer, unit).description or "unnamed"
        shares = percent(loss.accuracy), percent(loss.without)
        rows.append((str(unit), name, loss.label, str(loss.images), *shares))
    more = f"; the {SHOWN} that cost most" if len(worst) > SHOWN else ""
    return [f"{begin}: {len(worst)} of {units} cost a class answers{more}", *aligned(rows, left=(1, 2))]
