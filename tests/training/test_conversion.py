"""From dense to sparse: the swap begins at the dense function and ends as a plain competition."""

import copy

import pytest
import torch
import torch.nn.functional as F
from stopping import StopAt, StoppedError

from competition_layers import Competition, StochasticLWTA, competitions, create_model, load_model, save_model
from training import Classifier, Conversion, Execution, convert
from training.conversion.conversion import GradualSwap, distillation_loss

SIZE = {"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2}
RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 24)}


@pytest.fixture
def dense():
    torch.manual_seed(1)
    return create_model(
        "vit_tiny_patch16_224", competitors=1, num_classes=2, label_names=("blue", "red"), image_size=16, **SIZE
    ).eval()


def student(source, **options):
    small = {"execution": Execution(samples=2), "competitors": 4, "conversion": Conversion(images=8)}
    return Classifier(str(source), **{**small, **options})


def batches(count=4, size=16):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(4, 3, size, size, generator=generator) for _ in range(count)]


def converted(dense, **options):
    model = copy.deepcopy(dense)
    swap = convert(model, 4, batches(), conversion=Conversion(images=16, **options))
    return model, swap


@pytest.mark.parametrize("grouping", ["data", "index", "random"])
@torch.no_grad()
def test_a_conversion_begins_with_the_dense_function(dense, grouping):
    model, _ = converted(dense, grouping=grouping)
    x = torch.cat(batches())
    torch.testing.assert_close(model(x), dense(x), rtol=1e-4, atol=1e-5)
    moved = not torch.equal(model.blocks[0].mlp.fc1.weight, dense.blocks[0].mlp.fc1.weight)
    assert moved == (grouping != "index")


@torch.no_grad()
def test_a_conversion_ends_as_a_plain_competition(dense):
    model, swap = converted(dense)
    plain = copy.deepcopy(model)
    for layer in competitions(plain).values():
        layer._forward_hooks.clear()
    swap.to(0.5)
    x = batches()[0]
    assert not torch.allclose(model(x), plain(x))
    swap.to(1.0)
    assert torch.equal(model(x), plain(x))
    assert len(competitions(model)) == 2
    assert all(not layer._forward_hooks and type(layer) is StochasticLWTA for layer in competitions(model).values())


def test_half_way_the_output_is_half_of_both(dense):
    model, swap = converted(dense)
    layer = model.blocks[0].mlp.act
    h = torch.randn(3, 96, requires_grad=True)
    swap.to(0.25)
    torch.testing.assert_close(layer(h), 0.75 * F.gelu(h) + 0.25 * layer.forward(h))
    layer(h).sum().backward()
    assert h.grad.isfinite().all()


def test_an_activation_that_works_in_place_leaves_the_logits_alone():
    model = create_model("resnet18", competitors=4, num_classes=2, image_size=32, include="layer*.act1", **RESNET)
    swap = GradualSwap(model)
    swap.to(0.5)
    h = torch.randn(2, 8, 4, 4)
    before = h.clone()
    model.layer1[0].act1(h)
    assert torch.equal(h, before)


def test_the_share_goes_from_0_to_1_and_stays():
    conversion = Conversion(swap=0.5)
    assert [conversion.share(done) for done in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert Conversion(swap=0).share(0.0) == 1.0


def test_the_distillation_loss_is_the_divergence_times_the_squared_temperature():
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    p, q = (teacher / 3).softmax(-1), (student / 3).softmax(-1)
    expected = 9 * sum(float((a * (a / b).log()).sum()) for a, b in zip(p, q, strict=True)) / 5
    assert float(distillation_loss(student, teacher, softness=3)) == pytest.approx(expected, rel=1e-5)
    assert float(distillation_loss(teacher, teacher, softness=3)) == pytest.approx(0, abs=1e-6)


def test_where_no_permutation_can_be_made_it_is_told_by_name(capsys):
    two_blocks = {**RESNET, "layers": (1, 2, 1, 1)}  # on one residual stream
    model = create_model("resnet18", competitors=1, num_classes=2, image_size=32, include="layer*", **two_blocks).eval()
    convert(model, 4, batches(size=32), conversion=Conversion(images=16))
    told = capsys.readouterr().out
    assert "layer2.0.act2: units grouped by index" in told
    assert "act1: units" not in told


def test_a_conversion_trains_into_an_ordinary_run(dense, train, tmp_path):
    classifier = student(save_model(dense, tmp_path / "dense"))
    run = train(classifier=classifier)
    layers = competitions(classifier.model)
    assert len(layers) == 2
    assert not any(layer._forward_hooks for layer in layers.values())
    assert [layer.groups.competitors for layer in competitions(load_model(run)).values()] == [4, 4]
    teacher = dict(classifier.converting.teacher.named_parameters())
    assert all(torch.equal(teacher[name], parameter) for name, parameter in dense.named_parameters())


def test_one_competitor_trains_the_dense_network_on(dense, train, tmp_path):
    run = train(classifier=student(save_model(dense, tmp_path / "dense"), competitors=1))
    assert competitions(load_model(run)) == {}


def test_a_conversion_goes_on_where_it_stopped(dense, train, tmp_path):
    teacher = save_model(dense, tmp_path / "dense")
    slow = Conversion(images=8, swap=1.0)
    train("whole", classifier=student(teacher, conversion=slow), epochs=2)

    with pytest.raises(StoppedError):
        train("part", classifier=student(teacher, conversion=slow), epochs=2, trainer_args={"callbacks": [StopAt(1)]})
    train("part", classifier=student(teacher, conversion=slow), epochs=2, resume=True)
    whole, part = (load_model(tmp_path / name).state_dict() for name in ("whole", "part"))
    assert all(torch.equal(part[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"competitors": 7}, "'blocks.0.mlp.act' to be a multiple of competitors=7 but got 96"),
        ({"image_size": 16}, "the dense network as it is"),
        ({"include": "blocks.*.mlp.atc"}, "known activation"),
    ],
    ids=["U does not divide", "another size", "unknown site"],
)
def test_what_does_not_fit_is_refused_before_training(dense, train, tmp_path, change, message):
    teacher = save_model(dense, tmp_path / "dense")
    with pytest.raises(ValueError, match=message):
        train(classifier=student(teacher, **change))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_twin_is_not_converted_to():
    with pytest.raises(ValueError, match="Expected a conversion to a competition but got one to 'relu'"):
        Classifier("vit_tiny_patch16_224", competition=Competition(activation="relu"), conversion=Conversion())


def test_a_sparse_network_is_not_converted_again(train, tmp_path):
    sparse = create_model("vit_tiny_patch16_224", competitors=4, num_classes=2, image_size=16, **SIZE)
    save_model(sparse, tmp_path / "sparse")
    with pytest.raises(ValueError, match=r"dense network to convert .* already, at blocks.0.mlp.act"):
        train(classifier=student(tmp_path / "sparse"))


@pytest.mark.parametrize(
    "names, message", [(("blue", "green"), r"knows \(blue, green\) but got 'red'"), ((), "the 3 classes of the dense")]
)
def test_classes_must_be_those_of_the_dense_network(train, tmp_path, names, message):
    made = {"num_classes": len(names) or 3, "label_names": names, "image_size": 16, **SIZE}
    save_model(create_model("vit_tiny_patch16_224", competitors=1, **made), tmp_path / "dense")
    with pytest.raises(ValueError, match=message):
        train(classifier=student(tmp_path / "dense"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"grouping": "colour"}, "grouping to be one of data, index, random but got 'colour'"),
        ({"swap": 1.5}, "swap to be a number >= 0 and <= 1 but got 1.5"),
        ({"softness": 0}, "softness to be a number > 0"),
    ],
)
def test_a_conversion_checks_its_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        Conversion(**options)
