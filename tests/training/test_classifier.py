"""The classifier: what it starts from, what its loss is, how its steps are scheduled."""

import csv
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from competition_layers import competition_kl, competitions, create_model, load_model, observe, save_model
from competition_layers.competition import Competition
from competition_layers.groups import Groups
from training import Annealing, Augmentation, Execution, Loss, Optimizer, Schedule
from training.initial import load_initial_weights

TINY = {"image_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2}


def tiny_vit(**options):
    return create_model("vit_tiny_patch16_224", **{"num_classes": 2, **TINY, **options})


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_noise_and_temperature_end_where_their_schedules_end(train, tiny):
    annealing = Annealing(noise_scale=Schedule(0.25, until=0.5), temperature=Schedule(1.0))
    start = Competition(noise_scale=1.0, temperature=2.0, inference="sample")
    run = train(classifier=tiny(competition=start, annealing=annealing))
    (layer,) = competitions(load_model(run)).values()
    assert layer.competition == Competition(noise_scale=0.25, temperature=1.0, inference="sample")


def test_the_kl_term_is_weighed_and_reaches_the_weights(tiny, images):
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    losses, gradients = [], []
    for weight in (0.0, 3.0):
        classifier = tiny(loss=Loss(kl_weight=weight))
        torch.manual_seed(0)
        classifier.model = tiny_vit(competition=Competition(noise_scale=0.0))
        loss, _ = classifier.loss(x, y)
        loss.backward()
        losses.append(loss.item())
        gradients.append(classifier.model.blocks[0].mlp.fc1.weight.grad)
    with observe(classifier.model, "blocks.0.mlp.act", what="input") as inputs:
        classifier.model(x)
    kl = competition_kl(inputs["blocks.0.mlp.act"], Groups(8, channel_dim=-1)).item()
    assert losses[1] == pytest.approx(losses[0] + 3 * kl, abs=1e-5)
    assert not torch.allclose(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_the_kl_gradient_of_a_compiled_network_is_that_of_an_uncompiled_step(tiny, backend):
    torch._dynamo.reset()
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    classifier = tiny(loss=Loss(kl_weight=3.0))
    classifier.model, found = tiny_vit(competition=Competition(noise_scale=0.0)), []
    for compiled in (False, True):
        if compiled:
            classifier.model.compile(fullgraph=True, backend=backend)
        for _ in range(2):
            classifier.zero_grad()
            loss, _ = classifier.loss(x, y)
            loss.backward()
        found.append([loss, *(p.grad for p in classifier.model.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_competition_that_leaves_no_kl_is_an_error(tiny):
    classifier = tiny(loss=Loss(kl_weight=3.0))
    classifier.model = tiny_vit(competition=Competition(noise_scale=0.0))
    classifier.model.blocks[0].mlp.act.eval()
    with pytest.raises(RuntimeError, match=r"run in a training pass but got nothing of \['blocks.0.mlp.act'\]"):
        classifier.loss(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1]))


def test_compiled_ranks_draw_noise_of_their_own_and_the_same_again(tiny, monkeypatch):
    x = torch.randn(8, 3, 16, 16)

    def answers(rank):
        torch.manual_seed(5)
        classifier = tiny(execution=Execution(compile=True))
        classifier.model = tiny_vit(competition=Competition(noise_scale=1.0)).train()
        classifier.model.compile(backend="eager")
        monkeypatch.setattr(type(classifier), "global_rank", rank)
        monkeypatch.setattr(classifier, "_mixing", lambda: None)
        classifier.on_fit_start()
        return classifier.model(x)

    one = answers(1)
    assert not torch.equal(answers(0), one)
    assert torch.equal(answers(1), one)


def test_mixed_labels_are_smoothed_like_plain_ones(tiny):
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    classifier = tiny(loss=Loss(label_smoothing=0.2))
    classifier.model = tiny_vit(competition=Competition(noise_scale=0.0))
    shares = torch.eye(2)[y]
    assert torch.allclose(classifier.loss(x, shares)[0], classifier.loss(x, y)[0])


def test_the_rate_warms_up_and_falls_as_a_cosine(train, tiny):
    rising = Optimizer(lr=1e-2, warmup_epochs=2, warmup_lr=0.0, min_lr=1e-4)
    run = train(classifier=tiny(optimizer=rising), epochs=6)
    rates = [float(row["lr"]) for row in rows(run)]
    expected = [0.5 * (1 + math.cos(math.pi * e / 6)) * (1e-2 - 1e-4) + 1e-4 for e in range(3, 7)]
    assert rates[0] == pytest.approx(5e-3)
    assert rates[2:] == pytest.approx(expected, rel=1e-3)


def test_a_step_schedule_falls_at_its_epochs(train, tiny):
    step = Optimizer(opt="momentum", sched="step", lr=0.1, sched_args={"decay_epochs": 2, "decay_rate": 0.1})
    run = train(classifier=tiny(optimizer=step), epochs=4)
    assert [float(row["lr"]) for row in rows(run)] == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_layers_may_learn_at_rates_of_their_own(train, tiny):
    decaying = Optimizer(opt="sgd", opt_args={"momentum": 0.8, "layer_decay": 0.5})
    run = train(classifier=tiny(optimizer=decaying), epochs=1)
    assert (run / "model" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        Optimizer("lookahead_adamw"),
        Optimizer("sgd", opt_args={"momentum": 0.9, "nesterov": True}),
        Optimizer(opt_args={"betas": [0.9, 0.98], "eps": 1e-6}),
        Optimizer(sched="none"),
        Optimizer(sched="multistep", sched_args={"decay_milestones": [1]}),
    ],
    ids=lambda chosen: f"{chosen.opt}-{chosen.sched}",
)
def test_timms_optimisers_and_schedules_train(train, tiny, chosen):
    run = train(classifier=tiny(optimizer=chosen), epochs=1)
    assert math.isfinite(float(rows(run)[-1]["train_loss"]))


def test_mixup_needs_pairs(train, tiny, images):
    mixing = Augmentation(mixup=0.8, cutmix=1.0)
    assert train("mixed", data=images(augmentation=mixing), epochs=1)
    with pytest.raises(ValueError, match="even batch_size for mixup and cutmix but got 3"):
        train("odd", data=images(augmentation=mixing, batch_size=3))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(train, tiny):
    with pytest.raises(ValueError, match=r"finite loss but got nan at step \d+ .*--model\.optimizer\.lr"):
        train(classifier=tiny(optimizer=Optimizer("sgd", lr=1e30), loss=Loss(0.0), competitors=1), epochs=3)


def test_a_network_that_diverges_names_the_first_competition_that_met_a_nan(train, tiny):
    with pytest.raises(RuntimeError, match=r"numbers in layer 'blocks.0.mlp.act' but got NaN: .*a lower learning rate"):
        train(classifier=tiny(optimizer=Optimizer("sgd", lr=1e30), loss=Loss(0.0)), epochs=3)


def test_a_head_of_other_classes_is_left_fresh_and_told(tmp_path, capsys):
    save_model(tiny_vit(num_classes=5), tmp_path / "model")
    model = tiny_vit()
    before = model.head.weight.clone()
    load_initial_weights(model, str(tmp_path))
    theirs = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(model.blocks[0].mlp.fc1.weight, theirs["blocks.0.mlp.fc1.weight"])
    assert torch.equal(model.head.weight, before)
    assert "fresh: head.weight (2, 24), there (5, 24)" in capsys.readouterr().out


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_model(tiny_vit(embed_dim=16), tmp_path / "model")
    with pytest.raises(ValueError, match=r"differ: blocks.0.attn.proj.bias \(24,\), there \(16,\)"):
        load_initial_weights(tiny_vit(), str(tmp_path))
    with pytest.raises(FileNotFoundError, match="safetensors file, a model or run folder"):
        load_initial_weights(tiny_vit(), str(tmp_path / "nothing"))
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="nothing is unpickled"):
        load_initial_weights(tiny_vit(), str(tmp_path / "weights.pth"))


def test_a_bare_file_of_weights_will_do(tmp_path, tiny, train):
    weights = tiny_vit().state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    still = Optimizer(lr=0.0, warmup_lr=0.0)
    start = {"weights": str(tmp_path / "weights.safetensors")}
    run = train(classifier=tiny(start=start, optimizer=still), epochs=1)
    assert torch.equal(load_model(run).head.weight, weights["head.weight"])
