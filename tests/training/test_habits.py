"""What people do with a Trainer: a trial run, one batch, going on for longer, other callbacks, hardly any pictures."""

import csv

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from safetensors.torch import load_file, save_file
from stopping import StopAt, StoppedError

from competition_layers import load_model
from training import Classifier, Optimizer, Start, evaluate


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_trial_run_keeps_nothing(train, tmp_path):
    train("trial", trainer_args={"fast_dev_run": True})
    assert not (tmp_path / "trial").exists()


def test_one_batch_is_learnt_by_heart(train, tiny):
    quick = Optimizer(lr=0.01)
    run = train("overfit", classifier=tiny(optimizer=quick), epochs=6, trainer_args={"overfit_batches": 1})
    assert {row["step"] for row in rows(run)[:2]} == {"1", "2"}
    assert float(rows(run)[-1]["train_loss"]) < float(rows(run)[0]["train_loss"])


def test_a_run_without_validation_leaves_a_network(train):
    run = train("unseen", epochs=1, trainer_args={"limit_val_batches": 0})
    assert load_model(run).num_classes == 2


def test_a_run_without_checkpoints_leaves_a_network(train):
    run = train("bare", epochs=1, trainer_args={"enable_checkpointing": False})
    assert load_model(run).num_classes == 2 and not (run / "checkpoints").exists()


def test_a_run_that_goes_on_for_longer_follows_the_schedule_of_its_new_length(train, tiny):
    rising = Optimizer(lr=1e-2)
    train("longer", classifier=tiny(optimizer=rising), epochs=1)
    run = train("longer", classifier=tiny(optimizer=rising), epochs=3, resume=True)
    assert [row["epoch"] for row in rows(run)] == ["0", "1", "2"]
    assert [float(row["lr"]) for row in rows(run)][1:] == pytest.approx([2.5e-3, 0.0], abs=1e-9)


def test_early_stopping_the_best_checkpoints_and_a_monitor_go_along_and_resume(train, tiny, tmp_path):
    def callbacks():
        best = ModelCheckpoint(tmp_path / "best", monitor="val_accuracy", mode="max", save_top_k=1)
        return [EarlyStopping("val_loss", patience=5), best, LearningRateMonitor()]

    pytest.importorskip("tensorboard")
    for resume in (False, True):
        args = {"callbacks": callbacks()}
        run = train("company", classifier=tiny(), trainer_args=args, logger=True, resume=resume)
    assert len(list((tmp_path / "best").glob("*.ckpt"))) == 1
    assert len(rows(run)) == 2


def test_averaged_batch_norm_resumes_digit_for_digit(train):
    def resnet():
        small = Start(model_args={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})
        return Classifier("resnet18", image_size=16, competitors=4, include="layer*.act1", start=small)

    def averaged(*further):
        return {"callbacks": [EMAWeightAveraging(decay=0.5), *further], "limit_train_batches": 2}

    whole = train("whole", classifier=resnet(), trainer_args=averaged())
    with pytest.raises(StoppedError):
        train("cut", classifier=resnet(), trainer_args=averaged(StopAt(1)))
    cut = train("cut", classifier=resnet(), trainer_args=averaged(), resume=True)
    one, other = (load_file(run / "model" / "model.safetensors") for run in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("options", [{"precision": "15"}, {"accelerator": "gpuu"}, {"devices": 0}, {"strategy": "dpp"}])
def test_what_the_trainer_does_not_take_is_one_line(train, options, tmp_path):
    with pytest.raises(ValueError, match="Expected options that Lightning's Trainer takes"):
        train("refused", trainer_args=options)
    assert not (tmp_path / "refused").exists()


def test_a_network_whose_head_is_nan_has_no_accuracy(train, images, tmp_path):
    run = train("broken", epochs=1)
    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "head.bias": torch.full_like(weights["head.bias"], float("nan"))}, path)
    with pytest.raises(ValueError, match="Expected finite logits but got NaN or infinity for 20 images"):
        evaluate(run, images(), accelerator="cpu", enable_progress_bar=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-true"},
        {"precision": "bf16-mixed"},
        {"precision": "64-true"},
        {"deterministic": True},
        {"detect_anomaly": True},
        {"max_epochs": -1, "max_steps": 3},
        {"max_epochs": -1, "max_time": "00:00:00:01"},
        {"accumulate_grad_batches": 2},
        {"gradient_clip_algorithm": "value"},
        {"check_val_every_n_epoch": 2},
        {"val_check_interval": 0.5},
    ],
    ids=str,
)
def test_usual_options_of_the_trainer_leave_a_network_of_finite_weights(train, options):
    run = train("usual", epochs=options.get("max_epochs", 2), trainer_args=options)
    weights = load_file(run / "model" / "model.safetensors")
    assert load_model(run).num_classes == 2 and all(value.isfinite().all() for value in weights.values())
