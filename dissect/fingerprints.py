"""The content hash of a network; `digest` and `transform_fingerprint` are those of `competition_layers`."""

import json

from torch import nn

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


def _settings(model: nn.Module) -> str:
    """`repr(model)`, competitions in the words of format 2's first dissections: those are still of their networks."""
    text = repr(model)
    for layer in competitions(model).values():
        groups, c = layer.groups, layer.competition
        now = f"{groups.competitors}, channel_dim={groups.channel_dim}, layout={groups.layout!r}"
        then = f"{now}, temperature={c.temperature:g}, noise={c.noise_scale:g}, inference={c.inference!r}"
        text = text.replace(layer.extra_repr(), f"{then}, estimator={c.estimator!r}")
    return text.replace("PerCallActivation", "InTurn")
