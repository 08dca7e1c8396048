"""`lwta describe`: from folders and names to a table and a folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from competition_layers import create_model, save_model
from dissect import Dissection, Naming
from dissect.describing import DescribeOptions
from dissect.explaining.at_random import at_random
from lwta.commands import describe
from lwta.open_model import recall_model
from lwta.parsing import call_parser

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPES = sorted((ROOT / "configs" / "dissect").rglob("*.yaml"))


@pytest.fixture
def place(tmp_path):
    """A saved sparse network, pictures with embeddings, and words with theirs."""
    torch.manual_seed(3)
    model = create_model(
        "vit_tiny_patch16_224", competitors=4, num_classes=3, image_size=32, depth=2, embed_dim=24, num_heads=2
    )
    save_model(model, tmp_path / "model")
    random = np.random.default_rng(0)
    (tmp_path / "probe").mkdir()
    for i in range(12):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "probe" / f"{i:02d}.png")
    save_file({"embeddings": torch.randn(12, 8)}, tmp_path / "images.safetensors")
    (tmp_path / "words.txt").write_text("boat\npalm\nsun\n")
    save_file({"embeddings": torch.randn(3, 8)}, tmp_path / "words.safetensors")
    return tmp_path


def arguments(place, **changed):
    given = {
        "model": place / "model",
        "probe": place / "probe",
        "concepts": place / "words.txt",
        "clip": place / "images.safetensors",
        "out": place / "out",
        **changed,
    }
    return [f"--{name}={value}" for name, value in given.items()]


def test_it_prints_a_table_and_where_the_folder_is(place, capsys):
    assert describe.main(arguments(place)) == 0
    printed = capsys.readouterr().out
    assert "blocks.1.mlp.act" in printed and "argmax" in printed and "blocks.0" not in printed
    assert printed.splitlines()[-1] == f"The dissection is in {place / 'out'}"
    assert (place / "out" / "descriptions.csv").is_file()
    assert recall_model(place / "out") == str(place / "model")
    assert "  unit " not in printed, "noise has no names"
    assert "chance  rival  too few images" in printed


def test_the_same_network_with_random_weights_is_named_beside_it(place, capsys):
    describe.main([*arguments(place), "--beside-random"])
    printed = capsys.readouterr().out
    assert "with random weights 0 of 96 have a name" in printed
    beside = Dissection.open(place / "out" / "random_weights")
    here = Dissection.open(place / "out")
    assert here.named_at_random("blocks.1.mlp.act") == beside.outcomes("blocks.1.mlp.act")["named"] == 0
    random = at_random(here)["blocks.1.mlp.act"]
    assert (random.units, random.named) == (beside.units("blocks.1.mlp.act"), 0)
    assert list(random.agreements) == sorted(random.agreements)
    assert beside.layers == here.layers and beside.manifest["model"] != here.manifest["model"]
    assert recall_model(place / "out" / "random_weights") == str(place / "model")
    describe.main(arguments(place))
    assert "with random weights 0 of 96" in capsys.readouterr().out, "what was counted stays"
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    (place / "out" / "manifest.json").write_text(json.dumps(manifest | {"named_at_random": [7]}))
    with pytest.raises(ValueError, match=r"Expected named_at_random \(dict\) in .* but got \[7\]; describe again"):
        Dissection.open(place / "out")


@pytest.mark.parametrize(
    "more, match",
    [
        (["--random-weights"], "a trained network for --beside-random"),
        (["--shard=0/2"], "--beside-random where units are named but got --shard"),
        (["--model=my.module:net"], r"made without its weights but got 'my.module:net', which code makes"),
    ],
)
def test_random_weights_beside_what_has_none_are_refused_before_any_work(place, more, match):
    with pytest.raises(ValueError, match=match):
        describe.main([*arguments(place), "--beside-random", *more])
    assert not (place / "out").exists()


def test_layers_by_glob_and_bad_images_by_name(place, capsys):
    (place / "probe" / "12.jpg").write_text("text")
    save_file({"embeddings": torch.randn(13, 8)}, place / "images.safetensors")  # a row for each file
    describe.main([*arguments(place), "--layers", "blocks.*.mlp.act", "--summary=max"])
    printed = capsys.readouterr().out
    assert "skipped 12.jpg: not an image" in printed
    assert "blocks.0.mlp.act" in printed and "blocks.1.mlp.act" in printed


@pytest.mark.parametrize(
    "changed, match",
    [
        ({"similarity": "soft_wmpi"}, "did you mean 'soft_wpmi'"),
        ({"summary": "clss"}, "did you mean 'cls'"),
        ({"concepts": "imagenet2k"}, "Expected a text file or a concept set among .*, did you mean 'imagenet"),
        ({"layers": "[blocks.0.mlp.act, blocks.1.mlp.act1]"}, "did you mean 'blocks.1.mlp.act'"),
    ],
)
def test_slips_are_answered_with_the_nearest(place, changed, match):
    with pytest.raises(ValueError, match=match):
        describe.main(arguments(place, **changed))


def test_the_networks_own_classes_are_concepts_and_pixels_go_through_the_bundled_encoder(place):
    names = ["beach", "city", "farm"]
    model = create_model("resnet10t", competitors=4, num_classes=3, image_size=32, label_names=names)
    save_model(model, place / "named")
    command = {"model": place / "named", "concepts": "classes", "clip": "bundled", "out": place / "classes"}
    describe.main([*arguments(place, **command), "--templates=a {}"])
    dissection = Dissection.open(place / "classes")
    assert list(dissection.concepts) == names and dissection.concept_embeddings().shape[0] == 3
    assert {c.description for d in dissection.descriptions.values() for c in d.candidates} <= set(names)


def test_refusing_bad_images_stops_before_work(place):
    (place / "probe" / "12.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Expected every image .* readable but 1 of 13 are not.*\n  12\.jpg: 0 bytes"):
        describe.main(arguments(place, on_bad="refuse"))
    assert not (place / "out").exists()


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_its_command_and_is_understood(recipe):
    name = recipe.relative_to(ROOT).as_posix()
    assert f"lwta describe -c {name} --model" in recipe.read_text().split("\n\n")[0]
    parser = call_parser(describe.describe, prog="lwta describe")
    options = parser.parse_args(["-c", str(recipe), "--model=m", "--probe=p", "--out=o"])
    assert DescribeOptions(summary=options.summary, naming=Naming(options.similarity))


@pytest.mark.parametrize("command", ["describe", "find"])
def test_a_mistyped_option_is_told_before_torch_is_imported(command):
    """torch alone takes seconds."""
    code = f"import sys, lwta.cli; print(lwta.cli.main(['{command}', '--tpyo', '1']), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"] and "Expected a known key but got '--tpyo'" in done.stderr


def test_a_device_that_is_not_there_is_told_in_one_line(place):
    with pytest.raises(ValueError, match="Expected --device cpu, cuda or cuda:N of this machine but got 'cdua'"):
        describe.main(arguments(place, device="cdua"))


def test_another_networks_dissection_is_taken_over_only_on_request(place):
    describe.main(arguments(place))
    again = [f"--model={place / 'other'}", *arguments(place)[1:]]
    save_model(create_model("resnet10t", competitors=4, num_classes=3, image_size=32), place / "other")
    with pytest.raises(FileExistsError, match="--overwrite replaces it"):
        describe.main(again)
    describe.main([*again, "--overwrite"])
    assert recall_model(place / "out") == str(place / "other")
