"""An exported network says what the model says, for any number of images, and knows its labels."""

import json
from importlib.util import find_spec

import pytest
import torch

from competition_layers import Competition, create_model, predict, save_model
from lwta import cli
from lwta import exported as room

needs_onnx = pytest.mark.skipif(
    not all(find_spec(name) for name in room.ONNX), reason="needs onnx, onnxscript, onnxruntime: lwta[onnx]"
)


@pytest.fixture(scope="module")
def network(request):
    """A competition's, or that of the twin that is asked for."""
    activation = getattr(request, "param", "competition")
    torch.manual_seed(0)
    names = ["cat", "dog", "elk"]
    options = {"num_classes": 3, "label_names": names, "image_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 2}
    return create_model(
        "vit_tiny_patch16_224",
        competitors=4,
        competition=Competition(inference="sample", activation=activation),
        **options,
    ).eval()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    return save_model(network, tmp_path_factory.mktemp("export") / "model")


def lwta(*arguments):
    return cli.main(["export", *map(str, arguments)])


def check(about):
    assert about["label_names"] == ["cat", "dog", "elk"]
    assert about["preprocessing"]["input_size"] == [3, 32, 32]
    assert {"mean", "std", "interpolation", "crop_pct"} <= about["preprocessing"].keys()
    (site,) = about["competition"]["sites"]
    assert (site["name"], site["competitors"], site["inference"]) == ("blocks.0.mlp.act", 4, "argmax")


def test_a_torch_export_is_the_argmax_network(network, folder, tmp_path, capsys):
    out = tmp_path / "net.pt2"
    assert lwta(folder, "--out", out) == 0
    assert "largest difference from the network's logits on random images: " in capsys.readouterr().out
    extra = {room.METADATA: ""}
    run = torch.export.load(out, extra_files=extra).module()
    check(json.loads(extra[room.METADATA]))
    for n in (1, 5):
        x = torch.randn(n, 3, 32, 32)
        torch.testing.assert_close(run(x), predict(network, x, samples=0), atol=1e-5, rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]


TWINS = ("topk", "relu", "gelu")


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("network", ["competition", *TWINS], indirect=True)
# the exporter's own: names that torch has deprecated, and hints for its developers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch.*")
def test_an_onnx_export_is_the_argmax_network(network, folder, tmp_path):
    import onnx
    import onnxruntime

    out = tmp_path / "net.onnx"
    assert lwta(folder, "--format", "onnx", "--out", out) == 0
    (entry,) = onnx.load(out).metadata_props
    assert entry.key == "lwta"
    check(json.loads(entry.value))
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        x = torch.randn(n, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), predict(network, x, samples=0), atol=1e-5, rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
@pytest.mark.parametrize("inference", ["argmax", "sample"])
@torch.no_grad()
def test_plain_words_mean_the_same(layout, inference):
    options = {"num_classes": 3, "image_size": 32, "competition": Competition(layout=layout, inference=inference)}
    model = create_model("resnet18", competitors=8, **options).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(room.onnx_compatible(model)(x), predict(model, x, samples=0))


def test_an_older_file_is_replaced_only_when_asked(folder, tmp_path, capsys):
    out = tmp_path / "net.pt2"
    out.write_text("old")
    assert lwta(folder, "--out", out) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert out.read_text() == "old"


def test_an_export_that_differs_is_not_written(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(room.WRITERS, "torch", lambda network, *rest: lambda x: network(x) + 1)
    assert lwta(folder, "--out", tmp_path / "net.pt2") == 2
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_told_before_anything_is_loaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None if name == "onnxscript" else True)
    assert lwta("no such model", "--format", "onnx", "--out", tmp_path / "net.onnx") == 2
    seen = capsys.readouterr().err
    assert "onnxscript is not installed" in seen
    assert "pip install 'lwta[onnx]'" in seen
