"""What is said about one image: plain frozen values, no tensors. `explain` makes them; table and page show them."""

from dataclasses import dataclass, field

from competition_layers.attribution import Method

Grid = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class ClassScore:
    """A class, and what the network gives it."""

    label: str
    probability: float
    logit: float


@dataclass(frozen=True)
class SwitchOff:
    """The network run again with units off: what the predicted class lost, and what is predicted then."""

    logit: float
    margin: float
    label: str
    probability: float


@dataclass(frozen=True)
class UnitEffect:
    """One unit and what it did for this image.

    `value` is what it passed, with its sign: the mean over the places that can reach the decision, of a competitor over
    those it won. `where` is its value at each place of the picture, None where it lost.
    """

    unit: int
    group: int | None  # group and competitor: None where nothing competes
    competitor: int | None
    name: str  # "" when the dissection found none, or there is no dissection
    similarity: float | None
    value: float
    win_share: float | None  # of all places
    to_logit: float
    to_margin: float
    off: SwitchOff
    where: Grid | None = field(repr=False)
    exemplars: bytes = field(repr=False)  # a strip of the unit's top probe images, JPEG; b"" without any


@dataclass(frozen=True)
class Explanation:
    """One image, one layer: the prediction and the units behind it.

    Logit and margin (the lead over the runner-up) are each the sum of three parts: `units`, the `others` of the layer,
    and the `rest` (biases, paths around the layer). `others` and `rest` are pairs (logit, margin).
    """

    image: str
    picture: bytes = field(repr=False)  # what the network saw, PNG
    architecture: str
    competitors: int  # in a group of this layer; 1: nothing competes
    rule: str
    layer: str
    method: Method
    classes: tuple[ClassScore, ...]  # the most probable first
    margin: float
    units: tuple[UnitEffect, ...]  # the largest absolute contribution to the margin first
    others: tuple[float, float]
    rest: tuple[float, float]
    together: SwitchOff  # all of `units` off at once
    width: int  # units in the layer
    passed: int  # units that won (gave anything but 0, where nothing competes) at a place that can reach the decision
    deciding: int  # units that make up 90 % of the absolute contributions to the margin
    truth: str = ""  # what the image shows, where that is known

    @property
    def label(self) -> str:
        return self.classes[0].label

    @property
    def runner_up(self) -> str:
        return self.classes[1].label

    @property
    def logit(self) -> float:
        return self.classes[0].logit

    @property
    def effective_density(self) -> float:
        return self.deciding / self.width
