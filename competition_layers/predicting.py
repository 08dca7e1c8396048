"""Logits in evaluation: by the saved rule, by argmax, or the mean of several draws; what draws nothing runs once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .competition import Rule
from .decision import SITE, DecisionHead, decide, decision_features, has_decision
from .inference import inference_rule, logits_of, seed_noise
from .layers import competitions
from .modes import evaluating


def predict(
    model: nn.Module, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Logits of `x` in evaluation mode.

    Args:
        samples: `None` follows the rule that was saved with the model; n averages the logits of n passes whose winners
            are drawn at random (each layer's own noise scale); 0 asks for the deterministic `argmax`.
        generator: restarts the noise of every competition at a seed drawn from it, so that the result repeats.
    """
    return predict_each(model, x, [samples], generator=generator)[0]


@torch.no_grad()
def predict_each(
    model: nn.Module, x: Tensor, asked: Sequence[int | None], *, generator: torch.Generator | None = None
) -> list[Tensor]:
    """What `predict` gives for each of the numbers of `samples` that are `asked`.

    Where noise is drawn in a decision layer alone, the features that it reads are computed once for all passes.
    """
    for samples in asked:
        if samples is not None and samples < 0:
            raise ValueError(f"Expected samples >= 0 (0: argmax) but got {samples}")
    competes = bool(competitions(model))
    passes = [max(1, samples or 1) if competes else 1 for samples in asked]
    with evaluating(model):
        run = _end_alone(model, x) if sum(passes) > 1 and _only_the_end_draws(model) else lambda: logits_of(model, x)
        found = []
        for samples, count in zip(asked, passes, strict=True):
            if generator is not None:
                seed_noise(model, int(torch.randint(2**31, (), generator=generator, device=generator.device)))
            rule: Rule | None = None if samples is None else "sample" if samples else "argmax"
            with inference_rule(model, rule):
                total = run()
                for _ in range(count - 1):
                    total = total + run()
            found.append(total / count)
    return found


def _only_the_end_draws(model: nn.Module) -> bool:
    if isinstance(model, DecisionHead) or not has_decision(model):
        return False
    return not any(layer.competition.stochastic for name, layer in competitions(model).items() if name != SITE)


def _end_alone(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    features = decision_features(model, x)
    return lambda: decide(model, features)
