"""What a describer is: a system that looks at one layer and proposes names for its units."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from ..backends.budget import CallsSpentError
from ..encoders.concepts import ConceptSet
from ..encoders.protocol import ImageTextEncoder
from ..encoders.space import Space
from ..exemplars.collecting import collect_exemplars
from ..exemplars.exemplar_set import ExemplarSet
from ..naming.description import Candidate
from ..naming.halves import Halves
from ..probe.probe_images import ProbeImages
from ..recording.layer_reader import LayerReader
from ..recording.layer_record import LayerRecord
from ..recording.unit_values import UnitValues

Described = tuple[Candidate, ...]  # of one unit, best first


@dataclass(frozen=True)
class Proposals:
    """What a describer says of a layer: of each unit the candidates, best first, () where it has nothing to say.

    `tensors` are kept in the dissection beside the names (a prior, weights), by name. `unasked`: units of which models
    were not asked, since the calls were spent; the same command goes on with them.
    """

    candidates: Sequence[Described]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    unasked: tuple[int, ...] = ()


class Kept(Protocol):
    """What was said of units in an earlier run that did not end, or was ended by its budget."""

    def said(self, describer: "Describer", unit: int) -> Described | None: ...

    def keep(self, describer: "Describer", unit: int, said: Described) -> None: ...


@dataclass(frozen=True)
class Probed:
    """One layer of a network after the pass over the probe: all that every describer gets.

    A describer looks at the choosing half of the images alone (`halves.choosing`): on the other half its names are
    judged. `earlier` are the proposals of the describers before it, by method. `reader` asks the layer about other
    pictures, `encoder` embeds other phrases, with the prompts of `concepts`; `collect` gives the `exemplars` (None:
    they are computed), `kept` what an unfinished run has already said of units (None: nothing).
    """

    record: LayerRecord
    summary: str
    probe: ProbeImages
    space: Space
    halves: Halves
    concepts: ConceptSet
    encoder: ImageTextEncoder
    reader: LayerReader
    earlier: Mapping[str, Proposals] = field(default_factory=dict)
    collect: Callable[[], ExemplarSet] | None = None
    kept: Kept | None = None

    @cached_property
    def exemplars(self) -> ExemplarSet:
        """Each unit's top images of the choosing half and where in them it spoke: one more pass, when first asked."""
        if self.collect is not None:
            return self.collect()
        return collect_exemplars(self.reader, self.probe, self.values, self.halves)

    def unit_by_unit(
        self, describer: "Describer", of: Callable[[Sequence[int]], Iterable[Described]], *, together: int = 1
    ) -> Proposals:
        """What `of` says of every unit that has exemplars, some `together`, shown on a bar and kept as soon as it is
        said: after a kill the next run goes on behind the last unit. Where `of` raises `CallsSpentError` the rest is
        `unasked`."""
        found: list[Described] = [()] * self.units
        asked = [unit for unit in range(self.units) if self.exemplars.places(unit)]
        new = []
        for unit in asked:
            said = None if self.kept is None else self.kept.said(describer, unit)
            if said is None:
                new.append(unit)
            else:
                found[unit] = said
        done = 0
        shown_as = f"{describer.method} {self.layer}"
        with tqdm(total=len(new), desc=shown_as, unit="unit", disable=None, leave=False) as bar:
            try:
                for at in range(0, len(new), together):
                    for said in of(new[at : at + together]):
                        found[new[done]] = said
                        if self.kept is not None:
                            self.kept.keep(describer, new[done], said)
                        done += 1
                        bar.update(1)
            except CallsSpentError:
                pass
        return Proposals(found, unasked=tuple(new[done:]))

    @property
    def layer(self) -> str:
        return self.record.layer

    @property
    def values(self) -> UnitValues:
        """What the units said on all images."""
        return self.record.unit_values(self.summary)

    @property
    def units(self) -> int:
        return self.values.values.shape[1]


class Describer(Protocol):
    """Proposes names for the units of a layer.

    `method` is what `candidates.csv` calls it. `options` are JSON: whatever its proposals depend on beside what a
    dissection is made from; with others a dissection is described again.
    """

    @property
    def method(self) -> str: ...

    @property
    def options(self) -> Mapping[str, Any]: ...

    def propose(self, probed: Probed) -> Proposals: ...
