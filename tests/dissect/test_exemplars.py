"""Exemplars: the top images of a unit, where in them it answers, and what of them describers are shown."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from competition_layers import StochasticLWTA
from dissect import LayerReader, open_probe, record_activations
from dissect.exemplars.collecting import collect_exemplars
from dissect.exemplars.exemplar_set import QUANTILE, ExemplarSet, top_distinct
from dissect.exemplars.milan_folder import MilanFolder, check_exemplars_folder, write_milan_folder
from dissect.exemplars.quantiles import upper_quantile
from dissect.exemplars.regions import attended_boxes, connected_boxes, crops, otsu_threshold, overlap
from dissect.naming.halves import Halves
from dissect.recording.unit_values import UnitValues


@pytest.fixture
def pictures(tmp_path):
    """40 dark pictures of 16 pixels with one bright red square each, in a known quarter."""
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 40, (16, 16, 3)).astype(np.uint8)
        y, x = 8 * (i // 2 % 2), 8 * (i % 2)
        pixels[y + 1 : y + 6, x + 1 : x + 6, 0] = 150 + 2 * i
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:02d}.png")
    return open_probe(tmp_path / "pictures")


def planted(competes):
    """Unit 0 is how red a place is, unit 1 how little."""
    convolution = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        convolution.weight.zero_()[:, 0, 0, 0] = torch.tensor([1.0, -1.0])
        convolution.bias.zero_()
    return nn.Sequential(
        nn.AvgPool2d(2), convolution, StochasticLWTA(2, channel_dim=1) if competes else nn.ReLU()
    ).eval()


@pytest.fixture
def collected(pictures, to_tensor):
    def call(competes):
        model, everything = planted(competes), torch.arange(40)
        reader = LayerReader(model, "2", "max", to_tensor, batch_size=7)
        record = record_activations(model, pictures, "2", summaries=["max"], transform=to_tensor)["2"]
        halves = Halves(everything[:30], everything[30:], everything)
        return model, reader, collect_exemplars(reader, pictures, record.unit_values("max"), halves)

    return call


def test_the_top_images_are_those_of_the_choosing_half_and_masks_show_where(collected):
    _, _, found = collected(competes=False)
    assert found.places(0) == list(range(29, 14, -1)), "30 to 39 are brighter, but names are judged on them"
    assert (found.values[0].diff() <= 0).all()
    masks = found.masks(0, (16, 16))
    assert masks[0].any() and masks.float().mean() < 0.05
    for place, mask in zip(found.places(0), masks, strict=True):
        y, x = mask.nonzero(as_tuple=True)
        assert not len(y) or (set((y // 8).tolist()) == {place // 2 % 2} and set((x // 8).tolist()) == {place % 2})


def test_the_threshold_is_the_quantile_over_all_positions(collected, pictures, to_tensor):
    model, _, found = collected(competes=False)
    with torch.no_grad():
        values = model(torch.stack([to_tensor(pictures[i]) for i in range(30)]))
    for unit in range(2):
        flat = values[:, unit].flatten().sort().values
        assert found.thresholds[unit] == flat[int(np.ceil(QUANTILE * len(flat))) - 1]


def test_a_competitions_mask_is_where_the_unit_won(collected):
    _, _, found = collected(competes=True)
    for place, red, other in zip(found.places(0), found.masks(0, (16, 16)), found.won[0], strict=True):
        y, x = 8 * (place // 2 % 2), 8 * (place % 2)
        assert red[y + 2 : y + 5, x + 2 : x + 5].all() and red.float().mean() < 0.3
        assert other.shape == (8, 8)
    assert (found.masks(0, (8, 8), by="quantile") <= found.masks(0, (8, 8))).all()


def test_a_layer_of_vectors_has_maps_of_one_place(pictures, to_tensor):
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 4), StochasticLWTA(2, channel_dim=1)).eval()
    record = record_activations(model, pictures, "2", transform=to_tensor)["2"]
    halves = Halves(torch.arange(20), torch.arange(20, 40), torch.arange(40))
    found = collect_exemplars(LayerReader(model, "2", "mean", to_tensor), pictures, record.unit_values("mean"), halves)
    assert found.maps.shape == (4, 15, 1, 1)
    for unit in range(4):
        assert found.masks(unit, (5, 5)).all() and all(record.won["mean"][place, unit] for place in found.places(unit))


class Tokens(nn.Module):
    """A class token and 8 x 8 tokens, each of which says how red its place is, and how little."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.full((1, 1, 2), 9.0))
        self.patches, self.act = planted(competes=False)[:2], StochasticLWTA(2, channel_dim=-1)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.act(torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)).mean(1)


def test_tokens_have_masks_on_their_grid_without_the_class_token(pictures, to_tensor):
    model = Tokens().eval()
    record = record_activations(model, pictures, "act", summaries=["tokens"], transform=to_tensor)["act"]
    halves = Halves(torch.arange(30), torch.arange(30, 40), torch.arange(40))
    reader = LayerReader(model, "act", "tokens", to_tensor)
    found = collect_exemplars(reader, pictures, record.unit_values("tokens"), halves)
    assert found.maps.shape == (2, 15, 8, 8) and found.thresholds[0] < 9
    for place, red in zip(found.places(0), found.masks(0, (16, 16)), strict=True):
        y, x = 8 * (place // 2 % 2), 8 * (place % 2)
        assert red[y + 2 : y + 5, x + 2 : x + 5].all() and red.float().mean() < 0.3


def test_near_duplicates_count_once_and_losers_never():
    values = torch.tensor([[5.0, 0.0], [4.0, 3.0], [3.0, 2.0], [2.0, 9.0]])
    counted = torch.tensor([[True, True], [True, True], [True, False], [False, True]])
    found = top_distinct(values, counted, torch.tensor([0, 0, 1, 2]), keep=3)
    assert found.tolist() == [[0, 2, -1], [3, 1, -1]]


def test_of_equals_the_one_that_the_halves_list_first_is_the_exemplar(pictures, to_tensor):
    """They list images by content: how a folder is sorted decides nothing."""
    model = planted(competes=False)
    reader, order = LayerReader(model, "2", "max", to_tensor, batch_size=7), torch.arange(40).flip(0)
    values = UnitValues(torch.ones(40, 2), torch.ones(40, 2, dtype=torch.bool))
    found = collect_exemplars(reader, pictures, values, Halves(order[:30], order[30:], torch.arange(40)))
    assert found.places(0) == order[:15].tolist()


def ranks(found, values):
    """The shares of each unit's values that are below a threshold, and not above it."""
    flat, level = values.movedim(1, 0).flatten(1), found[:, None]
    return (flat < level).double().mean(1), (flat <= level).double().mean(1)


@pytest.mark.parametrize("quantile", [0.5, 0.99, 1.0])
def test_a_quantile_is_exact_where_it_fits(quantile):
    """In whatever parts the values come."""
    values = torch.rand(400, 3, 50, generator=torch.Generator().manual_seed(0))
    whole = upper_quantile(20_000, 3, quantile)
    for at in range(0, 400, 64):
        whole.add(values[at : at + 64])
    assert torch.equal(whole.compute(), values.movedim(1, 0).flatten(1).sort(1).values[:, round(20_000 * quantile) - 1])


def test_where_it_does_not_fit_a_sketch_keeps_its_bound_in_little_memory():
    """In a row, heavy-tailed, far apart, mostly zero: the rank is off by less than 4 standard errors."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(60_000, generator=draws)
    late = x.clone()
    late[-570:] += 1e6
    sparse = x.abs() * (torch.rand(60_000, generator=draws) < 0.008)
    values = torch.stack([x, x.sort().values, x / torch.randn(60_000, generator=draws), late, sparse], 1)[:, :, None]
    found = upper_quantile(60_000, 5, 0.99, budget=300)
    for part in values.split(7_000):
        found.add(part)
    below, within = ranks(found.compute(), values)
    bound = 0.01 * 0.01  # a standard error is a quarter of a hundredth of what is above, in any order and distribution
    assert (below <= 0.99 + bound).all() and (within >= 0.99 - bound).all()
    assert found.compute()[4] == 0 and max(sketch.num_retained for sketch in found._of) < 10_000


def test_a_sketch_without_its_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(ModuleNotFoundError, match=r"'datasketches' for the .* pip install datasketches; or look"):
        upper_quantile(1000, 1, 0.5, budget=1)


def test_otsu_parts_two_classes():
    values = torch.cat([torch.randn(300) * 0.3, 5 + torch.randn(100) * 0.3]).reshape(20, 20)
    level = otsu_threshold(values)
    assert (values > level).sum() == 100

    def between(level):
        low, high = values[values <= level], values[values > level]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    by_hand = max(np.linspace(float(values.min()), float(values.max()), 257)[1:-1], key=between)
    assert (values > by_hand).sum() == 100


def test_regions_touch_by_corners_and_come_by_size():
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[0, 0] = mask[1, 1] = mask[2, 0] = True
    mask[4, 3:7] = True
    assert connected_boxes(mask) == [(0, 0, 2, 3), (3, 4, 7, 5)]


def test_attended_boxes_find_planted_blobs_and_not_the_whole():
    heat = torch.zeros(40, 40)
    heat[2:12, 3:13] = 1.0
    heat[25:35, 20:38] = 0.9
    assert attended_boxes(heat) == [(20, 25, 38, 35), (3, 2, 13, 12)]
    assert attended_boxes(heat, most=1) == [(20, 25, 38, 35)]
    assert attended_boxes(torch.ones(5, 5)) == [] and attended_boxes((heat >= 0).float() - torch.eye(40)) == []
    (crop,) = crops(Image.new("RGB", (40, 40)), [(3, 2, 13, 12)])
    assert crop.size == (40, 40)
    assert overlap((0, 0, 4, 4), (0, 0, 4, 4)) == 1 and overlap((0, 0, 2, 2), (2, 2, 3, 3)) == 0


def test_milans_layout_is_written_and_read(collected, pictures, tmp_path):
    _, _, found = collected(competes=False)
    read = MilanFolder.open(write_milan_folder(tmp_path / "layer", found, pictures, size=32))
    assert read.images.shape == (2, 15, 3, 32, 32) and read.masks.shape == (2, 15, 1, 32, 32)
    assert read.ids[0].tolist() == found.places(0) and read.units.tolist() == [0, 1]
    assert read.activations[0] == pytest.approx(found.values[0].tolist(), rel=1e-4)
    first = np.asarray(pictures[found.places(0)[0]])
    assert (read.images[0, 0, :, ::2, ::2] == first.transpose(2, 0, 1)).all()
    assert (read.masks[0, :, 0] == found.masks(0, (32, 32)).numpy()).all()
    assert MilanFolder.open(write_milan_folder(tmp_path / "layer", found, pictures, size=16)).masks.shape[-1] == 16
    (tmp_path / "layer" / "lwta.json").unlink()  # somebody else's
    with pytest.raises(FileExistsError, match=r"it holds 'images.npy' of another kind; choose another"):
        check_exemplars_folder(tmp_path / "layer")


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("images", np.zeros((2, 3, 3, 4, 4)), "Expected images.npy of uint8"),
        ("masks", np.zeros((2, 3, 1, 5, 5), np.uint8), r"Expected masks.npy of uint8 \(2, 3, 1, 4, 4\)"),
        ("images", np.array([object()]), "Expected a whole array in .*images.npy"),
        ("units", np.zeros(3, np.int64), "Expected units.npy of 2 whole numbers"),
    ],
)
def test_a_damaged_folder_is_told_and_nothing_is_unpickled(tmp_path, name, array, told):
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3, 4, 4), np.uint8))
    np.save(tmp_path / "masks.npy", np.zeros((2, 3, 1, 4, 4), np.uint8))
    np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=told):
        MilanFolder.open(tmp_path)


def test_a_mask_by_another_word_is_refused():
    found = ExemplarSet(torch.zeros(1, 1).int(), torch.zeros(1, 1), torch.zeros(1, 1, 2, 2), torch.zeros(1))
    with pytest.raises(ValueError, match=r"Expected masks by auto, quantile or .*won but got 'won'"):
        found.masks(0, (4, 4), by="won")
