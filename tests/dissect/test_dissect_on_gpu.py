"""A network on a GPU is described, explained, compared and edited as on a CPU."""

import pytest
import torch
from competing import small_resnet
from PIL import Image

from competition_layers import DecisionLayer
from dissect import DescribeOptions, compare, describe, explain, open_probe
from dissect.encoders.concepts import ConceptSet
from dissect.encoders.loading import load_encoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
LABELS = ("beach", "city", "farm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("classes"), torch.Generator().manual_seed(0)
    for i in range(24):
        path = folder / LABELS[i % 3] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(path)
    return folder


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def network(**options):
    return small_resnet(4, LABELS, decision=DecisionLayer(16, 4), **options)


def described(device, folder, out):
    concepts = ConceptSet(("boat", "tree", "house", "cloud", "fence", "balloon", "sand", "grass"))
    encoder = load_encoder("bundled", device=device)
    return describe(network().to(device), open_probe(folder), concepts, encoder, out, DescribeOptions())


def test_a_dissection_is_that_of_a_cpu(folder, tmp_path):
    here, there = (described(device, folder, tmp_path / device) for device in ("cpu", "cuda"))
    for layer in here.layers:
        mine, other = here.record(layer).tensors(), there.record(layer).tensors()
        assert mine.keys() == other.keys()
        for key, value in mine.items():
            torch.testing.assert_close(other[key].float(), value.float(), rtol=2e-2, atol=2e-2)


def test_an_explanation_is_that_of_a_cpu(folder):
    picture = next(folder.rglob("*.png"))
    here, there = explain(network(), picture), explain(network().cuda(), picture)
    assert [u.unit for u in here.units] == [u.unit for u in there.units]
    assert [u.to_lead for u in there.units] == pytest.approx([u.to_lead for u in here.units], rel=1e-3, abs=1e-3)


def test_a_comparison_is_that_of_a_cpu(folder):
    found = [
        compare({"a": network().to(device), "b": small_resnet(1, LABELS).to(device)}, open_probe(folder))
        for device in ("cpu", "cuda")
    ]
    for mine, other in zip(*(each.networks for each in found), strict=True):
        assert other.accuracy.saved == mine.accuracy.saved
        assert other.sparsity.effective_density == pytest.approx(mine.sparsity.effective_density, abs=1e-3)
