"""From a dense network to a sparse one: its units regrouped by the data, its activations swapped little by little."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import StochasticLWTA, competitions, evaluating, observe
from competition_layers.checks import check_choice, check_number
from competition_layers.competition import Competition
from competition_layers.spec import spec_of, with_labels
from competition_layers.surgery import Site, activation_sites, swap_activations
from competition_layers.wiring.permutation import permute_units

from ..network import Network
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
        seed: of the groups and of the positions looked at; by default the run's.
    """

    grouping: Grouping = "data"
    images: int = 512
    swap: float = 0.5
    distillation: float = 0.5
    softness: float = 2.0
    seed: int | None = None

    def __post_init__(self):
        check_choice("grouping", self.grouping, GROUPINGS)
        check_number("images", self.images, least=1)
        check_number("swap", self.swap, least=0, most=1)
        check_number("distillation", self.distillation, least=0, most=1)
        check_number("softness", self.softness, above=0)

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
        network: whose `competitors`, `include`, `exclude` and `competition` count. Without globs units compete where
            the model says that they could.

    Raises:
        ValueError: units of `model` compete already.
    """

    def __init__(self, conversion: Conversion, model: nn.Module, network: Network):
        if competitions(model):
            raise ValueError(
                f"Expected a dense network to convert but units compete in {network.backbone!r} already, at "
                f"{', '.join(competitions(model))}"
            )
        asked = network.include is not None or network.exclude
        include, exclude = network.include, network.exclude or ()
        self.sites = activation_sites(model, include=include, exclude=exclude) if asked else list(spec_of(model).sites)
        self.conversion, self.network = conversion, network
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
                "--model.competitors 1 --model.start.pretrained true)"
            )
        if self.swap is None:
            started = time.perf_counter()
            images = (images for images, _ in data.train_dataloader())
            seed = torch.initial_seed() % 2**31 if self.conversion.seed is None else self.conversion.seed
            self.swap = convert(
                with_labels(model, data.label_names),
                self.network.competitors,
                images,
                conversion=replace(self.conversion, seed=seed),
                competition=self.network.competition,
                sites=self.sites,
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
    conversion: Conversion = Conversion(),
    competition: Competition = Competition(),
    sites: Sequence[Site] | None = None,
) -> GradualSwap:
    """Change the dense `model` in place: its sites compete, and its units are numbered so that the groups are as asked.

    The network computes what it did before, until the returned `GradualSwap` is moved.

    Args:
        images: batches of training images; as many are taken as the conversion asks for.
        competition: how the units of a group compete.
        sites: by default where the model says that units could compete.

    Raises:
        ValueError: a width that `competitors` does not divide; the layer is named.
    """
    spec = spec_of(model)
    sites = spec.sites if sites is None else tuple(sites)
    swap_activations(model, competitors, sites=sites, competition=competition)
    model.lwta = replace(spec, sites=sites)
    swap = GradualSwap(model)
    layers = competitions(model)
    if layers:
        with evaluating(model):
            activations, tried = _recorded(model, images, conversion)
        if conversion.grouping != "index":
            for name in layers:
                _regroup(model, name, activations[name], tried, conversion)
    return swap


def distillation_loss(
    student: Float[Tensor, "images classes"], teacher: Float[Tensor, "images classes"], *, softness: float
) -> Float[Tensor, ""]:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), a mean over images (Hinton et al. 2015, sec. 2)."""
    log_p, log_q = ((logits.float() / softness).log_softmax(-1) for logits in (student, teacher))
    return softness**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def _regroup(model: nn.Module, name: str, activations: Tensor, tried: Tensor, conversion: Conversion) -> None:
    groups, units, seed = competitions(model)[name].groups, activations.shape[1], conversion.seed or 0
    if conversion.grouping == "random":
        chosen = random_groups(units, groups.competitors, seed=seed)
    else:
        chosen = balanced_groups(coactivation(activations), groups.competitors, seed=seed)
    try:
        permute_units(model, name, order_of(chosen, groups.layout), x=tried)
    except ValueError as error:
        print_once(f"{name}: units grouped by index. {error}")


@torch.no_grad()
def _recorded(model: nn.Module, images: Iterable[Tensor], conversion: Conversion) -> tuple[dict[str, Tensor], Tensor]:
    """What the activations of each site are, at some positions of `conversion.images`; and a few of the images."""
    layers, count = competitions(model), conversion.images
    generator = torch.Generator().manual_seed(conversion.seed or 0)
    device = next(model.parameters()).device
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}
    seen, tried = 0, torch.empty(0)
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
    return {name: torch.cat(rows) for name, rows in kept.items()}, tried
