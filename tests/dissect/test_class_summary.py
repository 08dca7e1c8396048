"""Claims about what decides a class over many pictures, and where mistakes come from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from competing import small_resnet
from PIL import Image
from torch import nn

from competition_layers import save_model
from competition_layers.attribution import contributions, logits_without
from dissect import summarise_classes
from dissect.explaining.class_summary import only_class
from dissect.explaining.picture import network_input
from dissect.report.classes import classes_text, render_classes
from lwta.commands import explain

LABELS = ("beach", "city", "farm", "park")
LAST = "layer4.0.act2"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return small_resnet(4, LABELS)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    written = []
    for i in range(34):  # more than one batch
        label = LABELS[i % 4]
        (folder / label).mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        written.append(folder / label / f"{i}.png")
        Image.fromarray(pixels).resize((32, 32)).save(written[-1])
    return written


def test_a_class_is_the_mean_over_the_pictures_that_are_called_so(model, files):
    report = summarise_classes(model, files, [file.parent.name for file in files], layer=LAST, top=3)
    assert report.pictures == 34 == sum(summary.pictures for summary in report.classes)
    one_by_one = [contributions(model, network_input(model, file), LAST) for file in files]
    for summary in report.classes:
        of_it = [i for i, found in enumerate(one_by_one) if LABELS[int(found.predicted[0])] == summary.label]
        assert summary.pictures == len(of_it)
        mean = torch.stack([one_by_one[i].to_margin[0] for i in of_it]).mean(0)
        assert [u.unit for u in summary.units] == mean.abs().topk(3).indices.tolist()
        for unit in summary.units:
            assert unit.to_lead == pytest.approx(float(mean[unit.unit]), abs=1e-4)
        assert summary.right == sum(files[i].parent.name == summary.label for i in of_it)
        shown = sum(unit.to_lead for unit in summary.units)
        parts = shown + summary.others + summary.without + summary.estimates_miss
        assert summary.lead == pytest.approx(parts, abs=1e-4)
    assert sum(summary.right + summary.missed for summary in report.classes) <= 34


def test_every_mistake_is_listed_with_the_unit_that_added_most_to_it(model, files):
    report = summarise_classes(model, files, [file.parent.name for file in files], layer=LAST)
    wrong = {}
    for file in files:
        with torch.no_grad():
            logits = model(network_input(model, file))[0]
        if LABELS[int(logits.argmax())] != file.parent.name:
            wrong[str(file)] = logits
    assert {mistake.image for mistake in report.mistakes} == set(wrong)
    leads = [mistake.lead for mistake in report.mistakes]
    assert leads == sorted(leads, reverse=True) and min(leads) > 0
    for mistake in report.mistakes[:3]:
        said, truth = LABELS.index(mistake.predicted), LABELS.index(mistake.truth)
        x, off = network_input(model, Path(mistake.image)), torch.eye(16, dtype=torch.bool)
        left = logits_without(model, x, LAST, off)  # the last layer is linear: measured is stated
        lost = mistake.lead - (left[:, said] - left[:, truth])
        assert mistake.unit == int(lost.argmax())
        assert mistake.added == pytest.approx(float(lost.max()), abs=1e-4)
        assert mistake.without == LABELS[int(left[mistake.unit].argmax())]


def test_one_class_keeps_the_mistakes_that_took_pictures_to_it_or_from_it(model, files):
    report = summarise_classes(model, files, [file.parent.name for file in files], layer=LAST)
    label = report.classes[0].label
    one = only_class(report, label)
    assert [summary.label for summary in one.classes] == [label]
    assert one.mistakes == tuple(m for m in report.mistakes if label in (m.truth, m.predicted))
    with pytest.raises(ValueError, match=r"Expected a class that the network gives some of these pictures .* 'baech'"):
        only_class(report, "baech")


def test_what_pictures_show_need_not_be_known(model, files):
    report = summarise_classes(model, files[:3], ["", "", ""], layer=LAST)
    assert report.mistakes == ()
    assert all(summary.right is None for summary in report.classes)
    with pytest.raises(ValueError, match="Expected pictures but got none"):
        summarise_classes(model, [], [])


def test_page_json_and_terminal_agree(model, files, tmp_path: Path):
    report = summarise_classes(model, files, [file.parent.name for file in files], layer=LAST)
    page = render_classes(tmp_path / "classes.html", report)
    figures = json.loads(page.with_suffix(".json").read_text("utf-8"))["class_report"]
    assert len(figures["classes"]) == len(report.classes)
    assert figures["mistakes"][0]["added"] == report.mistakes[0].added
    text, said = page.read_text("utf-8"), classes_text(report)
    for summary in report.classes:
        assert f"<h2>{summary.label}</h2>" in text
        assert f"{summary.label}: {summary.pictures} pictures are called so" in said
    assert f"{len(report.mistakes)} mistakes" in said


def test_the_command_tells_all_classes_and_each_mistake_or_one_class(model, files, tmp_path: Path, capsys):
    save_model(model, tmp_path / "model")
    out, pictures = tmp_path / "classes.html", [str(file) for file in files[:6]]
    explain.main([*pictures, "--model", str(tmp_path / "model"), "--classes", "all", "--out", str(out)])
    assert "mistakes" in capsys.readouterr().out
    report = json.loads(out.with_suffix(".json").read_text("utf-8"))["class_report"]
    beside = out.with_name("classes-mistakes.html")
    explained = json.loads(beside.with_suffix(".json").read_text("utf-8"))["explanations"]
    assert len(explained) == len(report["mistakes"]) > 2
    for number, (mistake, one) in enumerate(zip(report["mistakes"], explained, strict=True), start=1):
        assert (one["target"], one["runner_up"]) == (mistake["predicted"], mistake["truth"])
        assert one["truth"] == mistake["truth"] and Path(mistake["image"]).name in one["image"]
        assert one["lead"]["total"] == pytest.approx(mistake["lead"], abs=1e-4)
        first = max(one["units"], key=lambda unit: unit["to_lead"])
        assert first["unit"] == mistake["unit"] and first["to_lead"] == pytest.approx(mistake["added"], abs=1e-4)
        assert f'href="classes-mistakes.html#picture-{number}"' in out.read_text("utf-8")
        assert f'id="picture-{number}"' in beside.read_text("utf-8")

    label = report["classes"][0]["label"]
    explain.main([*pictures, "--model", str(tmp_path / "model"), "--classes", label, "--out", str(out)])
    assert f"<title>What decides {label}?</title>" in out.read_text("utf-8")
