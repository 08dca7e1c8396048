"""What is said about one image: frozen values, no tensors. `explain` makes them; table, page and JSON show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from competition_layers.attribution import Method
from competition_layers.graphs.graph import AttributionGraph, GraphNode

from .checks import Checks

Grid = tuple[tuple[float | None, ...], ...]
EXPLAINS = 0.5  # of the lead: units that carry less do not explain the decision


@dataclass(frozen=True)
class ClassScore:
    """A class, and what the network gives it."""

    label: str
    probability: float
    logit: float


@dataclass(frozen=True)
class SwitchOff:
    """The network run again with units off: what the explained class lost, and what is predicted then."""

    logit: float
    lead: float
    label: str
    probability: float


@dataclass(frozen=True)
class Rival:
    """A competitor of its group that came second where a unit won, and in which share of those places."""

    unit: int
    name: str
    share: float


@dataclass(frozen=True)
class UnitName:
    """What a dissection says of a unit; all empty without one.

    `r` is Pearson's correlation of the name with the unit on images that did not choose it, with its 95 % interval; of
    a renamed unit that of the name before.
    """

    name: str = ""
    alternatives: tuple["Alternative", ...] = ()  # the next best, most similar first
    r: float | None = None
    low: float | None = None
    high: float | None = None
    exemplars: bytes = field(default=b"", repr=False)  # a strip of the unit's top probe images, JPEG
    masks: tuple[Grid, ...] = field(default=(), repr=False)  # where it spoke on each of them
    was: str | None = None  # where a person renamed it (`lwta edit`): what the dissection calls it, "" without a name


@dataclass(frozen=True)
class Alternative:
    """A further word for a unit, and by how much less similar it is than the name, by the measure that chose this."""

    name: str
    less: float


@dataclass(frozen=True)
class UnitEffect:
    """One unit and what it did for this image.

    `value` is what it passed, with its sign: the mean over the places that can reach the decision, of a competitor over
    those it won. `where` is its value at each place of the picture, None where it lost.
    """

    unit: int
    group: int | None  # group and competitor: None where nothing competes
    competitor: int | None
    named: UnitName
    value: float
    win_share: float | None  # of all places, where there are several
    to_logit: float
    to_lead: float
    off: SwitchOff
    place: str = ""  # where on the picture it added to the lead, in words; "" where that is nowhere in particular
    rivals: tuple[Rival, ...] = ()  # that it beat, the most frequent first; () where nothing competes
    where: Grid | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.named.name

    @property
    def label(self) -> str:
        """What to call it: its name, else its number."""
        return self.named.name or f"unit {self.unit}"


@dataclass(frozen=True)
class Sum:
    """A figure of the network taken apart:  total = units + others + without + missed."""

    total: float
    units: float  # those that are shown
    others: float  # of the layer
    without: float  # what the network gives with the whole layer off: biases and paths around it
    missed: float  # what first-order estimates miss; 0 where contributions are exact


@dataclass(frozen=True)
class ExplainedLayer:
    """Which layer of which network."""

    architecture: str
    layer: str
    width: int  # units
    competitors: int  # in a group; 1: nothing competes
    rule: str  # how winners are picked
    method: Method
    decision: bool = False  # the last competition, after which everything is linear and nothing beside it

    @property
    def speakers(self) -> str:
        """What to call the units that pass something on: where nothing competes, nothing wins."""
        return "winners" if self.competitors > 1 else "active units"

    @property
    def exact(self) -> bool:
        """Whether contributions are exact: all that follows is linear, as it is or with norm scales frozen."""
        return self.method != "gradient x activation"


@dataclass(frozen=True)
class LayerShare:
    """How much of the lead is lost when the few strongest units of a layer are switched off together."""

    layer: str
    share: float


@dataclass(frozen=True)
class Switches:
    """The decision as arithmetic:  logits = bias + sum of the votes of all units that are on.

    A row for each of the explanation's units, and a last one for all other winners together.
    """

    labels: tuple[str, ...]
    bias: tuple[float, ...]
    votes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GraphView:
    """A graph, and the names of its units by the ids of their nodes."""

    graph: AttributionGraph
    target: str
    over: str  # the class whose logit is subtracted; "" without one
    names: Mapping[str, UnitName]

    @property
    def patches(self) -> tuple[GraphNode, ...]:
        """Those of the picture that are shown by themselves, the largest influence first."""
        return tuple(node for node in self.graph.nodes if node.kind == "patch")

    @property
    def patch_grid(self) -> Grid:
        """At each place of the picture the influence of its patch; None where that is not shown."""
        (rows, columns), added = self.graph.grid, {node.position: node.influence for node in self.patches}
        return tuple(tuple(added.get(row * columns + column) for column in range(columns)) for row in range(rows))

    def label(self, node: GraphNode) -> str:
        """What to call a node."""
        if node.kind == "target":
            return f"{self.target} over {self.over}" if self.over else self.target
        if node.kind == "unit":
            return self.names[node.id].name or f"unit {node.unit}"
        if node.kind == "patch" and node.position is not None:
            row, column = divmod(node.position, self.graph.grid[1])
            return f"patch in row {row + 1}, column {column + 1}"
        return {"other units": "other units", "other patches": "other patches"}.get(node.kind, "biases")


@dataclass(frozen=True)
class Explanation:
    """One image, one layer: the prediction and the units behind it."""

    image: str
    picture: bytes = field(repr=False)  # what the network saw, PNG
    at: ExplainedLayer
    classes: tuple[ClassScore, ...]  # the most probable first
    target: str  # the class that is explained
    runner_up: str  # the class of the largest logit beside it
    logit: Sum  # of the target
    lead: Sum  # of the target over the runner-up; below 0 where the target is not what is predicted
    units: tuple[UnitEffect, ...]  # the largest absolute contribution to the lead first
    together: SwitchOff  # all of `units` off at once
    random_lead: float | None  # lost with as many other winners off, drawn at random (mean of a few draws)
    passed: int  # units that won (gave anything but 0, where nothing competes) at a place that can reach the decision
    deciding: int  # units that make up 90 % of the absolute contributions to the lead
    truth: str = ""  # what the image shows, where that is known
    instead: LayerShare | None = None  # a layer that does explain the decision, where this one does not
    regions: tuple[tuple[int, ...], ...] | None = None  # at each place the row of `units` that adds most; -1: another
    switches: Switches | None = field(default=None, repr=False)  # of a decision layer
    sufficient: int | None = None  # so many of its winners, the largest votes first, give the answer without the rest
    necessary: int | None = None  # and so many off change it; None: not asked, or nothing changes it
    checks: Checks | None = field(default=None, repr=False)
    graph: GraphView | None = field(default=None, repr=False)  # why the units fired, where that was asked for

    @property
    def label(self) -> str:
        """The predicted class."""
        return self.classes[0].label

    @property
    def share(self) -> float:
        """Of the lead, that the shown units carry: measured, by switching them off together."""
        return self.together.lead / self.lead.total if self.lead.total else 0.0

    @property
    def explains(self) -> bool:
        """Whether the shown units carry at least half of the lead."""
        return self.share >= EXPLAINS

    @property
    def effective_density(self) -> float:
        return self.deciding / self.at.width

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, without the pictures."""
        from .record import explanation_record

        return explanation_record(self)

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each unit (needs pandas)."""
        from ..notebook import frame_of
        from .record import explanation_rows

        return frame_of(explanation_rows(self))

    def _repr_html_(self) -> str:
        from .record import explanation_html

        return explanation_html(self)
