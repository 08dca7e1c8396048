"""One image through the network with everything held and cut at the competitions: who feeds whom, and by how much."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..inference import logits_of
from ..layers import StochasticLWTA
from ..linearised import winners_of
from .holding import Holding

PICTURE = "picture"


@dataclass(frozen=True)
class HeldPass:
    """What one pass gave. Every `before` and every logit is the sum of the effects of the sources before it and a
    constant; a source is the picture or what a layer of winners passed on."""

    sources: Mapping[str, Tensor]  # the picture, then each layer's output, in the order in which they run
    before: Mapping[str, Tensor]  # each layer's pre-activations
    won: Mapping[str, Bool[Tensor, "*shape"]]
    logits: Float[Tensor, "1 classes"]
    _holding: Holding = field(repr=False)

    def effects(self, of: Tensor) -> dict[str, Tensor]:
        """What each source adds to the number `of` by paths that pass no other layer; not those that come later."""
        slopes = torch.autograd.grad(of, list(self.sources.values()), retain_graph=True, allow_unused=True)
        pairs = zip(self.sources.items(), slopes, strict=True)
        return {name: (source * slope).detach() for (name, source), slope in pairs if slope is not None}


@torch.enable_grad()
def held_pass(model: nn.Module, x: Float[Tensor, "1 ..."], layers: Sequence[str], *, cut: bool = True) -> HeldPass:
    """Run the network once, in evaluation, with winners, norm scales and attention patterns as they fall.

    Args:
        layers: whose units are sources and targets: competitions, or activations (then every unit is one).
        cut: whether a layer's output is a source of its own; else effects go through it, and `effects` gives what each
            source adds by all paths.
    """
    holding = Holding()
    picture = x.detach().requires_grad_()
    sources, before, won = {PICTURE: picture}, {}, {}

    def at(name: str, module: nn.Module, h: Tensor, y: Tensor) -> Tensor:
        passes = winners_of(module, h) if isinstance(module, StochasticLWTA) else y.detach() != 0
        before[name], won[name] = h, passes
        kept = h * passes if isinstance(module, StochasticLWTA) else y
        sources[name] = kept.detach().requires_grad_() if cut else kept
        return sources[name].clone()  # a later module may write into it

    with _between(model, layers, at), holding:
        logits = logits_of(model, picture)
    return HeldPass(sources, before, won, logits, holding)


@torch.no_grad()
def held_again(model: nn.Module, first: HeldPass, sources: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The pre-activations and the logits (under "") of the same network, held as in `first`, with other sources."""
    before = {}

    def at(name: str, module: nn.Module, h: Tensor, y: Tensor) -> Tensor:
        before[name] = h
        return sources[name].detach().clone()

    with _between(model, list(first.before), at), first._holding.again():
        return before | {"": logits_of(model, sources[PICTURE].detach())}


@contextmanager
def _between(
    model: nn.Module, layers: Sequence[str], at: Callable[[str, nn.Module, Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Inside the block `at` is called with each layer's name, module, input and output, and says what it passes on."""

    def hook_for(name: str) -> Callable:
        return lambda module, inputs, output: at(name, module, inputs[0], output)

    with ExitStack() as stack:
        for name in layers:
            stack.callback(model.get_submodule(name).register_forward_hook(hook_for(name)).remove)
        yield
