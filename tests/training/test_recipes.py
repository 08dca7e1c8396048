"""Every recipe that comes with the package takes two steps, on random pictures, as `lwta fit` would."""

import csv
import re

import pytest
from made_pictures import paint

from competition_layers import competitions, load_model
from competition_layers.wiring.sites import survey
from lwta.commands.fit import main
from lwta.recipes import recipes

# the sizes of the data and the machine; the network, its loss and its optimiser are the recipe's
SMALLER = {
    "data.loading.batch_size": 2,
    "data.loading.workers": 0,
    "data.dataset.name": "",
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 2,  # 1 would be read as 1.0, all of them
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
    "trainer.precision": "32",
    "trainer.enable_progress_bar": "false",
    "trainer.logger": "false",
    "model.execution.samples": 1,
    "model.optimizer.warmup_epochs": 0,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Pictures of ten classes, with the splits that the recipes ask for."""
    folder = tmp_path_factory.mktemp("places")
    for split in ("train", "val"):
        paint(folder / split, classes=[f"class{i}" for i in range(10)], each=4)
    return folder


LARGE = re.compile("deit|places")  # networks of 224 pixels


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * bool(LARGE.search(name))) for name in sorted(recipes())]
)
def test_two_steps_of_a_recipe(name, places, tmp_path):
    options = {**SMALLER, "data.data_dir": places}
    if "cifar10" in name:
        options["data.splits.subset"] = 8
    if name.startswith("folder"):
        options["model.image_size"] = 32
    if name == "folder-decision.yaml":  # its weights are fetched
        options["model.start.pretrained"] = "false"
    typed = [f"--{key}={value}" for key, value in options.items()]
    assert main(["fit", "-c", name, "--run", "r", f"--runs_dir={tmp_path}", *typed]) == 0
    with (tmp_path / "r" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "2"
    assert float(row["train_loss"]) > 0


OTHERS = {"test_maxvit": 32, "edgenext_xx_small": 32, "eva02_tiny_patch14_224": 28, "mixer_s32_224": 32}
OTHERS |= dict.fromkeys(("hrnet_w18_small", "swin_tiny_patch4_window7_224", "densenet121", "gmlp_ti16_224"), 32)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", OTHERS)
def test_the_recipe_for_a_folder_takes_any_backbone_by_its_name_and_size_alone(backbone, places, tmp_path):
    options = {**SMALLER, "data.data_dir": places, "model.backbone": backbone}
    options["model.image_size"] = OTHERS[backbone]
    typed = [f"--{key}={value}" for key, value in options.items()]
    assert main(["fit", "-c", "folder.yaml", "--run", "r", f"--runs_dir={tmp_path}", *typed]) == 0
    model = load_model(tmp_path / "r")
    assert {layer.groups.competitors for layer in competitions(model).values()} == {8}
    assert len(competitions(model)) > 0.9 * len(survey(model).sites())  # ResNets alone leave many a place dense


@pytest.mark.parametrize("name", sorted(recipes()))
def test_a_recipe_says_the_command_that_runs_it(name):
    head = [line for line in recipes()[name].read_text().splitlines() if line.startswith("#")]
    assert any(f"lwta fit -c configs/train/{name} --run " in line for line in head)
    if name.startswith(("deit", "resnet18_places")):
        assert head[0].startswith("# NOT RUN HERE.")


def test_there_are_recipes_for_every_job():
    assert {
        "cifar10_vit.yaml",
        "cifar10_resnet.yaml",
        "folder.yaml",
        "folder-decision.yaml",
        "scenes.yaml",
    } <= recipes().keys()
    assert {"deit_tiny_imagenet.yaml", "deit_small_imagenet.yaml", "resnet18_places365.yaml"} <= recipes().keys()
