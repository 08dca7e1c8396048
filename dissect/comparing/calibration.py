"""Calibration: how far a network's probabilities can be believed, as they are and after temperature scaling."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from .figures import Calibration

BINS = 15


def measure_calibration(logits: Float[Tensor, "images classes"], targets: Int[Tensor, "images"]) -> Calibration:
    """Negative log-likelihood and expected calibration error (15 bins of confidence), before and after scaling.

    Scaling divides the logits by one temperature (Guo et al. 2017), fitted on the other half of the pictures: those at
    even places are scaled by what fits those at odd ones, and the reverse.
    """
    even = torch.arange(len(logits)) % 2 == 0
    halves = [even, ~even] if len(logits) > 1 else [even, even]
    temperatures = [fit_temperature(logits[half], targets[half]) for half in halves]
    scaled = torch.where(even[:, None], logits / temperatures[1], logits / temperatures[0])
    return Calibration(
        nll=float(F.cross_entropy(logits, targets)),
        error=calibration_error(logits, targets),
        temperature=sum(temperatures) / 2,
        nll_scaled=float(F.cross_entropy(scaled, targets)),
        error_scaled=calibration_error(scaled, targets),
    )


def calibration_error(logits: Float[Tensor, "images classes"], targets: Int[Tensor, "images"]) -> float:
    """Mean absolute gap of confidence and accuracy over 15 bins of confidence, weighted by their pictures."""
    found = multiclass_calibration_error(logits.softmax(1), targets, logits.shape[1], n_bins=BINS)
    return float(found)


def fit_temperature(logits: Float[Tensor, "images classes"], targets: Int[Tensor, "images"]) -> float:
    """The temperature from .01 to 100 of the least negative log-likelihood.

    With b = 1 / T it is convex in b, of slope mean(sum_c p_c z_c - z_target), which is bisected for its root.
    """
    z = logits.double()
    low, high = -2.0, 2.0  # of log10 b
    for _ in range(40):
        middle = (low + high) / 2
        expected = ((10**middle * z).softmax(1) * z).sum(1)
        slope = (expected - z.gather(1, targets[:, None])[:, 0]).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(10 ** -((low + high) / 2))
