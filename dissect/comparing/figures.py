"""What is said about networks that were compared: frozen values, no tensors."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from competition_layers.attribution import Method

from ..notebook import frame_of, table_html


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers by the saved rule, and where units compete also by `argmax`, one draw, n draws."""

    saved: float
    argmax: float | None = None
    sample: float | None = None
    samples: float | None = None


@dataclass(frozen=True)
class Calibration:
    """How far probabilities by the saved rule can be believed: negative log-likelihood in nats, and expected
    calibration error; `scaled`: after temperature scaling fitted on the other half of the pictures."""

    nll: float
    error: float
    temperature: float  # below 1: the network was too careful, above: too sure
    nll_scaled: float
    error_scaled: float


@dataclass(frozen=True)
class Attack:
    """Right answers on pictures changed by at most `epsilon` of full scale to make them wrong."""

    epsilon: float
    draws: int
    argmax: float  # gradients and answers by argmax (the one figure where nothing competes)
    sample: float | None  # gradients averaged over `draws`, and so the answers


@dataclass(frozen=True)
class Robustness:
    """Right answers under each common corruption, at strengths 1 to 5, and under attack (None: not measured)."""

    images: int
    corrupted: Mapping[str, tuple[float, ...]]
    attack: Attack | None

    @property
    def mean_corrupted(self) -> float:
        """Over all corruptions and strengths."""
        shares = [share for shares in self.corrupted.values() for share in shares]
        return sum(shares) / len(shares)


@dataclass(frozen=True)
class Alike:
    """How alike the pictures are that a unit answers to (MS score): the median and the best unit of a layer.

    `chance` is the score of a unit that answers to all pictures alike: the mean cosine of two of them.
    """

    median: float | None  # None: no unit's activation varies
    best: float | None
    chance: float


@dataclass(frozen=True)
class SeedFigures:
    """Of one kind of network the mean over its seeds, and half of its 95 % interval (None: one seed)."""

    name: str
    seeds: int
    figures: Mapping[str, tuple[float, float | None]]


@dataclass(frozen=True)
class Sparsity:
    """How many units of one layer a decision rests on.

    `density` is the share of units that pass: 1/U for a competition, the share above 0 for a ReLU, none for a smooth
    activation. `effective_density` is the mean over images of the share of units that make up 90 % of the absolute
    contributions to the margin, and `untrained` the same of the network with random weights: without it a small number
    says nothing, since at a layer of tokens a competition gives about .5/U by construction. Its check: `kept` is how
    often the prediction stays when all other units are off, and `kept_without_any` when all units of the layer are.
    """

    layer: str
    width: int
    method: Method
    density: float | None
    effective_density: float
    untrained: float
    kept: float
    kept_without_any: float


@dataclass(frozen=True)
class DecisionNames:
    """The names of the units that make 90 % of a lead, as means over images.

    `tautology` is the share of the lead carried by units whose name is the predicted class or a near-synonym of it:
    these decide, and explain nothing.
    """

    named: float  # share of those units that have a name
    distinct: float  # different names among them
    tautology: float


@dataclass(frozen=True)
class UntrainedNames:
    """The same layer with random weights: how many units are named, by how many names, and the median MS score; of a
    decision layer also the names in its decisions."""

    named: int
    distinct: int
    alike: float | None
    decision: DecisionNames | None = None


@dataclass(frozen=True)
class Names:
    """How many units of one layer are named, or why not (`Description.outcome`), and how many names there are."""

    layer: str
    outcomes: Mapping[str, int]
    distinct: int
    alike: Alike | None = None
    untrained: UntrainedNames | None = None  # where the dissection's pictures are given

    @property
    def units(self) -> int:
        return sum(self.outcomes.values())

    @property
    def share(self) -> float:
        """Of units that have a name."""
        return self.outcomes["named"] / self.units


@dataclass(frozen=True)
class Decision:
    """What decisions of a network with a decision layer rest on: medians over images, and over units."""

    units: int
    units_for_lead: float  # of absolute votes, 90 %
    sufficient: float  # so many units, best first, give the answer without the others
    necessary: float  # so many, best first, change it when they are off
    classes_served: float  # by a unit: 1 is a detector of one class
    dead: float  # share of units that won nowhere
    names: DecisionNames | None = None  # where a dissection describes the layer


@dataclass(frozen=True)
class NetworkFigures:
    """One network of a comparison."""

    name: str
    architecture: str
    competitors: int  # in a group of the compared layer; 1: nothing competes
    rule: str
    accuracy: Accuracy
    sparsity: Sparsity
    parameters: int
    milliseconds: float  # an image: median of several runs, taken in turns with the other networks
    peak_bytes: int  # that the tensors of one such run held at once, the weights aside
    training_seconds: float | None  # None where it is not known
    names: tuple[Names, ...] = ()  # of each layer of its dissection, where there is one
    decision: Decision | None = None  # of a network that ends in a decision layer
    calibration: Calibration | None = None
    robustness: Robustness | None = None  # where it was asked for


@dataclass(frozen=True)
class Comparison:
    """Networks in the order given, and what they were compared on."""

    networks: tuple[NetworkFigures, ...]
    data: str
    images: int
    samples: int  # draws behind `Accuracy.samples`
    batch: int  # images in a timed run
    device: str
    names_differ: str = ""  # what the dissections differ in: their counts are then no comparison
    findings: tuple[str, ...] = ()  # a sentence each
    seeds: tuple[SeedFigures, ...] = ()  # where networks are seeds of one another

    @property
    def remarks(self) -> tuple[str, ...]:
        """What stands in one table and is yet no comparison."""
        measured = [network.sparsity for network in self.networks]
        remarks = []
        if len({sparsity.layer for sparsity in measured}) > 1:
            layers = ", ".join(f"{network.name} at {network.sparsity.layer}" for network in self.networks)
            remarks.append(
                f"Densities were taken at different layers ({layers}): they are no comparison; name one with --layer."
            )
        if len({sparsity.method for sparsity in measured}) > 1:
            methods = ", ".join(f"{network.name} by {network.sparsity.method}" for network in self.networks)
            remarks.append(
                f"Contributions were found by different methods ({methods}): effective densities are no comparison."
            )
        if self.names_differ:
            remarks.append(f"The dissections differ in their {self.names_differ}: these counts are no comparison.")
        return tuple(remarks)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, as the JSON beside a page has it."""
        record = asdict(self)
        for network, found in zip(record["networks"], self.networks, strict=True):
            for names, counted in zip(network["names"], found.names, strict=True):
                names |= {"units": counted.units, "share": counted.share}
        return record | {"remarks": list(self.remarks)}

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each network (needs pandas)."""
        return frame_of(self._rows())

    def _repr_html_(self) -> str:
        return table_html(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                **{"network": network.name, "architecture": network.architecture, "competitors": network.competitors},
                **{"accuracy": network.accuracy.saved, "layer": network.sparsity.layer},
                **{"density": network.sparsity.density, "effective_density": network.sparsity.effective_density},
                **{"untrained": network.sparsity.untrained, "kept": network.sparsity.kept},
                **{"milliseconds": network.milliseconds, "peak_bytes": network.peak_bytes},
                "parameters": network.parameters,
            }
            for network in self.networks
        ]
