"""Claims about what single units say: it is changed in the weights or by a gate, and a saved network keeps it."""

from copy import deepcopy

import pytest
import torch
from competing import small_resnet

from competition_layers import DecisionLayer, create_model, load_model, save_model, sparse_inference, votes
from competition_layers.attribution import logits_without
from competition_layers.gates import gates, limit_units, scale_units
from competition_layers.observing import observe

LABELS = ("a", "b", "c")
VIT = {"num_classes": 3, "image_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2, "label_names": LABELS}


NETWORKS = {
    "lwta": lambda: small_resnet(4, LABELS),
    "relu": lambda: small_resnet(1, LABELS),
    "pooled": lambda: small_resnet(4, LABELS, decision=DecisionLayer(units=16, competitors=4, at="pooled")),
    "positions": lambda: small_resnet(4, LABELS, decision=DecisionLayer(units=16, competitors=4, at="positions")),
    "vit": lambda: create_model("vit_tiny_patch16_224", competitors=4, **VIT).eval(),
}


@pytest.fixture(params=NETWORKS)
def model(request):
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_switching_off_is_what_logits_without_measures_and_lasts(model, x, tmp_path):
    for n, site in enumerate(model.lwta.sites):
        off = torch.arange(site.width) % 3 == 0
        want = logits_without(model, x, site.name, off.expand(3, -1))
        edited = deepcopy(model)
        by_weights = scale_units(edited, site.name, (~off).float())
        again = load_model(save_model(edited, tmp_path / str(n)))
        for found in (edited, again):
            assert torch.allclose(found(x), want, atol=1e-5)
            assert (site.name in gates(found)) is not by_weights
    assert not gates(model)  # a copy was changed


def test_what_is_read_by_maps_alone_needs_no_gate():
    residual, vit = small_resnet(4, LABELS), create_model("vit_tiny_patch16_224", competitors=4, **VIT)
    assert scale_units(residual, "layer1.0.act1", torch.full((8,), 0.5))
    assert not scale_units(residual, "layer4.0.act2", torch.full((16,), 0.5))  # pooled, then read
    assert scale_units(vit, "blocks.1.mlp.act", torch.full((96,), 0.5))


def test_limits_work_after_the_winner_is_chosen(x):
    model = small_resnet(4, LABELS, decision=DecisionLayer(units=16, competitors=4))
    before = votes(model, x)
    high = torch.full((16,), torch.inf)
    unit = int(before.units[0, 0, 0])
    high[unit] = float(before.values[0, 0, 0]) - 1.0
    limit_units(model, "decision", torch.full((16,), -torch.inf), high)
    after = votes(model, x)
    assert torch.equal(before.units, after.units)  # no rival takes its place
    want = before.values.clone()
    want[before.units == unit] = want[before.units == unit].clamp(max=high[unit])
    assert torch.allclose(after.values, want)


def test_a_loser_stays_silent_whatever_its_limits(x):
    model = small_resnet(4, LABELS)
    with observe(model, ["layer2.0.act2"]) as seen:
        model(x)
    before = seen["layer2.0.act2"]
    limit_units(model, "layer2.0.act2", torch.full((8,), 0.5), torch.full((8,), torch.inf))
    with observe(model, ["layer2.0.act2"]) as seen:
        model(x)
    assert torch.equal(seen["layer2.0.act2"], torch.where(before == 0, before, before.clamp(min=0.5)))


def test_limits_and_factors_are_saved(x, tmp_path):
    model = small_resnet(1, LABELS)
    limit_units(model, "layer4.0.act2", torch.zeros(16), torch.linspace(0.1, 2, 16))
    scale_units(model, "layer4.0.act2", torch.linspace(-1, 1, 16))
    with observe(model, ["layer4.0.act2"]) as seen:
        want = model(x)
    shape = (1, 16, 1, 1)
    h = seen["layer4.0.act2"]
    assert (h <= (torch.linspace(0.1, 2, 16) * torch.linspace(-1, 1, 16)).clamp_min(0).view(shape) + 1e-6).all()
    assert torch.equal(load_model(save_model(model, tmp_path / "m"))(x), want)


@pytest.mark.filterwarnings("ignore:left as they are")
def test_inference_that_reads_the_winners_alone_goes_through_the_gate(x):
    model = create_model("vit_tiny_patch16_224", competitors=4, **VIT).eval()
    limit_units(model, "blocks.1.mlp.act", torch.full((96,), -0.01), torch.full((96,), 0.01))
    with torch.no_grad():
        assert torch.allclose(sparse_inference(model)(x), model(x), atol=1e-5)


def test_slips_are_answered(tmp_path):
    model = small_resnet(4, LABELS)
    with pytest.raises(
        ValueError, match=r"Expected an activation of the network but got 'layer4.0.act3', did you mean"
    ):
        scale_units(model, "layer4.0.act3", torch.ones(16))
    with pytest.raises(ValueError, match=r"a number for each of the 16 units of 'layer4.0.act2' but got \[8\]"):
        scale_units(model, "layer4.0.act2", torch.ones(8))
    with pytest.raises(ValueError, match=r"Expected finite factors of the units of 'layer4.0.act2' but got nan"):
        scale_units(model, "layer4.0.act2", torch.full((16,), torch.nan))
    with pytest.raises(ValueError, match=r"unit 0 of 'layer4.0.act2' with low <= high but got 1 and 0"):
        limit_units(model, "layer4.0.act2", torch.ones(16), torch.zeros(16))


def test_a_foreign_folder_cannot_ask_for_a_gate_elsewhere(tmp_path):
    folder = save_model(small_resnet(4, LABELS), tmp_path / "m")
    config = (folder / "config.json").read_text()
    for key, value in (("gates", '["fc"]'), ("gates", "3"), ("unit_names", '{"fc": {"3": 4}}')):
        (folder / "config.json").write_text(config.replace("{", f'{{"{key}": {value},', 1))
        with pytest.raises(ValueError, match=f"Expected {key} of config.json to be"):
            load_model(folder)
