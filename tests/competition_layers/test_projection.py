"""Reading winners alone changes nothing but the speed; where it cannot be done, that is said by name."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from competition_layers import (
    Competition,
    Groups,
    StochasticLWTA,
    WinnerProjection,
    competitions,
    create_model,
    inference_rule,
    lwta,
    observe,
    revert_activations,
    seed_noise,
    sparse_inference,
    swap_activations,
)
from competition_layers import winner_projection as projection
from competition_layers.competition import ESTIMATORS
from competition_layers.winner_projection import project_winners
from competition_layers.wiring import readers
from competition_layers.wiring.readers import winner_pairs


def pair(competitors=4, layout="strided", between=(), units=24, **options):
    """Linear, competition, what stands between, Linear."""
    torch.manual_seed(0)
    layer = StochasticLWTA(competitors, channel_dim=-1, competition=Competition(layout=layout, **options))
    return nn.Sequential(nn.Linear(6, units), layer, *between, nn.Linear(units, 5)).eval()


X = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(1))


def sparse(model):
    return sparse_inference(model, X)


@pytest.fixture
def vit():
    return create_model("vit_tiny_patch16_224", competitors=8, num_classes=5, image_size=32, depth=2).eval()


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
@pytest.mark.parametrize("competitors", [2, 3, 24])
@pytest.mark.parametrize("shape", [(24,), (0, 24), (5, 24), (2, 3, 4, 24), (600, 24)])
def test_projecting_winners_is_masking_and_projecting(layout, competitors, shape):
    h, weight, bias = torch.randn(shape), torch.randn(5, 24), torch.randn(5)
    noise = torch.randn(shape)
    for g in (None, noise):
        expected = F.linear(lwta(h, Groups(competitors, channel_dim=-1, layout=layout), noise=g), weight, bias)
        ours = project_winners(
            h, weight.t().contiguous(), bias, Groups(competitors, channel_dim=-1, layout=layout), noise=g
        )
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-30, 3e37])
def test_the_first_of_equals_wins_here_too(value):
    h, table = torch.full((3, 24), value), torch.randn(24, 5)
    expected = F.linear(lwta(h, Groups(8, channel_dim=-1)), table.t())
    torch.testing.assert_close(project_winners(h, table, None, Groups(8, channel_dim=-1)), expected)


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
def test_zeros_of_either_sign_are_equals_and_infinities_compare(layout):
    values = torch.tensor([-torch.inf, -0.0, 0.0, torch.inf])
    h = values[torch.randint(4, (200, 24), generator=torch.Generator().manual_seed(0))]
    h[0] = -torch.inf
    expected = lwta(h.nan_to_num(), Groups(4, channel_dim=-1, layout=layout))
    ours = project_winners(h.nan_to_num(), torch.eye(24), None, Groups(4, channel_dim=-1, layout=layout))
    assert torch.equal(ours, expected)
    assert not project_winners(h, torch.ones(24, 1), None, Groups(4, channel_dim=-1, layout=layout))[0].isfinite().any()


def test_neighbours_one_ulp_apart_are_told_apart():
    h = torch.randn(500, 1).expand(500, 24).clone()
    winner = torch.randint(24, (500, 1))
    h.scatter_(1, winner, torch.nextafter(h[:, :1], torch.tensor(torch.inf)))
    index = project_winners(h, torch.eye(24), None, Groups(24, channel_dim=-1)).ne(0)
    assert torch.equal(index, torch.zeros_like(index).scatter_(1, winner, True))


@pytest.mark.parametrize("inference", ["argmax", "sample"])
@torch.no_grad()
def test_a_nan_is_an_error_that_names_the_competition(inference):
    fast = sparse(pair(inference=inference))
    fast[1].name = "blocks.3.mlp.act"
    x = X.clone()
    x[1, 3] = torch.nan
    with pytest.raises(RuntimeError, match=r"layer 'blocks.3.mlp.act' but got NaN"):
        fast(x)


@torch.no_grad()
def test_a_transformer_gives_the_same_by_either_rule(vit):
    fast, x = sparse_inference(vit), torch.randn(3, 3, 32, 32)
    assert isinstance(fast.blocks[1].mlp.fc2, WinnerProjection)
    torch.testing.assert_close(fast(x), vit(x), atol=1e-5, rtol=1e-5)
    for model in (vit, fast):
        seed_noise(model, 3)
    with inference_rule(vit, "sample"), inference_rule(fast, "sample"):
        drawn = vit(x)
        torch.testing.assert_close(fast(x), drawn, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(vit(x), drawn)


FAMILIES = {  # name: other options, pairs of competition and Linear
    "mixer_s32_224": ({}, 16),
    "swin_tiny_patch4_window7_224": ({"embed_dim": 24, "depths": (1, 1, 2, 1)}, 5),
    "convnext_atto": ({"depths": (1, 1, 1, 1)}, 0),
    "convnext_tiny": ({"depths": (1, 1, 2, 1), "dims": (24, 24, 48, 48)}, 5),
}


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_families_give_the_same_by_either_rule_or_say_what_is_left_alone(name):
    torch.manual_seed(0)
    options, pairs = FAMILIES[name]
    model = create_model(name, competitors=4, num_classes=5, image_size=32, **options).eval()
    nn.init.normal_(model.get_classifier().weight)  # zero in some families
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fast = sparse_inference(model)
    assert sum(isinstance(m, WinnerProjection) for m in fast.modules()) == pairs
    left_alone = winner_pairs(model).left_alone
    assert len(left_alone) == len(competitions(model)) - pairs
    assert all(f"{name}: {reason}" in str(told[0].message) for name, reason in left_alone.items())
    x = torch.randn(2, 3, 32, 32)
    for rule in ("argmax", "sample"):
        with inference_rule(model, rule), inference_rule(fast, rule):
            for network in (model, fast):
                seed_noise(network, 3)
            expected = model(x)
            torch.testing.assert_close(fast(x), expected, atol=1e-5, rtol=1e-5)
            assert expected.std() > 0.1


@pytest.mark.parametrize("estimator", ESTIMATORS)
@torch.no_grad()
def test_every_estimator_gives_the_same_with_the_same_noise(estimator):
    model = pair(estimator=estimator, inference="sample", noise_scale=0.7)
    assert sparse(model)[-1].competes(X) == (estimator != "softmax")
    torch.testing.assert_close(sparse(model)(X), model(X), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_copy_goes_on_where_the_noise_stood():
    model = pair(inference="sample")
    model(X)
    fast = sparse(model)
    torch.testing.assert_close(fast(X), model(X), atol=1e-5, rtol=1e-5)


def test_the_original_is_untouched(vit):
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    vit.train()
    fast = sparse_inference(vit)
    assert vit.training and not fast.training
    assert not [m for m in vit.modules() if isinstance(m, WinnerProjection)]
    assert fast.state_dict().keys() == before.keys()
    for name, value in fast.state_dict().items():
        assert torch.equal(value, before[name])


def test_losers_are_never_read():
    model = pair(units=8, competitors=8)
    fast = sparse(model)
    with torch.no_grad():
        h = model[0](X[0, :1])
        losers = [u for u in range(8) if u != int(h.argmax())]
        fast[-1].weight[:, losers] = torch.nan
        assert not fast(X[0, :1]).isnan().any()


@torch.no_grad()
def test_new_weights_are_used():
    model, fast = pair(), sparse(pair())
    nn.init.normal_(model[-1].weight)
    fast.load_state_dict(model.state_dict())
    torch.testing.assert_close(fast(X), model(X), atol=1e-5, rtol=1e-5)


def test_training_and_gradients_take_the_masked_path():
    model, fast = pair(noise_scale=0.0), sparse(pair(noise_scale=0.0))
    for mode in (True, False):
        ours, theirs = (m.train(mode)(X) for m in (fast, model))
        torch.testing.assert_close(ours, theirs)
        for a, b in zip(
            *(torch.autograd.grad(y.square().sum(), list(m.parameters())) for y, m in ((ours, fast), (theirs, model))),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


@torch.no_grad()
def test_whoever_watches_sees_the_masked_values():
    model, fast = pair(), sparse(pair())
    for name, what in (("1", "output"), ("2", "input")):
        with observe(model, name, what=what) as expected:
            model(X)
        with observe(fast, name, what=what) as seen:
            fast(X)
        assert torch.equal(seen[name], expected[name])


@torch.no_grad()
def test_other_types_take_the_masked_path():
    model, x = pair().double(), X.double()
    fast = sparse_inference(model, x)
    torch.testing.assert_close(fast(x), model(x))
    assert not fast[-1].competes(x)
    assert not fast[-1].competes(X)
    fast.float()
    assert fast[-1].competes(X)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fast[-1].competes(X)


@pytest.mark.slow
@pytest.mark.parametrize("fewest", [0, projection._FEWEST_COMPILED])
@torch.no_grad()
def test_a_compiled_copy_gives_the_same_and_steps_aside_for_few_tokens(fewest, monkeypatch):
    monkeypatch.setattr(projection, "_FEWEST_COMPILED", fewest)
    torch._dynamo.reset()
    compiled = torch.compile(sparse(pair()), fullgraph=True, backend="aot_eager")
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        torch.testing.assert_close(compiled(X), pair()(X), atol=1e-5, rtol=1e-5)
    assert any("embedding_bag" in event.name for event in seen.events()) == (fewest == 0)


class Both(nn.Module):
    """The activation is read twice."""

    def __init__(self):
        super().__init__()
        self.inside = pair()

    def forward(self, x):
        h = self.inside[1](self.inside[0](x))
        return self.inside[2](h).sum() + h.sum()


class Twice(nn.Module):
    """The competition runs twice."""

    def __init__(self):
        super().__init__()
        self.inside = pair()

    def forward(self, x):
        return self.inside(x) + self.inside(-x)


class Borrowed(nn.Module):
    """The Linear's weights are used, but the module is not called."""

    def __init__(self):
        super().__init__()
        self.inside = pair()

    def forward(self, x):
        return F.linear(self.inside[:2](x), self.inside[2].weight)


class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2)


@pytest.mark.parametrize(
    "between", [(), (nn.Identity(), nn.Dropout(0.5)), (nn.Dropout(0.5, inplace=True),)], ids=["0", "1", "2"]
)
def test_a_pair_may_have_modules_between_that_do_nothing_in_evaluation(between):
    model = pair(between=between)
    assert winner_pairs(model, X).linear == {"1": str(len(model) - 1)}
    with torch.no_grad():
        torch.testing.assert_close(sparse(model)(X), model(X), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "model, name, reason",
    [
        (pair(between=(nn.ReLU(),)), "1", "read by relu"),
        (pair(between=(nn.LayerNorm(24),)), "1", "read by layer_norm"),
        (pair(between=(InPlace(),)), "1", "read by mul_"),
        (pair()[:2], "1", "read by the caller"),
        (nn.Sequential(StochasticLWTA(7, channel_dim=1), nn.Linear(6, 5)).eval(), "0", "its units are on axis 1"),
        (Both(), "inside.1", "read by linear, sum"),
        (Twice(), "inside.1", "it ran 2 times"),
        (Borrowed(), "inside.1", "read by linear"),
    ],
)
def test_what_is_left_alone_is_said_by_name(model, name, reason):
    with pytest.warns(UserWarning, match=f"{name}: {reason}"), torch.no_grad():
        torch.testing.assert_close(sparse(model)(X), model(X))


def test_a_wide_layer_of_pairs_is_left_alone(monkeypatch):
    monkeypatch.setattr(readers, "_MOST_WEIGHTS_OF_PAIRS", 100)
    with pytest.warns(UserWarning, match="1: half of 24 x 5 weights are not read faster"):
        sparse(pair(2))
    assert winner_pairs(pair(3), X).linear


def test_feature_maps_are_left_alone():
    model = create_model("resnet18", competitors=8, num_classes=5, image_size=32)
    assert set(winner_pairs(model).left_alone.values()) >= {"read by conv2d"}


def test_a_model_of_unknown_size_asks_for_an_example():
    with pytest.raises(ValueError, match="Expected an example input for Sequential"):
        sparse_inference(nn.Sequential(nn.Embedding(4, 8), StochasticLWTA(2, channel_dim=-1)))


def by_hand(fast):
    fast.blocks[0].mlp.act = nn.GELU()
    fast.blocks[1].mlp.act = nn.GELU()


def replaced_around(fast):
    for block in fast.blocks:
        block.mlp.act = nn.Sequential(nn.GELU())


@pytest.mark.parametrize("change", [revert_activations, by_hand, replaced_around], ids=lambda change: change.__name__)
@torch.no_grad()
def test_a_fast_copy_whose_activations_come_back_is_the_dense_network(vit, change):
    fast, x = sparse_inference(vit), torch.randn(2, 3, 32, 32)
    change(fast)
    revert_activations(vit)
    torch.testing.assert_close(fast(x), vit(x), atol=1e-5, rtol=1e-5)


class Wrapped(nn.Module):
    """A Linear with something beside it, as adapters of low rank have."""

    def __init__(self, linear):
        super().__init__()
        self.base, self.beside = linear, nn.Linear(linear.in_features, linear.out_features)

    def forward(self, x):
        return self.base(x) + self.beside(x)


@torch.no_grad()
def test_a_linear_that_is_wrapped_replaced_or_moved_reads_what_the_competition_gives(vit):
    x = torch.randn(2, 3, 32, 32)
    for model in (vit, fast := sparse_inference(vit)):
        torch.manual_seed(0)
        model.blocks[0].mlp.fc2 = Wrapped(model.blocks[0].mlp.fc2)
        model.blocks[1].mlp.fc2 = nn.Linear(768, 192)
    torch.testing.assert_close(fast(x), vit(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_copies_of_a_fast_copy_and_competitions_anew_are_what_they_were(vit):
    x = torch.randn(2, 3, 32, 32)
    fast = copy.deepcopy(sparse_inference(vit))
    assert fast.blocks[0].mlp.fc2.competes(x)
    torch.testing.assert_close(fast(x), vit(x), atol=1e-5, rtol=1e-5)
    for model in (vit, fast):
        revert_activations(model)
        swap_activations(model, 4, sites=model.lwta.sites)
    torch.testing.assert_close(fast(x), vit(x), atol=1e-5, rtol=1e-5)
    block = sparse_inference(vit).blocks[0]
    h = torch.randn(2, 5, 192)
    torch.testing.assert_close(copy.deepcopy(block)(h), vit.blocks[0](h), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_dropout_between_that_begins_to_drop_is_an_error_by_name():
    fast = sparse(pair(between=(nn.Dropout(0.5),)))
    fast[2].train()
    with pytest.raises(RuntimeError, match=r"Expected what layer '1' hands on at '3' but got other values"):
        fast(X)
