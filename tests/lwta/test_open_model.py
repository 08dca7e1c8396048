"""A network from anywhere: torchvision's names, and a function of one's own; shares of a command."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from made_pictures import paint
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from competition_layers import create_model, save_model
from dissect import Dissection, open_probe
from dissect import compare as compare_networks
from dissect import explain as explain_image
from dissect.recording import shards
from dissect.recording.subject import default_transform
from lwta.commands import compare, describe, explain
from lwta.open_model import class_names, open_dissected, open_model, recall_model, training_seconds
from lwta.processes import own_share

ROOT = Path(__file__).resolve().parent.parent.parent

OWN = """
import numpy as np
import torch
from torch import nn

class Net(nn.Sequential):
    label_names = ("boat", "palm")

def small():
    torch.manual_seed(0)
    return Net(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))

def with_transform():
    return small(), to_input

def to_input(image):
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1) / 255

def wrong():
    return "a path"

number = 1
"""

SHARED = """
import torch
from torchvision import models, transforms

def resnet():
    torch.manual_seed(0)
    model = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], width_per_group=64, num_classes=2)
    return model, transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own in the current folder."""
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_networks", None)


def test_a_function_of_ones_own_returns_a_network_or_one_with_its_transform(own):
    plain, model = open_model("my_networks:small"), open_model("my_networks:with_transform")
    assert isinstance(plain, nn.Module) and not plain.training and class_names(model) == ("boat", "palm")
    assert default_transform(model).__name__ == "to_input"
    with pytest.raises(
        ValueError,
        match="Expected a network that says how a picture becomes its input but Net does not",
    ):
        default_transform(plain)


@pytest.mark.parametrize(
    "source, match",
    [
        ("my_networks:smal", "Expected a function of module 'my_networks' but got 'smal', did you mean 'small'"),
        ("my_networks:wrong", r"Expected 'my_networks:wrong' to return a torch\.nn\.Module.* but got str"),
        ("my_network:small", "Expected package.module:function but found no module 'my_network'"),
        ("torchvision:resnet81", "Expected a torchvision network but got 'resnet81', did you mean 'resnet18'"),
        ("torchvision:resnet18/IMAGENET1K_V9", "Expected weights of torchvision's resnet18 .*did you mean"),
    ],
)
def test_a_slip_is_answered_with_what_is_there(own, source, match):
    with pytest.raises(ValueError, match=match):
        open_model(source)


@pytest.mark.parametrize("source", ["resnet10t", "hf-hub:timm/resnet10t.c3_in1k", "torchvision:resnet18"])
def test_weights_that_cannot_be_fetched_are_said_in_one_line(monkeypatch, source):
    def offline(*_, **__):
        raise URLError("Name or service not known\nand more")

    monkeypatch.setattr("competition_layers.load_model", offline, raising=False)
    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(
        FileNotFoundError, match=f"Expected the weights of '{source}' in the cache or on the Hub"
    ) as error:
        open_model(source)
    assert "\n" not in str(error.value) and "give a run or model folder" in str(error.value)


def test_training_time_adds_up_over_conversions_and_believes_no_nonsense(tmp_path):
    def write(name, notes):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(
            notes if isinstance(notes, str) else json.dumps({"training": notes})
        )
        return str(tmp_path / name)

    dense = write("dense", {"seconds": 10.0})
    assert training_seconds(write("sparse", {"seconds": 2.0, "converted_from": dense})) == 12.0
    for nonsense in ({}, {"seconds": "9"}, [], "{", {"seconds": 1, "converted_from": 3}, "[1]"):
        assert training_seconds(write("other", nonsense)) is None
    assert training_seconds(write("loop", {"seconds": 1, "converted_from": str(tmp_path / "loop")})) is None


def test_damaged_weights_are_said_in_one_line(tmp_path):
    folder = save_model(create_model("test_resnet", competitors=4, num_classes=2, image_size=32), tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=r"Expected whole weights of .*model' but they are damaged .* copy"):
        open_model(str(folder))


def test_torchvisions_networks_bring_their_weights_transform_and_classes():
    model = open_model("torchvision:resnet18", random_weights=True)
    assert isinstance(model, models.ResNet) and class_names(model)[0] == "tench"
    picture = Image.effect_mandelbrot((300, 260), (-2, -1, 1, 1), 20).convert("RGB")
    assert torch.equal(default_transform(model)(picture), models.ResNet18_Weights.DEFAULT.transforms()(picture))


def test_by_default_an_activation_that_runs_several_times_is_read_where_its_block_returns_it(command, own):
    """Both activations of a torchvision block are one module, of two outputs in a pass."""
    (own / "shared.py").write_text(SHARED)
    describe.main(["--model=shared:resnet", *command[1:], "--out=shared"])
    dissection = Dissection.open(own / "shared")
    assert dissection.layers == ("layer4.0",) and dissection.units("layer4.0") == 512
    assert (dissection.record("layer4.0").summaries["mean"] >= 0).all()  # after the activation
    sys.modules.pop("shared", None)


def test_a_network_without_class_names_is_told():
    with pytest.raises(ValueError, match="Expected a network that says the names of its classes but Linear does not"):
        class_names(nn.Linear(1, 1))


@pytest.fixture
def command(own):
    """The whole command on pictures with precomputed embeddings; `--concepts classes` needs a real text tower."""
    paint(own / "probe", each=6)
    save_file({"embeddings": torch.randn(12, 4)}, own / "images.safetensors")
    (own / "words.txt").write_text("boat\npalm\nsun\n")
    save_file({"embeddings": torch.randn(3, 4)}, own / "words.safetensors")
    return ["--model=my_networks:with_transform", "--probe=probe", "--concepts=words.txt", "--clip=images.safetensors"]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SMALLEST", 2)
    monkeypatch.setattr(shards, "LARGEST", 5)


def test_ones_own_network_is_explained_and_compared(command, own, capsys):
    describe.main([*command, "--layers=1", "--out=out"])
    typed = "my_networks:with_transform"
    with pytest.raises(ValueError, match=r"from you, by --model .* since 'my_networks:with_transform' is"):
        explain.main(["probe/blue/0.png", "--dissection=out"])
    explain.main(["probe/blue/0.png", "--dissection=out", f"--model={typed}", f"--twin={typed}"])
    said = capsys.readouterr().out
    assert "boat" in said and (own / "out" / "report.html").is_file()
    for name in ("blue", "red"):
        (own / "probe" / name).rename(own / "probe" / {"blue": "boat", "red": "palm"}[name])
    compare.main(["my_networks:with_transform", "--data=probe"])
    assert "my_networks:with_transform" in capsys.readouterr().out and (own / "comparison.html").is_file()


@pytest.fixture
def gift(own):
    """A folder that somebody sent: a finished dissection, as far as its manifest says."""

    def of(**said):
        folder = own / "gift"
        folder.mkdir(exist_ok=True)
        (folder / "payload.py").write_text('def run():\n    open("PWNED", "w").write("ran")\n')
        (folder / "model.json").write_text(json.dumps({"format": 1, **said}))
        return folder

    return of


@pytest.mark.parametrize(
    "name",
    ["gift.payload:run", "os:abort", "hf-hub:evil/model", "local-dir:/", "resnet18", "torchvision:resnet18", "/"],
)
def test_no_code_runs_and_nothing_is_fetched_by_what_a_dissection_says(gift, own, name):
    for random_weights in (False, True):
        folder = gift(model=name, folder=False, random_weights=random_weights)
        if random_weights and name in ("resnet18", "torchvision:resnet18"):
            assert recall_model(folder) == name  # a plan alone
        else:
            with pytest.raises(ValueError, match=r"from you, by --model .* that is never done because a folder"):
                recall_model(folder)
    assert not (own / "PWNED").exists() and "gift" not in sys.modules


@pytest.mark.parametrize(
    "said",
    [{}, {"model": 3, "folder": True}, {"model": "m", "folder": "yes"}, {"format": 9, "model": "m", "folder": True}],
)
def test_a_dissection_that_says_nonsense_of_its_network_is_told(gift, said):
    with pytest.raises(ValueError, match=r"Expected the name of a network in .*model.json' but got .*say --model"):
        recall_model(gift(**said))


def test_a_dissections_folder_of_a_network_is_found_beside_it_alone(gift, own):
    (own / "runs" / "a").mkdir(parents=True)
    assert recall_model(gift(model="../runs/a", folder=True)) == str(own / "runs" / "a")
    for name in (str(own / "runs" / "a"), "../runs/b"):
        with pytest.raises(ValueError, match="but it is not there; say --model"):
            recall_model(gift(model=name, folder=True))


def test_a_dissection_of_random_weights_is_explained_by_its_name_alone(command, own, capsys):
    options = ["--model=test_resnet", "--random-weights", *command[1:], "--out=random"]
    describe.main(options)
    before = torch.random.get_rng_state()
    dissection, network = open_dissected(own / "random")
    assert torch.equal(torch.random.get_rng_state(), before)
    again, typed = open_dissected(own / "random", "test_resnet")
    assert torch.equal(network.fc.weight, typed.fc.weight) and again.layers == dissection.layers
    explain.main(["probe/blue/0.png", "--dissection=random"])
    assert "test_resnet" not in capsys.readouterr().err


def test_a_network_without_class_names_is_explained_by_numbers_but_not_compared(own):
    model, _ = (open_model("my_networks:with_transform"), paint(own / "probe", each=2))
    object.__setattr__(model, "label_names", ())
    picture = own / "probe" / "blue" / "0.png"
    assert explain_image(model, picture, layer="1").label in ("class 0", "class 1")
    assert explain_image(model, picture).at.layer == "1"  # the last where units could compete
    with pytest.raises(ValueError, match=r"Expected network 'mine' to say the names of its classes .*set label_names"):
        compare_networks({"mine": model}, open_probe(own / "probe"))


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("[!.]*")) if p.is_file()}


def test_ones_own_network_goes_through_the_whole_command_in_shares(command, own, capsys, small_shards):
    options = [*command, '--layers=["1", "4"]']
    describe.main([*options, "--out=one"])
    for shard in ("0/2", "1/2"):
        describe.main([*options, "--out=two", f"--shard={shard}"])
        assert f"Recorded share {shard} into two" in capsys.readouterr().out
    describe.main([*options, "--out=two"])
    files = contents(own / "one")
    assert files == contents(own / "two") and len(files) > 12
    dissection, network = open_dissected(own / "one", "my_networks:with_transform")
    assert dissection.layers == ("1", "4") and network[4].out_features == 2


@pytest.fixture
def program(own, small_shards):
    """A script that describes with the tests' own network and shards, for processes of their own."""
    (own / "run.py").write_text(f"""
import sys
sys.path[:0] = {[str(ROOT), str(own)]!r}
from dissect import compare as compare_networks
from dissect import explain as explain_image
from dissect import open_probe
from dissect.recording import shards
from lwta.cli import main
shards.SMALLEST, shards.LARGEST = 2, 5
sys.exit(main(["describe", *sys.argv[1:]]))
""")
    return [sys.executable, "run.py"]


@pytest.mark.slow
def test_torchruns_processes_killed_and_started_again_give_the_files_of_one(command, own, program):
    options = [*command, "--layers=1"]
    describe.main([*options, "--out=one"])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", *program[1:]]
    for seconds in (6, 9, 12):  # while they import, record, meet
        process = subprocess.Popen([*launch, *options, "--out=two"], start_new_session=True, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*launch, *options, "--out=two"], check=True, capture_output=True)
    assert contents(own / "one") == contents(own / "two")


@pytest.mark.slow
def test_shares_of_a_plain_scheduler_at_the_same_time_give_the_files_of_one(command, own, program):
    options = [*command, '--layers=["1", "4"]']
    describe.main([*options, "--out=one"])
    shares = [subprocess.Popen([*program, *options, "--out=two", f"--shard={i}/2"]) for i in range(2)]
    assert [share.wait() for share in shares] == [0, 0]
    describe.main([*options, "--out=two"])
    assert contents(own / "one") == contents(own / "two")


def test_shares_are_read_from_the_option_or_from_torchrun(monkeypatch):
    assert own_share("1/4") == (1, 4) and own_share(None) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert own_share(None) == (1, 2)
    for wrong in ("4/4", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match="Expected --shard i/n with i between 0 and n-1 but got"):
            own_share(wrong)
