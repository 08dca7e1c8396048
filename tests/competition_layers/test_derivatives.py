"""What differentiates a competition, and how: evaluation, infinities, second derivatives, torch.func and torch.fx."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, vmap
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from competition_layers import Competition, Groups, StochasticLWTA, lwta, swap_activations
from competition_layers.competition import ESTIMATORS
from competition_layers.noise import draw_noise, key_of

# torch's own decompositions for forward mode
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
GROUPS = Groups(4, channel_dim=-1, layout="adjacent")


def layer(**options):
    return StochasticLWTA(4, channel_dim=-1, competition=Competition(layout="adjacent", noise_scale=0.0, **options))


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    swap_activations(model, 4)
    return model


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_in_evaluation_the_gradient_is_that_of_what_was_computed(estimator):
    model, x = network().eval(), torch.randn(1, 6, dtype=torch.double, requires_grad=True)
    steps = 1e-6 * torch.eye(6, dtype=torch.double)
    with torch.no_grad():
        differences = (model(x + steps) - model(x - steps)) / 2e-6
    (gradient,) = torch.autograd.grad(model(x)[0, 0], x)
    torch.testing.assert_close(gradient[0], differences[:, 0], rtol=1e-6, atol=1e-8)
    for transform in (jacrev, jacfwd):
        torch.testing.assert_close(transform(model)(x.detach())[0, :, 0].T, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_loser_gives_nothing_also_where_it_is_infinite(estimator):
    h = torch.tensor([[1.0, -math.inf, 2.0, 3.0, -math.inf, 0.0, -1.0, -2.0]], requires_grad=True)
    y = lwta(h, GROUPS, noise=key_of(1), estimator=estimator)
    assert y.isfinite().all() and y[0, 1] == 0 == y[0, 4]
    (gradient,) = torch.autograd.grad(y.sum(), h)
    assert gradient.isfinite().all()


def test_of_equal_infinities_the_first_wins_alone():
    y = lwta(torch.tensor([[1.0, math.inf, math.inf, 3.0]]), GROUPS)
    assert torch.equal(y, torch.tensor([[0.0, math.inf, 0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [0.7, math.inf])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_second_derivatives_are_those_of_the_formula(estimator, temperature):
    """dL/dh_u = G_u p_u + (1/tau) m_u (G_u h_u - sum_v m_v G_v h_v), with p a constant where a winner passes alone."""
    if estimator == "relaxed" and temperature == math.inf:
        pytest.skip("shares that are equal: no competition")
    h = torch.randn(3, 8, dtype=torch.double, requires_grad=True)
    w = torch.randn(3, 8, dtype=torch.double, requires_grad=True)
    z, g = h.view(3, 2, 4), w.view(3, 2, 4)
    soft = (z / temperature).softmax(-1)
    winner = torch.zeros_like(z).scatter(-1, z.argmax(-1, keepdim=True), 1.0)
    passed = soft if estimator == "relaxed" else winner
    first = (g * passed + soft * (g * z - (soft * g * z).sum(-1, keepdim=True)) / temperature).view(3, 8)
    expected = torch.autograd.grad(first.square().sum(), (h, w), materialize_grads=True)
    y = lwta(h, GROUPS, temperature=temperature, estimator=estimator)
    (ours,) = torch.autograd.grad((y * w).sum(), h, create_graph=True)
    torch.testing.assert_close(ours, first)
    second = torch.autograd.grad(ours.square().sum(), (h, w), materialize_grads=True)
    for found, right in zip(second, expected, strict=True):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("competitors", [2, 4])
def test_noise_that_is_drawn_again_has_second_derivatives_too(estimator, competitors):
    """Those of the same noise handed in as numbers."""
    groups, found = Groups(competitors, channel_dim=-1), []
    h = torch.randn(3, 8, dtype=torch.double, requires_grad=True)
    drawn = draw_noise(h, groups, key_of(1), estimator=estimator)
    for noise in (key_of(1), drawn):
        y = lwta(h, groups, noise=noise, estimator=estimator)
        (first,) = torch.autograd.grad(y.square().sum(), h, create_graph=True)
        found.append((first, *torch.autograd.grad(first.square().sum(), h)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # noise is fp32


@pytest.mark.parametrize("estimator", ["gumbel", "relaxed"])
@pytest.mark.parametrize("competitors", [2, 4])
def test_the_gradient_with_noise_drawn_again_is_that_with_the_same_numbers(estimator, competitors):
    """At s = tau, where it is computed from arrival times instead of their logarithms."""
    groups, found = Groups(competitors, channel_dim=-1), []
    for noise in (key_of(1), draw_noise(torch.zeros(30, 8), groups, key_of(1))):
        h = torch.linspace(-100, 100, 240).view(30, 8).requires_grad_()
        y = lwta(h, groups, noise=noise, noise_scale=0.7, temperature=0.7, estimator=estimator)
        found.append((y, *torch.autograd.grad(y.square().sum(), h)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)  # h up to 100, L up to 10,000


@pytest.mark.filterwarnings("ignore:.*performance drop because we have not yet implemented the batching rule")
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_each_sample_are_those_of_a_loop(training):
    model = network().train(training)
    parameters, x = dict(model.named_parameters()), torch.randn(5, 6, dtype=torch.double)
    model[1].competition = model[3].competition = Competition(noise_scale=0.0)

    def loss(parameters, row):
        return functional_call(model, parameters, (row[None],)).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i, row in enumerate(x):
        alone = torch.autograd.grad(loss(parameters, row), list(parameters.values()))
        for one, other in zip(together.values(), alone, strict=True):
            torch.testing.assert_close(one[i], other)


def test_a_hessian_is_exact_in_evaluation_and_refused_where_an_estimator_trains():
    a, h = layer().eval(), torch.randn(8, dtype=torch.double)
    torch.testing.assert_close(hessian(lambda h: a(h).square().sum())(h), 2 * torch.diag((a(h) != 0).double()))
    with pytest.raises(NotImplementedError, match=r"forward mode .* 'gumbel' estimator has none: .* model.eval\(\)"):
        hessian(lambda h: a.train()(h).square().sum())(h)


@pytest.mark.parametrize("training", [True, False])
def test_a_traced_network_keeps_its_competitions_whole(training):
    model = network().train(training)
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2", "3", "4"]
    x = torch.randn(2, 6, dtype=torch.double)
    assert torch.equal(traced.eval()(x), model.eval()(x))


def test_torchvisions_feature_extractors_work():
    model = resnet18(weights=None)
    swap_activations(model, 8)
    extractor = create_feature_extractor(model.eval(), ["layer4"])
    assert extractor(torch.zeros(1, 3, 64, 64))["layer4"].shape == (1, 512, 2, 2)
