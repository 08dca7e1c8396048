"""The decision layer: exact on every family, saved, reverted, exported, refused with the numbers that would do."""

import copy
import math
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from competition_layers import (
    DecisionHead,
    DecisionLayer,
    Groups,
    add_decision,
    balance_loss,
    competitions,
    create_model,
    decision_features,
    focus_loss,
    load_model,
    revert_activations,
    save_model,
    seed_noise,
    sparse_inference,
    value_places,
    votes,
)
from competition_layers.attribution import contributions
from competition_layers.heads import put_classifier_back, take_classifier_out
from competition_layers.wiring.readers import winner_pairs

from .test_families import ALWAYS, ON_REQUEST

POOLED = DecisionLayer(units=24, competitors=8)
POSITIONS = replace(POOLED, at="positions")
WITHOUT_PLACES = {"coat_tiny", "crossvit_9_240", "efficientvim_m1", "efficientvit_b0", "inception_next_atto",
                  "pit_ti_224", "volo_d1_224"}  # fmt: skip
every_family = pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.slow) for name in ON_REQUEST)]
)


def small(name, decision=POOLED, **options):
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    size = {**ALWAYS, **ON_REQUEST}[name]
    size, args = size if isinstance(size, tuple) else (size, {})
    torch.manual_seed(0)
    options = {"competitors": 1, "num_classes": 3, "image_size": size} | args | options
    model = create_model(name, decision=decision, **options).eval()
    return model, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_adds_up(found, model, x):
    total = found.bias + found.votes.sum((1, 2))
    assert ((found.logits - total).abs() <= 1e-5 * found.logits.abs().amax()).all()
    assert torch.equal(found.logits, model(x))


@every_family
def test_a_logit_is_the_bias_and_the_votes_on_every_family(name):
    model, x = small(name)
    with torch.no_grad():
        found = votes(model, x)
        assert_adds_up(found, model, x)
        assert found.units.shape == (2, 1, 3) and found.places == ()
        assert (found.units % 3 == torch.arange(3)).all()  # strided: group b holds b, b+3, ...
        features = model.forward_head(model.forward_features(x), pre_logits=True)
        h = features @ model.decision_units.weight.T + model.decision_units.bias
        assert torch.allclose(h.unflatten(1, (8, 3)).amax(1), found.values[:, 0], rtol=1e-4, atol=1e-5)


@every_family
def test_pooled_features_are_those_the_classifier_read(name):
    model, x = small(name, None)
    classifier = model.pretrained_cfg["classifier"]
    head = model.get_submodule(classifier) if isinstance(classifier, str) else None
    if not isinstance(head, nn.Linear) or name == "volo_d1_224":
        pytest.skip("its logits are no single linear map")
    with torch.no_grad():
        logits = model(x)
        weight, bias = head.weight.clone(), head.bias.clone()
        add_decision(model, POOLED)
        assert torch.allclose(decision_features(model, x) @ weight.T + bias, logits, rtol=1e-4, atol=1e-5)


@every_family
def test_votes_have_places_on_every_family(name):
    if name in WITHOUT_PLACES:
        with pytest.raises(ValueError, match=r"Expected features with places .*; at='pooled' would do"):
            small(name, POSITIONS)
        return
    model, x = small(name, POSITIONS)
    with torch.no_grad():
        found = votes(model, x)
        assert_adds_up(found, model, x)
        features = decision_features(model, x)
    assert features.shape == (2, *found.places, model.decision_units.in_features)
    tokens = getattr(model, "num_prefix_tokens", 0)
    if len(found.places) == 1 and tokens:
        assert found.places[0] == model.forward_features(x).shape[1] - tokens


@pytest.mark.parametrize(
    "name, decision",
    [
        ("test_vit", POOLED),
        ("test_resnet", POSITIONS),
        pytest.param("test_vit", POSITIONS, marks=pytest.mark.slow),
        pytest.param("test_resnet", POOLED, marks=pytest.mark.slow),
    ],
)
def test_a_decision_layer_is_saved_loaded_copied_exported_and_put_back(name, decision, tmp_path):
    model, x = small(name, decision, competitors=2)
    dense, _ = small(name, None)
    site = model.lwta.sites[-1]
    assert site.name == "decision" and list(competitions(model))[-1] == "decision"

    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path)
    with torch.no_grad():
        logits = model(x)
        assert torch.equal(loaded(x), logits) and loaded.lwta.decision == decision
        assert torch.equal(copy.deepcopy(model)(x), logits)
        exported = torch.export.export(model, (x,)).module()
        assert torch.allclose(exported(x), logits, atol=1e-6)

    for each in (model, loaded):
        revert_activations(each)
        assert repr(each) == repr(dense)
        assert each.lwta.decision is None and "decision" not in {site.name for site in each.lwta.sites}
    with torch.no_grad():
        assert model(x).shape == (2, 3)


def test_the_second_map_reads_winners_alone():
    model, x = small("test_resnet")
    assert winner_pairs(model, x).linear["decision"] == "decision_votes"
    with torch.no_grad():
        assert torch.allclose(sparse_inference(model, x)(x), model(x), atol=1e-6)


def test_contributions_at_the_decision_layer_leave_the_bias_alone():
    model, x = small("test_vit", POSITIONS)
    found = contributions(model, x, "decision")
    assert found.method == "direct"
    assert torch.allclose(found.without, model.decision_votes.bias.expand(2, -1), atol=1e-6)
    by_unit = votes(model, x)
    lead = by_unit.by_unit(by_unit.to_lead(found.target, found.runner_up))
    assert torch.allclose(lead, found.to_margin, atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "swin_tiny_patch4_window7_224", "mixer_s32_224"])
def test_a_pooled_value_is_the_sum_of_its_places(name):
    model, x = small(name)
    found, pooled = value_places(model, x), votes(model, x)
    assert torch.allclose(found.shares.sum(-1) + found.constant, pooled.values[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "heads"),
    [
        ("deit_tiny_distilled_patch16_224", 32, ("head", "head_dist")),
        ("levit_128s", 32, ("head.linear", "head_dist.linear")),
    ],
)
def test_of_distilled_networks_both_heads_go_and_come_back(name, size, heads):
    options = {"competitors": 1, "num_classes": 3, "image_size": size} | ({"depth": 1} if "deit" in name else {})
    model, x = create_model(name, decision=POOLED, **options).eval(), torch.randn(2, 3, size, size)
    answers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 3]
    assert answers == ["decision_votes"]
    with torch.no_grad():
        assert_adds_up(votes(model, x), model, x)
    revert_activations(model)
    assert tuple(n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 3) == heads


@pytest.mark.parametrize("decision", [POOLED, POSITIONS], ids=["pooled", "positions"])
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_dropout_before_the_layer_is_the_backbones_own(name, decision):
    options = {"competitors": 1, "num_classes": 3, "image_size": 64, "drop_rate": 0.5}
    model, x = create_model(name, decision=decision, **options), torch.randn(8, 3, 64, 64)
    assert 0.3 < (decision_features(model.train(), x) == 0).float().mean() < 0.7
    assert (decision_features(model.eval(), x) != 0).all()


def test_a_class_token_has_no_places():
    model, x = small("test_vit")
    found = value_places(model, x)  # all of the value is at the class token, which is a place of the map
    assert (found.shares[..., 1:] == 0).all()


def test_a_hidden_layer_after_the_pooling_has_no_places():
    model, _ = small("mobilenetv3_small_050", image_size=64)
    with pytest.raises(ValueError, match=r"linear in the map .* there is a bend"):
        value_places(model, torch.randn(2, 3, 64, 64))


@pytest.mark.parametrize(
    "name, side",
    [
        ("resnet18", 64),
        ("mobilenet_v2", 64),
        ("squeezenet1_1", 64),
        pytest.param("vit_b_32", 224, marks=pytest.mark.slow),
    ],
)
def test_torchvision_networks_take_one(name, side):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=4).eval()
    text = repr(model)
    x = torch.randn(1, 3, side, side)
    if name == "squeezenet1_1":
        with pytest.raises(ValueError, match=r"got 'classifier\.9'"):
            add_decision(model, POOLED, classifier="classifier.9")
        add_decision(model, POOLED, classifier="classifier.1")
    else:
        add_decision(model, POOLED)
    with torch.no_grad():
        assert_adds_up(votes(model, x), model, x)
    revert_activations(model)
    assert repr(model) == text


class Early(nn.Module):
    """Its classifier is registered first, and another map last."""

    def __init__(self):
        super().__init__()
        self.answer, self.body, self.unused = nn.Linear(6, 4), nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        return self.answer(self.body(x).relu())


class Twice(Early):
    """Its answer is a sum of two."""

    def forward(self, x):
        return self.answer(self.body(x)) + self.unused(self.body(x))[:, :4]


def test_the_classifier_is_what_answers_wherever_it_is_registered():
    torch.manual_seed(0)
    model, x = Early().eval(), torch.randn(2, 8)
    before = model(x)
    features, classes = take_classifier_out(model, inputs=x)
    assert (len(features.mean), classes) == (6, 4) and torch.equal(model(x), model.body(x).relu())
    put_classifier_back(model)
    assert torch.equal(model(x), before)
    with pytest.raises(ValueError, match=r"one layer that gives the answer of Twice but found answer, unused; name"):
        take_classifier_out(Twice(), inputs=x)


def test_torchvision_resnets_vote_at_positions():
    torch.manual_seed(0)
    model = models.resnet18(weights=None, num_classes=4).eval()
    weight = model.fc.weight.clone()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits = model(x) - model.fc.bias
        add_decision(model, POSITIONS)
        found = votes(model, x)
        assert found.places == (4,)
        assert_adds_up(found, model, x)
        assert torch.allclose(decision_features(model, x).mean(1) @ weight.T, logits, atol=1e-5)


def test_a_balanced_use_costs_nothing_and_an_unused_unit_much():
    groups = Groups(2, channel_dim=-1)
    even = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])  # each image has a clear winner
    assert balance_loss(even, groups) == pytest.approx(0.0, abs=1e-6)
    p = torch.tensor([[9.0, -9.0]]).softmax(1)
    assert balance_loss(even[:1], groups).item() == pytest.approx(-(p.log().sum() / 2 + torch.tensor(2.0).log()).item())
    maps = even.view(1, 1, 2, 2).movedim(-1, 1)  # channels first
    assert balance_loss(maps, Groups(2, channel_dim=1)) == pytest.approx(0.0, abs=1e-6)


def test_focus_is_the_entropy_of_shares_in_the_lead():
    weight = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0], [-5.0, -5.0, 0.0]])
    said = torch.tensor([[1.0, 0.5, 2.0], [3.0, 0.0, 0.0]], requires_grad=True)
    focus = focus_loss(said, said @ weight.t(), weight)  # votes to the leads: 1, 1, -2; 3 of one unit
    assert focus.item() == pytest.approx((0.5 * math.log(4) + 0.5 * math.log(2)) / 2, abs=1e-4)
    focus.backward()
    assert said.grad.isfinite().all()


def test_units_of_a_group_start_with_the_same_votes_and_groups_with_others():
    weight = DecisionHead(6, 5, DecisionLayer(12, 3)).decision_votes.weight.unflatten(1, (3, 4))  # strided
    assert torch.equal(weight, weight[:, :1].expand_as(weight))
    between = weight[:, 0].t() @ weight[:, 0]
    assert torch.allclose(between, 5 / 4 * torch.eye(4), atol=1e-5)  # entries of variance 1 / groups


def test_noise_is_met_in_training_alone():
    head = DecisionHead(5, 3, DecisionLayer(8, 4, noise_scale=9.0))
    x = torch.randn(4, 5)
    seed_noise(head, 0)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"units": 100, "competitors": 32}, "of 100 units to be one of 2, 4, 5, 10, 20, 25, 50, 100 but got 32"),
        ({"units": 16, "competitors": 32}, "one of 2, 4, 8, 16 but got 32: more competitors than units"),
        ({"units": 512, "competitors": 512}, "64, 128 but got 512: more than the 255 that a group may have"),
        ({"at": "pool"}, "Expected at to be 'pooled' or 'positions' but got 'pool'"),
        ({"noise_scale": -1.0}, "noise_scale"),
        ({"balance": -1.0}, "Expected balance to be a number >= 0 but got -1.0"),
        ({"focus": -1.0}, "Expected focus to be a number >= 0 but got -1.0"),
        ({"votes": "positive"}, "Expected votes to be one of free, non_negative but got 'positive'"),
        ({"balance": float("nan")}, "Expected balance to be a number >= 0 but got nan"),
        (
            {"units": 0, "competitors": 1},
            "at least 2 units, in groups of 2 to 255, but got 0; 32 in groups of 32 would do",
        ),
        ({"units": 257, "competitors": 257}, "but got 257; 256 in groups of 32 would do"),
        ({"units": 64.0, "competitors": 16}, r"Expected units to be a whole number but got 64\.0"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused_with_those_that_do(options, text):
    with pytest.raises(ValueError, match=text):
        DecisionLayer(**options)


def test_a_network_with_one_or_without_classifier_is_refused():
    model, _ = small("test_resnet")
    with pytest.raises(ValueError, match="Expected a network without decision layer but ResNet has one"):
        add_decision(model, POOLED)
    with pytest.raises(ValueError, match="a classifier but ResNet was built with num_classes=0"):
        small("test_resnet", num_classes=0)
    plain, _ = small("test_resnet", None)
    before = plain(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="got one for 7 and 3"):
        add_decision(plain, POOLED, head=DecisionHead(7, 3, POOLED))
    with pytest.raises(ValueError, match="Expected the head's own options, DecisionLayer"):
        add_decision(plain, replace(POOLED, balance=0.5), head=DecisionHead(7, 3, POOLED))
    assert torch.equal(plain(torch.zeros(1, 3, 32, 32)), before)  # as it was
    with pytest.raises(ValueError, match=r"Expected 7 features, as this .* but got \[2, 5\]: those of another"):
        DecisionHead(7, 3, POOLED)(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="has none: create_model"):
        votes(small("test_resnet", None)[0], torch.zeros(1, 3, 32, 32))
