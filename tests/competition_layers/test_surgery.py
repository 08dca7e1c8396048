"""Finding activations, swapping them and putting them back."""

import pytest
import torch
from torch import nn

from competition_layers import (
    StochasticLWTA,
    activation_sites,
    competitions,
    create_model,
    observe,
    revert_activations,
    swap_activations,
)

FAMILIES = {
    "vit_tiny_patch16_224": ("blocks.0.mlp.act", -1, 12),
    "resnet18": ("layer1.0.act1", 1, 16),
    "convnext_atto": ("stages.0.blocks.0.mlp.act", 1, 12),  # channels first: its MLP is of 1x1 convolutions
    "convnext_tiny": ("stages.0.blocks.0.mlp.act", -1, 18),  # channels last, 4-D all the same
    "efficientnet_b0": ("blocks.0.0.bn1.act", 1, 31),  # inside BatchNormAct2d
}


@pytest.fixture(scope="module")
def timm_models():
    import timm

    return {name: timm.create_model(name, num_classes=3) for name in FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_sites_are_the_wide_activations_inside_blocks_with_their_axis(timm_models, name):
    first, axis, count = FAMILIES[name]
    sites = activation_sites(timm_models[name])
    assert (sites[0].name, sites[0].channel_dim, len(sites)) == (first, axis, count)
    assert not any(part in site.name for site in sites for part in ("stem", ".se.", "gate", "head"))


def test_the_stem_is_reached_when_asked_for(timm_models):
    names = [site.name for site in activation_sites(timm_models["resnet18"], include=["act1", "layer*"])]
    assert names[0] == "act1" and len(names) == 17


def test_swap_and_revert_give_back_the_identical_network():
    model = create_model("resnet18", competitors=1, num_classes=3, image_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    dense, text = model(x), repr(model)
    swap_activations(model, 4)
    assert len(competitions(model)) == 16 and not torch.equal(model(x), dense)
    revert_activations(model)
    assert torch.equal(model(x), dense) and repr(model) == text


def test_swapping_adds_no_parameters_and_no_modules_beside_the_competition():
    model = create_model("vit_tiny_patch16_224", competitors=1, num_classes=3, image_size=32, depth=1)
    keys, names = set(model.state_dict()), [name for name, _ in model.named_modules()]
    swap_activations(model, 8)
    assert set(model.state_dict()) == keys and [name for name, _ in model.named_modules()] == names


def test_one_competitor_is_the_dense_twin():
    model = create_model("vit_tiny_patch16_224", competitors=1, num_classes=3, image_size=32, depth=1)
    assert not competitions(model) and isinstance(model.blocks[0].mlp.act, nn.GELU)
    assert [site.name for site in model.lwta.sites] == ["blocks.0.mlp.act"]


def test_a_plain_module_can_be_swapped():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    swap_activations(model, 2)
    assert isinstance(model[1], StochasticLWTA) and model[1].channel_dim == -1
    assert (model[:2](torch.randn(5, 4)) != 0).sum() == 5 * 4


def test_an_unknown_activation_is_refused_and_the_nearest_offered():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    with pytest.raises(ValueError, match="known activation but got '11', did you mean '1'"):
        activation_sites(model, include="11")
    with pytest.raises(ValueError, match="Linear, which has none"):
        activation_sites(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="at least one activation outside"):
        activation_sites(model, exclude="*")


def test_observe_collects_one_pass_and_refuses_silent_and_repeated_modules():
    shared = nn.ReLU()
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "shared": shared, "silent": nn.ReLU()})

    def run(x):
        return shared(model["a"](shared(x)))

    with observe(model, "a") as seen:
        y = run(torch.ones(2, 3))
    assert seen["a"].shape == (2, 3) and torch.equal(shared(seen["a"]), y)
    with pytest.raises(RuntimeError, match="'silent' to run once in a pass but got 0 calls"), observe(model, "silent"):
        run(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="'shared' to run once in a pass but got 2 calls"), observe(model, "shared"):
        run(torch.ones(2, 3))
    assert not shared._forward_hooks
    with pytest.raises(ValueError, match="did you mean 'shared'"), observe(model, "shard"):
        run(torch.ones(2, 3))


def test_a_module_called_twice_is_refused_by_name_when_a_model_is_made():
    with pytest.raises(RuntimeError, match="to run once in a pass but got 2 calls; leave it out by name"):
        create_model("dla34", competitors=4, num_classes=3, image_size=32)
