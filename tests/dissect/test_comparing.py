"""Claims about the comparison of networks."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from competing import small_resnet
from PIL import Image

from competition_layers import Competition, DecisionLayer, create_model, predict, votes
from competition_layers.attribution import contributions
from competition_layers.decision_figures import necessary_units, sufficient_units, tautology, units_for_lead
from competition_layers.metrics import effective_density
from dissect import compare, open_probe
from dissect.comparing.comparing import Compared
from dissect.comparing.decisions import measure_decision, named_decisions
from dissect.comparing.memory import peak_bytes
from dissect.comparing.untrained import untrained_twin
from dissect.explaining.picture import network_input
from dissect.recording.subject import architecture
from dissect.report import comparison_text

LABELS = ("beach", "city", "farm")


def network(competitors: int, **options):
    return small_resnet(competitors, LABELS, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    generator = torch.Generator().manual_seed(0)
    for i in range(12):
        path = folder / LABELS[i % 3] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=generator).numpy()).save(path)
    return folder


@pytest.fixture(scope="module")
def figures(folder):
    models = {"dense": network(1), "sparse": network(4)}
    comparison = compare(
        {"dense": models["dense"], "sparse": Compared(models["sparse"], training_seconds=61.0)},
        open_probe(folder),
        samples=3,
        batch_size=5,
    )
    return models, comparison


def test_accuracy_is_the_share_of_right_answers_whatever_the_batches(figures, folder):
    models, comparison = figures
    images = open_probe(folder)
    for network, model in zip(comparison.networks, models.values(), strict=True):
        said = [int(predict(model, network_input(model, image)).argmax()) for image in images]
        right = sum(LABELS[i] == label for i, label in zip(said, images.labels, strict=True))
        assert network.accuracy.saved == pytest.approx(right / 12)


def test_effective_density_is_the_mean_over_images_one_by_one(figures, folder):
    models, comparison = figures
    for network, model in zip(comparison.networks, models.values(), strict=True):
        one_by_one = [
            effective_density(contributions(model, network_input(model, image), network.sparsity.layer).to_margin)
            for image in open_probe(folder)
        ]
        assert network.sparsity.effective_density == pytest.approx(torch.stack(one_by_one).mean().item(), abs=1e-6)


def test_density_is_one_over_u_for_a_competition_and_measured_for_a_relu(figures):
    dense, sparse = figures[1].networks
    assert sparse.sparsity.density == 0.25
    assert 0 < dense.sparsity.density < 1


@pytest.mark.slow
def test_twins_are_measured_beside_a_competition(folder):
    twins = ("topk", "relu", "gelu")
    models = {twin: network(4, competition=Competition(activation=twin)) for twin in twins}
    topk, relu, gelu = compare(models, open_probe(folder)).networks
    assert (topk.sparsity.density, gelu.sparsity.density) == (0.25, None) and 0 < relu.sparsity.density < 1
    assert [each.architecture for each in (topk, relu, gelu)] == [f"resnet18 ({twin})" for twin in twins]
    assert {(each.competitors, each.rule, each.accuracy.argmax) for each in (topk, relu, gelu)} == {
        (1, "nothing competes", None)
    }


def test_a_smooth_activation_has_no_density(folder):
    small = {"num_classes": 3, "image_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 2, "label_names": LABELS}
    comparison = compare({"vit": create_model("vit_tiny_patch16_224", competitors=1, **small)}, open_probe(folder))
    assert comparison.networks[0].sparsity.density is None
    assert comparison.networks[0].accuracy.argmax is None


def test_dense_and_sparse_are_measured_at_the_same_layer_by_the_same_method(figures):
    dense, sparse = figures[1].networks
    assert (dense.sparsity.layer, dense.sparsity.method) == (sparse.sparsity.layer, sparse.sparsity.method)
    assert dense.parameters == sparse.parameters


def test_the_untrained_value_is_that_of_fresh_weights(figures, folder):
    models, comparison = figures
    for network, model in zip(comparison.networks, models.values(), strict=True):
        twin = untrained_twin(model)
        assert not torch.equal(twin.fc.weight, model.fc.weight)
        assert torch.equal(twin.fc.weight, untrained_twin(model).fc.weight)
        one_by_one = [
            effective_density(contributions(twin, network_input(model, image), network.sparsity.layer).to_margin)
            for image in open_probe(folder)
        ]
        assert network.sparsity.untrained == pytest.approx(torch.stack(one_by_one).mean().item(), abs=1e-6)


def test_other_layers_and_methods_are_marked(folder):
    inside = network(4, include="layer*.act1")
    for module in inside.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data += 0.5  # a fresh block of timm's adds nothing to its input
    comparison = compare({"sparse": inside, "dense": network(1)}, open_probe(folder, limit=3))
    layers, methods = comparison.remarks
    assert "Densities were taken at different layers (sparse at layer4.0.act1, dense at layer4.0.act2)" in layers
    assert "(sparse by gradient x activation, dense by direct)" in methods
    assert all(remark in comparison_text(comparison) for remark in comparison.remarks)
    assert compare({"sparse": network(4), "dense": network(1)}, open_probe(folder, limit=3)).remarks == ()


def test_times_are_kept_where_they_are_known(figures):
    dense, sparse = figures[1].networks
    assert (dense.training_seconds, sparse.training_seconds) == (None, 61.0)
    assert dense.milliseconds > 0


def test_the_figures_repeat_times_aside(figures, folder):
    again = compare({"sparse": network(4)}, open_probe(folder), samples=3, batch_size=5).networks[0]
    sparse = figures[1].networks[1]
    assert (again.accuracy, again.sparsity) == (sparse.accuracy, sparse.sparsity)


def test_a_strange_class_is_named_with_the_network_that_does_not_know_it(tmp_path):
    path = tmp_path / "citty" / "0.png"
    path.parent.mkdir()
    Image.new("RGB", (32, 32)).save(path)
    with pytest.raises(ValueError, match=r"Expected classes that network 'a' knows .* but got 'citty' .* mean 'city'"):
        compare({"a": network(4)}, open_probe(tmp_path))


def test_images_without_classes_are_refused(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="one folder a class, but found none"):
        compare({"a": network(4)}, open_probe(tmp_path))


def test_what_a_decision_rests_on_is_that_of_the_images_one_by_one(folder):
    model = network(4, decision=DecisionLayer(units=16, competitors=4))
    images = open_probe(folder)
    found = [votes(model, network_input(model, image)) for image in images]
    (figures,) = compare({"sparse": model}, images, batch_size=5).networks
    assert figures.decision.units == 16 and figures.decision.names is None
    for name, counted in (
        ("units_for_lead", units_for_lead),
        ("sufficient", sufficient_units),
        ("necessary", necessary_units),
    ):
        assert getattr(figures.decision, name) == torch.cat([counted(one) for one in found]).float().median()
    winners = {unit for one in found for unit in one.units.flatten().tolist()}
    assert figures.decision.dead == 1 - len(winners) / 16
    text = comparison_text(compare({"sparse": model, "dense": network(1)}, images))
    assert "classes a unit" in text and f"{figures.decision.units_for_lead:g} of 16" in text


def test_a_name_that_is_the_class_is_counted(folder):
    model = network(4, decision=DecisionLayer(units=16, competitors=4))
    named = {0: "a beach", 1: "city", 2: "seaside", 3: ""}
    concepts = ["a beach", "city", "seaside", "sky"]
    vectors = torch.eye(4)
    vectors[2] = torch.tensor([0.97, 0.0, 0.2431, 0.0])  # near "a beach"

    class Described:
        layers = ("decision",)
        manifest: ClassVar = {"concepts": {"names": concepts}}

        def units(self, layer):
            return 16

        def description(self, layer, unit):
            return SimpleNamespace(description=named.get(unit, "sky"))

        def concept_embeddings(self):
            return vectors

    passes = [network_input(model, image) for image in open_probe(folder)]
    decision = measure_decision(model, passes, named_decisions(Described(), LABELS))
    same = torch.zeros(16, 3, dtype=torch.bool)
    same[0, 0] = same[2, 0] = same[1, 1] = True
    shares = torch.cat([tautology(votes(model, x), same) for x in passes])
    assert decision.names.tautology == pytest.approx(shares.mean().item(), abs=1e-6)
    assert 0 < decision.names.named <= 1 and decision.names.distinct >= 1


def test_a_unit_of_a_twin_that_never_speaks_is_dead():
    torch.manual_seed(0)
    relu = DecisionLayer(16, 4, activation="relu")
    model = create_model("resnet18", competitors=1, num_classes=3, image_size=32, decision=relu, layers=(1, 1, 1, 1))
    model.decision_units.bias.data[:4] = -1000
    x = torch.randn(4, 3, 32, 32)
    said = votes(model.eval(), x).values[:, 0]
    assert (said[:, :4] == 0).all()
    assert measure_decision(model, [x]).dead == (said == 0).all(0).float().mean().item() >= 0.25
    assert architecture(model) == "resnet18 (relu)"


def test_memory_is_the_most_that_a_pass_holds_at_once():
    x = torch.zeros(1000, 256)

    def run():
        y = x + 1  # one MB
        z = y + 1  # two
        del y
        z + 1  # again two

    assert peak_bytes(run, x.device) == 2 * x.numel() * 4
