"""Every layer and every process has its own noise from the start; seeds mean the same in compiled networks."""

import copy
import io
import multiprocessing
from itertools import combinations

import pytest
import torch
from competing import change
from torch import nn

from competition_layers import (
    Competition,
    StochasticLWTA,
    competitions,
    create_model,
    draw_noise,
    fixed_noise,
    load_model,
    predict,
    save_model,
    seed_noise,
    swap_activations,
    winner_mask,
)


def small():
    size = {"image_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2}
    return create_model("vit_tiny_patch16_224", competitors=4, num_classes=3, **size).eval()


def by_hand():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    swap_activations(model, 4)
    return model


def latest_noise(*models):
    """The noise of the next pass of every layer, as it would be for one input."""
    h = torch.zeros(64, 16)
    layers = [layer for model in models for layer in competitions(model).values()]
    return [draw_noise(h, layer.groups, layer.draw(h)).flatten() for layer in layers]


def all_apart(noise):
    return all(abs(torch.corrcoef(torch.stack(pair))[0, 1]) < 0.15 for pair in combinations(noise, 2))


def test_no_two_layers_share_their_noise_whoever_built_them(tmp_path):
    made = small()
    save_model(made, tmp_path / "model")
    buffer = io.BytesIO()
    torch.save(made, buffer)
    buffer.seek(0)
    pickled = torch.load(buffer, weights_only=False)
    models = [made, small(), load_model(tmp_path), copy.deepcopy(made), pickled, by_hand(), copy.deepcopy(by_hand())]
    before = torch.get_rng_state()
    noise = latest_noise(*models)
    assert len(noise) == 19 and all_apart(noise)
    assert torch.equal(before, torch.get_rng_state()), "torch's own stream is not drawn from"


def test_a_copy_of_a_seeded_network_goes_on_as_it_would():
    model = small()
    seed_noise(model, 3)
    latest_noise(model)
    for ours, theirs in zip(latest_noise(copy.deepcopy(model)), latest_noise(model), strict=True):
        assert torch.equal(ours, theirs)


def _report(layer, results):
    torch.manual_seed(0)
    results.put((int(layer.draw(torch.zeros(2, 8))), int(StochasticLWTA(4, channel_dim=-1).draw(torch.zeros(2, 8)))))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_two_processes_that_seed_torch_alike_draw_apart(start):
    context = multiprocessing.get_context(start)
    results, layer = context.Queue(), StochasticLWTA(4, channel_dim=-1)
    layer.draw(torch.zeros(2, 8))
    processes = [context.Process(target=_report, args=(layer, results)) for _ in range(2)]
    for process in processes:
        process.start()
    keys = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert len({key for pair in keys for key in pair}) == 4


def test_ranks_that_seed_torch_alike_draw_apart(monkeypatch):
    keys = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        layer = StochasticLWTA(4, channel_dim=-1)
        layer.stream.number = torch.tensor(7)
        keys.append(int(layer.draw(torch.zeros(2, 8))))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("estimator", ["gumbel", "softmax"])
def test_seeds_mean_the_same_in_a_compiled_network(estimator, backend):
    torch._dynamo.reset()
    model, h = (
        StochasticLWTA(4, channel_dim=-1, competition=Competition(estimator=estimator)).eval(),
        torch.randn(6, 16),
    )
    change(model, inference="sample")
    compiled = torch.compile(model, backend=backend, fullgraph=True)

    def passes(network):
        seed_noise(model, 5)
        first, second = network(h), network(h)
        assert not torch.equal(first, second)
        assert torch.equal(winner_mask(model.winners(h), model.groups), second != 0)
        with fixed_noise(model):
            fixed = network(h)
            assert torch.equal(fixed, network(h))
        return first, second, fixed, predict(network, h, samples=3, generator=torch.Generator().manual_seed(1))

    before = torch.get_rng_state()
    for ours, theirs in zip(passes(compiled), passes(model), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(before, torch.get_rng_state())


def test_a_graph_that_would_hold_one_noise_for_ever_is_refused():
    layer, h = StochasticLWTA(4, channel_dim=-1, competition=Competition(inference="sample")).eval(), torch.randn(2, 16)
    with pytest.raises(ValueError, match=r"to export but it samples its winners; .*inference_rule"):
        torch.export.export(layer, (h,), strict=False)
