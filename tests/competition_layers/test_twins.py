"""Twins: the network with another activation where units would compete, kept and explained like any other."""

import json

import pytest
import torch
import torch.nn.functional as F

from competition_layers import (
    Competition,
    DecisionLayer,
    StochasticLWTA,
    activation_sites,
    add_decision,
    attribution_graph,
    competitions,
    create_model,
    load_model,
    revert_activations,
    save_model,
    sparse_inference,
    votes,
)
from competition_layers.twins import TwinActivation

ACTIVATIONS = ("topk", "relu", "gelu")


def twin(activation, at="pooled"):
    torch.manual_seed(0)
    return create_model(
        "resnet18", competitors=8, num_classes=3, image_size=32, layers=(1, 1, 1, 1), channels=(16, 24, 32, 48),
        output_stride=16, competition=Competition(activation=activation),
        decision=DecisionLayer(24, 8, at=at, activation=activation),
    ).eval()  # fmt: skip


def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("axis", [1, -1])
def test_as_many_units_pass_as_a_competition_lets_pass_the_largest_of_all(axis):
    layer = TwinActivation(4, channel_dim=axis, competition=Competition(activation="topk"))
    h = torch.randn(2, 12, 12)
    y, rows, kept = layer(h), h.movedim(axis, -1).flatten(0, -2), 0
    for row, said in zip(rows, y.movedim(axis, -1).flatten(0, -2), strict=True):
        largest = sorted(range(12), key=lambda unit: -row[unit])[:3]
        assert said.nonzero()[:, 0].tolist() == sorted(largest)
        assert torch.equal(said[largest], row[largest])
        kept += 1
    assert kept == 24


@pytest.mark.parametrize(("activation", "formula"), [("relu", F.relu), ("gelu", F.gelu)])
def test_the_other_twins_are_torchs(activation, formula):
    h = torch.randn(3, 8)
    layer = TwinActivation(4, channel_dim=-1, competition=Competition(activation=activation))
    assert torch.equal(layer(h), formula(h))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_twin_is_an_ordinary_model_folder(activation, tmp_path):
    model, x = twin(activation), images()
    again = load_model(save_model(model, tmp_path / "m"))
    assert torch.equal(model(x), again(x)) and torch.equal(sparse_inference(again)(x), again(x))
    assert not competitions(again)
    layers = [again.get_submodule(site.name) for site in again.lwta.sites]
    assert all(isinstance(layer, TwinActivation) and layer.competition.activation == activation for layer in layers)
    assert again.lwta.decision == model.lwta.decision
    entries = json.loads((tmp_path / "m" / "config.json").read_text())["competition"]["sites"]
    assert {(entry["activation"], entry["competitors"]) for entry in entries} == {(activation, 8)}


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_the_decision_of_a_twin_is_the_sum_of_its_votes_too(at):
    model, x = twin("topk", at), images()
    found = votes(model, x)
    assert torch.allclose(found.bias + found.votes.sum((1, 2)), found.logits, atol=1e-5)
    assert ((found.values != 0).sum(-1) == 3).all()


def test_units_of_a_twin_begin_as_those_that_compete():
    torch.manual_seed(0)
    plain = create_model("resnet18", competitors=1, num_classes=3, image_size=32, layers=(1, 1, 1, 1))
    starts = []
    for activation in ("competition", *ACTIVATIONS):
        torch.manual_seed(1)
        add_decision(plain, DecisionLayer(24, 8, activation=activation))
        starts.append(plain.decision_units.weight.detach().clone())
        revert_activations(plain)
    assert all(torch.equal(starts[0], start) for start in starts)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_graph_of_a_twin_is_exact(activation):
    graph = attribution_graph(twin(activation), images()[:1], 1)
    assert graph.gap < 1e-5
    assert {node.layer for node in graph.nodes} > {"decision", "layer4.0.act1"}


def test_the_old_activations_come_back():
    model = twin("topk")
    revert_activations(model)
    assert isinstance(model.layer1[0].act1, torch.nn.ReLU) and not hasattr(model, "decision")
    assert activation_sites(model)


def test_a_layer_that_is_not_asked_for_is_refused():
    with pytest.raises(ValueError, match="Expected a competition but got 'topk': TwinActivation is its layer"):
        StochasticLWTA(4, channel_dim=-1, competition=Competition(activation="topk"))
    with pytest.raises(ValueError, match="Expected the activation of a twin but got 'competition'"):
        TwinActivation(4, channel_dim=-1, competition=Competition())
    with pytest.raises(ValueError, match=r"Expected activation to be .* but got 'tanh'"):
        DecisionLayer(activation="tanh")
