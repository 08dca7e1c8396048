"""Finding activations, swapping them and putting them back."""

import copy

import pytest
import torch
from competing import small_resnet
from timm.utils import ModelEmaV3
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
from competition_layers.wiring.sites import survey

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
    assert isinstance(model[1], StochasticLWTA) and model[1].groups.channel_dim == -1
    assert (model[:2](torch.randn(5, 4)) != 0).sum() == 5 * 4


def test_an_unknown_activation_is_refused_and_the_nearest_offered():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    with pytest.raises(ValueError, match="known activation but got '11', did you mean '1'"):
        activation_sites(model, include="11")
    with pytest.raises(ValueError, match="found none: it has no activation"):
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


class Reused(nn.Module):
    """A block of torchvision's kind: one `relu` for two places, of different width; and a function."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x):
        x = self.relu(self.conv2(self.relu(self.conv1(x))))
        return self.fc(nn.functional.gelu(x.mean((2, 3))))


def test_an_activation_that_runs_twice_competes_in_each_of_its_calls():
    model, x = Reused().eval(), torch.randn(2, 3, 8, 8)
    text, dense = repr(model), model(x)
    sites = swap_activations(model, {"relu.0": 4, "*": 2})
    assert [(s.name, s.width, s.calls) for s in sites] == [("relu.0", 8, 2), ("relu.1", 4, 2)]
    with observe(model, ["relu.0", "relu.1"]) as outputs:
        model(x)
    assert [(y != 0).float().mean().item() for y in outputs.values()] == [0.25, 0.5]
    revert_activations(model)
    assert repr(model) == text and torch.equal(model(x), dense)
    swap_activations(model, 1, sites=sites)  # the twin: the same places by the same names
    with observe(model, ["relu.0", "relu.1"]):
        assert torch.equal(model(x), dense)


def test_turns_start_anew_after_a_pass_that_an_error_cut_short():
    model, x = Reused().eval(), torch.randn(2, 3, 8, 8)
    swap_activations(model, 2)
    expected, conv2 = model(x), model.conv2
    model.conv2 = nn.Identity()  # 8 channels where the mean wants 4
    with pytest.raises(RuntimeError):
        model(x)
    model.conv2 = conv2
    assert torch.equal(model(x), expected)
    assert torch.equal(copy.deepcopy(model)(x), expected)


def test_what_cannot_compete_is_told_by_name_and_why():
    left = survey(Reused()).left_out()
    assert left[""] == "the function gelu, called in the model itself: make it a module"
    with pytest.raises(ValueError, match=r"known activation but got 'gelu'"):
        activation_sites(Reused(), include="gelu")

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 8)

        def forward(self, x):
            return nn.functional.relu(self.fc(x))

    with pytest.raises(ValueError, match=r"none: .*the function relu, called in the model itself"):
        activation_sites(Functional())


def test_what_opens_a_gate_is_left_out_unless_asked_for():
    import timm

    model = timm.create_model("test_byobnet", num_classes=3, pretrained_cfg_overlay={"input_size": (3, 32, 32)})
    reasons = survey(model).left_out(activation_sites(model))
    assert {"in the stem", "opens a gate", "bounded: a gate"} <= set(reasons.values())
    with pytest.raises(ValueError, match=r"can compete but got 'stages.*gate': bounded: a gate"):
        activation_sites(model, include=next(name for name, why in reasons.items() if why == "bounded: a gate"))


def test_one_module_in_two_places_is_two_places():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 8), shared, nn.Linear(8, 6), shared, nn.Linear(6, 2))
    sites = swap_activations(model, 2)
    assert [site.name for site in sites] == ["1", "3"] and model[1] is not model[3]
    revert_activations(model)
    assert model[1] is shared and model[3] is shared


def test_competitors_by_glob_first_fit_counts_and_every_gap_is_named():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 9), nn.ReLU())
    with pytest.raises(ValueError, match=r"competitors for '5' \(1 such\) but no glob of \['1', '3'\] fits; add '\*'"):
        swap_activations(model, {"1": 4, "3": 2})
    with pytest.raises(ValueError, match="known activation but got '7'"):
        swap_activations(model, {"7": 4, "*": 2})
    with pytest.raises(ValueError, match=r"'5' to be a multiple of competitors=2 but got 9 \(so in 1 of 3 layers\)"):
        swap_activations(model, {"1": 4, "*": 2})
    swap_activations(model, {"5": 1, "1": 4, "*": 2})
    assert {name: layer.groups.competitors for name, layer in competitions(model).items()} == {"1": 4, "3": 2}
    for strange in (0, {"1": -2, "*": 1}):
        with pytest.raises(ValueError, match=r"competitors of at least 1 .* but got"):
            swap_activations(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), strange)


def test_the_survey_leaves_no_trace():
    model = Reused()
    model.conv1.eval()
    before = repr(model), [m.training for m in model.modules()]
    assert "relu.1  ReLU  axis 1, 4 units, fed by conv2" in str(survey(model))
    assert before == (repr(model), [m.training for m in model.modules()])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_comes_back_is_in_the_mode_of_the_network_and_where_it_is():
    model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 2), nn.Dropout(), nn.Linear(2, 4), nn.ReLU())
    swap_activations(model, 2)
    model.eval().to("meta")
    revert_activations(model)
    assert not any(module.training for module in model.modules())
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_nothing_comes_back_where_one_competition_was_written_by_hand():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), StochasticLWTA(2, channel_dim=-1))
    swap_activations(model, 2, sites=activation_sites(model, include="1"))
    with pytest.raises(ValueError, match=r"layer '3' to remember the activation it replaced"):
        revert_activations(model)
    assert isinstance(model[1], StochasticLWTA)


def test_timms_average_of_a_network_is_its_own_and_follows_it():
    """ModelEmaV3: a copy that no update, and no return of the activations, ties to the original."""
    model, x = small_resnet(4, "abc"), torch.randn(2, 3, 32, 32)
    average = ModelEmaV3(model, decay=0.75)
    expected, weights = model(x), {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(average.module(x), expected)
    with torch.no_grad():
        model.fc.bias += 1
    average.update(model)
    assert torch.equal(average.module.fc.bias, 0.75 * weights["fc.bias"] + 0.25 * model.fc.bias)
    assert average.module.state_dict().keys() == weights.keys()
    again = ModelEmaV3(small_resnet(4, "abc"))
    again.load_state_dict(average.state_dict())
    assert torch.equal(again.module(x), average.module(x))
    moved = model(x)
    revert_activations(average.module)
    assert not competitions(average.module) and torch.equal(model(x), moved)
