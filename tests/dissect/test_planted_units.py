"""The whole path finds what was planted: units that compete for a colour are named by it, negative winners too."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import normalize

from competition_layers import Competition, StochasticLWTA
from dissect import SIMILARITIES, ConceptSet, DescribeOptions, Naming, describe, open_probe

COLOURS = ("red", "green", "blue")


class ColourEncoder:
    """Images by their mean colour, and by their pixels, so that no two are the same; words by the colour they name, the
    other words lie elsewhere."""

    identity = "colours"
    words = ConceptSet(("wooden", *COLOURS, "striped"))

    def encode_images(self, probe):
        pixels = torch.stack([torch.from_numpy(np.array(probe[i])).float() for i in range(len(probe))]) / 255
        grain = pixels.amin(3).flatten(1) - pixels.amin(3).mean((1, 2))[:, None]
        return normalize(torch.cat([pixels.mean((1, 2)), torch.full((len(probe), 2), 0.2), 2 * grain], 1), dim=1)

    def encode_texts(self, concepts):
        axes = {"red": 0, "green": 1, "blue": 2, "wooden": 3, "striped": 4}
        return torch.eye(5 + 36)[[axes[name] for name in concepts.names]]

    def known(self, concepts):
        return concepts, 0


@pytest.fixture
def painted(tmp_path):
    """A folder of reds, greens and blues, more or less pure."""
    random = np.random.default_rng(0)
    for i in range(90):
        kind = i % 3
        pixels = random.integers(0, 60, (6, 6, 3), dtype=np.uint8)
        pixels[..., kind] = random.integers(120, 256)
        (tmp_path / "probe" / COLOURS[kind]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "probe" / COLOURS[kind] / f"{i}.png")
    return open_probe(tmp_path / "probe")


def network(bias: float, rule: str = "argmax") -> nn.Module:
    """One group of three units: blue, red, green."""
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3)[[2, 0, 1]][:, :, None, None] * 8)
        conv.bias.fill_(bias)
    return nn.Sequential(conv, StochasticLWTA(3, channel_dim=1, competition=Competition(inference=rule))).eval()


@pytest.mark.parametrize("rule", ["argmax", "sample"])
@pytest.mark.parametrize("bias", [0.0, -20.0], ids=["positive winners", "negative winners"])
def test_units_are_named_by_the_colour_they_win(painted, tmp_path, to_tensor, bias, rule):
    """By the best position won; a mean over positions ranks a single lucky negative win above winning everywhere."""
    encoder = ColourEncoder()
    options = DescribeOptions(layers="1", summary="max", transform=to_tensor)
    dissection = describe(network(bias, rule), painted, encoder.words, encoder, tmp_path / "out", options)
    units = [dissection.description("1", unit) for unit in range(3)]
    assert [unit.description for unit in units] == ["blue", "red", "green"]
    assert sum(unit.win_rate for unit in units) == pytest.approx(1, abs=1e-5)
    assert all((unit.mean_when_winning < 0) == (bias < 0) for unit in units)
    for unit, colour in enumerate(("blue", "red", "green")):
        assert all(shown.image.startswith(colour) for shown in dissection.exemplar_images("1", unit))


@pytest.mark.parametrize("similarity", sorted(SIMILARITIES.keys() - {"rank_reorder"}))
def test_the_similarities_find_them(painted, tmp_path, to_tensor, similarity):
    """Not rank_reorder: it compares the order of 5 % of the images, here 4."""
    encoder = ColourEncoder()
    options = DescribeOptions(layers="1", transform=to_tensor, naming=Naming(similarity))
    dissection = describe(network(0.0), painted, encoder.words, encoder, tmp_path / "out", options)
    found = [dissection.description("1", unit).description for unit in range(3)]
    assert found == ["blue", "red", "green"]
