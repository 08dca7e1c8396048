"""What the units of a layer said on some images, and which images they won: two tables that travel together."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..similarity.support import active_images


@dataclass(frozen=True)
class UnitValues:
    """One value an image and unit; `won` says which images a unit won, None where the layer does not compete."""

    values: Float[Tensor, "images units"]
    won: Bool[Tensor, "images units"] | None = None

    def on(self, images: Bool[Tensor, "images"] | Int[Tensor, "some"]) -> "UnitValues":
        """The rows of some images, by mask or indices."""
        return UnitValues(self.values[images], None if self.won is None else self.won[images])

    def of(self, units: Bool[Tensor, "units"] | Int[Tensor, "some"]) -> "UnitValues":
        """The columns of some units, by mask or indices."""
        return UnitValues(self.values[:, units], None if self.won is None else self.won[:, units])

    @property
    def active(self) -> Bool[Tensor, "images units"]:
        """Where a unit says something: on images it won, or (no competition) above its smallest value."""
        return active_images(self.values, self.won)

    @property
    def support(self) -> Int[Tensor, "units"]:
        """On how many images each unit says something."""
        return self.active.sum(0)
