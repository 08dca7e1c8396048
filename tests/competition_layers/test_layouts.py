"""The layouts differ by a permutation of channels, so weights convert exactly both ways."""

import pytest
import torch

from competition_layers import Groups, competitions, convert_layout, create_model, lwta, predict
from competition_layers.layouts import layout_permutation


def test_a_competition_in_the_other_layout_is_the_permuted_competition():
    h = torch.randn(5, 24)
    order = layout_permutation(24, 8, to="adjacent")
    adjacent = lwta(h[:, order], Groups(8, channel_dim=-1, layout="adjacent"))
    assert torch.equal(adjacent, lwta(h, Groups(8, channel_dim=-1))[:, order])
    assert torch.equal(order[layout_permutation(24, 8, to="strided")], torch.arange(24))


@pytest.mark.parametrize(
    "name, options",
    [
        ("deit_tiny_patch16_224", {"image_size": 32, "depth": 2}),
        ("resnet18", {"image_size": 32, "include": "layer*.act1", "layers": (1, 1, 1, 1)}),
        ("test_efficientnet", {"image_size": 32, "include": "blocks.*.bn2.act"}),  # gates, depthwise convolutions
    ],
)
def test_a_network_converts_there_and_back(name, options):
    model = create_model(name, num_classes=10, competitors=8, **options).eval()
    x = torch.randn(4, 3, 32, 32)
    weights, before = {k: v.clone() for k, v in model.state_dict().items()}, predict(model, x)
    convert_layout(model, "adjacent", x)
    assert all(layer.groups.layout == "adjacent" for layer in competitions(model).values())
    assert any(not torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    torch.testing.assert_close(predict(model, x), before, rtol=1e-4, atol=1e-5)
    convert_layout(model, "strided", x)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_a_competition_on_the_residual_stream_is_refused_by_name_and_nothing_changed():
    model = create_model("resnet18", num_classes=10, competitors=8, image_size=32).eval()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"'layer1.0.act2' to share .* 'layer1.1.act2' has the same channels"):
        convert_layout(model, "adjacent", torch.randn(4, 3, 32, 32))
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(layer.groups.layout == "strided" for layer in competitions(model).values())
