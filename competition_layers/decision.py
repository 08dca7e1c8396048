"""The decision layer: features -> units -> competition -> classes, so that a logit is a sum of a few winners, exactly.

    pooled:     h = W f + b of the pooled features f;          logit_c = bias_c + sum of V_cu h_u over the winners u
    positions:  h(p) = W f(p) + b at each of P positions p;    logit_c = bias_c + sum of V_cu h_u(p) / P over p, winners

It stands in the place of a network's classifier, in three parts by name: `decision_units` (W, b), `decision` (the
competition, a site like any other) and `decision_votes` (V, bias). Nothing runs beside it and nothing after it.
"""

from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .checks import check_choice, check_number
from .competition import Activation, Competition
from .heads import At, Features, features_of, put_classifier_back, remember_added, remember_changed, take_classifier_out
from .surgery import swap_activations
from .wiring.sites import Site

SITE = "decision"
_PARTS = ("decision_features", "decision_units", SITE, "decision_votes")


@dataclass(frozen=True)
class DecisionLayer:
    """A decision layer's numbers.

    Args:
        units: K.
        competitors: U; K / U of the units win, at each position. As many as `units`: one winner.
        at: `pooled`: one competition an image, over the pooled features. `positions`: one at each place of the feature
            map or patch token, so that a vote has a place; class tokens are left out.
        noise_scale: of the Gumbel noise in training; evaluation is by `argmax`.
        temperature: tau of the straight-through gradient.
        balance: weight of `balance_loss` in training; 0 leaves it out.
        focus: weight of `focus_loss` in training; 0 leaves it out.
        votes: V, `free` or `non_negative`: then a unit speaks for classes alone and never against one, as far as its
            value is above 0 (a winner keeps its sign), see `project_votes`.
        activation: `competition`, or that of a twin, see `Competition`: with `topk` K / U units are active.

    The numbers that stand here by default were chosen on held-out images (docs/results.md, "The decision layer").

    Raises:
        ValueError: numbers that do not go together; says which would.
    """

    units: int = 160
    competitors: int = 16
    at: At = "pooled"
    noise_scale: float = 0.0
    temperature: float = 1.0
    balance: float = 1.0
    focus: float = 0.1
    votes: Literal["free", "non_negative"] = "free"
    activation: Activation = "competition"

    def __post_init__(self):
        if self.at not in ("pooled", "positions"):
            raise ValueError(f"Expected at to be 'pooled' or 'positions' but got {self.at!r}")
        for what in ("units", "competitors"):
            if type(getattr(self, what)) is not int:
                raise ValueError(f"Expected {what} to be a whole number but got {getattr(self, what)!r}")
        would_do = [u for u in range(2, min(self.units, 255) + 1) if self.units % u == 0]
        if not would_do:
            raise ValueError(
                f"Expected at least 2 units, in groups of 2 to 255, but got {self.units}; "
                f"{max(32, 32 * round(self.units / 32))} in groups of 32 would do"
            )
        if self.competitors not in would_do:
            problem = "units they do not divide"
            if self.competitors > self.units:
                problem = "more competitors than units"
            elif self.competitors > 255:
                problem = "more than the 255 that a group may have"
            raise ValueError(
                f"Expected competitors of a decision layer of {self.units} units to be one of "
                f"{', '.join(map(str, would_do))} but got {self.competitors}: {problem}"
            )
        check_number("balance", self.balance, least=0)
        check_number("focus", self.focus, least=0)
        check_choice("votes", self.votes, ("free", "non_negative"))
        _ = self.competition  # checks the rest

    @property
    def competition(self) -> Competition:
        return Competition(
            temperature=self.temperature,
            noise_scale=self.noise_scale,
            estimator="softmax",
            inference="argmax",
            activation=self.activation,
        )

    @property
    def groups(self) -> int:
        return self.units // self.competitors


class DecisionHead(nn.Module):
    """A decision layer on features: [images, features] or [images, *places, features] to [images, classes].

    The parts are those of a network by name; `options` are its numbers.
    """

    def __init__(self, features: int, classes: int, decision: DecisionLayer):
        super().__init__()
        self.options = decision
        for name, part in _parts(Features(features), classes, decision).items():
            self.add_module(name, part)
        swap_activations(self, decision.competitors, sites=[_site(decision)], competition=decision.competition)

    def forward(self, features: Tensor) -> Tensor:
        if features.shape[-1] != self.decision_units.in_features:
            raise ValueError(
                f"Expected {self.decision_units.in_features} features, as this decision layer was made for, but got "
                f"{list(features.shape)}: those of another backbone"
            )
        return decide(self, features)


def add_decision(
    model: nn.Module,
    decision: DecisionLayer,
    *,
    head: DecisionHead | None = None,
    classifier: str | None = None,
    inputs: Tensor | None = None,
) -> Site:
    """Change `model` in place: a decision layer takes the place of its classifier; `revert_activations` undoes it.

    A model made by `create_model` or `load_model` remembers it: `save_model` writes it.

    Args:
        head: the layer, trained on the features already; by default a new one.
        classifier: the name of the classifier, of networks that are not timm's; by default their last Linear.
        inputs: of the one pass that looks at the features; by default a blank image.

    Returns:
        The competition's place.

    Raises:
        ValueError: a network without classifier or with a decision layer already, features without places, a `head`
            for other features or classes.
    """
    if has_decision(model):
        raise ValueError(
            f"Expected a network without decision layer but {type(model).__name__} has one; build it without, or "
            "`revert_activations(model)` first"
        )
    taken = [part for part in _PARTS if hasattr(model, part)]
    if taken:
        raise ValueError(f"Expected a network without parts of the name {taken[0]!r} but {type(model).__name__} has it")
    if head is not None and head.options != decision:
        raise ValueError(f"Expected the head's own options, {head.options}, but got {decision}")
    found, classes = take_classifier_out(model, at=decision.at, classifier=classifier, inputs=inputs)
    features = len(found.mean)
    parts = _parts(found, classes, decision)
    if head is not None:
        got = (head.decision_units.in_features, head.decision_votes.out_features)
        if got != (features, classes):
            put_classifier_back(model)
            raise ValueError(
                f"Expected a decision layer for {features} features and {classes} classes of {type(model).__name__} "
                f"but got one for {got[0]} and {got[1]}"
            )
        parts |= {name: getattr(head, name) for name in ("decision_units", "decision_votes")}
        found.mean, found.std = head.decision_features.mean, head.decision_features.std
    weight = next(model.parameters())
    for name, part in parts.items():
        model.add_module(name, part.to(device=weight.device, dtype=weight.dtype).train(model.training))
    # instance attribute: `model(x)`, `model.forward(x)`, compiled and exported graphs all go through it
    model.forward = MethodType(_forward, model)  # type: ignore[method-assign]
    remember_added(model, modules=_PARTS, attributes=["forward"])
    (site,) = swap_activations(model, decision.competitors, sites=[_site(decision)], competition=decision.competition)
    spec: Any = getattr(model, "lwta", None)
    if spec is not None and spec.decision is None:
        remember_changed(model, "lwta", spec)
        model.lwta = replace(spec, sites=(*spec.sites, site), decision=decision)
    return site


def has_decision(model: nn.Module) -> bool:
    """Whether the network ends in a decision layer."""
    return all(name in model._modules for name in _PARTS)


def head_of(model: Any) -> DecisionHead:
    """The decision layer of a model made by `create_model`, on features as `decision_features` gives them.

    It shares the weights and the competition with `model`.
    """
    features, classes = model.decision_units.in_features, model.decision_votes.out_features
    head = DecisionHead(features, classes, model.lwta.decision)
    for name in _PARTS:
        head.add_module(name, getattr(model, name))
    return head


@torch.no_grad()
def project_votes(owner: Any) -> None:
    """Change a model made by `create_model` or a `DecisionHead` in place, to be called after each step of an optimiser:
    where its votes are to be `non_negative`, those below 0 become 0, the nearest that will do."""
    decision: DecisionLayer = owner.options if isinstance(owner, DecisionHead) else owner.lwta.decision
    if decision.votes == "non_negative":
        owner.decision_votes.weight.clamp_(min=0)


def decision_features(model: Any, x: Tensor) -> Tensor:
    """What the decision layer of `model` reads, before it is standardised: as `DecisionHead` takes it."""
    return model.decision_features.laid_out(features_of(model, x))


def _parts(features: Features, classes: int, decision: DecisionLayer) -> dict[str, nn.Module]:
    votes = nn.Linear(decision.units, classes)
    with torch.no_grad():
        votes.weight.copy_(_first_votes(classes, decision))
    nn.init.zeros_(votes.bias)
    units = nn.Linear(len(features.mean), decision.units)
    nn.init.normal_(units.weight, std=len(features.mean) ** -0.5)
    nn.init.zeros_(units.bias)
    if decision.activation != "competition":  # last: a twin's units begin as those that compete
        nn.init.kaiming_uniform_(votes.weight, a=5**0.5)  # all may speak: torch's own start
    if decision.votes == "non_negative":
        votes.weight.data.clamp_(min=0)
    return dict(zip(_PARTS, (features, units, nn.Identity(), votes), strict=True))


def _first_votes(classes: int, decision: DecisionLayer) -> Float[Tensor, "classes units"]:
    """V at the start: the units of a group say the same, and groups differ as much as they can.

    So the logits begin as sums of maxima, continuous in the features, and training sets the units of a group apart.
    With few groups for the classes every unit says its own from the start: too few sums would tell the classes apart.
    """
    groups = decision.groups
    if 2 * groups < classes:
        return torch.randn(classes, decision.units) * groups**-0.5
    start = nn.init.orthogonal_(torch.empty(classes, groups), gain=max(1.0, classes / groups) ** 0.5)
    return start.repeat(1, decision.competitors)  # strided: group b holds b, b + groups, ...


def _site(decision: DecisionLayer) -> Site:
    return Site(SITE, -1, decision.units)


def decide(owner: Any, features: Tensor) -> Tensor:
    """The logits that the decision layer of `owner`, a network or a `DecisionHead`, gives on features."""
    y = owner.decision(owner.decision_units(owner.decision_features(features)))
    # the mean of votes is the votes of the mean: V is read once an image
    return owner.decision_votes(y if y.ndim == 2 else y.flatten(1, -2).mean(1))


def _forward(model: nn.Module, x: Tensor) -> Tensor:
    return decide(model, decision_features(model, x))
