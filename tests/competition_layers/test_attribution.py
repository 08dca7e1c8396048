"""Claims about the arithmetic of a decision: what is exact, and that what is not is said."""

import gc
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from competition_layers import StochasticLWTA, create_model, inference_rule, noise_state, predict
from competition_layers.attribution import contributions, logits_without

DIRECT, HELD, BENT = "direct", "direct, layer-norm scale frozen", "gradient x activation"


class TwoLayers(nn.Module):
    """fc1, an activation, fc2: few enough numbers to do by hand."""

    def __init__(self, act: nn.Module, tail: nn.Module | None = None):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(12, 6), act, nn.Linear(6, 3)
        self.tail = tail or nn.Identity()

    def forward(self, x):
        return self.tail(self.fc2(self.act(self.fc1(x.flatten(1)))))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 3, 2, 2)


def resnet(competitors: int, **options) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(
        "resnet18", competitors=competitors, num_classes=5, image_size=32, layers=(1, 1, 1, 1), **options
    )
    return _with_biases(model)


def vit(competitors: int, **options) -> nn.Module:
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 48, "num_heads": 2, "patch_size": 8, "num_classes": 5, "image_size": 32}
    return _with_biases(create_model("vit_tiny_patch16_224", competitors=competitors, **small, **options))


def _with_biases(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        else:
            parameter.data *= 3  # an untrained head gives logits that nothing moves
    return model.eval()


def test_a_linear_head_by_hand(x):
    model = TwoLayers(StochasticLWTA(2, channel_dim=-1)).eval()
    found = contributions(model, x, "act")
    assert found.method == DIRECT
    weight, bias = model.fc2.weight.tolist(), model.fc2.bias.tolist()
    for image in range(5):
        h = model.fc1(x[image].flatten()).tolist()
        y = [h[k] if h[k] >= h[(k + 3) % 6] else 0.0 for k in range(6)]  # strided groups: k competes with k + 3
        logits = [sum(w * v for w, v in zip(row, y, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        top, runner_up = sorted(range(3), key=lambda c: -logits[c])[:2]
        assert (int(found.predicted[image]), int(found.runner_up[image])) == (top, runner_up)
        for k in range(6):
            assert found.to_logit[image, k].item() == pytest.approx(weight[top][k] * y[k], abs=1e-6)
            by_hand = (weight[top][k] - weight[runner_up][k]) * y[k]
            assert found.to_margin[image, k].item() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("competitors", [1, 4])
def test_the_last_layer_of_a_resnet_adds_up_to_the_logit(competitors):
    model, x = resnet(competitors), torch.randn(3, 3, 32, 32)
    found = contributions(model, x, model.lwta.sites[-1].name)
    logits = model(x)
    assert found.method == DIRECT
    for image in range(3):
        top = int(found.predicted[image])
        total = found.to_logit[image].double().sum() + model.fc.bias[top]
        assert total.item() == pytest.approx(logits[image, top].item(), abs=1e-4 * max(1, logits.abs().max().item()))


def test_switching_off_a_unit_of_a_linear_path_takes_its_contribution():
    model, x = resnet(4), torch.randn(1, 3, 32, 32)
    layer = model.lwta.sites[-1].name
    found = contributions(model, x, layer)
    for unit in found.to_margin[0].abs().topk(4).indices:
        off = torch.zeros_like(found.to_logit, dtype=torch.bool)
        off[0, unit] = True
        lost = (found.logits - logits_without(model, x, layer, off))[0, found.predicted[0]]
        assert lost.item() == pytest.approx(found.to_logit[0, unit].item(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.parametrize("competitors", [1, 4])
def test_the_last_block_of_a_transformer_is_direct_with_norms_held(pool, competitors):
    model, x = vit(competitors, global_pool=pool), torch.randn(2, 3, 32, 32)
    found = contributions(model, x, "blocks.1.mlp.act")
    assert found.method == HELD
    # oracle: the block's residual stream taken apart by hand, with the norm's statistics as numbers
    seen = {}
    block, norm = model.blocks[1], model.norm if pool == "token" else model.fc_norm
    handles = [
        block.mlp.act.register_forward_hook(lambda m, i, o: seen.update(a=o)),
        norm.register_forward_hook(lambda m, i, o: seen.update(z=i[0])),
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    a = seen["a"][:, 0] if pool == "token" else seen["a"][:, model.num_prefix_tokens :].mean(1)
    z = seen["z"][:, 0] if pool == "token" else seen["z"]
    scale = (z.var(-1, unbiased=False) + norm.eps).rsqrt()
    for image in range(2):
        write = block.mlp.fc2.weight  # [embed, units]
        centred = (write - write.mean(0)) * scale[image] * norm.weight[:, None]
        by_hand = a[image] * (model.head.weight[found.predicted[image]] @ centred)
        assert torch.allclose(found.to_logit[image], by_hand, atol=1e-4, rtol=1e-3)


def test_only_the_class_token_reaches_a_head_that_reads_it():
    found = contributions(vit(4), torch.randn(1, 3, 32, 32), "blocks.1.mlp.act")
    assert found.reaches[0].tolist() == [True] + [False] * 16


def test_a_layer_with_attention_or_activations_behind_it_is_not_called_direct():
    x = torch.randn(2, 3, 32, 32)
    assert contributions(vit(4), x, "blocks.0.mlp.act").method == BENT
    assert contributions(resnet(4), x, "layer3.0.act2").method == BENT


def test_a_bend_that_scaling_cannot_show_is_found(x):
    class Homogeneous(nn.Module):  # relu(fc) without bias: f(0) = 0 and f(a/2) = f(a)/2, and yet not linear
        def __init__(self):
            super().__init__()
            self.fc1, self.act, self.fc2, self.relu = (
                nn.Linear(12, 6),
                nn.ReLU(),
                nn.Linear(6, 3, bias=False),
                nn.ReLU(),
            )
            self.fc3 = nn.Linear(3, 3, bias=False)

        def forward(self, x):
            return self.fc3(self.relu(self.fc2(self.act(self.fc1(x.flatten(1))))))

    assert contributions(Homogeneous().eval(), x, "act").method == BENT


def test_gradient_times_activation_is_the_gradient_of_what_ran():
    # two competitions in a row: the second one's losers must get nothing, though training gives them a share
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.act1 = nn.Linear(12, 6), StochasticLWTA(2, channel_dim=-1)
            self.fc2, self.act2, self.fc3 = nn.Linear(6, 4), StochasticLWTA(2, channel_dim=-1), nn.Linear(4, 3)

        def forward(self, x):
            return self.fc3(self.act2(self.fc2(self.act1(self.fc1(x.flatten(1))))))

    model, x = Two().eval(), torch.randn(1, 3, 2, 2)
    found = contributions(model, x, "act1")
    with torch.no_grad():
        y1 = model.act1(model.fc1(x.flatten(1)))[0]
        h2 = model.fc2(y1)
        passes = torch.stack([h2[k] >= h2[(k + 2) % 4] for k in range(4)]).float()
        by_hand = y1 * ((model.fc3.weight[found.predicted[0]] * passes) @ model.fc2.weight)
    assert torch.allclose(found.to_logit[0], by_hand, atol=1e-6)


def test_a_sampled_network_meets_one_noise_and_keeps_its_own_stream():
    model, x = resnet(4), torch.randn(2, 3, 32, 32)
    layer = model.lwta.sites[-1].name
    with inference_rule(model, "sample"):
        model(x)
        before = noise_state(model)
        found, again = contributions(model, x, layer), contributions(model, x, layer)
        nothing = torch.zeros_like(found.to_logit, dtype=torch.bool)
        assert torch.allclose(logits_without(model, x, layer, nothing), found.logits, atol=1e-5)
        after = noise_state(model)
    assert torch.equal(found.to_margin, again.to_margin)
    assert found.method == DIRECT
    assert before == after


def test_winners_are_the_competition_s_own():
    found = contributions(resnet(4), torch.randn(2, 3, 32, 32), "layer4.0.act2")
    assert (found.won.sum(-1) == 512 // 4).all()
    assert (found.output[~found.won] == 0).all()


def test_an_unknown_layer_is_answered_with_the_nearest_site(x):
    with pytest.raises(
        ValueError, match=r"Expected a known layer but got 'layer4.0.act', did you mean 'layer4.0.act\d'"
    ):
        contributions(resnet(4), torch.randn(1, 3, 32, 32), "layer4.0.act")


def test_one_logit_is_no_decision(x):
    with pytest.raises(ValueError, match="Expected a classifier of at least 2 classes but got logits of shape"):
        contributions(TwoLayers(nn.ReLU(), tail=nn.Linear(3, 1)).eval(), x, "act")


@pytest.mark.parametrize("layer", ["blocks.1.mlp.act", "blocks.0.mlp.act"])
def test_what_is_left_is_what_the_network_gives_without_the_layer(layer):
    model, x = vit(4), torch.randn(2, 3, 32, 32)
    found = contributions(model, x, layer)
    by_hand = logits_without(model, x, layer, torch.ones_like(found.to_logit, dtype=torch.bool))
    missed = (found.logits - by_hand).gather(1, found.target[:, None])[:, 0] - found.to_logit.sum(1)
    if found.method == BENT:  # first order misses something, and it is not called biases and paths around
        assert torch.equal(found.without, by_hand)
        assert missed.abs().max() > 1e-2
    else:  # with the scale frozen there is no more than that
        exact = found.logits.gather(1, found.target[:, None])[:, 0] - found.to_logit.sum(1)
        assert torch.allclose(found.without.gather(1, found.target[:, None])[:, 0], exact, atol=1e-4)


def test_any_class_can_be_explained(x):
    model = TwoLayers(StochasticLWTA(2, channel_dim=-1)).eval()
    for target in range(3):
        found = contributions(model, x, "act", target=target)
        assert found.target.tolist() == [target] * 5
        assert torch.equal(found.predicted, found.logits.argmax(1))
        by_hand = (found.output[:, 0] * model.fc2.weight[target]).detach()
        assert torch.allclose(found.to_logit, by_hand, atol=1e-6)
        others = found.logits.clone()
        others[:, target] = -torch.inf
        assert torch.equal(found.runner_up, others.argmax(1))
    with pytest.raises(ValueError, match="Expected a target class between 0 and 2 but got 3"):
        contributions(model, x, "act", target=3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process as Linux tells it")
@pytest.mark.parametrize("competitors", [1, 4])
def test_no_batch_is_kept(competitors):
    model, x, steps = resnet(competitors), torch.randn(24, 3, 32, 32), 4

    def resident() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    contributions(model, x, model.lwta.sites[-1].name)
    before = resident()
    for _ in range(steps):
        contributions(model, x, model.lwta.sites[-1].name)
    assert (resident() - before) / steps < 2  # MiB; a graph that stays is 8


class Answering(TwoLayers):
    """The same network, with its logits in another wrapping."""

    wrap = staticmethod(lambda logits: logits)

    def forward(self, x):
        return self.wrap(super().forward(x))


@pytest.mark.parametrize(
    "wrap",
    [lambda y: {"loss": None, "logits": y}, lambda y: SimpleNamespace(logits=y, hidden_states=(y,))],
    ids=["dict", "object"],
)
def test_logits_in_a_dict_or_an_object_are_explained_like_plain_ones(x, wrap):
    model = Answering(StochasticLWTA(2, channel_dim=-1)).eval()
    expected = contributions(model, x, "act")
    off = expected.to_logit > 0
    plain, without = predict(model, x), logits_without(model, x, "act", off)
    model.wrap = wrap
    found = contributions(model, x, "act")
    assert found.method == expected.method and torch.equal(found.to_margin, expected.to_margin)
    assert torch.equal(predict(model, x), plain) and torch.equal(logits_without(model, x, "act", off), without)


@pytest.mark.parametrize("wrap", [lambda y: (y, y), lambda y: {"scores": y}], ids=["tuple", "dict without logits"])
def test_answers_without_logits_are_refused(x, wrap):
    model = Answering(StochasticLWTA(2, channel_dim=-1)).eval()
    model.wrap = wrap
    for ask in (predict, lambda *args: contributions(*args, "act")):
        with pytest.raises(ValueError, match=r"Answering to answer with one tensor of logits, .* but got (tuple|dict)"):
            ask(model, x)
