"""A site's units renumbered: the function stays the same, and where that cannot be it is said by name."""

import pytest
import timm
import torch
from timm.layers import ScaledStdConv2d
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from competition_layers import swap_activations
from competition_layers.wiring.permutation import neighbours, permute_units


def network(name, **options):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options)
    for module in model.modules():  # statistics and scales that are not all alike
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.data.uniform_(0.5, 1.5)
    return model.eval()


def resnet(layers=(1, 1, 1, 1)):
    return network("resnet18", layers=layers, channels=(8, 16, 16, 24))


def competing(model):
    swap_activations(model, 2)
    return model


CASES = {
    "tokens": (
        lambda: network("vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=2),
        "blocks.1.mlp.act",
        96,
        32,
    ),
    "convolution and batch norm": (resnet, "layer2.0.act1", 16, 32),
    "channels-last maps": (
        lambda: network("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
        "stages.1.blocks.0.mlp.act",
        32,
        32,
    ),
    "the map that is pooled and read": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        ),
        "2",
        8,
        16,
    ),
    "a residual stream, which many layers give and read": (
        lambda: resnet(layers=(2, 1, 1, 1)),
        "layer1.1.act2",
        8,
        32,
    ),
    "squeeze-and-excite, a depthwise convolution": (
        lambda: network("test_efficientnet"),
        "blocks.3.0.bn1.act",
        128,
        32,
    ),
    "standardised convolutions": (
        lambda: nn.Sequential(ScaledStdConv2d(3, 8, 3), nn.ReLU(), ScaledStdConv2d(8, 4, 3)),
        "1",
        8,
        16,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_permuted_network_computes_the_same(case):
    make, site, width, size = CASES[case]
    model = make()
    x, order = torch.randn(3, 3, size, size), torch.randperm(width)
    around = neighbours(model, site, x=x)
    assert around.width == width
    fed = [model.get_submodule(name).weight.clone() for name in around.feeds]
    with torch.no_grad():
        before = model.eval()(x)
        permute_units(model, site, order, x=x)
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)
    for name, weight in zip(around.feeds, fed, strict=True):
        torch.testing.assert_close(model.get_submodule(name).weight, weight[order])


@pytest.mark.parametrize(
    "make, site, width, size, named",
    [
        (
            lambda: competing(resnet(layers=(2, 1, 1, 1))),
            "layer1.0.act2",
            8,
            32,
            "the competition 'layer1.1.act2' has the same",
        ),
        (lambda: network("resnext50_32x4d", layers=(1, 1, 1, 1)), "layer1.0.act1", 128, 64, "layer1.0.conv2"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)),
            "1",
            8,
            8,
            "another kind beside its 8, made by 'flatten' in '2'",
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), weight_norm(nn.Linear(8, 3))),
            "2",
            8,
            8,
            r"'3' \(ParametrizedLinear\) cannot be renumbered",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU()), "2", 8, 8, "'output' in '' reads them"),
    ],
    ids=["another competition", "grouped convolution", "flattened", "computed weights", "nothing follows"],
)
def test_what_cannot_be_renumbered_is_named_and_left_alone(make, site, width, size, named):
    model = make()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=named):
        permute_units(model, site, torch.randperm(width), x=torch.randn(2, 3, size, size))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
