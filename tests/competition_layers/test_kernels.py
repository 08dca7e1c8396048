"""The kernels of GPUs, run by Triton's interpreter, against torch's operations."""

import importlib
import itertools
import math
import sys

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton")

import competition_layers
from competition_layers import Groups
from competition_layers.functional import compete
from competition_layers.noise import key_of
from competition_layers.on_gpu import _computes_alike

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, where integers wrap around
KEY = key_of(3)


@pytest.fixture(scope="module")
def kernels():
    """Defined and called while Triton is told to interpret them; where a GPU is, other tests run them on it."""
    if torch.cuda.is_available():
        pytest.skip("on a GPU test_competition_on_gpu.py runs the kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.delitem(sys.modules, "competition_layers.kernels", raising=False)  # where another test imported it
        patch.delattr(competition_layers, "kernels", raising=False)
        yield importlib.import_module("competition_layers.kernels")


def both(kernels, h, groups, *, noise=None, scale=0.7, temperature=1.0, estimator="gumbel"):
    """Values, winners and gradients by torch's operations and by the kernels."""
    x, grad_y = h.clone().requires_grad_(), torch.randn_like(h)
    y, index = compete(x, groups, noise=noise, noise_scale=scale, temperature=temperature, estimator=estimator)
    (gradient,) = torch.autograd.grad(y, x, grad_y)
    assert kernels.fit(h, groups, noise, estimator)
    options = (scale, temperature, estimator)
    y_there, index_there = kernels.compete(h, groups, noise, options)
    gradient_there = kernels.gradient(h, grad_y, index_there, groups, noise, options)
    return (y.detach(), index, gradient), (y_there, index_there, gradient_there)


def assert_alike(here, there, *, tolerance=1e-5):
    for mine, other in zip(here, there, strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        torch.testing.assert_close(other, mine, rtol=10 * tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("estimator", ["gumbel", "softmax"])
def test_values_winners_and_gradients_are_those_of_torch(kernels, estimator):
    for shape, channel_dim in (((2, 7, 24), -1), ((2, 24, 3, 5), 1)):
        here, there = both(kernels, torch.randn(shape), Groups(8, channel_dim), noise=KEY, estimator=estimator)
        assert_alike(here, there)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["gumbel", "softmax", "argmax"])
@pytest.mark.parametrize(
    ("shape", "channel_dim"), [((5, 24), -1), ((2, 7, 24), -1), ((2, 24, 3, 5), 1), ((2, 3, 5, 24), -1), ((24,), 0)]
)
def test_in_every_shape_and_layout(kernels, shape, channel_dim, estimator):
    h = torch.randn(shape)
    for u, layout, noise in itertools.product((2, 8), ("strided", "adjacent"), (None, KEY)):
        here, there = both(kernels, h, Groups(u, channel_dim, layout), noise=noise, estimator=estimator)
        assert_alike(here, there)


@pytest.mark.parametrize(("u", "estimator"), [(2, "gumbel"), (6, "softmax")])
def test_images_with_channels_last_in_memory(kernels, estimator, u):
    h = torch.randn(2, 12, 3, 5).contiguous(memory_format=torch.channels_last)
    here, there = both(kernels, h, Groups(u, 1), noise=KEY, estimator=estimator)
    assert_alike(here, there)
    assert there[0].stride() == there[2].stride() == h.stride()


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, math.inf])
def test_temperature_shapes_the_gradient(kernels, temperature):
    for estimator, noise in itertools.product(("gumbel", "softmax"), (None, KEY)):
        here, there = both(
            kernels, torch.randn(9, 24), Groups(8, -1), noise=noise, temperature=temperature, estimator=estimator
        )
        assert_alike(here, there)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(kernels, dtype):
    h = (10 * torch.randn(9, 24)).to(dtype)
    here, there = both(kernels, h, Groups(8, -1), noise=KEY)
    assert_alike(here, there, tolerance=torch.finfo(dtype).eps)


def test_ties_infinities_and_nan_are_what_they_are(kernels):
    inf, nan = math.inf, math.nan
    h = torch.tensor([[1.0, 1.0, 0.0], [inf, -inf, 2.0], [-inf, -inf, -inf], [nan, 5.0, 1.0], [1.0, nan, inf]])
    here, there = (found[:2] for found in both(kernels, h, Groups(3, -1)))
    assert_alike(here, there)
    assert there[1].flatten().tolist() == [0, 0, 0, 3, 3]


def test_what_the_kernels_do_not_compute_is_left_to_torch(kernels):
    h = torch.randn(4, 24, 6)
    assert not kernels.fit(h.double(), Groups(8, 1), None, "gumbel")
    assert not kernels.fit(h, Groups(8, 1), None, "relaxed")
    assert not kernels.fit(h, Groups(8, 1), torch.randn_like(h), "gumbel")
    assert not kernels.fit(h.transpose(1, 2), Groups(8, 2), None, "gumbel")
    assert not kernels.fit(h[:0], Groups(8, 1), None, "gumbel")
    assert torch.vmap(lambda x: torch.tensor(kernels.fit(x, Groups(8, 0), None, "gumbel")))(h).any().logical_not()


def test_kernels_that_compute_something_else_are_left_alone(kernels, monkeypatch):
    assert _computes_alike.__wrapped__(torch.device("cpu"))
    monkeypatch.setattr(kernels, "gradient", lambda h, *_: torch.zeros_like(h))
    with pytest.warns(UserWarning, match="compute something else on cpu"):
        assert not _computes_alike.__wrapped__(torch.device("cpu"))
