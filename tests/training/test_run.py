"""A run: its folder, its repetition, its resumption."""

import csv
import json

import pytest
import torch
import yaml
from lightning import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from safetensors.torch import load_file
from stopping import StopAt, StoppedError

from competition_layers import competitions, create_model, load_model, noise_state, seed_noise, spec_of
from competition_layers.competition import Competition
from training import (
    Annealing,
    Augmentation,
    Classifier,
    Execution,
    ImageData,
    Loading,
    Optimizer,
    Schedule,
    Splits,
    Start,
    evaluate,
    fit,
    reestimate_batch_norm,
)

NOISE = Competition(noise_scale=1.0)
NOISY = {
    "competition": Competition(noise_scale=1.0, inference="sample"),
    "annealing": Annealing(noise_scale=Schedule(0.5)),
}


def rows(run):
    """metrics.csv without the times."""
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """One run that several tests look at."""
    args = {"patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2, "proj_drop_rate": 0.1}
    return fit(
        Classifier(image_size=16, execution=Execution(samples=2), start=Start(model_args=args), **NOISY),
        ImageData(
            str(pictures),
            splits=Splits(val_fraction=0.2),
            loading=Loading(batch_size=4, workers=0),
            augmentation=Augmentation(mixup=0.5),
        ),
        run=tmp_path_factory.mktemp("runs") / "finished",
        epochs=3,
        trainer_args={"accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    )


def again(train, tiny, images, name, **options):
    """The same run once more."""
    classifier = tiny(model_args={"proj_drop_rate": 0.1}, **NOISY)
    data = images(augmentation=Augmentation(mixup=0.5))
    return train(name, classifier=classifier, data=data, epochs=3, **options)


def test_a_run_folder_holds_what_the_contract_names(finished):
    files = ["checkpoints", "competition.csv", "competition.svg", "config.yaml", "metrics.csv", "model"]
    assert sorted(path.name for path in finished.iterdir()) == files
    assert [path.name for path in (finished / "checkpoints").iterdir()] == ["last.ckpt"]
    config = json.loads((finished / "model" / "config.json").read_text())
    assert config["label_names"] == ["blue", "red"]
    assert config["training"]["epochs"] == 3
    assert config["training"]["finished"]
    assert config["averaged_weights"] is False
    assert spec_of(load_model(finished)).label_names == ("blue", "red")
    assert [row["epoch"] for row in rows(finished)] == ["0", "1", "2"]
    assert {"lr", "train_loss", "val_accuracy", "val_density"} <= rows(finished)[0].keys()
    assert {row["val_density"] for row in rows(finished)} == {"0.125"}
    for name in ("val_dead_units", "val_winner_entropy", "val_agreement", "val_effective_density"):
        assert all(0 <= float(row[name]) <= 1 for row in rows(finished)), name
    assert all(0 < float(row["val_agreement"]) < 1 for row in rows(finished))  # this run competes under noise


def test_the_same_run_gives_the_same_digits(finished, train, tiny, images):
    repeated = again(train, tiny, images, "repeated")
    assert same(weights(repeated), weights(finished))
    assert rows(repeated) == rows(finished)


def test_a_resumed_run_equals_the_uninterrupted_one_digit_for_digit(finished, train, tiny, images):
    with pytest.raises(StoppedError):
        again(train, tiny, images, "resumed", trainer_args={"callbacks": [StopAt(2)]})
    torch.rand(7)  # what happened in between does not matter
    resumed = again(train, tiny, images, "resumed", resume=True)
    assert same(weights(resumed), weights(finished))
    assert rows(resumed) == rows(finished)


def test_a_killed_run_leaves_a_network_that_loads(train, tmp_path):
    with pytest.raises(StoppedError):
        train("killed", epochs=3, trainer_args={"callbacks": [StopAt(1)]})
    assert load_model(tmp_path / "killed").num_classes == 2
    config = json.loads((tmp_path / "killed" / "model" / "config.json").read_text())
    assert config["training"] == {"epochs": 1, "finished": False}


def test_a_run_started_from_python_leaves_its_whole_configuration(finished):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["seed_everything"] == 0
    assert config["model"]["annealing"]["noise_scale"] == {"end": 0.5, "until": 0.7, "shape": "linear"}
    assert config["data"]["augmentation"]["mixup"] == 0.5
    assert config["trainer"]["max_epochs"] == 3


def test_a_run_is_never_written_over_unasked(train):
    first = train("twice", epochs=1)
    with pytest.raises(FileExistsError, match="--resume goes on with it, --overwrite starts it anew"):
        train("twice", epochs=1)
    assert train("twice", epochs=2, overwrite=True) == first
    assert len(rows(first)) == 2


def test_a_run_that_cannot_be_set_up_leaves_nothing_behind(train, tiny, tmp_path):
    with pytest.raises(ValueError, match="competitors=7 but got 96"):
        train("wrong", classifier=tiny(competitors=7))
    assert not (tmp_path / "wrong").exists()


def test_nothing_to_resume_is_refused(train):
    with pytest.raises(FileNotFoundError, match="a checkpoint to resume from"):
        train("fresh", resume=True)


def test_dense_twin_and_sparse_network_see_the_same_pixels(train, tiny, images):
    seen = {}
    for competitors in (1, 8):
        classifier = tiny(competitors=competitors, competition=NOISE)
        step, batches = classifier.training_step, []

        def watched(batch, batch_idx, step=step, batches=batches):
            batches.append(batch)
            return step(batch, batch_idx)

        classifier.training_step = watched
        train(f"u{competitors}", classifier=classifier)
        seen[competitors] = batches
    assert len(seen[1]) == len(seen[8]) == 8
    for (x, y), (u, v) in zip(seen[1], seen[8], strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_averaged_weights_are_what_a_run_leaves(train, tiny):
    plain = train("plain", classifier=tiny(optimizer=Optimizer(lr=0.01)))
    ema = {"callbacks": [EMAWeightAveraging(decay=0.5)]}
    averaged = train("averaged", classifier=tiny(optimizer=Optimizer(lr=0.01)), trainer_args=ema)
    assert json.loads((averaged / "model" / "config.json").read_text())["averaged_weights"]
    assert not same(weights(plain), weights(averaged))
    checkpoint = torch.load(averaged / "checkpoints" / "last.ckpt", weights_only=True)
    assert torch.equal(checkpoint["current_model_state"]["model.head.weight"], weights(plain)["head.weight"])
    assert torch.equal(checkpoint["state_dict"]["model.head.weight"], weights(averaged)["head.weight"])


def test_a_run_with_averaged_weights_resumes_too(train, tiny):
    def ema(*further):
        return {"callbacks": [EMAWeightAveraging(decay=0.5), *further]}

    whole = train("whole", classifier=tiny(competition=NOISE), epochs=3, trainer_args=ema())
    with pytest.raises(StoppedError):
        train("parts", classifier=tiny(competition=NOISE), epochs=3, trainer_args=ema(StopAt(1)))
    parts = train("parts", classifier=tiny(competition=NOISE), epochs=3, trainer_args=ema(), resume=True)
    assert same(weights(parts), weights(whole))


def test_accuracies_by_every_rule_repeat(finished, images):
    one, other = (evaluate(finished, images(), accelerator="cpu", enable_progress_bar=False) for _ in range(2))
    assert one == other
    rules = ["test_accuracy", "test_accuracy_argmax", "test_accuracy_one_sample", "test_accuracy_8_samples"]
    seen = ["test_agreement", "test_effective_density", "test_density", "test_dead_units", "test_winner_entropy"]
    assert list(one) == ["test_loss", *rules, *seen]


def test_a_trained_network_keeps_the_numbers_of_its_classes(finished, images, painted, tmp_path):
    painted(tmp_path / "test", classes=("red",), seed=1)  # a test set without the class "blue"
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    data = images(data_dir=str(tmp_path))
    evaluate(finished, data, **quiet)
    assert {data.images["test"][i][1] for i in range(10)} == {1}


def test_validation_draws_nothing_from_the_noise_of_training(tiny):
    classifier = tiny(competition=NOISE)
    args = {"patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2}
    classifier.model = create_model("vit_tiny_patch16_224", num_classes=2, image_size=16, **args)
    seed_noise(classifier.model, 5)
    classifier.model.train()(torch.zeros(1, 3, 16, 16))
    before = noise_state(classifier.model)
    classifier.on_validation_epoch_start()
    classifier.model(torch.zeros(1, 3, 16, 16))
    classifier._report = lambda split: None
    classifier.on_validation_epoch_end()
    assert noise_state(classifier.model) == before


def small_resnet(**options):
    args = {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8), "include": "layer*.act1", **options}
    return create_model("resnet18", num_classes=2, image_size=16, competitors=4, **args)


def test_batch_norm_statistics_are_those_of_the_inference_rule():
    model = small_resnet(competition=Competition(noise_scale=5.0)).train()
    batches = [torch.randn(6, 3, 16, 16) + i for i in range(3)]
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" not in k and "tracked" not in k}
    reestimate_batch_norm(model, batches)
    assert model.training
    assert model.layer1[0].bn2.momentum == 0.1
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    # oracle: what reaches the last normalisation of the first block without noise, in batch statistics
    for layer in competitions(model).values():
        layer.competition = Competition(noise_scale=0.0)
    inputs = []
    model.layer1[0].conv2.register_forward_hook(lambda module, args, output: inputs.append(output))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    means = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    reestimate_batch_norm(model, batches)
    assert torch.allclose(model.layer1[0].bn2.running_mean, means, atol=1e-5)


def test_reestimated_statistics_are_what_a_run_leaves(train):
    def resnet():
        args = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
        network = {"image_size": 16, "competitors": 4, "include": "layer*.act1", "competition": NOISE}
        return Classifier("resnet18", start=Start(model_args=args), **network)

    plain, anew = (train(f"bn{n}", classifier=resnet(), epochs=1, reestimate_batch_norm=n) for n in (0, 2))
    differing = {k for k, v in weights(plain).items() if not torch.equal(v, weights(anew)[k])}
    assert differing
    assert all("running" in k or "tracked" in k for k in differing)


def test_the_log_and_the_progress_bar_tell_how_units_compete(train):
    class Bar(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.shown = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}

    bar = Bar()
    row = rows(train("told", epochs=1, trainer_args={"callbacks": [bar]}))[0]
    for name in ("density", "effective_density", "dead_units", "winner_entropy", "agreement"):
        assert bar.shown[f"val_{name}"] == pytest.approx(float(row[f"val_{name}"]), rel=1e-5), name
    assert bar.shown["val_density"] == 1 / 8 and 0 < bar.shown["val_effective_density"] <= 1 / 8


def test_tensorboard_is_written_where_it_is_installed(train):
    pytest.importorskip("tensorboard", reason="needs the extra: pip install lwta[tensorboard]")
    run = train("logged", epochs=1, logger=True)
    assert list((run / "tensorboard").glob("events.*"))


def test_activations_that_run_several_times_in_a_pass_are_trained_watched_and_saved_call_by_call(train):
    dla = Classifier("dla46x_c", image_size=32, competitors=4, include="level2*", execution=Execution(samples=2))
    run = train("turns", classifier=dla, epochs=1)
    names = [f"level2.tree{tree}.relu.{call}" for tree in (1, 2) for call in range(3)]
    with (run / "competition.csv").open() as file:
        assert [row["layer"] for row in csv.DictReader(file)] == [*names, "level2.root.relu"]
    assert list(competitions(load_model(run))) == [*names, "level2.root.relu"]


@pytest.mark.slow
def test_a_compiled_network_trains_and_is_read(train, tiny):
    run = train("compiled", classifier=tiny(execution=Execution(compile=True)), epochs=1)
    assert load_model(run).num_classes == 2
    assert rows(run)[0]["val_density"] == "0.125"
