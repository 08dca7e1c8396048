"""The gain of the initial weights: it reaches what each competition reads, whatever the order of registration."""

import pytest
import torch
from torch import nn

from competition_layers import competitions, create_model, swap_activations
from competition_layers.wiring.sites import survey
from training.initial import scale_initial_weights

# and how many sites add a shortcut that comes from another activation: those blocks that keep their width
FAMILIES = {"test_vit": 0, "test_convnext": 0, "test_resnet": 1, "test_nfnet": 0, "levit_128s": 0, "dla46x_c": 9}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_comes_into_every_competition_scales_with_the_gain_all_but_its_shortcut(name):
    torch.manual_seed(0)
    model, x = create_model(name, competitors=2, num_classes=3, image_size=32).eval(), torch.randn(2, 3, 32, 32)
    weights = {layer: scale for layer, scale in model.named_parameters() if layer.endswith(("weight", "gain"))}
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key not in weights:
                value.zero_()  # biases, which the gain leaves alone
            elif value.ndim == 1:
                value.fill_(1)  # many a last batch norm starts from 0
    ones, outputs = pass_through(model, x)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    scaled = {}
    for gain in (0.0, 3.0):
        model.load_state_dict(start)
        scale_initial_weights(model, gain)
        scaled[gain] = pass_through(model, x, given=outputs)[0]
    for site, one in ones.items():
        shortcut, three = scaled[0.0][site], scaled[3.0][site]
        # queries and keys of LeViT are scaled along: its attention gets a little sharper
        near = {"rtol": 0.05, "atol": 0.05} if ".attn" in site else {"rtol": 1e-3, "atol": 1e-3}
        torch.testing.assert_close(three - shortcut, 3 * (one - shortcut), **near)
        assert (one - shortcut).ne(0).float().mean() > 0.4, site
    assert sum(bool(h.any()) for h in scaled[0.0].values()) == FAMILIES[name]


def pass_through(model, x, given=None):
    """What came into each competition and what it gave; with `given`, it gives that instead."""
    inputs, outputs = {}, {}

    def hook(name):
        def see(module, h, y):
            inputs[name], outputs[name] = h[0].clone(), y.clone()
            return None if given is None else given[name].clone()

        return see

    handles = [layer.register_forward_hook(hook(name)) for name, layer in competitions(model).items()]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return inputs, outputs


@pytest.mark.parametrize(
    ("name", "options", "fed_by"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 24, "depth": 1, "num_heads": 2}, ["blocks.0.mlp.fc1"]),
        ("resnet18", {"include": "layer1.0.act1"}, ["layer1.0.bn1"]),
        ("resnet18", {"include": "layer2.0.act2"}, ["layer2.0.bn2", "layer2.0.downsample.1"]),
    ],
)
def test_the_gain_reaches_the_weights_that_feed_a_competition_and_no_others(name, options, fed_by):
    model = create_model(name, num_classes=2, image_size=32, **options)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scale_initial_weights(model, 3.0)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == [f"{layer}.weight" for layer in fed_by if before[f"{layer}.weight"].any()]
    for key in changed:
        assert torch.equal(model.state_dict()[key], 3 * before[key])


def test_layers_are_found_in_the_order_in_which_they_run():
    class Backwards(nn.Module):
        """Registered in another order than it runs."""

        def __init__(self):
            super().__init__()
            self.act, self.second, self.first = nn.ReLU(), nn.Linear(8, 4), nn.Linear(8, 8)

        def forward(self, x):
            return self.second(self.act(self.first(x)))

    model = Backwards()
    assert survey(model).activations[0].fed_by == ("first",)
    swap_activations(model, 2)
    first, second = model.first.weight.clone(), model.second.weight.clone()
    scale_initial_weights(model, 2.0)
    assert torch.equal(model.first.weight, 2 * first) and torch.equal(model.second.weight, second)


def test_weights_that_nobody_keeps_are_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8, elementwise_affine=False), nn.ReLU(), nn.Linear(8, 2))
    swap_activations(model, 2)
    with pytest.raises(ValueError, match=r"feeds a competition but found none in '1' \(LayerNorm\)"):
        scale_initial_weights(model, 2.0)
