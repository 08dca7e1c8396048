"""Claims about explanations of a decision layer: the few votes are the whole decision, and switches are arithmetic."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import open_browser
from PIL import Image

from competition_layers import DecisionLayer, create_model, votes
from competition_layers.attribution import logits_without
from dissect import Explanation, explain, render_report
from dissect.explaining.picture import network_input
from dissect.report import explanation_text

LABELS = ("beach", "city", "farm", "park")


def network(at: str, units: int = 32, competitors: int = 8) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(
        "resnet18", competitors=4, num_classes=4, image_size=32, label_names=LABELS, layers=(1, 1, 1, 1),
        channels=(8, 8, 16, 16), output_stride=8, decision=DecisionLayer(units, competitors, at=at),
    )  # fmt: skip
    model.decision_votes.bias.data[:] = torch.tensor([0.1, -0.2, 0.05, 0.0])
    return model.eval()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_the_votes_are_the_whole_decision(at, picture):
    explanation = explain(network(at), picture)
    assert explanation.at.decision
    assert explanation.at.layer == "decision"
    bias = [0.1, -0.2, 0.05, 0.0]
    target, runner_up = LABELS.index(explanation.target), LABELS.index(explanation.runner_up)
    lead = explanation.lead
    assert lead.without == pytest.approx(bias[target] - bias[runner_up], abs=1e-6)
    assert lead.total == pytest.approx(lead.units + lead.others + lead.without, abs=1e-5)
    assert lead.missed == pytest.approx(0, abs=1e-5)
    for effect in explanation.units:  # and switching one off takes just its vote
        assert effect.off.lead == pytest.approx(effect.to_lead, abs=1e-5)


def test_why_it_is_not_what_the_picture_shows_is_told(picture):
    found = explain(network("pooled"), picture)
    told = [replace(found, truth=label).to_dict()["words"] for label in LABELS]
    for label, words in zip(LABELS, told, strict=True):
        said = [each for each in words if "which it shows" in each]
        if label in (found.target, found.runner_up):
            assert not said  # the page is about just that
            continue
        over = explain(network("pooled"), picture, target=(found.label, label))
        most = max(over.units, key=lambda unit: unit.to_lead)
        assert said[0].startswith(f"{label}, which it shows, is {over.lead.total:.2f} behind")
        if most.unit in {unit.unit for unit in found.units}:
            assert f"mostly by {most.label} (+{most.to_lead:.2f})" in said[0]
    assert sum(map(len, told)) == 2 + 4 * len(found.to_dict()["words"])


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_the_figures_on_page_and_terminal_add_up_to_the_last_digit(at, picture, tmp_path):
    explanation = explain(network(at), picture, top=3)
    page = render_report(tmp_path / "p.html", [explanation]).read_text("utf-8")
    numbers = re.findall(r'<div class="vote"><span class="number \w+">([^<]*)<', page)
    rows = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th><td>([^<]*)</td>', page, flags=re.DOTALL)
    table = [(re.sub(r"<[^>]*>", "", what).strip(), value) for what, value in rows]
    as_number = lambda text: float(text.replace("\N{MINUS SIGN}", "-"))  # noqa: E731
    assert "with the whole layer off" not in page
    rest = sum(
        as_number(value) for what, value in table if what in ("the other winners", "the fixed part of the classes")
    )
    (total,) = (as_number(value) for what, value in table if what.startswith("lead over"))
    assert round(sum(map(as_number, numbers)) + rest, 2) == total
    assert abs(total - explanation.lead.total) <= 0.01
    line = next(line for line in explanation_text(explanation).splitlines() if line.startswith("  lead "))
    first, *others = re.findall(r"[+\N{MINUS SIGN}]?\d+\.\d\d", line)
    assert round(sum(map(as_number, others)), 2) == as_number(first)
    assert "bias" in line


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_switches_compute_what_the_network_gives(at, picture):
    model = network(at)
    explanation = explain(model, picture, top=3)
    switches, x = explanation.switches, network_input(model, picture)
    assert switches is not None and switches.labels == LABELS
    on = np.array(switches.bias) + np.array(switches.votes).sum(0)
    with torch.no_grad():
        assert on == pytest.approx(model(x)[0].numpy(), abs=1e-5)
    for row, effect in enumerate(explanation.units):
        off = torch.zeros(1, 32, dtype=torch.bool)
        off[0, effect.unit] = True
        alone = logits_without(model, x, "decision", off)[0].numpy()
        assert on - np.array(switches.votes[row]) == pytest.approx(alone, abs=1e-5)


def test_the_picture_is_cut_into_the_winners_regions(picture):
    model = network("positions", units=16, competitors=16)  # one winner a place
    explanation = explain(model, picture, top=16)
    with torch.no_grad():
        winners = votes(model, network_input(model, picture)).units[0, :, 0].reshape(4, 4).tolist()
    assert explanation.regions is not None
    shown = [[explanation.units[row].unit if row >= 0 else None for row in line] for line in explanation.regions]
    told = {effect.unit for effect in explanation.units}
    assert shown == [[unit if unit in told else None for unit in line] for line in winners]


def test_a_pooled_winner_says_where_its_value_comes_from(picture):
    explanation = explain(network("pooled"), picture)
    for effect in explanation.units:
        assert effect.where is not None
        assert (len(effect.where), len(effect.where[0])) == (4, 4)
        assert all(value >= 0 for line in effect.where for value in line)
    assert explanation.regions is None


def test_enough_units_are_counted_by_switching(picture):
    explanation = explain(network("positions"), picture, top=32)
    switches = explanation.switches
    assert switches is not None and explanation.sufficient is not None
    by_lead = sorted(range(len(explanation.units)), key=lambda i: -explanation.units[i].to_lead)
    target = LABELS.index(explanation.target)
    rows = np.array(switches.votes)[by_lead]
    for count in range(explanation.sufficient + 1):
        kept = np.array(switches.bias) + rows[:count].sum(0)
        assert (kept.argmax() == target) == (count == explanation.sufficient)


def test_another_class_than_the_predicted_one_is_explained_by_its_votes(picture):
    predicted = explain(network("pooled"), picture)
    other = next(label for label in LABELS if label != predicted.label)
    explanation = explain(network("pooled"), picture, target=other)
    assert explanation.lead.total < 0
    assert explanation.lead.total == pytest.approx(sum(e.to_lead for e in explanation.units) + explanation.lead.without)
    assert explanation_text(explanation).splitlines()[1].startswith(f"  {predicted.label} and not {other}, because")


def test_a_switch_changes_answer_lead_and_bars_at_once(picture, chromium, tmp_path):
    explanation = replace(explain(network("positions"), picture, top=3), truth="beach")
    page = render_report(tmp_path / "p.html", [explanation, replace(explanation, image="other")])
    told = []
    with open_browser(chromium, tmp_path / "browser") as tab:
        tab.open(page.as_uri())
        tab.evaluate("""globalThis.article = document.querySelector(".explained");
            globalThis.say = () => [".answer", ".probability", ".now td", ".classes .label"].map(
              (what) => article.querySelector(what).textContent)""")
        told.append(tab.evaluate("say()"))
        for number in range(tab.evaluate("article.querySelectorAll('.switch input').length")):
            tab.evaluate(f"article.querySelectorAll('.switch input')[{number}].click()")
            told.append(tab.evaluate("say()"))
        tab.evaluate("article.querySelector('.flip button').click()")
        told.append(tab.evaluate("say()"))
    assert tab.console == []
    assert explanation.switches is not None
    bias, rows = np.array(explanation.switches.bias), np.array(explanation.switches.votes)
    target, runner_up = LABELS.index(explanation.target), LABELS.index(explanation.runner_up)
    assert told[0][0] == told[-1][0] == explanation.label
    assert told[0][1] == told[-1][1]
    for off, (answer, probability, lead, first) in enumerate(told[1:-1], start=1):
        logits = bias + rows[off:].sum(0)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert answer == first == LABELS[logits.argmax()]
        assert abs(float(probability.split()[0]) - 100 * shares.max()) <= 0.51
        assert abs(float(lead.replace("\N{MINUS SIGN}", "-")) - (logits[target] - logits[runner_up])) <= 0.0051


def test_a_decision_layer_has_no_rest(picture):
    text = explanation_text(explain(network("pooled"), picture))
    assert "without this layer" not in text
    assert "missed" not in text
    assert isinstance(explain(network("pooled"), picture), Explanation)
