"""From a dense network to a sparse one: its units regrouped by the data, its activations swapped little by little."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import StochasticLWTA, competitions, observe
from competition_layers.competition import Competition
from competition_layers.spec import spec_of, with_labels
from competition_layers.surgery import Site, activation_sites, swap_activations
from competition_layers.wiring.permutation import permute_units

from ..quiet import print_once
from .grouping import GROUPINGS, Grouping, balanced_groups, coactivation, order_of, random_groups

_POSITIONS = 8192  # of the recorded images, at which a layer's activations are compared
_TRIED = 2  # images that a permutation is tried with


@dataclass(frozen=True)
class Conversion:
    """How a dense network is converted; every ingredient can be left out.

    Args:
        grouping: units that are seldom active together compete (`data`), or neighbours (`index`), or any (`random`).
        images: training images that the grouping looks at.
        swap: share of the steps over which the competition takes the activation's place; 0 swaps at once.
        distillation: weight of the dense teacher's answers in the loss, the rest is the labels'; 0 leaves it out.
        softness: temperature at which teacher and student are compared.
    """

    grouping: Grouping = "data"
    images: int = 512
    swap: float = 0.5
    distillation: float = 0.5
    softness: float = 2.0

    def __post_init__(self):
        if self.grouping not in GROUPINGS:
            raise ValueError(f"Expected grouping to be one of {', '.join(GROUPINGS)} but got {self.grouping!r}")
        if not (0 <= self.swap <= 1 and 0 <= self.distillation <= 1):
            raise ValueError(
                f"Expected swap and distillation between 0 and 1 but got {self.swap} and {self.distillation}"
            )
        if self.softness <= 0 or self.images < 1:
            raise ValueError(f"Expected softness > 0 and images >= 1 but got {self.softness} and {self.images}")

    def share(self, done: float) -> float:
        """The competition's share of an activation after the share `done` of training; 1 from `swap` on."""
        return 1.0 if done >= self.swap else done / self.swap


class GradualSwap:
    """Until `share` is 1 every competition gives (1 - share) act(h) + share lwta(h); act is what it replaced.

    It hangs on the competitions as hooks; at 1 they are gone, and plain competitions are left.
    """

    def __init__(self, model: nn.Module):
        self.share = 0.0
        self.handles = [layer.register_forward_hook(self._blend(layer)) for layer in competitions(model).values()]

    def to(self, share: float) -> None:
        """Set the competition's share."""
        self.share = share
        if share >= 1:
            for handle in self.handles:
                handle.remove()
            self.handles = []

    def _blend(self, layer: StochasticLWTA) -> Callable[..., Tensor]:
        act = copy.deepcopy(layer.replaced[0])
        act.inplace = False  # h is needed twice

        def hook(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            return torch.lerp(act(inputs[0]), output, self.share)

        return hook


class Converting:
    """A conversion while it runs: where the units of the dense `model` are to compete, its teacher, its swap.

    Args:
        network: `competitors, include, exclude, layout, estimator, inference`, as `create_model` takes them. Without
            globs units compete where the model says that they could.

    Raises:
        ValueError: units of `model` compete already.
    """

    def __init__(self, conversion: Conversion, model: nn.Module, network: Mapping[str, Any]):
        if competitions(model):
            raise ValueError(
                f"Expected a dense network to convert but units compete in {network['name']!r} already, at "
                f"{', '.join(competitions(model))}"
            )
        globs = {name: network[name] for name in ("include", "exclude")}
        asked = globs != {"include": None, "exclude": ()}
        self.sites = activation_sites(model, **globs) if asked else list(spec_of(model).sites)
        self.conversion, self.competitors = conversion, network["competitors"]
        self.competition = network["competition"]
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False) if conversion.distillation else None
        self.swap: GradualSwap | None = None
        self.seconds = 0.0  # that regrouping took

    def begin(self, model: nn.Module, data: Any) -> None:
        """Change `model` in place: its units are regrouped, and the swap is ready to begin.

        Raises:
            ValueError: the classes of `data` are not as many as the model's; a width that U does not divide.
        """
        if data.num_classes != model.lwta.num_classes:
            raise ValueError(
                f"Expected the {model.lwta.num_classes} classes of the dense network but got {data.num_classes}, "
                f"{', '.join(data.label_names[:5])}, ...: train a dense network on them first (lwta fit "
                "--model.competitors 1 --model.pretrained true)"
            )
        if self.swap is None:
            started = time.perf_counter()
            images = (images for images, _ in data.train_dataloader())
            seed = torch.initial_seed() % 2**31
            self.swap = convert(
                with_labels(model, data.label_names),
                self.competitors,
                images,
                sites=self.sites,
                conversion=self.conversion,
                seed=seed,
                competition=self.competition,
            )
            self.seconds = time.perf_counter() - started

    def advance(self, done: float) -> None:
        """After the share `done` of training."""
        if self.swap is not None:
            self.swap.to(self.conversion.share(done))

    def loss(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The labels' loss and the teacher's, weighted."""
        if self.teacher is None:
            return loss
        with torch.no_grad():
            answers = self.teacher.to(images.device)(images)
        told = distillation_loss(logits, answers, softness=self.conversion.softness)
        return torch.lerp(loss, told, self.conversion.distillation)


def convert(
    model: nn.Module,
    competitors: int | Mapping[str, int],
    images: Iterable[Float[Tensor, "images channels height width"]],
    *,
    sites: list[Site],
    conversion: Conversion,
    competition: Competition = Competition(),  # noqa: B008
    seed: int = 0,
) -> GradualSwap:
    """Change the dense `model` in place: its sites compete, and its units are numbered so that the groups are as asked.

    The network computes what it did before, until the returned `GradualSwap` is moved.

    Args:
        images: batches of training images; as many are taken as the conversion asks for.
        competition: how the units of a group compete.

    Raises:
        ValueError: a width that `competitors` does not divide; the layer is named.
    """
    swap_activations(model, competitors, sites=sites, competition=competition)
    model.lwta = replace(spec_of(model), sites=tuple(sites))
    swap = GradualSwap(model)
    layers = competitions(model)
    if layers:
        activations, tried = _recorded(model, images, conversion.images, seed=seed)
        if conversion.grouping != "index":
            for name, layer in layers.items():
                _regroup(model, name, layer, activations[name], tried, grouping=conversion.grouping, seed=seed)
    return swap


def distillation_loss(
    student: Float[Tensor, "images classes"], teacher: Float[Tensor, "images classes"], *, softness: float
) -> Float[Tensor, ""]:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), a mean over images (Hinton et al. 2015, sec. 2)."""
    log_p, log_q = ((logits.float() / softness).log_softmax(-1) for logits in (student, teacher))
    return softness**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def _regroup(
    model: nn.Module,
    name: str,
    layer: StochasticLWTA,
    activations: Tensor,
    tried: Tensor,
    *,
    grouping: Grouping,
    seed: int,
) -> None:
    units = activations.shape[1]
    if grouping == "random":
        groups = random_groups(units, layer.groups.competitors, seed=seed)
    else:
        groups = balanced_groups(coactivation(activations), layer.groups.competitors, seed=seed)
    try:
        permute_units(model, name, order_of(groups, layer.groups.layout), x=tried)
    except ValueError as error:
        print_once(f"{name}: units grouped by index. {error}")


@torch.no_grad()
def _recorded(model: nn.Module, images: Iterable[Tensor], count: int, *, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """What the activations of each site are, at some positions of `count` images; and a few of the images."""
    layers, training = competitions(model), model.training
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}
    seen, tried = 0, torch.empty(0)
    model.eval()
    for batch in images:
        batch = batch[: count - seen].to(device)
        tried, seen = (batch[:_TRIED] if seen == 0 else tried), seen + len(batch)

        def read(name: str, output: Tensor, share: float = len(batch) / count) -> Tensor:
            rows = output.movedim(layers[name].groups.channel_dim, -1).flatten(0, -2)
            some = torch.randperm(len(rows), generator=generator)[: max(1, round(_POSITIONS * share))]
            return rows[some.to(rows.device)]

        with observe(model, list(layers), read=read) as outputs:  # of the blend: the old activation alone
            model(batch)
        for name, rows in outputs.items():
            kept[name].append(rows)
        if seen >= count:
            break
    model.train(training)
    return {name: torch.cat(rows) for name, rows in kept.items()}, tried
