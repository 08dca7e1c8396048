"""What a describer is: a system that looks at one layer and proposes names for its units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from ..encoders.concepts import ConceptSet
from ..encoders.protocol import ImageTextEncoder
from ..exemplars.collecting import collect_exemplars
from ..exemplars.exemplar_set import ExemplarSet
from ..naming.description import Candidate
from ..naming.halves import Halves
from ..naming.space import Space
from ..probe.probe_images import ProbeImages
from ..recording.layer_reader import LayerReader
from ..recording.layer_record import LayerRecord
from ..recording.unit_values import UnitValues

Described = tuple[Candidate, ...]  # of one unit, best first


@dataclass(frozen=True)
class Proposals:
    """What a describer says of a layer: of each unit the candidates, best first, () where it has nothing to say.

    `tensors` are kept in the dissection beside the names (a prior, weights), by name.
    """

    candidates: Sequence[Described]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Probed:
    """One layer of a network after the pass over the probe: all that every describer gets.

    A describer looks at the choosing half of the images alone (`halves.choosing`): on the other half its names are
    judged. `earlier` are the proposals of the describers before it, by method. `reader` asks the layer about other
    pictures, `encoder` embeds other phrases, with the prompts of `concepts`; `collect` gives the `exemplars` (None:
    they are computed), `kept` what a killed run has already said of a unit (None: nothing).
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
    kept: Callable[["Describer", int, Callable[[], Described]], Described] | None = None

    @cached_property
    def exemplars(self) -> ExemplarSet:
        """Each unit's top images of the choosing half and where in them it spoke: one more pass, when first asked."""
        if self.collect is not None:
            return self.collect()
        return collect_exemplars(self.reader, self.probe, self.values, self.halves)

    def unit_by_unit(self, describer: "Describer", of: Callable[[int], Described]) -> list[Described]:
        """What `of` says of every unit that has exemplars, shown on a bar and kept at once: after a kill the next run
        goes on behind the last unit."""
        found: list[Described] = []
        shown_as = f"{describer.method} {self.layer}"
        for unit in tqdm(range(self.units), desc=shown_as, unit="unit", disable=None, leave=False):
            make = partial(of, unit)
            if not self.exemplars.places(unit):
                found.append(())
            else:
                found.append(make() if self.kept is None else self.kept(describer, unit, make))
        return found

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
