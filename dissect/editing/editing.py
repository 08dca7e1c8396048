"""A network edited and measured: edits, the head refitted, figures before and after."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..comparing.comparing import class_indices
from ..comparing.measuring import inputs_of
from ..fingerprints import model_fingerprint
from ..probe.probe_images import ProbeImages
from .applying import apply_edits, check_edits
from .edit_file import content_of
from .edits import Edit
from .measuring import Measured, measure
from .refitting import head_inputs, head_of, refit_head


@dataclass(frozen=True)
class Refit:
    """On which pictures the head was fitted anew."""

    head: str
    source: str
    images: int
    penalty: float


@dataclass(frozen=True)
class Edited:
    """What was done to a network. `model` is the hash of the network before; figures where pictures were given."""

    model: str
    edits: tuple[Edit, ...]
    done: dict[str, str]  # of each edited layer: in the `weights`, or by a `gate`
    refit: Refit | None = None
    before: Measured | None = None
    after: Measured | None = None
    data: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As a file of edits, see `edit_file`."""
        measured = None
        if self.before is not None and self.after is not None:
            measured = {"data": self.data, "before": self.before.to_dict(), "after": self.after.to_dict()}
        refit = None if self.refit is None else asdict(self.refit)
        return content_of(self.edits, model=self.model, done=self.done, refit=refit, measured=measured)


def edit_network(
    model: nn.Module,
    edits: Sequence[Edit],
    *,
    refit_on: ProbeImages | None = None,
    data: ProbeImages | None = None,
    groups: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Edited:
    """Change `model` in place by `edits`; `save_model` then writes it as any other.

    Args:
        refit_on: labelled pictures (those that it was trained on) to which the head is fitted anew after the edits.
        data: labelled pictures on which it is measured before and after.
        groups: of each picture of `data`; by default its class. The worst is reported.

    Raises:
        ValueError: edits that the network cannot take, pictures of classes that it does not know.
    """
    check_edits(model, edits)
    known = model_fingerprint(model)
    targets = None if data is None else class_indices("the edited one", model, data)
    learnt = None if refit_on is None else class_indices("the edited one", model, refit_on)
    before = _measured(model, data, targets, groups, batch_size)
    done = apply_edits(model, edits)
    refit = None
    if refit_on is not None and learnt is not None:
        refit = Refit(head_of(model), refit_on.source, len(refit_on), penalty=1e-3)
        passes = inputs_of(model, refit_on, batch_size, shown_as="refit the head")
        refit_head(model, head_inputs(model, passes), learnt, penalty=refit.penalty)
    after = _measured(model, data, targets, groups, batch_size)
    return Edited(known, tuple(edits), done, refit, before, after, "" if data is None else data.source)


def _measured(
    model: nn.Module,
    data: ProbeImages | None,
    targets: Int[Tensor, "images"] | None,
    groups: Sequence[str] | None,
    batch_size: int,
) -> Measured | None:
    if data is None or targets is None:
        return None
    labels = data.labels or ()
    passes = inputs_of(model, data, batch_size, shown_as="measure")
    return measure(model, passes, torch.as_tensor(targets), labels if groups is None else groups)
