"""A network's classifier taken out, so that it gives features, and put back."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .names import nearest
from .wiring.feeding import fed_by
from .wiring.trace import trace

At = Literal["pooled", "positions"]
_STORES = ("_modules", "_parameters", "__dict__")
_MISSING = object()
CLASSIFIER = "taken_out"  # the attribute of a network that holds what `take_classifier_out` changed


class Features(nn.Module):
    """How what a network without its classifier gives becomes [images, features] or [images, *places, features].

    Args:
        features: their number.
        channel_dim: the axis of the features in what arrives; None: maps arrive flattened, [images, features * places].
        prefix: tokens in front that stand for no place (class token, registers): left out.

    `mean` and `std` are constants, saved with the model: 0 and 1 unless they were taken from training features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, *, channel_dim: int | None = -1, prefix: int = 0):
        super().__init__()
        self.channel_dim, self.prefix = channel_dim, prefix
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features that are laid out."""
        return (features - self.mean) / self.std

    def laid_out(self, x: Tensor) -> Tensor:
        """What a network gives, with its features on the last axis and without tokens that stand for no place."""
        if self.channel_dim is None:
            return x.unflatten(1, (len(self.mean), -1)).movedim(1, -1)
        x = x.movedim(self.channel_dim, -1)
        return x[:, self.prefix :] if self.prefix else x

    def extra_repr(self) -> str:
        return f"{len(self.mean)}, channel_dim={self.channel_dim}, prefix={self.prefix}"


def take_classifier_out(
    model: nn.Module, *, at: At = "pooled", classifier: str | None = None, inputs: Tensor | None = None
) -> tuple[Features, int]:
    """Change `model` in place: `features_of` then gives features. `put_classifier_back` undoes it.

    timm's networks are asked by `reset_classifier` (for `positions` without pooling: their own norm then works at each
    position, where their head may pool first). Of others the module `classifier` goes, a Linear or a 1 x 1 convolution,
    by default the one that gives its answer, and for `positions` the `nn.AdaptiveAvgPool2d(1)` that runs last.

    Returns:
        How to lay the features out, and the number of classes.

    Raises:
        ValueError: no classifier, or features without places.
    """
    before = {module: {store: dict(vars(module)[store]) for store in _STORES[:2]} | {"__dict__": _plain(module)}
              for module in model.modules()}  # fmt: skip
    kind, classes = type(model).__name__, getattr(model, "num_classes", 0) if _is_timm(model) else 0
    try:
        if _is_timm(model):
            if not classes:
                raise ValueError(f"Expected a backbone with a classifier but {kind} was built with num_classes=0")
            _reset(model, at)
            model.num_classes = classes
            features = _uncut(model, at, inputs)
        else:
            features, classes = _cut(model, at, classifier or _classifier(model, inputs), inputs)
    except ValueError:
        _restore(_changed(before))
        raise
    vars(model)[CLASSIFIER] = _changed(before)
    return features, classes


def give_classes(model: Any, classes: int | None) -> int:
    """Change `model` in place: its classifier has so many classes, with fresh weights where that is another number.

    Returns:
        Their number.

    Raises:
        ValueError: no classifier.
    """
    if _is_timm(model):
        if classes not in (None, model.num_classes):
            model.reset_classifier(classes)
        return int(model.num_classes)
    name = _classifier(model)
    old = _head(model, name)
    if classes not in (None, len(old.weight)):
        sizes, bias = (old.weight.shape[1], classes), old.bias is not None
        new = nn.Linear(*sizes, bias=bias) if isinstance(old, nn.Linear) else nn.Conv2d(*sizes, 1, bias=bias)
        model.set_submodule(name, new.to(device=old.weight.device, dtype=old.weight.dtype).train(old.training))
        model.label_names = ()  # were of other classes
    model.pretrained_cfg = {**getattr(model, "pretrained_cfg", {}), "classifier": name}
    return classes or len(old.weight)


def put_classifier_back(model: nn.Module) -> None:
    """Undo `take_classifier_out`; weights come back as they were."""
    _restore(vars(model).pop(CLASSIFIER))
    weight = next(model.parameters())
    model.to(device=weight.device, dtype=weight.dtype)


def remember_added(model: nn.Module, *, modules: Sequence[str], attributes: Sequence[str]) -> None:
    """What `put_classifier_back` is to remove again from `model`."""
    added = [("_modules", name) for name in modules] + [("__dict__", name) for name in attributes]
    vars(model)[CLASSIFIER] += [(model, store, name, _MISSING) for store, name in added]


def remember_changed(model: nn.Module, attribute: str, old: object) -> None:
    """What `put_classifier_back` is to set again."""
    vars(model)[CLASSIFIER].append((model, "__dict__", attribute, old))


def features_of(model: nn.Module, x: Tensor) -> Any:
    """The features of a network whose classifier is out, as the network lays them out."""
    if hasattr(model, "forward_head"):
        return model.forward_head(model.forward_features(x), pre_logits=True)
    return type(model).forward(model, x)


def _reset(model: Any, at: At) -> None:
    try:
        model.reset_classifier(0) if at == "pooled" else model.reset_classifier(0, "")
    except (AssertionError, TypeError) as refused:
        raise ValueError(_no_places(model, str(refused) or "its pooling cannot be taken out")) from refused


def _is_timm(model: nn.Module) -> bool:
    return hasattr(model, "reset_classifier") and hasattr(model, "forward_head")


def _classifier(model: Any, inputs: Tensor | None = None) -> str:
    """The classifier's name, as the network says it (`classifier_name`, or timm's words), or as a pass shows it."""
    said = getattr(model, "classifier_name", None) or getattr(model, "pretrained_cfg", {}).get("classifier")
    return said if isinstance(said, str) else _answering(model, inputs)


def _answering(model: nn.Module, inputs: Tensor | None) -> str:
    """The layer that gives the network's answer, nothing but sums and reshapes after it, in the graph of a pass."""
    answer = trace(model, inputs).output.reads
    found = fed_by(answer[0]) if len(answer) == 1 else ()
    if len(found) != 1:
        raise ValueError(
            f"Expected one layer that gives the answer of {type(model).__name__} but found "
            f"{', '.join(found) or 'none'}; name its classifier"
        )
    return found[0]


def _head(model: nn.Module, classifier: str) -> Any:
    """The module of that name.

    Raises:
        ValueError: no Linear or 1 x 1 convolution; the nearest is offered.
    """
    known = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    if classifier not in known or known[classifier].weight.shape[2:].numel() > 1:
        raise ValueError(
            f"Expected the name of the classifier of {type(model).__name__}, a Linear or a 1 x 1 convolution, but got "
            f"{classifier!r}{nearest(classifier, known)}"
        )
    return known[classifier]


def _cut(model: nn.Module, at: At, classifier: str, inputs: Tensor | None) -> tuple[Features, int]:
    head = _head(model, classifier)
    features, classes = head.weight.shape[1], head.weight.shape[0]
    model.set_submodule(classifier, nn.Identity())
    pooled = at == "pooled"
    if not pooled:
        ran = [name for name in trace(model, inputs).calls if _pools(model.get_submodule(name))]
        if not ran:
            raise ValueError(_no_places(model, "it has no module AdaptiveAvgPool2d(1)"))
        model.set_submodule(ran[-1], nn.Identity())  # those before it open gates
    wrong = partial(_no_places, model) if not pooled else partial(_no_features, model, classifier)
    try:
        given = trace(model, inputs, of=partial(features_of, model)).output.reads
    except RuntimeError as error:
        raise ValueError(wrong(f"without {'its classifier' if pooled else 'pooling'} it fails ({error})")) from error
    shapes = [value.shape for value in given]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] != features if pooled else shapes[0][1] % features):
        raise ValueError(wrong(f"what is left gives {' and '.join(str(list(shape)) for shape in shapes)}"))
    return Features(features, channel_dim=-1 if pooled else None), classes


def _pools(module: nn.Module) -> bool:
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _uncut(model: nn.Module, at: At, inputs: Tensor | None) -> Features:
    """How a timm network lays its features out, found in the graph of one pass."""
    given = trace(model, inputs, of=partial(features_of, model)).output.reads
    shape = str(list(given[0].shape)) if len(given) == 1 else f"{len(given)} maps"
    if at == "pooled":
        if len(given) != 1 or len(given[0].shape) != 2:
            raise ValueError(
                f"Expected features of shape [images, features] from {type(model).__name__} without its classifier but "
                f"got {shape}"
            )
        return Features(given[0].shape[1])
    if len(given) != 1 or len(given[0].shape) < 3:
        raise ValueError(_no_places(model, f"without pooling it gives {shape}"))
    prefix = _prefix_tokens(model)
    if given[0].axis is None:
        raise ValueError(_no_places(model, f"which axis of its {shape} holds the features cannot be told"))
    return Features(given[0].shape[given[0].axis], channel_dim=given[0].channel_dim, prefix=prefix)


def _prefix_tokens(model: nn.Module) -> int:
    count = getattr(model, "num_prefix_tokens", None)
    if count is None and any("cls_token" in name for name, _ in model.named_parameters(recurse=False)):
        raise ValueError(_no_places(model, "it does not say where its class token stands"))
    return count or 0


def _no_places(model: nn.Module, reason: str) -> str:
    return f"Expected features with places from {type(model).__name__} but {reason}; at='pooled' would do"


def _no_features(model: nn.Module, classifier: str, reason: str) -> str:
    return (
        f"Expected features [images, features] from {type(model).__name__} without its classifier {classifier!r} but "
        f"{reason}; name the layer that gives its answer"
    )


def _plain(module: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if not key.startswith("_") and key != "training"}


def _changed(before: dict[nn.Module, dict[str, dict[str, Any]]]) -> list[tuple[nn.Module, str, str, Any]]:
    """What is no longer as it was: the module, where in it, the key, and the old value."""
    found = []
    for module, stores in before.items():
        for store, old in stores.items():
            new = _plain(module) if store == "__dict__" else vars(module)[store]
            keys = [key for key in {**old, **new} if old.get(key, _MISSING) is not new.get(key, _MISSING)]
            found += [(module, store, key, old.get(key, _MISSING)) for key in keys]
    return found


def _restore(changes: list[tuple[nn.Module, str, str, Any]]) -> None:
    for module, store, key, old in changes:
        values = vars(module) if store == "__dict__" else vars(module)[store]
        if old is _MISSING:
            values.pop(key, None)
        else:
            values[key] = old
