"""Runs on a GPU: every precision, resumed, compiled, on a frozen backbone; layers fitted on features that lie there."""

import csv

import pytest
import torch
from stopping import StopAt, StoppedError

from competition_layers import Competition, DecisionLayer, load_model
from training import Execution, Fitting, fit_decision
from training.decision import store
from training.decision.fitting import logits_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
NOISE = Competition(noise_scale=1.0)


def on_gpu(**options):
    return {"accelerator": "gpu", "devices": 1, **options}


def last(run, column):
    with (run / "metrics.csv").open() as file:
        return float(list(csv.DictReader(file))[-1][column])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("compiled", [False, True])
def test_every_precision_learns_and_its_model_opens_on_a_cpu(train, tiny, precision, compiled):
    classifier = tiny(competition=NOISE, execution=Execution(samples=2, compile=compiled))
    run = train(classifier=classifier, epochs=4, trainer_args=on_gpu(precision=precision))
    assert 0 < last(run, "train_loss") < 1.5
    assert next(load_model(run).parameters()).device.type == "cpu"


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(train, tiny):
    whole = train("whole", classifier=tiny(competition=NOISE), epochs=3, trainer_args=on_gpu())
    with pytest.raises(StoppedError):
        train("stopped", classifier=tiny(competition=NOISE), epochs=3, trainer_args=on_gpu(callbacks=[StopAt(2)]))
    again = train("stopped", classifier=tiny(competition=NOISE), epochs=3, resume=True, trainer_args=on_gpu())
    # some sums of a GPU have no fixed order
    assert last(again, "train_loss") == pytest.approx(last(whole, "train_loss"), rel=1e-2)


def test_a_frozen_backbone_computes_its_features_on_the_gpu(train, tiny, monkeypatch):
    seen, compute = [], store._shards

    def watched(model, *rest):
        seen.append(next(model.parameters()).device.type)
        return compute(model, *rest)

    monkeypatch.setattr(store, "_shards", watched)
    run = train(classifier=tiny(competitors=1, decision=DecisionLayer(12, 4), train="decision"), trainer_args=on_gpu())
    assert set(seen) == {"cuda"}
    assert load_model(run).lwta.decision == DecisionLayer(12, 4)


@pytest.mark.parametrize("places", [(), (9,)])
def test_a_layer_fitted_on_a_gpu_answers_as_one_fitted_here(places):
    labels = torch.arange(600) % 3
    centres = 3 * torch.randn(3, 6)
    features = centres[labels].view(600, *[1] * len(places), 6) + torch.randn(600, *places, 6)
    decision = DecisionLayer(12, 4, at="positions" if places else "pooled")
    here = fit_decision(features, labels, decision, fitting=Fitting(epochs=20, batch_size=50))
    there = fit_decision(features.half().cuda(), labels.cuda(), decision, fitting=Fitting(epochs=20, batch_size=50))
    assert next(there.parameters()).is_cuda
    rights = [
        (logits_of(head, x).argmax(1).cpu() == labels).float().mean().item()
        for head, x in ((here, features), (there, features.cuda()))
    ]
    assert rights[1] == pytest.approx(rights[0], abs=0.02) and rights[1] > 0.9
