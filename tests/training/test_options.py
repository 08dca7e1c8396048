"""Options are checked where they are made: bounds, kinds, names; what is refused says its name and what would do."""

import pytest

from training import Augmentation, Classifier, Conversion, Execution, Loading, Loss, Optimizer, Run, Start

REFUSED = [
    (Optimizer, {"lr": -1}, r"optimizer.lr to be a number >= 0 but got -1"),
    (Optimizer, {"lr": float("nan")}, "optimizer.lr to be a number"),
    (Optimizer, {"weight_decay": -1}, "optimizer.weight_decay"),
    (Optimizer, {"warmup_epochs": -1}, "optimizer.warmup_epochs"),
    (Optimizer, {"opt": "adamww"}, "an optimiser of timm but got 'adamww', did you mean 'adamw'"),
    (Optimizer, {"opt": "lbfgs"}, "an optimiser of timm but got 'lbfgs'"),
    (Optimizer, {"sched": "cosinee"}, "optimizer.sched to be one of .* but got 'cosinee', did you mean 'cosine'"),
    (Optimizer, {"sched": "plateau"}, "optimizer.sched to be one of"),
    (Optimizer, {"opt_args": {"lr": 1}}, "optimizer.opt_args without 'lr' but got 1; lr is an option of its own"),
    (Optimizer, {"sched_args": {"num_epochs": 1}}, "optimizer.sched_args without 'num_epochs'"),
    (Loss, {"kl_weight": -1}, "loss.kl_weight to be a number >= 0"),
    (Loss, {"label_smoothing": -1}, "loss.label_smoothing to be a number >= 0 and <= 1"),
    (Start, {"gain": 0}, "start.gain to be a number > 0 but got 0"),
    (Start, {"model_args": {"num_classes": 3}}, "start.model_args without 'num_classes' .* the data have the classes"),
    (Start, {"model_args": {"checkpoint_path": "x"}}, "start.weights reads safetensors"),
    (Start, {"model_args": {"in_chans": 1}}, "in_chans 3 but got 1: every picture is read as RGB"),
    (Execution, {"samples": 0}, "execution.samples"),
    (Conversion, {"images": 0}, "images to be a number >= 1"),
    (Run, {"folder": "x", "resume": True, "overwrite": True}, "resume or overwrite but got both"),
    (Run, {"folder": "x", "reestimate_batch_norm": -1}, "reestimate_batch_norm"),
    (Loading, {"batch_size": 0}, "loading.batch_size to be a number >= 1 but got 0"),
    (Loading, {"workers": -1}, "loading.workers"),
    (Augmentation, {"flip": 2}, "augmentation.flip to be a number >= 0 and <= 1 but got 2"),
    (Augmentation, {"scale": (2, 1)}, "augmentation.scale's least"),
    (Augmentation, {"scale": (0.5, 0.2)}, "augmentation.scale's most to be a number >= 0.5 and <= 1 but got 0.2"),
    (Augmentation, {"interpolation": "bilinera"}, "did you mean 'bilinear'"),
    (Augmentation, {"auto_augment": "rnd-m9"}, "'rnd', did you mean 'rand'"),
    (Augmentation, {"auto_augment": "rand-q9"}, "sections such as m9"),
    (Augmentation, {"auto_augment": "rand-m9-foo"}, "a section is a letter or a word and a number"),
    (Augmentation, {"erase_mode": "pixle"}, "did you mean 'pixel'"),
]


@pytest.mark.parametrize(("group", "options", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_makes_no_sense_is_refused(group, options, words):
    with pytest.raises(ValueError, match=words):
        group(**options)


@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "augmix-m5-w4", "original-mstd0.5", "v0", "3a"])
def test_timms_policies_are_known(policy):
    assert Augmentation(auto_augment=policy).auto_augment == policy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_args": {"banana": 1}}, r"start.model_args that 'vit_tiny_patch16_224' takes but got .*banana"),
        ({"optimizer": Optimizer(opt_args={"banana": 1})}, "optimizer.opt_args that 'adamw' takes"),
        ({"optimizer": Optimizer(sched_args={"banana": 1})}, "optimizer.sched_args that 'cosine' takes"),
        ({"exclude": "blocks.0.mlp.atc"}, "exclude to name an activation .*, did you mean 'blocks.0.mlp.act'"),
    ],
)
def test_what_timm_does_not_take_is_one_line(train, tiny, options, words):
    with pytest.raises(ValueError, match=words):
        train(classifier=tiny(**options))


def test_a_glob_of_a_recipe_may_fit_nothing_in_another_backbone(tiny):
    network = tiny(exclude=["layer*.act2"]).network
    assert len(network.build(("a", "b"), 2).lwta.sites) == 1


def test_the_short_form_is_enough():
    classifier = Classifier("resnet18", competitors=8, image_size=64, include="layer*.act1")
    assert classifier.options["optimizer"]["opt"] == "adamw"
    assert classifier.options["competition"]["noise_scale"] == 0.0
