"""A GPU computes what a CPU computes, compiled and in half precision: competitions, decision layers, attribution."""

import copy

import pytest
import torch
from competing import small_resnet

from competition_layers import (
    Competition,
    DecisionLayer,
    StochasticLWTA,
    attribution_graph,
    competitions,
    create_model,
    load_model,
    save_model,
    seed_noise,
    sparse_inference,
    votes,
)
from competition_layers.attribution import contributions
from competition_layers.competition import ESTIMATORS
from competition_layers.noise import key_of, uniform_noise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    # torch's own words while it compiles, and where a kernel's order of sums is not fixed
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
LABELS = ("beach", "city", "farm", "park")
NOISES = (0.0, 1.0)


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def vit(competitors: int = 8, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 64, "num_heads": 2, "patch_size": 8, "num_classes": 4, "image_size": 32}
    return create_model("vit_tiny_patch16_224", competitors=competitors, **small, **options)


def layer(estimator: str, noise: float, *, device: str) -> StochasticLWTA:
    made = StochasticLWTA(8, channel_dim=-1, competition=Competition(noise_scale=noise, estimator=estimator))
    seed_noise(made, 3)
    return made.train().to(device)


def passed(estimator: str, noise: float, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and gradient of 64 x 9 x 96 inputs."""
    x = torch.randn(64, 9, 96, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    y = layer(estimator, noise, device=device)(x)
    (y * torch.linspace(-1, 1, 96, device=device)).sum().backward()
    return y.detach().cpu(), x.grad.cpu()


def test_noise_is_a_function_of_key_and_place_on_every_device():
    there = uniform_noise([300, 7, 96], key_of(1, 2), "cuda").cpu()
    assert torch.equal(there, uniform_noise([300, 7, 96], key_of(1, 2)))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_competition_and_its_gradient_are_those_of_a_cpu(estimator, noise):
    (y, gradient), (y_there, gradient_there) = (passed(estimator, noise, device) for device in ("cpu", "cuda"))
    alike = ((y != 0) == (y_there != 0)).all(-1)  # a draw within rounding of a tie may fall either way
    assert alike.float().mean() > 0.998
    torch.testing.assert_close(y_there[alike], y[alike], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient_there[alike], gradient[alike], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("noise", NOISES)
def test_half_precision_has_one_winner_a_group_and_finite_gradients(dtype, noise):
    x = (100 * torch.randn(64, 96, device="cuda")).to(dtype).requires_grad_()
    y = layer("gumbel", noise, device="cuda")(x)
    y.float().sum().backward()
    assert ((y.unflatten(-1, (8, 12)) != 0).sum(1) == 1).all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("noise", NOISES)
def test_a_network_learns_by_heart(autocast, noise):
    model = vit(competition=Competition(noise_scale=noise)).cuda().train()
    x, y = torch.randn(32, 3, 32, 32, device="cuda"), torch.arange(32, device="cuda") % 4
    optimizer, scaler = torch.optim.AdamW(model.parameters(), 3e-3), torch.amp.GradScaler(enabled=autocast is not None)
    losses = []
    for _ in range(60):
        with torch.autocast("cuda", autocast, enabled=autocast is not None):
            loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("noise", NOISES)
def test_a_compiled_network_gives_the_gradients_of_an_eager_one(noise):
    model = vit(competition=Competition(noise_scale=noise)).cuda().train()
    x = torch.randn(8, 3, 32, 32, device="cuda")
    if noise:  # which draws a compiled network meets is its own: as many winners, finite gradients
        torch.compile(model)(x).sum().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        return
    compiled = copy.deepcopy(model)
    model(x).square().sum().backward()
    torch.compile(compiled)(x).square().sum().backward()
    for mine, other in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("u", [2, 8])
def test_reading_winners_alone_gives_the_same_answers(u, compiled):
    model = vit(u).cuda().eval()
    x = torch.randn(16, 3, 32, 32, device="cuda")
    network = sparse_inference(model)
    with torch.inference_mode():
        found = (torch.compile(network) if compiled else network)(x)
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", ["pooled", "positions"])
@pytest.mark.parametrize("network", [vit, lambda **o: small_resnet(4, LABELS, **o)])
def test_bias_and_votes_are_the_logits(network, at):
    model = network(decision=DecisionLayer(32, 8, at=at)).cuda().eval()
    x = torch.randn(6, 3, 32, 32, device="cuda")
    found = votes(model, x)
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(found.votes.sum((1, 2)) + found.bias, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(votes(model.cpu(), x.cpu()).logits, expected.cpu(), rtol=1e-4, atol=1e-4)


def test_contributions_and_graphs_are_those_of_a_cpu():
    model = vit(decision=DecisionLayer(32, 8)).eval()
    x = torch.randn(1, 3, 32, 32)
    here, graph = contributions(model, x, "decision"), attribution_graph(model, x, units=3)
    model, x = model.cuda(), x.cuda()
    there, graph_there = contributions(model, x, "decision"), attribution_graph(model, x, units=3)
    torch.testing.assert_close(there.to_margin.cpu(), here.to_margin, rtol=1e-3, atol=1e-4)
    assert [node.id for node in graph.nodes] == [node.id for node in graph_there.nodes]


def test_a_model_saved_on_a_gpu_opens_on_a_cpu(tmp_path):
    model = vit().cuda().eval()
    save_model(model, tmp_path / "model")
    opened = load_model(tmp_path / "model").eval()
    assert {p.device.type for p in opened.parameters()} == {"cpu"} and competitions(opened)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(opened(x), model(x.cuda()).cpu(), rtol=1e-4, atol=1e-4)
