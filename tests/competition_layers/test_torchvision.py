"""torchvision's networks: activations used twice, and functions where modules could stand; no timm, no config."""

import pytest
import torch
from torch import nn
from torchvision import models

from competition_layers import competitions, observe, revert_activations, save_model, swap_activations
from competition_layers.wiring.sites import survey

VIT = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
SWIN = {"patch_size": [4, 4], "embed_dim": 24, "depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4]}
NETWORKS = {
    "resnet18": (16, lambda: models.resnet18(num_classes=3)),
    "mobilenet_v3_small": (21, lambda: models.mobilenet_v3_small(num_classes=3)),
    "vit": (2, lambda: models.VisionTransformer(image_size=32, num_classes=3, **VIT)),
    "swin": (2, lambda: models.SwinTransformer(num_classes=3, **SWIN)),
    "densenet121": (116, lambda: models.densenet121(num_classes=3)),
    "vgg11": (8, lambda: models.vgg11(num_classes=3)),
}
SLOW = ("densenet121", "vgg11")
every_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NETWORKS]
)


def network(name):
    """In evaluation mode, with a head that answers (the ViT's starts from zeros), and a batch of two pictures."""
    torch.manual_seed(0)
    model = NETWORKS[name][1]().eval()
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(head.weight)
    return model, torch.randn(2, 3, 32, 32)


@every_network
def test_a_network_is_swapped_trained_loaded_and_put_back(name):
    model, x = network(name)
    text = repr(model)
    with torch.no_grad():
        dense = model(x)
    sites = survey(model, inputs=x).sites()
    assert len(sites) == NETWORKS[name][0]
    swap_activations(model, 2, sites=sites)
    assert set(competitions(model)) == {site.name for site in sites}
    with observe(model, [site.name for site in sites]) as passed, torch.no_grad():  # each runs once
        sparse = model(x)
    assert not torch.equal(sparse, dense)
    for site in sites:
        assert passed[site.name].shape[site.channel_dim] == site.width
        assert (passed[site.name] != 0).float().mean() <= 0.5 + 1e-6

    other, _ = network(name)
    swap_activations(other, 2, sites=sites)
    other.load_state_dict(model.state_dict())  # a competition keeps no numbers: weights go either way
    with torch.no_grad():
        assert torch.equal(other(x), sparse)
    revert_activations(model)
    assert repr(model) == text
    with torch.no_grad():
        assert torch.equal(model(x), dense)

    other.train()(x).square().sum().backward()
    gradients = [p.grad for p in other.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() and g.any() for g in gradients if g.numel() > 1)


def test_functions_are_named_with_the_place_that_calls_them():
    model = NETWORKS["densenet121"][1]()
    assert survey(model, inputs=torch.zeros(1, 3, 32, 32)).left_out()[""] == (
        "the function relu, called in the model itself: make it a module"
    )


def test_a_network_that_nobody_can_build_again_is_not_saved(tmp_path):
    model, x = network("vit")
    swap_activations(model, 2, sites=survey(model, inputs=x).sites())
    with pytest.raises(TypeError, match="got VisionTransformer; keep its state_dict"):
        save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
