"""torchvision's networks and one's own, built, saved, loaded and reverted as timm's are; no folder's word runs code."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from competition_layers import (
    DecisionLayer,
    competitions,
    create_model,
    data_config,
    load_model,
    revert_activations,
    save_model,
    votes,
)
from competition_layers.backbones import check_name
from competition_layers.transforms import pixel_scale, plain_transform, training_transform

DECISION, PLACES = DecisionLayer(12, 4), DecisionLayer(12, 4, "positions")
SMALL = {"image_size": 32, "num_classes": 3}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v3_small", "vit_l_16", "efficientnet_b0"])
def test_a_picture_becomes_what_torchvisions_weights_ask_for(name):
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((300, 260))
    for weights in models.get_model_weights(name):
        model = torch.nn.Identity()
        from competition_layers.elsewhere import torchvision_defaults

        model.pretrained_cfg = torchvision_defaults(f"torchvision:{name}/{weights.name}")
        assert torch.equal(plain_transform(model)(picture), weights.transforms()(picture))


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_torchvisions_network_is_saved_loaded_and_reverted(tmp_path, at):
    decision = DecisionLayer(12, 4, at)
    model = create_model("torchvision:resnet18", competitors=8, decision=decision, **SMALL).eval()
    assert len(competitions(model)) == 17 and model.lwta.architecture == "torchvision:resnet18"
    assert data_config(model)["input_size"] == (3, 32, 32) and data_config(model)["crop_pct"] == 1
    x = torch.randn(2, 3, 32, 32)
    found = votes(model, x)
    assert torch.allclose(found.logits, found.bias + found.votes.sum((1, 2)), atol=1e-5)
    loaded = load_model(save_model(model, tmp_path / "model"))
    with torch.no_grad():
        assert torch.equal(loaded(x), found.logits)
    assert (loaded.lwta.sites, loaded.lwta.decision) == (model.lwta.sites, decision)
    assert loaded.pretrained_cfg["classifier"] == "fc" and data_config(loaded) == data_config(model)
    revert_activations(loaded)
    assert not competitions(loaded) and isinstance(loaded.fc, torch.nn.Linear) and loaded.fc.out_features == 3
    assert loaded(x).shape == (2, 3)


def test_a_head_of_as_many_classes_stays_and_brings_its_names():
    model = create_model("torchvision:squeezenet1_1", competitors=1, image_size=64)
    assert model.lwta.num_classes == 1000 and model.lwta.label_names[0] == "tench"
    other = create_model("torchvision:squeezenet1_1", competitors=1, image_size=64, num_classes=3)
    assert other.classifier[1].out_channels == 3 and other.lwta.label_names == () == other.label_names
    assert other.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.slow  # 86 million weights
def test_a_transformer_of_torchvisions_is_built_for_its_size():
    model = create_model("torchvision:vit_b_32", competitors=4, decision=DECISION, **SMALL).eval()
    assert model.image_size == 32 and model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    with pytest.raises(
        ValueError, match=r"Expected features with places from VisionTransformer .*at='pooled' would do"
    ):
        create_model("torchvision:vit_b_32", competitors=1, decision=PLACES, **SMALL)


def test_places_are_refused_where_layers_follow_the_pooling():
    with pytest.raises(ValueError, match=r"places from MobileNetV3 but .*at='pooled' would do"):
        create_model("torchvision:mobilenet_v3_small", competitors=1, decision=PLACES, num_classes=3, image_size=64)


@pytest.mark.parametrize("name", ["in_words", "with_functions", "with_transform", "with_classifier"])
@pytest.mark.parametrize("decision", [None, DECISION], ids=["plain", "decision"])
def test_ones_own_network_is_saved_and_loaded_by_ones_word(tmp_path, name, decision):
    source = f"own_networks:{name}"
    check_name(source)
    model = create_model(source, competitors=1, num_classes=4, decision=decision).eval()
    assert model.lwta.architecture == source and model.lwta.num_classes == 4 and model.lwta.label_names == ()
    x = torch.randn(2, 3, 16, 16)
    folder = save_model(model, tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(load_model(f"{source}={folder}")(x), model(x))
    assert f'load_model("{source}=FOLDER")' in (folder / "README.md").read_text()
    picture = Image.new("RGB", (20, 30), (10, 200, 30))
    assert training_transform(model, scale=(0.5, 1.0))(picture).shape == (3, 16, 16)
    assert plain_transform(model)(picture).shape == (3, 16, 16)
    assert (pixel_scale(model) is None) == (name == "with_transform")


def test_ones_own_network_competes_with_arguments_and_names_its_classes(tmp_path):
    model = create_model("own_networks:in_words", competitors=4, include="*", decision=DECISION, width=16).eval()
    assert list(competitions(model)) == ["act", "decision"] and model.lwta.label_names == ("boat", "palm", "sun")
    loaded = load_model(f"own_networks:in_words={save_model(model, tmp_path / 'model')}")
    assert loaded.conv.out_channels == 16 and list(competitions(loaded)) == ["act", "decision"]
    with pytest.raises(ValueError, match=r"that 'own_networks:in_words' takes but got {'depth': 3}: .*'depth'"):
        create_model("own_networks:in_words", depth=3)
    with pytest.raises(ValueError, match="Expected no image_size for 'own_networks:with_transform', whose"):
        create_model("own_networks:with_transform", image_size=32)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("resnet81", "a timm model name but got 'resnet81', did you mean 'resnet"),
        ("torchvision:resnet81", "Expected a torchvision network but got 'resnet81', did you mean 'resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "Expected a torchvision network but got 'fasterrcnn"),
        ("torchvision:resnet18/V9", r"weights of torchvision's resnet18 \(IMAGENET1K_V1\) but got 'V9'"),
        ("own_network:in_words", "Expected package.module:function but found no module 'own_network'"),
        ("own_networks:in_word", "function of module 'own_networks' but got 'in_word', did you mean 'in_words'"),
        ("own_networks:text", r"to return a torch\.nn\.Module, or one with its transform .* but got str"),
        ("own_networks:alone", r"return its network's transform too, .* but got a network alone: return network, {"),
        ("own_networks:number", "a transform of pictures beside its network, .* but got int"),
        ("own_networks:other_word", "but got 'input_sizes', did you mean 'input_size'"),
        ("own_networks:other_size", r"to say input_size \(3, height, width\) but got 16"),
        ("own_networks:other_form", r"to make a float tensor \[3, height, width\] of a picture but got ndarray"),
        ("own_networks:many_sizes", r"one size for pictures of any, but got \[3, 300, 400\] and \[3, 400, 300\]"),
        ("own_networks:other_classifier", "name its network's classifier, .* but got 'anser', did you mean 'answer'"),
        (
            "own_networks:without_classifier",
            "one layer that gives the answer of Twice but found answer, other; name its",
        ),
    ],
)
def test_what_is_no_backbone_is_one_line_before_any_work(name, match):
    with pytest.raises((ValueError, FileNotFoundError), match=match) as error:
        check_name(name)
    assert "\n" not in str(error.value)


def test_a_function_that_returns_its_network_again_is_refused():
    create_model("own_networks:same_again", competitors=1)
    with pytest.raises(ValueError, match="to make a network anew at each call but got one that competes, or"):
        create_model("own_networks:same_again", competitors=1)


@pytest.fixture
def gift(tmp_path, monkeypatch):
    """A folder that somebody sent, whose config.json names a function of a module that lies beside it."""
    folder = save_model(create_model("own_networks:in_words", competitors=1), tmp_path / "gift")
    (tmp_path / "payload.py").write_text('open("PWNED", "w").write("ran")\ndef run():\n    raise AssertionError\n')
    monkeypatch.chdir(tmp_path)

    def naming(**parts):
        config = {**json.loads((folder / "config.json").read_text()), **parts}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return naming


def test_a_folder_that_is_no_backbone_says_what_it_would_be(gift):
    folder = gift()
    with pytest.raises(ValueError, match=r"got the folder '.*gift': local-dir:.*--model\.start\.weights"):
        check_name(str(folder))
    with pytest.raises(ValueError, match=r"in timm's format but .* is one of lwta's \(lwta/own_networks:in_words\)"):
        create_model(f"local-dir:{folder}")


@pytest.mark.parametrize("name", ["payload:run", "os:abort", "own_networks:in_words"])
def test_no_function_is_called_because_a_folder_says_so(gift, tmp_path, name):
    folder = gift(architecture=f"lwta/{name}")
    with pytest.raises(ValueError, match=f"Expected your word that '{name}', .* but got none: .* give '{name}=gift'"):
        load_model("gift")
    with pytest.raises(ValueError, match=f"your word that '{name}', .* but got 'own_networks:with_transform'"):
        load_model(f"own_networks:with_transform={folder}")
    assert not (tmp_path / "PWNED").exists() and "payload" not in sys.modules


def test_a_word_for_another_backbone_is_told(gift, tmp_path):
    save_model(create_model("test_resnet", competitors=1, num_classes=2), tmp_path / "other")
    with pytest.raises(ValueError, match="to be of the backbone 'own_networks:in_words' but got 'test_resnet'; give"):
        load_model(f"own_networks:in_words={tmp_path / 'other'}")


@pytest.mark.parametrize("name", ["torchvision:../x", "a:b:c", "torchvision:", "torchvision:maskrcnn_resnet50", ":"])
def test_a_name_in_a_folder_is_a_name(gift, name):
    with pytest.raises(ValueError, match="Expected"):
        load_model(gift(architecture=f"lwta/{name}"))


@pytest.mark.parametrize("args", [{"weights": "DEFAULT"}, {"weights_backbone": "x"}, {"progress": True}], ids=str)
def test_a_folder_fetches_no_weights_of_torchvisions(gift, args):
    with pytest.raises(ValueError, match="model_args that shape a network but got"):
        load_model(gift(architecture="lwta/torchvision:resnet18", model_args=args))


def test_names_are_told_apart_without_torch():
    code = "import sys; from competition_layers.origins import is_function; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
