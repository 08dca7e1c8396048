"""The page of units: every unit of a dissection, searched and filtered, those of one name in one line that opens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..explaining.at_random import AtRandom
from ..explaining.unit_entries import Histogram, UnitEntry
from ..image_uris import Tiles, strip_uri, tile_count
from ..naming.description import Description
from .agreements import agreements_of
from .pictures import masks_uri
from .record import units_record, write_json
from .render import render_page

MANY = 600  # units from which strips are smaller
WHY_UNNAMED = {
    "weak": "follow their best word less closely than was asked for",
    "chance": "follow their best word no better than chance",
    "rival": "are followed better by another word than their own",
    "too few images": "speak on too few pictures to tell",
}


@dataclass(frozen=True)
class NameLine:
    """The units of one name (or without a name for one reason): a line that opens."""

    name: str  # "" where they have none
    why: str  # they have none
    entries: tuple[UnitEntry, ...]

    @property
    def best(self) -> float:
        """The highest correlation of the name with one of them; of a name that a person gave none is known."""
        known = [entry.description.evidence for entry in self.entries if not entry.given]
        return max((evidence.predictability for evidence in known if evidence), default=0.0)

    @property
    def layers(self) -> list[str]:
        return list(dict.fromkeys(entry.description.layer for entry in self.entries))


def render_units(
    path: str | Path,
    entries: Sequence[UnitEntry],
    *,
    at_random: Mapping[str, AtRandom] | None = None,
    pages: Mapping[str, str] | None = None,
    made: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, and its figures as JSON beside it (`.json`), each whole or not at all.

    Args:
        at_random: how each layer fared with random weights.
        pages: titles and file names of the pages beside it.

    Raises:
        ValueError: no units.
    """
    if not entries:
        raise ValueError("Expected units to show but got none")
    at_random = at_random or {}
    tiles = Tiles(4, 40, 60) if len(entries) > MANY else Tiles()
    record = write_json(Path(path).with_suffix(".json"), units_record(entries, at_random))
    return render_page(
        path,
        "units.html.j2",
        scripts=("units.js",),
        pages=pages,
        title="What the units stand for",
        lines=lines_of(entries),
        count=len(entries),
        named=sum(bool(entry.name) for entry in entries),
        renamed=sum(bool(entry.given) for entry in entries),
        layers=list(dict.fromkeys(entry.description.layer for entry in entries)),
        at_random=at_random,
        high_of=lambda layer: at_random[layer].high if layer in at_random else None,
        agreements=agreements_of(entries, at_random),
        classes=sorted({label for entry in entries for label, weight in entry.votes if weight > 0}),
        has_masks=any(entry.masks for entry in entries),
        has_rivals=any(entry.rivals for entry in entries),
        why_unnamed=WHY_UNNAMED,
        histogram=histogram_path,
        other_words=other_words,
        strip_of=lambda entry: strip_uri(entry.exemplars, tiles),
        tiles_of=lambda entry: tile_count(entry.exemplars, tiles),
        masks_of=lambda entry: masks_uri(entry.masks, tiles),
        record=record.name,
        made=made or {},
    )


def lines_of(entries: Sequence[UnitEntry]) -> list[NameLine]:
    """One line a name, the surest first; then those without a name, a line a reason."""
    named: dict[str, list[UnitEntry]] = {}
    unnamed: dict[str, list[UnitEntry]] = {}
    for entry in entries:
        about = entry.description
        where, key = (named, entry.name) if entry.name else (unnamed, about.outcome)
        where.setdefault(key, []).append(entry)
    lines = [NameLine(name, "", tuple(found)) for name, found in named.items()]
    return [
        *sorted(lines, key=lambda line: -line.best),
        *(NameLine("", why, tuple(unnamed[why])) for why in WHY_UNNAMED if why in unnamed),
    ]


def other_words(about: Description) -> list[tuple[str, list[str]]]:
    """Of each describer its words, once each, but for the name and the meanings that are shown with it."""
    told = {each.method: {about.description} for each in about.candidates[:1]}
    told |= {each.method: {one.description for one in about.meanings} for each in about.meanings}
    words: dict[str, dict[str, None]] = {}
    for each in about.candidates:
        if each.description not in told.get(each.method, ()):
            words.setdefault(each.method, {})[each.description] = None
    return [(method, list(said)) for method, said in words.items()]


def histogram_path(histogram: Histogram) -> str:
    """The bars as an SVG path in a box of one by one a bar, the highest of height 1."""
    most = max(histogram.counts)
    return "".join(f"M{i} 1v{-count / most:.3f}h.85V1z" for i, count in enumerate(histogram.counts) if count)
