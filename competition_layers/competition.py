"""How the units of a group compete: the options of a competition, checked once. No torch: options are read quickly.

A further option is a field of `Competition` here and what `formula` makes of it: layers, model folders,
`create_model` and recipes pass the whole on.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from .checks import check_choice, check_number

Layout = Literal["strided", "adjacent"]
Estimator = Literal["gumbel", "softmax", "relaxed", "argmax"]
Rule = Literal["argmax", "sample"]
Activation = Literal["competition", "topk", "relu", "gelu"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
RULES: tuple[Rule, ...] = get_args(Rule)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


@dataclass(frozen=True)
class Competition:
    """How the units of a group compete.

    In training the winner is argmax(h + noise_scale * g) with standard Gumbel g; in evaluation `inference` decides.
    `noise_scale=1` is the papers' Categorical(softmax(h)); `noise_scale=0` competes deterministically, with the same
    straight-through gradient; so does `estimator="argmax"` at any scale.

    Args:
        layout: which channels form a group, see `Groups`.
        noise_scale: of the Gumbel noise.
        temperature: tau of the straight-through gradient; no effect forward.
        estimator: what trains through the competition, see `functional`; `relaxed` is soft in training only.
        inference: the rule in evaluation, saved with the model: `argmax` (no noise) or `sample` (as in training).
        activation: what stands at these places: the `competition`, or, in a twin that it is compared with, `topk` (as
            many units pass, the largest of the whole layer), `relu` or `gelu`; then nothing else here has an effect.

    Raises:
        ValueError: a value that is not known, not finite or out of its bounds.

    >>> Competition(noise_scale=0.5).stochastic, Competition(noise_scale=0.0).stochastic
    (True, False)
    """

    layout: Layout = "strided"
    noise_scale: float = 1.0
    temperature: float = 1.0
    estimator: Estimator = "gumbel"
    inference: Rule = "argmax"
    activation: Activation = "competition"

    def __post_init__(self):
        check_choice("layout", self.layout, LAYOUTS)
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("inference", self.inference, RULES)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_number("temperature", self.temperature, above=0)
        check_number("noise_scale", self.noise_scale, least=0)

    @property
    def stochastic(self) -> bool:
        """Whether noise can say who wins."""
        return self.noise_scale > 0 and self.estimator != "argmax"
