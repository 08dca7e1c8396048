"""The content hashes of networks; `digest` and `transform_fingerprint` are those of `competition_layers`."""

import json
from collections.abc import Iterable

from torch import Tensor, nn

from competition_layers import competitions
from competition_layers.fingerprints import digest as digest
from competition_layers.fingerprints import transform_fingerprint as transform_fingerprint


def model_fingerprint(model: nn.Module) -> str:
    """The hash of a network: its modules with their settings (so a competition's rule counts), how it was built, and
    all its weights."""
    spec = getattr(model, "lwta", None)
    built = [getattr(spec, "architecture", ""), dict(getattr(spec, "model_args", {}))]
    # as JSON: a network that was saved and loaded has lists where it had tuples
    return digest(_settings(model), json.dumps(built, sort_keys=True, default=str), sorted(model.state_dict().items()))


_SAMPLED = 256  # numbers of each weight


def sampled_fingerprint(models: Iterable[nn.Module]) -> str:
    """The hash of the names, shapes and kinds of all weights of large models, and of 256 numbers evenly spread over
    each: gigabytes take minutes to hash whole. Training a weight changes nearly all its numbers, so it is noticed."""
    return digest(*(_sampled(name, weight) for model in models for name, weight in sorted(model.state_dict().items())))


def _sampled(name: str, weight: Tensor) -> list[object]:
    some = weight.detach().flatten()[:: max(1, weight.numel() // _SAMPLED)]
    return [name, list(weight.shape), str(weight.dtype), some.float()]


def _settings(model: nn.Module) -> str:
    """`repr(model)`, competitions in the words of format 2's first dissections: those are still of their networks."""
    text = repr(model)
    for layer in competitions(model).values():
        groups, c = layer.groups, layer.competition
        now = f"{groups.competitors}, channel_dim={groups.channel_dim}, layout={groups.layout!r}"
        then = f"{now}, temperature={c.temperature:g}, noise={c.noise_scale:g}, inference={c.inference!r}"
        text = text.replace(layer.extra_repr(), f"{then}, estimator={c.estimator!r}")
    return text.replace("PerCallActivation", "InTurn")
