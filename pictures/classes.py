"""Which number a class has: by its name, by its WordNet synset, by its own number; never by place alone."""

import re
from collections.abc import Sequence

from competition_layers.names import nearest

from .names import readable_name

_SYNSET = re.compile(r"n\d{8}")


def class_numbers(found: Sequence[str], known: Sequence[str], *, where: str, whose: str = "the network") -> list[int]:
    """The number among `known` of each class in `found`.

    Folders called after WordNet's synsets are the classes of an ImageNet network, which has words instead. Classes that
    a source only numbers ("0", "1", ...) are the known ones in their order.

    Raises:
        ValueError: a class that is not among the known ones, or is there twice; the nearest is offered.
    """
    if list(found) == list(known):
        return list(range(len(known)))
    places: dict[str, list[int]] = {}
    for number, name in enumerate(known):
        places.setdefault(readable_name(name), []).append(number)
    if not places.keys() & set(found):
        if all(map(_SYNSET.fullmatch, found)):
            return _by_synset(found, known, where=where, whose=whose)
        if all(name.isdecimal() and int(name) < len(known) for name in found):
            return [int(name) for name in found]
    for name in found:
        if len(places.get(name, ())) != 1:
            many = "once " if name in places else ""
            raise _unknown(f"{name!r} {many}in {where!r}{nearest(name, known)}", known, whose)
    return [places[name][0] for name in found]


def _by_synset(found: Sequence[str], known: Sequence[str], *, where: str, whose: str) -> list[int]:
    from timm.data import ImageNetInfo  # seconds to import, and only WordNet's folders need it

    info, first = ImageNetInfo(), [name.partition(",")[0] for name in known]
    numbers = []
    for place, synset in enumerate(found):
        try:
            word = info.label_name_to_description(synset).partition(",")[0]
        except KeyError:
            word = ""
        # two of ImageNet's classes are called "crane": all classes together stand in WordNet's order
        fitting = [place] if first[place : place + 1] == [word] and len(found) == len(known) else []
        fitting = fitting or [number for number, name in enumerate(first) if name == word]
        if len(fitting) != 1:
            raise _unknown(f"{synset!r} in {where!r}" + (f", which is {word!r}" if word else ""), known, whose)
        numbers += fitting
    return numbers


def _unknown(found: str, known: Sequence[str], whose: str) -> ValueError:
    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return ValueError(f"Expected classes that {whose} knows ({shown}) but got {found}")
