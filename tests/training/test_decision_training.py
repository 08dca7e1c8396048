"""A decision layer trained through the network, on a frozen backbone, and on features alone."""

import csv
import json
import math
import multiprocessing
import os
from dataclasses import replace
from time import sleep

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EMAWeightAveraging
from safetensors.torch import load_file
from torch import distributed

from competition_layers import (
    DecisionHead,
    DecisionLayer,
    add_decision,
    balance_loss,
    create_model,
    decision_features,
    focus_loss,
    load_model,
    revert_activations,
    save_model,
    votes,
)
from competition_layers.functional import lwta
from competition_layers.groups import Groups
from competition_layers.noise import key_of
from training import Augmentation, Fitting, evaluate, fit_decision, fit_decisions
from training.decision import store
from training.decision.fitting import logits_of, moments
from training.decision.stack import Stack
from training.decision.sweep import sweep, sweep_plot, sweep_table
from training.picture_sweep import settings_of
from training.sampling import Draw

DECISION = DecisionLayer(units=12, competitors=4)


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def clusters(n=300, features=6, classes=3, places=()):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    centres = 3 * torch.randn(classes, features, generator=generator)
    noise = torch.randn(n, *places, features, generator=generator)
    return centres[labels].view(n, *[1] * len(places), features) + noise, labels


@pytest.mark.parametrize("at", ["pooled", "positions"])
def test_a_network_is_trained_through_its_decision_layer(train, tiny, images, at):
    decision = DecisionLayer(12, 4, at, noise_scale=0.5, votes="non_negative")
    averaged = {"callbacks": [EMAWeightAveraging()]} if at == "pooled" else {}
    run = train(classifier=tiny(competitors=1, decision=decision), trainer_args=averaged)
    model = load_model(run)
    assert model.lwta.decision == decision
    assert model.decision_votes.weight.min() >= 0
    assert model.decision.competition.noise_scale == 0.5  # its own, not the annealed one of the backbone
    figures = metrics(run)[-1]
    assert 1 <= float(figures["val_deciding_units"]) <= 3 or at == "positions"
    assert 0 <= float(figures["val_sufficient_units"]) <= 12 and 0 <= float(figures["val_necessary_units"]) <= 13
    assert 1 <= float(figures["val_classes_served"]) <= 2
    assert evaluate(run, images(), accelerator="cpu", enable_progress_bar=False)["test_accuracy"] >= 0


def test_a_frozen_backbone_is_read_once_and_stays_as_it_was(train, tiny, images, tmp_path, monkeypatch):
    torch.manual_seed(0)
    run = train(classifier=tiny(competitors=1, decision=DECISION, train="decision"), epochs=3)
    before = create_weights(tiny)
    after = load_file(run / "model" / "model.safetensors")
    frozen = [name for name in before if not name.startswith("decision")]
    assert frozen and all(torch.equal(before[name], after[name]) for name in frozen)
    assert any(not torch.equal(before[name], after[name]) for name in after if name.startswith("decision_units"))
    assert after["decision_features.std"].min() > 0 and (after["decision_features.std"] != 1).any()
    assert len(list((tmp_path / ".features").iterdir())) == 2  # training, validation

    # the same features serve another layer; the validation of pictures agrees with that of features
    monkeypatch.setattr(store, "_compute", None)
    other = train("other", classifier=tiny(competitors=1, decision=DecisionLayer(8, 8), train="decision"), epochs=1)
    noted = json.loads((other / "model" / "config.json").read_text())["training"]
    on_pictures = evaluate(other, images(), split="val", accelerator="cpu", enable_progress_bar=False)
    assert on_pictures["val_accuracy"] == pytest.approx(noted["val_accuracy"])


def test_a_frozen_backbone_competes_as_when_it_was_trained(train, tiny, capsys):
    dense = train("dense", classifier=tiny(competitors=1), epochs=1)
    frozen = {"decision": DECISION, "train": "decision", "start": {"weights": str(dense)}}
    with pytest.raises(ValueError, match=r"\(nowhere\) but got 8 competitors at 1 activations; --model\.competitors 1"):
        train("sparse", classifier=tiny(**frozen), epochs=1)
    train("fits", classifier=tiny(competitors=1, **frozen), epochs=1)
    assert "random weights" not in capsys.readouterr().out
    train("random", classifier=tiny(competitors=1, **{**frozen, "start": None}), epochs=1)
    assert "WARNING: the frozen backbone has random weights" in capsys.readouterr().out


def create_weights(tiny):
    """The backbone as a run with seed 0 starts it."""
    from lightning import seed_everything

    seed_everything(0, verbose=False)
    classifier = tiny(competitors=1, decision=DECISION)
    return classifier.network.build(("a", "b"), 2).state_dict()


def test_a_killed_feature_pass_goes_on_where_it_was(images, tmp_path, monkeypatch):
    model = create_model("test_resnet", competitors=1, num_classes=2, image_size=32, decision=DECISION).eval()
    pictures = [(torch.full((3, 32, 32), i / 10), i % 2) for i in range(10)]
    monkeypatch.setattr(store, "SHARD_BYTES", 3 * 2 * model.decision_units.in_features)  # three pictures a shard
    how = store.Pass(batch_size=2)
    whole = store.stored_features(model, pictures, lambda x: x, tmp_path / "whole", how)
    assert len(whole.shards) == 4 and whole.labels.tolist() == [i % 2 for i in range(10)]

    seen = []

    def killed(x):
        seen.append(x)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return x

    with monkeypatch.context() as patch:
        patch.setattr(store, "json", json)
        with pytest.raises(KeyboardInterrupt):
            store.stored_features(model, pictures, Named(killed), tmp_path / "killed", how)
        seen.clear()
        again = store.stored_features(model, pictures, Named(lambda x: seen.append(x) or x), tmp_path / "killed", how)
    assert len(seen) == 4  # two whole shards were there
    assert torch.equal(torch.cat(again.shards), torch.cat(whole.shards))


def slowly(folder, marks, wait):
    """A pass over 40 pictures, each of which leaves a line in `marks`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = create_model("test_resnet", competitors=1, num_classes=2, image_size=32, decision=DECISION).eval()
    pictures = [(torch.full((3, 32, 32), i / 40), i) for i in range(40)]

    def look(x):
        with marks.open("a") as file:
            file.write("seen\n")
        sleep(wait)
        return x

    store.SHARD_BYTES = 3 * 2 * model.decision_units.in_features  # three pictures a shard
    found = store.stored_features(model, pictures, Named(look), folder, store.Pass(batch_size=2))
    torch.save(found.labels, folder / f"labels-{os.getpid()}.pt")


@pytest.mark.slow
def test_a_feature_pass_that_was_killed_outright_goes_on_where_it_was(tmp_path):
    marks = tmp_path / "marks"
    spawn = multiprocessing.get_context("spawn")
    killed = spawn.Process(target=slowly, args=(tmp_path, marks, 0.1))
    killed.start()
    while not marks.is_file() or marks.read_text().count("seen") < 20:
        sleep(0.02)
    killed.kill()
    killed.join()
    kept = sum(len(load_file(path)["labels"]) for path in tmp_path.rglob("*.safetensors"))
    assert kept >= 15
    marks.unlink()
    # two at once: one computes what is missing, the other waits for it
    again = [spawn.Process(target=slowly, args=(tmp_path, marks, 0)) for _ in range(2)]
    for process in again:
        process.start()
    for process in again:
        process.join()
    assert marks.read_text().count("seen") == 40 - kept
    assert [torch.load(path).tolist() for path in tmp_path.glob("labels-*.pt")] == [list(range(40))] * 2


def _balance_in_process(rank, world, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet{world}", rank=rank, world_size=world)
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = balance_loss(x.chunk(world)[rank] @ weight.t(), Groups(3, channel_dim=-1))
    loss.backward()
    distributed.all_reduce(weight.grad)  # as DDP does
    torch.save((loss.detach(), weight.grad / world), f"{folder}/{world}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_the_balance_over_processes_is_that_of_the_whole_batch(tmp_path):
    for world in (1, 2):
        torch.multiprocessing.spawn(_balance_in_process, (world, str(tmp_path)), nprocs=world)
    alone, *both = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for loss, gradient in both:
        assert torch.allclose(loss, alone[0]) and torch.allclose(gradient, alone[1], atol=1e-6)


def test_features_that_half_precision_cannot_hold_end_the_pass(tmp_path):
    model = create_model("test_resnet", competitors=1, num_classes=2, image_size=32, decision=DECISION).eval()
    pictures = [(torch.full((3, 32, 32), 1e9), 0)] * 2
    with pytest.raises(ValueError, match=r"within 65,504, which half precision holds, but got \d"):
        store.stored_features(model, pictures, lambda x: x, tmp_path, store.Pass(batch_size=2))


@pytest.mark.parametrize("seconds", [0, 1000])
def test_shards_of_any_length_give_each_picture_its_features(tmp_path, monkeypatch, seconds):
    model = create_model("test_resnet", competitors=1, num_classes=2, image_size=32, decision=DECISION).eval()
    pictures = [(torch.full((3, 32, 32), i / 10), i % 2) for i in range(7)]
    monkeypatch.setattr(store, "SHARD_SECONDS", seconds)
    stored = store.stored_features(model, pictures, lambda x: x, tmp_path, store.Pass(batch_size=2))
    assert [len(shard) for shard in stored.shards] == ([2, 2, 2, 1] if seconds == 0 else [7])
    found, labels = stored[[Draw(i, 0) for i in (6, 0, 3)]]
    with torch.no_grad():
        expected = decision_features(model, torch.stack([pictures[i][0] for i in (6, 0, 3)])).half().float()
    assert torch.allclose(found, expected, atol=1e-3) and labels.tolist() == [0, 0, 1]


class Named:
    """A transform whose text does not change."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)

    def __repr__(self):
        return "named"


def test_augmented_views_are_several_features_a_picture(train, tiny, images, tmp_path):
    classifier = tiny(competitors=1, decision=DECISION, train="decision", views=3)
    train(classifier=classifier, data=images(augmentation=Augmentation(scale=(0.3, 0.6))), epochs=1)
    counts = sorted(
        sum(len(load_file(shard)["labels"]) for shard in folder.glob("*.safetensors"))
        for folder in (tmp_path / ".features").iterdir()
    )
    assert counts == [4, 48]  # of 20 pictures 16 are trained on, in 3 views


@pytest.mark.parametrize("places", [(), (2, 2)], ids=["pooled", "positions"])
def test_layers_are_fitted_on_features_in_three_lines(places):
    features, labels = clusters(places=places)
    decision = DecisionLayer(8, 4, "positions" if places else "pooled")
    head = fit_decision(features, labels, decision, fitting=Fitting(epochs=40, batch_size=50, lr=1e-2))
    assert (logits_of(head, features).argmax(1) == labels).float().mean() > 0.9
    found = votes(head, features)
    assert torch.allclose(found.logits, found.bias + found.votes.sum((1, 2)), atol=1e-4)


def test_a_seed_repeats_a_fit():
    features, labels = clusters()
    one, other = (fit_decision(features, labels, DECISION, fitting=Fitting(epochs=1, seed=3)) for _ in range(2))
    assert torch.equal(one.decision_units.weight, other.decision_units.weight)


def test_a_fitted_layer_stands_behind_the_backbone_of_its_features(tmp_path):
    torch.manual_seed(0)
    backbone = create_model("test_resnet", competitors=1, num_classes=3, image_size=32).eval()
    x = torch.randn(12, 3, 32, 32)
    with torch.no_grad():
        features = backbone.forward_head(backbone.forward_features(x), pre_logits=True)
    head = fit_decision(features, torch.arange(12) % 3, DECISION, fitting=Fitting(epochs=2, batch_size=4))
    dense = backbone.lwta
    add_decision(backbone, DECISION, head=head)
    with torch.no_grad():
        assert torch.allclose(backbone(x), head(features), atol=1e-5)
        save_model(backbone, tmp_path / "model")
        assert torch.equal(load_model(tmp_path / "model").eval()(x), backbone(x))
    revert_activations(backbone)
    assert backbone.lwta == dense


def test_several_settings_at_once_are_what_each_is_alone():
    features, labels = clusters()
    settings = [
        DecisionLayer(8, 4),
        *(DecisionLayer(6 * groups, 6, noise_scale=0.0, balance=groups / 2) for groups in (1, 3, 2)),  # side by side
        DecisionLayer(8, 8, balance=0.0),
    ]
    how = Fitting(epochs=2, batch_size=64)
    together = fit_decisions(features, labels, settings, fitting=how)
    for setting, head in zip(settings, together, strict=True):
        alone = fit_decision(features, labels, setting, fitting=how)
        assert torch.allclose(alone.decision_units.weight, head.decision_units.weight, atol=1e-4)


def test_twins_are_trained_like_the_layer(train, tiny):
    topk = DecisionLayer(12, 4, activation="topk")
    model = load_model(train(classifier=tiny(competitors=1, decision=topk)))
    assert model.lwta.decision == topk and model.decision.competition.activation == "topk"

    x, labels = clusters()
    settings = [DECISION, topk, replace(topk, activation="relu", focus=0.0)]
    fitting = Fitting(epochs=20, batch_size=50, lr=1e-2)
    own, largest, rectified = fit_decisions(x, labels, settings, fitting=fitting)
    assert all((head(x).argmax(1) == labels).float().mean() > 0.9 for head in (own, largest, rectified))
    assert ((votes(largest, x).values != 0).sum(-1) == 3).all()
    alone = fit_decision(x, labels, topk, fitting=fitting)
    assert torch.allclose(alone.decision_votes.weight, largest.decision_votes.weight, atol=1e-5)


def test_votes_that_may_not_be_negative_are_none_of_them():
    x, labels = clusters()
    plain = DecisionLayer(8, 4)
    settings = [plain, replace(plain, votes="non_negative"), replace(plain, votes="non_negative", activation="topk")]
    free, *kept = fit_decisions(x, labels, settings, fitting=Fitting(epochs=5, batch_size=50, lr=1e-2))
    assert free.decision_votes.weight.min() < -0.1
    assert [head.decision_votes.weight.min() for head in kept] == [0, 0]


@pytest.mark.parametrize("places", [(), (2, 2)], ids=["pooled", "positions"])
def test_layers_side_by_side_have_each_its_own_loss(places):
    x, _ = clusters(n=20, places=places)
    at = "positions" if places else "pooled"
    heads = [DecisionHead(6, 3, DecisionLayer(4 * n, 4, at, noise_scale=0.0, balance=n / 4)) for n in (2, 1, 3)]
    target = torch.randn(20, 3).softmax(1)
    expected = 0
    for head in heads:
        h = head.decision_units(x)
        y = head.decision(h).reshape(20, -1, len(head.decision_units.bias)).mean(1)
        focus = focus_loss(y, head(x), head.decision_votes.weight)
        balance = balance_loss(h, head.decision.groups)
        expected += F.cross_entropy(head(x), target) + head.options.balance * balance + head.options.focus * focus
    assert torch.allclose(Stack(heads, seed=0).loss(x, target), expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1.0), (0.5, 0.7), (0.0, 1.0)])
def test_layers_side_by_side_learn_as_the_competition_does(scale, temperature):
    x, target = torch.randn(30, 6), torch.randn(30, 3).softmax(1)
    options = DecisionLayer(12, 4, noise_scale=scale, temperature=temperature, balance=0.5, focus=0.3)
    head, how = DecisionHead(6, 3, options), {"noise_scale": scale, "temperature": temperature, "estimator": "softmax"}
    assert head.decision.competition.estimator == "softmax"
    stack = Stack([head], seed=3)
    found = torch.autograd.grad(stack.loss(x, target), [stack.weight, stack.votes[0]])

    h = head.decision_units(x).view(30, 4, 3)
    y = lwta(h, Groups(4, channel_dim=1), noise=key_of(3, 0), **how)
    logits = head.decision_votes(y.flatten(1))
    focus = focus_loss(y.flatten(1), logits, head.decision_votes.weight)
    expected = F.cross_entropy(logits, target) + 0.3 * focus
    expected = expected + 0.5 * balance_loss(h.flatten(1), head.decision.groups)
    of_units, of_votes = torch.autograd.grad(expected, [head.decision_units.weight, head.decision_votes.weight])
    assert torch.allclose(found[0].transpose(0, 1).flatten(0, 1), of_units, atol=1e-6)  # kept group by group
    assert torch.allclose(found[1].unflatten(1, (3, 4)).transpose(1, 2).flatten(1), of_votes, atol=1e-6)


def test_layers_side_by_side_meet_noise_of_their_own_scale():
    x = torch.randn(200, 6)
    heads = [DecisionHead(6, 3, DecisionLayer(8, 8, noise_scale=scale)) for scale in (0.0, 30.0)]
    logits, *_ = Stack(heads, seed=0)(x)
    apart = [(found.t() - head(x)).abs().amax(1) for found, head in zip(logits, heads, strict=True)]
    assert apart[0].max() < 1e-4
    assert (apart[1] > 1e-4).float().mean() > 0.5  # other units win


def test_moments_are_those_of_all_places():
    x = 100 + torch.randn(50, 3, 4)
    mean, std = moments(x.split(7))
    assert torch.allclose(mean, x.mean((0, 1)), atol=1e-4)
    assert torch.allclose(std, x.flatten(0, 1).std(0, unbiased=False), atol=1e-4)
    assert moments([torch.ones(3, 2)])[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("features", "labels", "text"),
    [
        (torch.zeros(4, 3), torch.zeros(5, dtype=torch.long), r"as many features as labels but got shapes \[4, 3\]"),
        (
            torch.zeros(4, 3),
            torch.zeros(4),
            r"one class number an image \(torch.long\) but got labels \[4\] of torch.float32",
        ),
        (
            torch.zeros(4),
            torch.zeros(4, dtype=torch.long),
            r"Expected features \[images, features\] or .* but got \[4\]",
        ),
        (torch.zeros(4, 3), [0, 1, 0, 1], r"Expected labels as a tensor but got list: torch\.as_tensor\(labels\)"),
        (torch.tensor([[0.0], [torch.nan]]), torch.tensor([0, 1]), "finite features but got those of image 1 with NaN"),
        (torch.zeros(2, 3), torch.tensor([-1, 1]), "labels from 0 to 1 but got -1 to 1: count classes from 0"),
        (torch.zeros(2, 4, 3), torch.tensor([0, 1]), r"Expected features of shape \[images, \*places, features\] for"),
    ],
)
def test_features_and_labels_that_do_not_fit_are_refused(features, labels, text):
    with pytest.raises(ValueError, match=text):
        fit_decision(features, labels, DECISION)


def test_what_cannot_be_trained_so_is_refused_before_any_work(tiny, images, train):
    with pytest.raises(
        ValueError, match=r"Expected a decision layer for train='decision' but got none: --model\.decision\.units"
    ):
        tiny(train="decision")
    with pytest.raises(ValueError, match="Expected views of 1 but got 2: only train='decision' keeps views"):
        tiny(views=2)
    data, classifier = images(augmentation=Augmentation(mixup=0.1)), tiny(decision=DECISION, train="decision")
    with pytest.raises(ValueError, match="Expected no mixup and cutmix"):
        train(classifier=classifier, data=data)


def test_a_sweep_tells_accuracy_against_units(tmp_path):
    features, labels = clusters()
    settings = [DecisionLayer(8, 4), DecisionLayer(16, 4), DecisionLayer(8, 8)]
    how = Fitting(epochs=3, batch_size=64, lr=1e-2)
    rows = sweep((features[:200], labels[:200]), (features[200:], labels[200:]), settings, fitting=how)
    assert [row.decision for row in rows] == settings
    assert [row.active_units for row in rows] == [2, 4, 1]  # pooled: one winner a group
    assert all(0 <= row.accuracy <= 1 and row.deciding_units <= row.active_units for row in rows)
    assert sweep_table(rows).count("\n") == 4
    assert sweep_plot(rows, tmp_path / "sweep.svg").read_text().startswith("<?xml")


def test_settings_of_a_sweep_are_read_from_a_line():
    base = DecisionLayer(balance=0.25)
    assert settings_of("8/4, 16/16", base) == [DecisionLayer(8, 4, balance=0.25), DecisionLayer(16, 16, balance=0.25)]
    with pytest.raises(ValueError, match=r"Expected --sweep UNITS/COMPETITORS,\.\.\. such as 32/16.* but got '8x4'"):
        settings_of("8x4", base)
    with pytest.raises(ValueError, match="competitors of a decision layer of 8 units to be one of 2, 4, 8 but got 3"):
        settings_of("8/3", base)
    with pytest.raises(ValueError, match="Expected settings of --sweep that differ but got 8/4 twice; leave one out"):
        settings_of("8/4, 16/16, 8/4", base)
    with pytest.raises(ValueError, match=r"Expected --sweep UNITS/COMPETITORS,\.\.\. such as"):
        settings_of("", base)


def test_labels_of_a_sweep_are_checked_before_it():
    features, labels = clusters()
    with pytest.raises(ValueError, match="Expected labels as a tensor but got list"):
        sweep((features, labels), (features, labels.tolist()), [DECISION])


def test_a_sweep_of_nothing_is_refused():
    with pytest.raises(ValueError, match="Expected at least one decision layer to sweep but got an empty list"):
        sweep(clusters(), clusters(), [])


@pytest.mark.parametrize(
    ("option", "value", "bounds"),
    [
        ("epochs", -1, ">= 1"),
        ("batch_size", 0, ">= 1"),
        ("lr", math.nan, ">= 0"),
        ("lr", -1e-3, ">= 0"),
        ("weight_decay", -1.0, ">= 0"),
        ("label_smoothing", 1.5, ">= 0 and <= 1"),
        ("seed", -1, ">= 0"),
    ],
)
def test_how_layers_are_fitted_has_bounds(option, value, bounds):
    with pytest.raises(ValueError, match=f"Expected {option} to be a number {bounds}.* but got {value}"):
        Fitting(**{option: value})
