"""Training networks that are not timm's: torchvision's by name, one's own by a function."""

import os

import pytest
import torch

from competition_layers import DecisionLayer, load_model
from training import Augmentation, Classifier, Execution, Start, evaluate
from training.decision import store

DECISION = DecisionLayer(12, 4)


def classifier(name, **options):
    return Classifier(name, **{"competitors": 1, "execution": Execution(samples=1), **options})


@pytest.mark.parametrize("name", ["in_words", "with_transform"])
@pytest.mark.parametrize(
    "options",
    [{}, {"decision": DECISION}, {"decision": DECISION, "train": "decision", "views": 2}],
    ids=["plain", "through", "frozen"],
)
def test_a_network_of_ones_own_is_trained(train, images, name, options, capsys):
    source = f"own_networks:{name}"
    data = images(augmentation=Augmentation(scale=(0.5, 1.0)))
    run = train(classifier=classifier(source, **options), data=data, epochs=1)
    assert "WARNING" not in capsys.readouterr().out  # its weights are its own
    model = load_model(f"{source}={run}")
    assert model.lwta.label_names == ("blue", "red") and (model.lwta.decision is None) == (not options)
    found = evaluate(f"{source}={run}", images(), accelerator="cpu", enable_progress_bar=False)
    assert 0 <= found["test_accuracy"] <= 1


@pytest.mark.slow
def test_torchvisions_network_is_trained_behind_its_own_weights(train, images, tmp_path):
    options = {"image_size": 32, "decision": DECISION, "train": "decision"}
    run = train(classifier=classifier("torchvision:squeezenet1_1", **options), epochs=1)
    weights = Start(weights=str(run))
    again = train("again", classifier=classifier("torchvision:squeezenet1_1", start=weights, **options), epochs=1)
    models = load_model(run), load_model(again)
    assert torch.equal(*(model.features[0].weight for model in models))
    assert models[0].lwta.architecture == "torchvision:squeezenet1_1"


def test_what_cannot_be_built_is_told_before_pictures_are_opened(train, images):
    nowhere = images(data_dir="nowhere")
    for name, match in {
        "resnet81": "timm model name but got 'resnet81', did you mean",
        "torchvision:resnet81": "did you mean 'resnet18'",
        "own_networks:without_classifier": "name its classifier",
    }.items():
        with pytest.raises(ValueError, match=match):
            train(classifier=classifier(name), data=nowhere)
    with pytest.raises(FileNotFoundError, match=r"Expected weights .* but got 'no\.safetensors'"):
        train(classifier=classifier("test_resnet", start=Start(weights="no.safetensors")), data=nowhere)


def test_erasing_is_refused_before_a_transform_of_ones_own(train, images):
    with pytest.raises(ValueError, match=r"Expected no augmentation\.erase for a network with a transform of its own"):
        train(classifier=classifier("own_networks:with_transform"), data=images(augmentation=Augmentation(erase=0.5)))


def test_features_of_code_that_changed_are_computed_anew(tmp_path, monkeypatch):
    from competition_layers import create_model

    model = create_model("own_networks:in_words", competitors=1, decision=DECISION)
    file = tmp_path / "own_networks.py"
    file.write_text("one")
    monkeypatch.setattr("own_networks.__file__", os.fspath(file))
    before = store._hash_of_weights(model)
    assert store._hash_of_weights(model) == before
    file.write_text("other")
    assert store._hash_of_weights(model) != before
