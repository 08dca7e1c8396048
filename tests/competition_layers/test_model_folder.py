"""What is written can be read, and a config.json of somebody else's makes nothing else be read, fetched or called."""

import copy
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import fields

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import PretrainedCfg
from timm.models._builder import build_model_with_cfg, load_pretrained
from torch import nn

from competition_layers import create_model, load_model, save_model
from competition_layers import foreign as foreign_config
from competition_layers.model_folder import _FILES

SIZE = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}


def small(**options):
    return create_model("vit_tiny_patch16_224", **{"competitors": 4, "num_classes": 3, **SIZE, **options}).eval()


def alike(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class ReachedError(Exception):
    pass


@pytest.fixture
def nothing_is_fetched(monkeypatch):
    def reached(*_, **__):
        raise ReachedError

    monkeypatch.setattr("socket.socket.connect", reached)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", reached)
    monkeypatch.setattr("torch.load", reached)
    monkeypatch.setattr("timm.models._builder.load_pretrained", reached)


@pytest.fixture
def gift(tmp_path):
    """A model folder, and how to change its config.json."""
    save_model(small(), tmp_path / "gift")
    path = tmp_path / "gift/config.json"

    def change(**parts):
        config = json.loads(path.read_text())
        for name, value in parts.items():
            config[name] = {**config[name], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(config))
        return tmp_path / "gift"

    return change


@pytest.mark.parametrize(
    "key, value",
    [
        ("pretrained", True),
        ("cache_dir", "site-packages"),
        ("checkpoint_path", "weights.pt"),
        ("pretrained_cfg", {"url": "http://127.0.0.1:1/x.pth"}),
        ("pretrained_cfg_overlay", {"file": "x"}),
        ("pretrained_custom_load", True),
        ("features_only", True),
    ],
)
def test_arguments_that_tell_what_to_load_are_refused(gift, key, value, nothing_is_fetched):
    with pytest.raises(ValueError, match=rf"model_args that shape a network but got '{key}'"):
        load_model(gift(model_args={key: value}))


def test_everything_that_timms_factory_takes_itself_is_known():
    taken = {field.name for field in fields(PretrainedCfg)} - foreign_config._DESCRIPTIVE
    for function in (timm.create_model, build_model_with_cfg, load_pretrained):
        taken |= set(inspect.signature(function).parameters)
    assert taken - {"kwargs", "num_classes", "in_chans", "model"} <= foreign_config._OF_THE_FACTORY


@pytest.mark.parametrize("value", ["../../x", "http://x", "os:abort", {"a": {"url": "x"}}, ["/etc"]])
def test_arguments_are_numbers_and_words(gift, value, nothing_is_fetched):
    with pytest.raises(ValueError, match=r"model_args.act_layer to be numbers and words"):
        load_model(gift(model_args={"act_layer": value}))


@pytest.mark.parametrize("name", ["lwta/hf-hub:evil/arch", "lwta/local-dir:/tmp", "lwta/../x", "lwta/no_such_net"])
def test_an_architecture_is_one_of_timms(gift, name, nothing_is_fetched):
    with pytest.raises(ValueError, match="Expected"):
        load_model(gift(architecture=name))


def test_sources_of_weights_are_not_followed(gift, nothing_is_fetched):
    source = {"url": "http://127.0.0.1:1/x.pth", "hf_hub_id": "evil/x", "file": "/etc/passwd", "custom_load": True}
    assert alike(load_model(gift(pretrained_cfg=source)), load_model(gift()))


def test_a_folder_in_timms_format_gives_its_own_weights_alone(tmp_path):
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32, depth=1)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "model_args": {"img_size": 32, "depth": 1},
        "pretrained_cfg": {"url": "http://127.0.0.1:1/x.pth", "input_size": [3, 32, 32], "hf_hub_id": "evil/x"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_model(tmp_path)
    assert alike(loaded, network) and loaded.lwta.label_names == ("a", "b")
    assert "url" not in loaded.lwta.pretrained_cfg and "hf_hub_id" not in loaded.lwta.pretrained_cfg
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_args": {"cache_dir": "x"}}))
    with pytest.raises(ValueError, match="'cache_dir'"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="object of names"):
        load_model(tmp_path)


def test_a_folder_with_pickled_weights_alone_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "num_classes": 2}))
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors in"):
        load_model(tmp_path)


def test_timms_overlay_of_ones_own_is_followed(tmp_path):
    network = timm.create_model("test_resnet")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    overlay = {"file": str(tmp_path / "w.safetensors")}
    model = create_model("test_resnet", competitors=4, pretrained=True, image_size=64, pretrained_cfg_overlay=overlay)
    assert alike(model, network)
    save_model(model, tmp_path / "model")
    assert alike(load_model(tmp_path), network)


def test_what_wraps_a_network_is_taken_off(tmp_path):
    model = small()
    for wrapped in (torch.compile(model), nn.DataParallel(model), torch.compile(nn.DataParallel(model))):
        save_model(wrapped, tmp_path / "model")
        assert alike(load_model(tmp_path), model)
    averaged = {f"module.{name}": value + 1 for name, value in model.state_dict().items()}
    save_model(model, tmp_path / "model", state_dict=averaged)
    assert torch.equal(load_model(tmp_path).head.bias, model.head.bias + 1)
    path = tmp_path / "model/model.safetensors"
    save_file({f"module._orig_mod.{name}": value for name, value in load_file(path).items()}, path)
    assert torch.equal(load_model(tmp_path).head.bias, model.head.bias + 1)


def test_a_head_that_was_reset_is_saved_with_its_classes(tmp_path):
    model = small(label_names=("a", "b", "c"))
    model.reset_classifier(5)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path)
    assert loaded.num_classes == 5 and loaded.lwta.num_classes == 5 and loaded.lwta.label_names == ()


def parametrised(model):
    nn.utils.parametrizations.weight_norm(model.head)


def exchanged(model):
    model.head = nn.Sequential(nn.Linear(24, 8), nn.Linear(8, 3))


def grown(model):
    model.blocks.append(copy.deepcopy(model.blocks[0]))


@pytest.mark.parametrize("changed", [parametrised, exchanged, grown])
def test_what_cannot_be_read_is_not_written(tmp_path, changed):
    save_model(small(), tmp_path / "model")
    before = (tmp_path / "model/config.json").read_bytes()
    model = small()
    changed(model)
    with pytest.raises(ValueError, match=r"network that lwta can rebuild .* keep its state_dict"):
        save_model(model, tmp_path / "model")
    assert (tmp_path / "model/config.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_saving_draws_nothing_from_torchs_stream(tmp_path):
    model, before = small(), torch.get_rng_state()
    save_model(model, tmp_path / "model")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "claimed",
    [
        {"model_args": {"embed_dim": 10**9}},
        {"model_args": {"embed_dim": 2**13}},
        {"model_args": {"depth": 10**9}},
        {"model_args": {"depth": 10**4}},
        {"num_classes": 10**12},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ours", "timm's"])
def test_a_network_larger_than_its_weights_is_one_line(gift, claimed, kind):
    folder = gift(**claimed, **({} if kind == "ours" else {"architecture": "vit_tiny_patch16_224"}))
    with pytest.raises(
        ValueError, match=r"^Expected config.json to describe the network whose .* numbers are in .* but"
    ):
        load_model(folder)


def test_others_may_read_what_is_written_as_far_as_the_umask_goes(tmp_path):
    before = os.umask(0o022)
    try:
        save_model(small(), tmp_path / "model")
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "model").iterdir()} == {"0o644"}


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"it holds 'README.md' of another kind; choose another"):
        save_model(small(), tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from competition_layers.files import write_folder
real, moments = os.replace, iter(range(int(sys.argv[2]) + 1))
def replace(a, b):
    real(a, b)
    if next(moments) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
with write_folder(sys.argv[1], names=("config.json",), ours=lambda folder: True) as temporary:
    (temporary / "config.json").write_text("new")
"""


@pytest.mark.parametrize("moment, found", [(0, "old"), (1, "new"), (2, "new")])
def test_a_kill_between_the_renames_loses_nothing(tmp_path, moment, found):
    from competition_layers.files import recover_folder, write_folder

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("old")
    (folder / "mine").write_text("mine")
    done = subprocess.run([sys.executable, "-c", KILLED, folder, str(moment)])
    assert done.returncode == -signal.SIGKILL
    recover_folder(folder)
    assert (folder / "config.json").read_text() == found
    with write_folder(folder, names=("config.json",), ours=lambda _: True) as temporary:
        (temporary / "config.json").write_text("next")
    assert (folder / "config.json").read_text() == "next" and (folder / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert set(_FILES) > {"config.json"}


def test_a_folder_of_the_first_format_opens(gift):
    """Which wrote `noise` for `noise_scale`, and timm's sources of weights too."""
    folder = gift(format=1, pretrained_cfg={"hf_hub_id": "timm/", "custom_load": False, "has_weights": True})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for site in config["competition"]["sites"]:
        site["noise"] = site.pop("noise_scale") / 4
    path.write_text(json.dumps(config))
    assert load_model(folder).blocks[0].mlp.act.competition.noise_scale == 0.25
