"""Shapes written with jaxtyping are checked while tests run (with beartype); other annotations are not.

Ours refuse a wrong word or number with a message of their own, and the tests read those messages. Functions that name
no shape are left as they are, and all of them while torch compiles: it cannot trace the checks.
"""

from collections.abc import Callable
from typing import Any, get_args

import beartype
import jaxtyping
import torch

_jaxtyped = jaxtyping.jaxtyped


def check_in(*packages: str) -> None:
    """Check the shapes in these packages, from their first import on."""
    jaxtyping.jaxtyped = _where_shapes_are_named  # the import hook decorates everything with it
    type(jaxtyping.config).jaxtyping_disable = property(lambda _: torch.compiler.is_compiling(), lambda *_: None)
    jaxtyping.install_import_hook(packages, "shapes.only")


def only(function: Callable[..., Any]) -> Callable[..., Any]:
    """The type checker: beartype, which sees the shapes alone."""
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {name: hint for name, hint in hints.items() if _names_a_shape(hint)}
    return beartype.beartype(function)


def _where_shapes_are_named(*, typechecker: Any) -> Callable[[Any], Any]:
    def decorate(thing: Any) -> Any:
        hints = getattr(thing, "__annotations__", {})
        return _jaxtyped(typechecker=typechecker)(thing) if any(map(_names_a_shape, hints.values())) else thing

    return decorate


def _names_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and not get_args(hint):
        return issubclass(hint, jaxtyping.AbstractArray)
    return any(map(_names_a_shape, get_args(hint)))
