"""Claims about the checks beside an explanation: each is what the network gives, and a disagreement is said first."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from competing import change, small_resnet
from torch import nn

from competition_layers.attribution import contributions, logits_without
from dissect import explain, explanation_text, render_report
from dissect.explaining.curves import unit_curves
from dissect.explaining.disagreements import disagreements
from dissect.explaining.picture import network_input
from dissect.explaining.stability import stability

LABELS = ("beach", "city", "farm", "park")
LAST, EARLIER = "layer4.0.act2", "layer3.0.act1"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    model = small_resnet(4, LABELS)
    for module in model.modules():  # a fresh block adds nothing to its input
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data += 0.5
    return model


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("layer", [LAST, EARLIER])
def test_the_curves_are_the_network_with_the_strongest_units_off_and_alone_on(model, x, layer):
    found = contributions(model, x, layer)
    (curves,) = unit_curves(model, x, layer, found)
    target, width = int(found.target[0]), found.to_margin.shape[1]
    won = (found.won[0] & found.reaches[0, :, None]).any(0).tolist()
    order = sorted((u for u in range(width) if won[u]), key=lambda u: -float(found.to_margin[0, u]))
    assert curves.counts[-1] == len(order)
    for i, count in enumerate(curves.counts):
        first = order[:count]
        alone = [u for u in range(width) if u not in first]
        for off, height in ((first, curves.deletion[i]), (alone, curves.insertion[i])):
            mask = torch.zeros(1, width, dtype=torch.bool)
            mask[0, off] = True
            logits = logits_without(model, x, layer, mask)[0]
            assert logits.softmax(0)[target].item() == pytest.approx(height, abs=1e-5)
    steps = zip(curves.counts, curves.counts[1:], curves.deletion, curves.deletion[1:], strict=False)
    by_hand = sum((b - a) * (p + q) / 2 for a, b, p, q in steps) / len(order)
    assert curves.deletion_area == pytest.approx(by_hand, abs=1e-5)


def test_one_image_with_many_units_off_is_what_each_alone_would_give(model, x):
    off = torch.rand(5, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    for layer in (LAST, EARLIER, "layer1.0.act1"):
        off_here = off.repeat(1, model.get_submodule(layer)(model_input(model, layer, x)).shape[1] // 16 + 1)
        off_here = off_here[:, : model_input(model, layer, x).shape[1]]
        together = logits_without(model, x, layer, off_here)
        alone = torch.cat([logits_without(model, x, layer, row[None]) for row in off_here])
        assert torch.allclose(together, alone, atol=1e-4)


def model_input(model: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        model(x)
    handle.remove()
    return seen[0]


def test_a_network_after_which_something_writes_in_place_is_still_switched_off(x):
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.act, self.fc2 = nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 6)

        def forward(self, x):
            before = self.fc1(x.flatten(1))
            before += self.fc2(self.act(before))
            return before

    model, small = Adds().eval(), torch.randn(1, 3, 2, 2)
    off = torch.eye(6, dtype=torch.bool)
    alone = torch.cat([logits_without(model, small, "act", row[None]) for row in off])
    assert torch.allclose(logits_without(model, small, "act", off), alone, atol=1e-6)


def test_a_unit_that_always_wins_is_steady_and_one_that_is_drawn_is_not(model, x):
    found = contributions(model, x, LAST)
    units = found.to_margin[0].abs().topk(4).indices.tolist()
    (steady,) = stability(model, x, LAST, found, [units])
    assert all(0 <= share <= 1 for unit in steady.units for share in (unit.draws, unit.noise, unit.shifts))
    blank = torch.zeros_like(x)  # has no noise of its own to be scaled, and no edge to be shifted
    found = contributions(model, blank, LAST)
    (same,) = stability(model, blank, LAST, found, [units])
    won = (found.won[0] & found.reaches[0, :, None]).any(0)
    assert [unit.noise for unit in same.units] == [float(won[u]) for u in units] == [unit.shifts for unit in same.units]
    assert same.answer.noise == same.answer.shifts == 1


def test_a_network_without_noise_has_no_draws(x):
    quiet = change(small_resnet(4, LABELS), noise_scale=0.0)
    found = contributions(quiet, x, LAST)
    assert stability(quiet, x, LAST, found, [[0]])[0].units[0].draws is None
    dense = small_resnet(1, LABELS)
    assert stability(dense, x, LAST, contributions(dense, x, LAST), [[0]]) == [None]


def test_where_check_and_statement_disagree_that_stands_first(model, tmp_path: Path):
    from PIL import Image

    pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    agreed = explain(model, Image.fromarray(pixels.numpy()))
    bent = dataclasses.replace(
        agreed,
        lead=dataclasses.replace(agreed.lead, units=agreed.together.lead * 2),
        random_lead=2 * agreed.together.lead,
    )
    said = disagreements(bent)
    assert any("the second is what happens" in each for each in said)
    assert any("drawn at random, change the lead as much" in each for each in said)
    lines = explanation_text(bent).splitlines()
    assert lines[1].startswith("  Read with care: Figure by figure these units add")
    page = render_report(tmp_path / "p.html", [bent])
    text = page.read_text("utf-8")
    assert text.index("Read with care") < text.index('class="sentence"')
    record = json.loads(page.with_suffix(".json").read_text("utf-8"))["explanations"][0]
    assert record["disagreements"] == list(said)
    assert set(record["checks"]["curves"]) >= {"counts", "deletion", "insertion", "deletion_area"}
    assert len(record["checks"]["stability"]["units"]) == len(bent.units)
    shown = re.findall(r"<polyline[^>]*points=\"([^\"]*)\"", text)
    assert len(shown[0].split()) == len(bent.checks.curves.counts)


def test_checks_meet_the_picture_as_the_network_takes_it(model):
    from PIL import Image

    picture = Image.new("RGB", (40, 32), "teal")
    found = explain(model, picture)
    x = network_input(model, picture)
    assert found.checks.curves.deletion[0] == pytest.approx(model(x).softmax(1).max().item(), abs=1e-5)
