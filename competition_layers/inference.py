"""Which rule picks the winners in evaluation, and the seeds of the noise."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn

from .checks import check_choice
from .competition import RULES, Rule
from .layers import competitions
from .noise import key_of


@contextmanager
def inference_rule(model: nn.Module, rule: Rule | None) -> Iterator[None]:
    """Inside the block every competition of `model` evaluates by `rule`; `None` leaves the saved rules alone."""
    if rule is None:
        yield
        return
    check_choice("rule", rule, RULES)
    saved = {layer: layer.competition for layer in competitions(model).values()}
    try:
        for layer, competition in saved.items():
            layer.competition = replace(competition, inference=rule)
        yield
    finally:
        for layer, competition in saved.items():
            layer.competition = competition


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """What `model` answers: a tensor, or the `logits` of a dict or an object (Hugging Face's networks).

    Raises:
        ValueError: another answer.
    """
    answer = model(x)
    if not isinstance(answer, Tensor):
        found = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
        if not isinstance(found, Tensor):
            raise ValueError(
                f"Expected {type(model).__name__} to answer with one tensor of logits, or with a dict or an object "
                f"with `logits`, but got {type(answer).__name__}; wrap it in a module that picks its logits"
            )
        answer = found
    return answer


def seed_noise(model: nn.Module, seed: int, *, rank: int = 0) -> None:
    """Restart the noise of every competition: independent streams by layer, `seed` and `rank`."""
    for i, layer in enumerate(competitions(model).values()):
        layer.stream.restore(int(key_of(seed, rank, i)))


def noise_state(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Where each competition's noise stands, for a checkpoint."""
    return {name: layer.stream.state() for name, layer in competitions(model).items()}


def load_noise_state(model: nn.Module, state: Mapping[str, tuple[int, int]]) -> None:
    """Put every competition's noise where `noise_state` found it."""
    layers = competitions(model)
    if state.keys() != layers.keys():
        raise ValueError(f"Expected noise for the layers {sorted(layers)} but got {sorted(state)}")
    for name, stood in state.items():
        layers[name].stream.restore(*stood)


@contextmanager
def fixed_noise(model: nn.Module, *, seed: int = 0) -> Iterator[None]:
    """Inside the block every noisy competition of `model` meets the same noise in each pass and for each image.

    So a pass with a unit off differs from the one before by that unit alone. What is held already stays held, and the
    layers' own noise goes on afterwards where it stood.
    """
    free = [layer for layer in competitions(model).values() if layer.stream.fixed_seed is None]
    try:
        for i, layer in enumerate(free):
            layer.stream.fixed_seed = seed + i
        yield
    finally:
        for layer in free:
            layer.stream.fixed_seed = None
