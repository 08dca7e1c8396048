"""Networks that are not timm's: torchvision's by their names, and what a function of one's own returns.

Either carries what timm's do: `pretrained_cfg` says, in timm's words, how a picture becomes its input and what its
classifier is called, or `image_transform` is a way of its own.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .foreign import plain_pretrained_cfg
from .names import nearest
from .origins import TORCHVISION, is_function

_PREPARATION = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")  # keys of timm's, of a picture


def check_elsewhere(name: str) -> None:
    """Refuse a name that torchvision does not have; a function is called once, to see what it returns.

    Raises:
        ValueError: the nearest is offered.
    """
    if name.startswith(TORCHVISION):
        _torchvision_plan(name)
    else:
        _function(name)


def open_elsewhere(name: str, *, pretrained: bool = True, **args: Any) -> nn.Module:
    """`torchvision:NAME[/WEIGHTS]` with its default or the named weights, or what `package.module:function` returns.

    A function returns a network; or (network, preparation) or (network, preparation, classifier), where the classifier
    is a module's name, and the preparation a transform from a picture to the network's input, or timm's words for one
    (`{"input_size": (3, 32, 32), "mean": (...), "std": (...)}`).

    Args:
        pretrained: torchvision's weights; a function's network has those that it gives it.
        args: go to torchvision or the function.

    Raises:
        ValueError: an unknown name (the nearest is offered), other arguments, a function that returns something else.
    """
    return _torchvision(name, pretrained, args) if name.startswith(TORCHVISION) else _called(name, args)


def open_backbone(
    name: str, *, pretrained: bool = True, overlay: Mapping[str, Any] | None = None, **args: Any
) -> nn.Module:
    """A network of `open_elsewhere` whose `pretrained_cfg` says what its input is, to be changed in place.

    Args:
        overlay: of `pretrained_cfg`.

    Raises:
        ValueError: it says nothing of pictures, or of another size than its transform; a function's network of before.
    """
    model: Any = open_elsewhere(name, pretrained=pretrained, **args)
    if hasattr(model, "lwta"):
        raise ValueError(
            f"Expected {name!r} to make a network anew at each call but got one that competes, or that it returned "
            "before"
        )
    own = getattr(model, "image_transform", None)
    if callable(own):
        if overlay:
            raise ValueError(
                f"Expected no image_size for {name!r}, whose transform has one, but got {overlay['input_size'][-1]}"
            )
        model.pretrained_cfg = {"input_size": _input_size_of(name, own)}
    elif not hasattr(model, "pretrained_cfg"):
        raise ValueError(
            f"Expected {name!r} to return its network's transform too, or timm's words for one, but got a network "
            'alone: return network, {"input_size": (3, 224, 224), "mean": (...), "std": (...)}'
        )
    model.pretrained_cfg = {**model.pretrained_cfg, **(overlay or {})}
    if is_function(name):
        model.pretrained_cfg["architecture"] = name
    return model


def torchvision_defaults(name: str) -> dict[str, Any]:
    """How a picture becomes the input of `torchvision:NAME[/WEIGHTS]`, in timm's words."""
    return said_of_pictures(_torchvision_plan(name)[1].transforms())


def said_of_pictures(transform: Any) -> dict[str, Any]:
    """torchvision's transforms of weights in timm's words.

    >>> from torchvision.models import ResNet18_Weights
    >>> said_of_pictures(ResNet18_Weights.DEFAULT.transforms())["crop_pct"]
    0.875
    """
    crop, resize = transform.crop_size[0], transform.resize_size[0]
    return {
        "input_size": (3, crop, crop),
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": transform.interpolation.value,
        "crop_pct": crop / resize,
        "crop_mode": "center",
    }


def _torchvision_plan(source: str) -> tuple[str, Any]:
    """The network's name, and its weights: by default the best."""
    from torchvision import models

    name, _, asked = source.removeprefix(TORCHVISION).partition("/")
    known = models.list_models(module=models)  # classifiers alone
    if name not in known:
        raise ValueError(f"Expected a torchvision network but got {name!r}{nearest(name, known)}")
    choices = models.get_model_weights(name)
    listed = [choice.name for choice in choices]
    if asked and asked not in listed:
        raise ValueError(
            f"Expected weights of torchvision's {name} ({', '.join(listed)}) but got {asked!r}{nearest(asked, listed)}"
        )
    return name, choices[asked] if asked else choices.DEFAULT


def _torchvision(source: str, pretrained: bool, args: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    name, weights = _torchvision_plan(source)
    if name in ("googlenet", "inception_v3"):  # one answer in training too; pixels as the weights were trained
        args = {"aux_logits": False, "transform_input": True, **args}
    try:
        model = models.get_model(name, weights=weights if pretrained else None, **args)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected arguments that {source!r} takes but got {dict(args)}: {error}") from error
    except OSError as error:  # urllib's
        said = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"Expected the weights of {source!r} in the cache or on the Hub but got: {said}; without a network give a "
            "run or model folder, and train from --model.start.weights FILE with --model.start.pretrained false"
        ) from error
    model.pretrained_cfg = said_of_pictures(weights.transforms()) | {
        "architecture": TORCHVISION + name,
        "tag": weights.name,
    }
    if name.startswith("squeezenet"):
        model.classifier_name = "classifier.1"  # something bends behind it
    model.label_names = tuple(weights.meta.get("categories", ()))
    return model


def _function(source: str) -> Callable[..., Any]:
    """The function of that name; the current folder is searched too."""
    module_name, _, function_name = source.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise ValueError(
            f"Expected package.module:function but found no module {error.name!r} for {source!r}"
        ) from error
    functions = [name for name, value in vars(module).items() if callable(value)]
    if function_name not in functions:
        raise ValueError(
            f"Expected a function of module {module_name!r} but got {function_name!r}"
            f"{nearest(function_name, functions)}"
        )
    return getattr(module, function_name)  # type: ignore[no-any-return]


def _called(source: str, args: Mapping[str, Any]) -> nn.Module:
    function = _function(source)
    try:
        inspect.signature(function).bind(**args)
    except TypeError as error:
        raise ValueError(f"Expected arguments that {source!r} takes but got {dict(args)}: {error}") from error
    except ValueError:  # a built-in function, which does not say what it takes
        pass
    made = function(**args)
    model, preparation, classifier = (*made, None, None)[:3] if _is_pair(made) else (made, None, None)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"Expected {source!r} to return a torch.nn.Module, or one with its transform and its classifier's name, "
            f"but got {type(made).__name__}"
        )
    if hasattr(preparation, "crop_size") and hasattr(preparation, "resize_size"):
        preparation = said_of_pictures(preparation)
    if isinstance(preparation, Mapping):
        model.pretrained_cfg = _checked(source, preparation)
    elif callable(preparation):
        model.image_transform = preparation
    elif preparation is not None:
        raise ValueError(
            f"Expected {source!r} to return a transform of pictures beside its network, or timm's words for one, but "
            f"got {type(preparation).__name__}"
        )
    if classifier is not None:
        known = dict(model.named_modules())
        if not isinstance(known.get(classifier), nn.Linear | nn.Conv2d):
            raise ValueError(
                f"Expected {source!r} to name its network's classifier, a Linear or a 1 x 1 convolution, but got "
                f"{classifier!r}{nearest(str(classifier), known)}"
            )
        model.classifier_name = classifier
    return model


def _is_pair(made: object) -> bool:
    return isinstance(made, tuple) and len(made) in (2, 3)


def _checked(source: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """timm's words for the preparation of a picture, refused where they are others."""
    unknown = [key for key in said if key not in _PREPARATION]
    if unknown:
        raise ValueError(
            f"Expected {source!r} to say of pictures {', '.join(_PREPARATION)} but got {unknown[0]!r}"
            f"{nearest(str(unknown[0]), _PREPARATION)}"
        )
    size = said.get("input_size")
    if not (isinstance(size, list | tuple) and len(size) == 3 and size[0] == 3 and all(type(n) is int for n in size)):
        raise ValueError(f"Expected {source!r} to say input_size (3, height, width) but got {size!r}")
    return plain_pretrained_cfg({key: list(v) if isinstance(v, tuple) else v for key, v in said.items()})


def _input_size_of(source: str, transform: Callable[[Any], Any]) -> tuple[int, int, int]:
    """The size of what a transform of one's own makes of pictures of any size.

    Raises:
        ValueError: no float tensor [3, height, width], or one whose size is the picture's affair.
    """
    from PIL import Image

    made = [transform(Image.new("RGB", size)) for size in ((300, 400), (400, 300))]
    wanted = f"Expected the transform of {source!r} to make a float tensor [3, height, width] of a picture"
    for x in made:
        if not (isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 3 and x.shape[0] == 3):
            got = f"{list(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{wanted} but got {got}")
    if made[0].shape != made[1].shape:
        raise ValueError(
            f"{wanted}, of one size for pictures of any, but got {list(made[0].shape)} and {list(made[1].shape)}"
        )
    return 3, made[0].shape[1], made[0].shape[2]
