"""The competition under torch.compile, torch.export, activation checkpointing and autocast."""

import pytest
import torch
from competing import change
from torch import nn
from torch.utils.checkpoint import checkpoint

from competition_layers import Competition, StochasticLWTA, competitions, create_model, seed_noise, swap_activations
from competition_layers.competition import ESTIMATORS


def small(**options):
    args = {"num_classes": 10, "image_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return create_model("vit_tiny_patch16_224", competitors=4, competition=Competition(**options), **args).train()


def gradients(model, x):
    model.zero_grad()
    model(x).square().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_layer_compiles_without_graph_breaks_and_agrees(estimator, backend):
    torch._dynamo.reset()
    layer = StochasticLWTA(4, channel_dim=-1, competition=Competition(noise_scale=0.0, estimator=estimator)).train()
    h = torch.randn(8, 16, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(h), layer(h))
    ours, theirs = (torch.autograd.grad((f(h) ** 2).sum(), h)[0] for f in (layer, compiled))
    torch.testing.assert_close(ours, theirs)


def test_a_compiled_layer_draws_anew_at_every_pass_and_follows_its_schedules_with_two_graphs():
    torch._dynamo.reset()
    graphs = []
    layer, h = StochasticLWTA(4, channel_dim=-1).train(), torch.randn(64, 16)
    compiled = torch.compile(layer, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    assert not torch.equal(compiled(h), compiled(h))
    for i in range(12):
        change(layer, noise_scale=1 - i / 20, temperature=1 + i / 20)
        assert ((compiled(h) != 0).sum(1) == 4).all()
    assert len(graphs) == 2, "numbers that change become inputs of the graph"


@pytest.mark.slow
def test_a_network_compiles_without_graph_breaks_and_trains_as_it_does_uncompiled():
    torch._dynamo.reset()
    model, x = small(noise_scale=0.0), torch.randn(2, 3, 16, 16)
    eager = gradients(model, x)
    model.compile(fullgraph=True)
    for ours, theirs in zip(eager, gradients(model, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["gumbel", "softmax"])
def test_a_network_with_noise_compiles_without_graph_breaks_and_draws_anew_at_every_step(estimator):
    torch._dynamo.reset()
    model, x = small(noise_scale=1.0, estimator=estimator), torch.randn(2, 3, 16, 16)
    model.compile(fullgraph=True)
    first, second = gradients(model, x), gradients(model, x)
    assert all(gradient.isfinite().all() for gradient in first)
    assert not all(torch.equal(*pair) for pair in zip(first, second, strict=True))


class Reused(nn.Module):
    """One `relu` for two places."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(16, 8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x))))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_an_activation_that_runs_twice_compiles_to_one_graph_for_all_steps(backend):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, x = Reused().train(), torch.randn(4, 16)
    swap_activations(model, {"relu.0": 4, "relu.1": 2}, competition=Competition(noise_scale=0.0))
    eager = gradients(model, x)
    model.compile(fullgraph=True, backend=backend)
    for _ in range(3):
        for ours, theirs in zip(eager, gradients(model, x), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_the_export_of_a_layer_equals_it():
    layer, h = StochasticLWTA(4, channel_dim=-1).eval(), torch.randn(8, 16)
    assert torch.equal(torch.export.export(layer, (h,)).module()(h), layer(h))


@pytest.mark.parametrize("estimator", ["gumbel", "softmax"])
def test_checkpointing_the_blocks_changes_no_gradient(estimator):
    x, found = torch.randn(2, 3, 16, 16), []
    model = small(noise_scale=1.0, estimator=estimator)
    for checkpointed in (False, True):
        model.set_grad_checkpointing(checkpointed)
        seed_noise(model, 3)
        found.append(gradients(model, x))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
    assert all(layer.stream.state()[1] == 1 for layer in competitions(model).values())


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_what_is_checkpointed_and_compiled_meets_its_noise_again(backend):
    """Two passes before one backward pass. At high temperature a gradient passes the winners alone, and y says who won:
    y = exp(competition(sin x)), so d(y^2)/dx = 2 y^2 cos x where y is not exp(0)."""
    torch._dynamo.reset()
    layer = StochasticLWTA(4, channel_dim=-1, competition=Competition(temperature=1e9)).train()
    x = torch.randn(64, 16, requires_grad=True)

    def run(x):
        return checkpoint(lambda x: layer(x.sin()).exp(), x, use_reentrant=False)

    compiled = torch.compile(run, fullgraph=True, backend=backend)
    passes = [compiled(x) for _ in range(2)]
    sum(y.square().sum() for y in passes).backward()
    assert not torch.equal(*passes)
    torch.testing.assert_close(x.grad, sum(2 * y.square() * x.cos() * (y != 1) for y in passes))


def test_autocast_gives_one_winner_and_finite_gradients():
    model, x = small(noise_scale=1.0), torch.randn(2, 3, 16, 16)
    counts = []
    for layer in competitions(model).values():
        layer.register_forward_hook(lambda _, inputs, y: counts.append((y.dtype, (y != 0).sum(-1).max().item())))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
    logits.float().sum().backward()
    assert counts == [(torch.bfloat16, 96 // 4)] * 2
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*deprecated:FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("layout", ["strided", "adjacent"])
def test_a_torchscript_trace_is_the_network_in_evaluation_and_refused_in_training(layout):
    model = nn.Sequential(nn.Linear(6, 8), StochasticLWTA(4, channel_dim=-1, competition=Competition(layout=layout)))
    traced, x = torch.jit.trace(model.eval(), torch.randn(2, 6)), torch.randn(5, 6)
    assert torch.equal(traced(x), model(x))
    with pytest.raises(ValueError, match="to draw nothing in a network to export but it samples"):
        torch.jit.trace(model.train(), torch.randn(2, 6))
