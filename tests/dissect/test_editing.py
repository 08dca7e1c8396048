"""Claims about edits: by number or by name, of one model alone, measured, refitted, an ordinary model afterwards."""

import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from competing import small_resnet
from made_pictures import paint

from competition_layers import DecisionLayer, load_model, save_model
from dissect import Edit, edit_network, explain, model_fingerprint, open_probe, read_edits, write_edits
from dissect.comparing.measuring import inputs_of
from dissect.editing.applying import apply_edits
from dissect.editing.edits import switched_off, units_named
from dissect.editing.measuring import measure
from dissect.editing.refitting import head_inputs, head_of, refit_head

LABELS = ("blue", "red")


class Described:
    """A dissection, as far as names go."""

    layers = ("decision",)
    names = ("a red ball", "sky", "red balls", "", *[""] * 12)

    def units(self, layer):
        return 16

    def description(self, layer, unit):
        return SimpleNamespace(description=self.names[unit])


def network(activation="competition"):
    return small_resnet(4, LABELS, decision=DecisionLayer(units=16, competitors=4, activation=activation))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return open_probe(paint(tmp_path_factory.mktemp("p"), each=12, size=32), labelled=True)


@pytest.fixture(scope="module")
def x(images):
    return torch.cat([*inputs_of(network(), images, 8)])


def test_a_name_is_all_units_called_so(x):
    assert units_named(Described(), "Red balls") == [("decision", 0), ("decision", 2)]
    edits = switched_off(Described(), ["red ball", "sky"])
    assert [edit.unit for edit in edits] == [0, 2, 1]
    with pytest.raises(
        ValueError, match=r"Expected a name that a unit of decision has but got 'skye', did you mean 'sky'"
    ):
        units_named(Described(), "skye")
    with pytest.raises(ValueError, match=r"but got 'red' \(with that word: 'a red ball', 'red balls'\)"):
        units_named(Described(), "red")


@pytest.mark.parametrize("activation", ["competition", "topk", "relu", "gelu"])
def test_every_kind_of_edit_does_what_it_says(activation, x):
    model, edited = network(activation), network(activation)
    edits = [Edit("decision", 0), Edit("decision", 1, "scale", factor=2.0), Edit("decision", 2, "clamp", high=0.5)]
    edits += [Edit("decision", 2, "scale", factor=-1.0), Edit("decision", 3, "rename", to="a kite")]
    assert apply_edits(edited, edits) == {"decision": "gate"}
    seen = []
    model.decision.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(x)
        y = seen[0].clone()
        y[:, 0], y[:, 1], y[:, 2] = 0, 2 * y[:, 1], -y[:, 2].clamp(max=0.5)
        assert torch.allclose(edited(x), model.decision_votes(y), atol=1e-5)


def test_edits_survive_the_disk_and_belong_to_one_model(tmp_path):
    model = network()
    known = model_fingerprint(model)
    edits = (Edit("decision", 5, why="it follows the frame"), Edit("decision", 6, "clamp", low=-1.0, high=2.5))
    path = write_edits(tmp_path / "e.json", edits, model=known, measured={"data": "x"})
    assert read_edits(path, model=known) == edits
    with pytest.raises(ValueError, match=r"Expected edits of the network at hand \(.*\) in .* but they belong to"):
        read_edits(path, model=model_fingerprint(small_resnet(4, LABELS)))


def test_edits_by_name_need_a_dissection(tmp_path):
    path = tmp_path / "e.json"
    path.write_text(
        json.dumps({"format": 1, "model": "m", "edits": [{"name": "a red ball", "do": "scale", "factor": 0.5}]})
    )
    found = read_edits(path, model="m", dissection=Described())
    assert [(edit.unit, edit.factor, edit.name) for edit in found] == [(0, 0.5, "a red ball"), (2, 0.5, "a red ball")]
    with pytest.raises(ValueError, match="Expected a dissection that says which unit is called 'a red ball'"):
        read_edits(path, model="m")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"layer": "decision", "unit": 3, "do": "scale"}, "Expected factor with 'scale' of unit 3"),
        ({"layer": "decision", "unit": 3, "do": "scale", "factor": float("nan")}, "Expected a finite factor"),
        ({"layer": "decision", "unit": 3, "do": "clamp", "low": 2, "high": 1}, "Expected low <= high"),
        ({"layer": "decision", "unit": 3, "do": "of"}, "Expected do to be .* but got 'of'"),
        ({"layer": "decision", "unit": -1}, "Expected a unit's number, 0 or more, but got -1"),
        ({"layer": "decision", "unit": True}, "Expected a unit's number"),
        ({"layer": "decision", "unit": 3, "factor": 2}, "Expected no factor in an edit of kind 'off'"),
        ({"layer": "decision", "unit": 3, "facter": 2}, "got 'facter', did you mean 'factor'"),
        ({"layer": 3, "unit": 3}, "Expected words for layer"),
        ({"unit": 3}, "Expected the layer of unit 3"),
        ({"do": "off"}, "Expected a unit or a name"),
        ("decision", "to be an object but got 'decision'"),
    ],
)  # fmt: skip
def test_what_is_no_edit_is_refused(entry, error, tmp_path):
    path = tmp_path / "e.json"
    path.write_text(json.dumps({"format": 1, "model": "m", "edits": [entry]}))
    with pytest.raises(ValueError, match=error):
        read_edits(path, model="m")


def test_edits_that_the_network_cannot_take_change_nothing(x):
    model = network()
    before = model(x)
    for edits, error in (
        ([Edit("decision", 0), Edit("decision", 16)], "a unit of 'decision' between 0 and 15 but got 16"),
        ([Edit("decision", 0), Edit("decisoin", 1)], "got 'decisoin', did you mean 'decision'"),
        ([Edit("decision", 0), Edit("decision", 0)], "one edit 'off' of unit 0 of 'decision' but got 2"),
        ([], "at least one edit"),
    ):
        with pytest.raises(ValueError, match=error):
            apply_edits(model, edits)
    assert torch.equal(model(x), before)


def test_figures_before_and_after_are_those_of_the_saved_network(images, tmp_path):
    model = network()
    groups = [f"{label} {i % 2}" for i, label in enumerate(images.labels)]
    done = edit_network(model, [Edit("decision", unit) for unit in range(8)], data=images, groups=groups)
    again = load_model(save_model(model, tmp_path / "m", edited=done.to_dict()))
    targets = torch.tensor([LABELS.index(label) for label in images.labels])
    assert measure(again, inputs_of(again, images, 7), targets, groups) == done.after
    right = torch.cat([network()(x).argmax(1) for x in inputs_of(model, images, 5)]) == targets
    shares = {g: right[torch.tensor([h == g for h in groups])].float().mean().item() for g in groups}
    assert done.before.accuracy == pytest.approx(right.float().mean().item())
    assert done.before.worst == pytest.approx(min(shares.values()))
    said = json.loads((tmp_path / "m" / "config.json").read_text())["edited"]
    assert said["measured"]["after"]["accuracy"] == done.after.accuracy


def test_the_refitted_head_is_the_least_of_its_loss_and_leaves_units_off(images):
    model = network()
    apply_edits(model, [Edit("decision", unit) for unit in (3, 7)])
    inputs = head_inputs(model, inputs_of(model, images, 8))
    targets = torch.tensor([LABELS.index(label) for label in images.labels])
    refit_head(model, inputs, targets, penalty=0.1)
    head = model.get_submodule(head_of(model))
    assert not head.weight[:, [3, 7]].any()
    std = inputs.std(0, correction=0)

    def loss(weight, bias):
        return F.cross_entropy(inputs @ weight.t() + bias, targets) + 0.05 * (weight * std).square().sum()

    weight, bias = head.weight.detach().requires_grad_(), head.bias.detach().requires_grad_()
    slopes = torch.autograd.grad(loss(weight, bias), (weight, bias))
    read = std > 1e-6 * std.max()
    read[[3, 7]] = False
    assert slopes[0][:, read].abs().max() < 1e-4 and slopes[1].abs().max() < 1e-4


def test_a_network_without_decision_layer_is_refitted_at_its_classifier(images):
    model = small_resnet(4, LABELS)
    assert head_of(model) == "fc"
    done = edit_network(model, [Edit("layer4.0.act2", 3)], refit_on=images, data=images)
    assert done.done == {"layer4.0.act2": "gate"} and done.refit.head == "fc"
    assert done.after.accuracy == 1.0  # 24 tinted pictures
    with pytest.raises(ValueError, match=r"Expected 16 inputs of the head and a class for each picture"):
        refit_head(model, torch.zeros(3, 8), torch.zeros(3, dtype=torch.long))


def test_a_given_name_is_what_an_explanation_says(images, tmp_path):
    model = network()
    apply_edits(model, [Edit("decision", unit, "rename", to=f"thing {unit}") for unit in range(16)])
    again = load_model(save_model(model, tmp_path / "m"))
    assert model_fingerprint(again) == model_fingerprint(network())  # a dissection is still of it
    explanation = explain(again, images[0])
    assert {effect.name for effect in explanation.units} == {f"thing {effect.unit}" for effect in explanation.units}
    assert {effect.named.was for effect in explanation.units} == {""}
    assert all(rival.name == f"thing {rival.unit}" for effect in explanation.units for rival in effect.rivals)
