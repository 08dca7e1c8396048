"""Claims about `lwta explain` and `lwta compare` as typed: any network, any folder, any name, any terminal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from competition_layers import create_model, save_model
from dissect import describe, load_concepts, load_encoder, open_probe
from dissect.folder.sources import ModelSource
from lwta.commands import compare, explain
from lwta.open_model import open_model

LABELS = ("beach", "city", "猫")
EVIL = "\x1b]0;OWNED\x07\x1b[2Jlwta: done\n\u202egnp"


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A model folder, and pictures in a folder for each class."""
    folder = tmp_path_factory.mktemp("explain")
    torch.manual_seed(0)
    small = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "output_stride": 8, "image_size": 32}
    model = create_model("resnet18", competitors=4, num_classes=3, label_names=LABELS, **small)
    save_model(model.eval(), folder / "model")
    for label in LABELS:
        (folder / "p" / label).mkdir(parents=True)
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / "p" / label / "0.png")
    return folder


def test_units_have_numbers_without_a_dissection_and_folders_say_what_is_right(room, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert explain.main([str(room / "p"), "--model", str(room / "model"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "unnamed" in said
    record = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert [found["truth"] for found in record["explanations"]] == list(LABELS)
    right = sum(found["predicted"] == found["truth"] for found in record["explanations"])
    page = out.read_text("utf-8")
    assert page.count('class="truth right"') == right
    assert page.count('class="truth wrong"') == 3 - right
    assert said.count("(it shows: ") == 3 - right


def test_why_units_fired_is_written_in_a_viewer_s_schema_beside_the_page(room, tmp_path, capsys):
    out = tmp_path / "page.html"
    explain.main([str(room / "p" / "city"), "--model", str(room / "model"), "--graph", "--out", str(out)])
    assert "  why: " in capsys.readouterr().out
    graph = json.loads((tmp_path / "page-graph-1.json").read_text("utf-8"))
    found = json.loads(out.with_suffix(".json").read_text("utf-8"))["explanations"][0]
    assert {node["node_id"] for node in graph["nodes"]} == {node["id"] for node in found["graph"]["graph"]["nodes"]}
    assert (found["graph"]["target"], found["graph"]["over"]) == (found["target"], found["runner_up"])


def test_many_pictures_are_filtered_by_right_and_wrong_and_sorted(room, tmp_path, capsys):
    out, typed = tmp_path / "page.html", [str(room / "p"), "--model", str(room / "model")]

    def told(*options: str) -> list[dict]:
        assert explain.main([*typed, "--out", str(out), *options]) == 0
        return json.loads(out.with_suffix(".json").read_text("utf-8"))["explanations"]

    every = told()
    for only in ("right", "wrong"):
        expected = [e["image"] for e in every if (e["predicted"] == e["truth"]) == (only == "right")]
        if expected:
            assert expected == [e["image"] for e in told("--only", only)]
        else:
            with pytest.raises(ValueError, match=f"Expected a picture with a {only} answer but none of the 3 has one"):
                told("--only", only)
    assert [e["lead"]["total"] for e in told("--sort", "lead")] == pytest.approx(
        sorted(e["lead"]["total"] for e in every)
    )
    by_class = [e["predicted"] for e in told("--sort", "class")]
    assert by_class == sorted(by_class)
    loose = tmp_path / "loose.png"
    loose.write_bytes((room / "p" / "city" / "0.png").read_bytes())
    with pytest.raises(ValueError, match="Expected pictures in folders named as the network's classes, to know which"):
        explain.main([str(loose), "--model", str(room / "model"), "--only", "wrong", "--out", str(out)])


def test_a_class_can_be_asked_for_and_a_slip_is_answered(room, tmp_path, capsys):
    picture, model = str(room / "p" / "city" / "0.png"), str(room / "model")
    out = tmp_path / "page.html"
    for label in LABELS:
        explain.main([picture, "--model", model, "--target", label, "--out", str(out)])
        assert json.loads(out.with_suffix(".json").read_text("utf-8"))["explanations"][0]["target"] == label
    with pytest.raises(ValueError, match=r"Expected a class of the network .* but got 'citty', did you mean 'city'"):
        explain.main([picture, "--model", model, "--target", "citty"])
    with pytest.raises(ValueError, match="Expected --dissection FOLDER or --model NETWORK but got neither"):
        explain.main([picture])


def test_a_dissection_of_random_weights_is_explained(tmp_path, capsys):
    for i in range(8):
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{i}.png")
    network = open_model("test_resnet", random_weights=True)
    out = tmp_path / "names"
    describe(network, open_probe(tmp_path), load_concepts("scenes"), load_encoder("bundled"), out)
    ModelSource.of(out, "test_resnet", random_weights=True).write(out)
    page = tmp_path / "page.html"
    assert explain.main([str(tmp_path / "0.png"), "--dissection", str(out), "--out", str(page)]) == 0
    assert page.is_file()


def test_names_of_files_never_reach_the_terminal_as_they_are(room, tmp_path, capsys):
    (tmp_path / "p").mkdir()
    picture = (room / "p" / "city" / "0.png").read_bytes()
    (tmp_path / "p" / f"{EVIL}.png").write_bytes(picture)
    (tmp_path / "p" / f"{EVIL} broken.png").write_text("x")
    explain.main([str(tmp_path / "p"), "--model", str(room / "model"), "--out", str(tmp_path / "page.html")])
    said = capsys.readouterr().out
    assert not set("\x1b\x07\u202e") & set(said)
    assert "\nlwta: done" not in said
    assert r"\x1b[2Jlwta: done\n\u202egnp" in said


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_that_the_terminal_cannot_print_loses_no_page(room, tmp_path, encoding):
    model, page = str(room / "model"), tmp_path / "page.html"
    for typed in (
        ["explain", str(room / "p"), "--model", model, "--out", str(page)],
        ["compare", model, "--data", str(room / "p"), "--out", str(page)],
    ):
        code = f"import sys; from lwta.cli import main; sys.exit(main({typed!r}))"
        environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "PATH": ""}
        seen = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
        assert seen.returncode == 0, seen.stderr.decode(errors="replace")
        assert page.is_file()
        page.unlink()
    assert compare.short_names(["a"]) == ["a"]
