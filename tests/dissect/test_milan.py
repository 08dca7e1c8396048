"""MILAN: masks weigh features, search finds the most likely, training keeps its best, and a taught model describes."""

import csv
import itertools
import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from coloured_world import COLOURS, Colours, picture, redness_and_others
from PIL import Image
from torch import nn

from dissect import ConceptSet, DescribeOptions, Tools, describe, load_describers, open_probe
from dissect.describers.milan import Milan
from dissect.milan.annotations import annotated_units
from dissect.milan.backbone import Backbone, backbone_of, masked_mean
from dissect.milan.beam import beam_search, rerank
from dissect.milan.decoder import Decoder, Prior
from dissect.milan.saving import check_milan_folder, load_milan, save_milan
from dissect.milan.training import Annotated, train_milan
from dissect.milan.words import LONGEST, PAD, START, STOP, UNKNOWN, Words

WORDS = Words.of(["red square", "green square", "blue square"])


@pytest.fixture
def backbone():
    """Two depths: the colours, and their means over 2 x 2 places."""
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), nn.AvgPool2d(2))).eval()
    return Backbone(model, ("0", "1"), 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def taught_units(backbone, count=180):
    """Units that were shown squares of one colour; what they are called."""
    mask = torch.zeros(16, 16)
    mask[1:8, 1:8] = 1
    pictures = [picture(colour, k) for colour in COLOURS for k in range(30)]
    features = backbone.features(pictures, [mask] * 90).split(30)
    generator = torch.Generator().manual_seed(0)
    units = []
    for i in range(count):
        chosen = torch.randperm(30, generator=generator)[:15]
        colour = list(COLOURS)[i % 3]
        units.append(Annotated(features[i % 3][chosen], (f"{colour} square", f"a {colour} thing")))
    return units


@pytest.fixture(scope="module")
def trained():
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), nn.AvgPool2d(2))).eval()
    backbone = Backbone(model, ("0", "1"), 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return backbone, train_milan(taught_units(backbone), epochs=15, hidden=64)


def test_a_feature_is_the_mean_inside_the_mask_at_each_depth(backbone):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = (255, 0, 0)
    pixels[8:] = (0, 0, 51)
    above, nothing = torch.zeros(16, 16), torch.zeros(4, 4)
    above[:8] = 1
    found = backbone.features([Image.fromarray(pixels)], [above, nothing], of=[0, 0])
    assert torch.allclose(found[0], torch.tensor([1.0, 0, 0] * 2)), "masks of any size"
    assert torch.allclose(found[1], torch.tensor([0.5, 0, 0.1] * 2), atol=1e-6), "an empty mask counts every place"


def test_a_resnet_is_looked_at_as_published():
    import timm

    found = backbone_of(timm.create_model("resnet18", num_classes=2))
    assert found.layers == ("conv1", "layer1", "layer2", "layer3", "layer4") and found.size == 224
    other = backbone_of(timm.create_model("mobilenetv3_small_050", num_classes=2))
    assert len(other.layers) == 5 and "conv1" not in other.layers


def test_a_masked_mean_is_a_weighted_sum():
    maps, weights = torch.rand(2, 3, 4, 4), torch.rand(2, 8, 8)
    found = masked_mean(maps, weights)
    for i in range(2):
        small = weights[i].reshape(4, 2, 4, 2).mean((1, 3))
        expected = (maps[i] * small / small.sum()).sum((1, 2))
        assert torch.allclose(found[i], expected, atol=1e-6)


def test_each_picture_is_looked_at_once_for_all_its_masks(backbone):
    pictures = [picture(colour, i) for i, colour in enumerate(COLOURS)]
    masks = [torch.rand(8, 8) for _ in range(5)]
    of = [2, 0, 1, 0, 2]
    together = backbone.features(pictures, masks, of)
    for i, place in enumerate(of):
        assert torch.allclose(together[i], backbone.features([pictures[place]], [masks[i]])[0], atol=1e-6)


def test_words_and_numbers_give_back_what_was_said():
    words = Words.of(["A red boat, two palms.", "a boat"])
    rows = words.encode(["A red boat, two palms.", "a strange boat", "a " * 40])
    assert [words.decode(row) for row in rows.tolist()[:2]] == ["a red boat , two palms .", "a boat"]
    assert rows.shape == (3, LONGEST) and rows[1, 1] == UNKNOWN and rows[2, -1] == STOP
    assert words.encode([""])[0].tolist() == [STOP] + [PAD] * (LONGEST - 1)


def chance_of(decoder, features, row):
    """log p of a row, word by word."""
    seen = decoder.look(features[None])
    state, last, total = decoder.begin(seen), torch.tensor([START]), 0.0
    for word in row:
        chances, _, state = decoder.step(seen, last, state)
        total += float(chances[0, word].detach())
        last = torch.tensor([word])
        if word == STOP:
            break
    return total


@pytest.mark.filterwarnings("ignore:.*non-finite.*")
def test_beam_search_finds_what_trying_everything_finds():
    """With a beam that holds all, of three words and at most two of them."""
    torch.manual_seed(0)
    decoder = Decoder(7, 5, hidden=8).eval()
    decoder.out.bias.data[STOP] += 2
    features = torch.randn(4, 5)
    rows, scores = beam_search(decoder, features, beam=300)
    everything = [(*words, STOP) for n in range(3) for words in itertools.product((4, 5, 6), repeat=n)]
    best = max(everything, key=lambda row: chance_of(decoder, features, row))
    assert rows[0, : len(best)].tolist() == list(best)
    assert float(scores[0]) == pytest.approx(chance_of(decoder, features, best), abs=1e-4)
    assert (scores.diff() <= 0).all() and len({tuple(row) for row in rows.tolist()}) == len(rows)
    assert ((rows == STOP).sum(1) == 1).all(), "every description ends, once"


def test_ranking_again_takes_off_what_is_likely_anyway():
    torch.manual_seed(0)
    prior = Prior(7, hidden=8).eval()
    rows = torch.full((2, LONGEST), PAD)
    rows[0, :2], rows[1, :3] = torch.tensor([4, STOP]), torch.tensor([5, 6, STOP])
    with torch.no_grad():
        likely = [float(prior(rows)[i, :n].sum()) for i, n in enumerate((2, 3))]
    again, scores = rerank(prior, rows, torch.tensor([-1.0, -1.1]))
    expected = sorted(((-1.0 - 0.2 * likely[0], 0), (-1.1 - 0.2 * likely[1], 1)), reverse=True)
    assert scores.tolist() == pytest.approx([score for score, _ in expected], abs=1e-5)
    assert torch.equal(again, rows[[i for _, i in expected]])


def test_what_is_given_and_what_is_written_have_the_same_likelihood():
    torch.manual_seed(1)
    decoder = Decoder(7, 5, hidden=8).eval()
    features, rows = torch.randn(2, 4, 5), torch.tensor([[4, 5, STOP] + [PAD] * 12, [6, STOP] + [PAD] * 13])
    with torch.no_grad():
        chances, attended = decoder(features, rows)
    assert torch.allclose(attended.sum(2), torch.ones(2, LONGEST))
    for i, n in enumerate((3, 2)):
        assert float(chances[i, :n].sum()) == pytest.approx(chance_of(decoder, features[i], rows[i].tolist()), abs=1e-4)


def test_training_learns_and_keeps_its_best_epoch(trained):
    _, model = trained
    assert min(model.decoder_losses) < model.decoder_losses[0] / 2
    assert model.words.known[:4] == WORDS.known[:4] and not model.decoder.training


def test_the_weights_are_those_of_the_best_epoch(backbone, monkeypatch):
    """More epochs make it worse here: after them it is as good as at its best."""
    from dissect.milan import training

    units, states, worse = taught_units(backbone, 12), [], torch.optim.SGD
    copying = SimpleNamespace(deepcopy=lambda state: states.append(deepcopy(state)) or deepcopy(state))
    monkeypatch.setattr(training, "copy", copying)
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters: worse(parameters, lr=0.5, maximize=True))
    model = train_milan(units, epochs=8, hidden=8)
    assert model.decoder_losses.index(min(model.decoder_losses)) == 0 and len(model.decoder_losses) == 5
    for name, weight in model.decoder.state_dict().items():
        assert torch.equal(weight, states[0][name])


def test_the_batches_are_the_published_ones_and_no_unit_is_on_both_sides(backbone, monkeypatch):
    from dissect.milan import training

    asked, units = [], taught_units(backbone, 20)
    monkeypatch.setattr(
        training, "_fit", lambda model, loss, sizes, epochs, batch: asked.append((type(model), sizes, batch)) or (0.0,)
    )
    train_milan(units, hidden=8)
    assert asked == [(Decoder, (36, 4), 64), (Prior, (36, 4), 128)], "two descriptions a unit: 18 units and 2"


def test_too_few_units_are_told(backbone):
    with pytest.raises(ValueError, match="Expected at least 10 annotated units, one of which is held out, but got 3"):
        train_milan(taught_units(backbone, 3))


def test_a_model_is_saved_and_read(trained, tmp_path):
    backbone, model = trained
    found = load_milan(save_milan(tmp_path / "milan", model, backbone.identity))
    assert found.words == model.words and found.backbone == backbone.identity
    for name, weight in model.decoder.state_dict().items():
        assert torch.equal(found.decoder.state_dict()[name], weight)


def test_a_model_is_replaced_in_one_piece_and_nothing_of_others(trained, tmp_path, monkeypatch):
    backbone, model = trained
    place = save_milan(tmp_path / "milan", model, backbone.identity)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        save_milan(place, model, "another")
    monkeypatch.undo()
    assert load_milan(place).backbone == backbone.identity and [*tmp_path.iterdir()] == [place]
    (place / "milan.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"it holds 'milan.safetensors' of another kind; choose another"):
        check_milan_folder(place)


@pytest.mark.parametrize(
    "change", [{"format": 9}, {"dim": 3}, {"dim": 10**9}, {"words": ["a"]}, {"hidden": "x"}], ids=str
)
def test_a_damaged_model_is_told(trained, tmp_path, change):
    backbone, model = trained
    place = save_milan(tmp_path / "milan", model, backbone.identity)
    config = json.loads((place / "milan.json").read_text())
    (place / "milan.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=r"Expected a whole MILAN model in .* but got: .*; train it again"):
        load_milan(place)
    with pytest.raises(FileNotFoundError, match=r"that `lwta describe-train milan` wrote"):
        load_milan(tmp_path)


def test_units_are_described_as_it_was_taught(trained, tmp_path, to_tensor):
    backbone, model = trained
    (tmp_path / "probe").mkdir()
    for i in range(60):
        picture(list(COLOURS)[i % 3], i).save(tmp_path / "probe" / f"{i:02d}.png")
    save_milan(tmp_path / "milan", model, backbone.identity)
    describers = load_describers("milan", Tools(milan=tmp_path / "milan", backbone=lambda: backbone))
    options = DescribeOptions(layers=["1"], summary="max", transform=to_tensor, describers=describers)
    concepts = ConceptSet(tuple(COLOURS), source="words")
    probe = open_probe(tmp_path / "probe")
    dissection = describe(redness_and_others(), probe, concepts, Colours(), tmp_path / "out", options)
    for unit, colour in enumerate(COLOURS):
        candidates = dissection.description("1", unit).candidates
        assert colour in candidates[0].description and candidates[0].method == "milan"
        assert [c.similarity for c in candidates] == sorted((c.similarity for c in candidates), reverse=True)


def test_another_backbone_is_refused(trained, tmp_path):
    backbone, model = trained
    other = Backbone(backbone.model, ("1",), 16, (0.0,) * 3, (1.0,) * 3)
    found = load_milan(save_milan(tmp_path, model, backbone.identity))
    with pytest.raises(ValueError, match="Expected the backbone that MILAN was trained with"):
        Milan(found, other)
    with pytest.raises(ValueError, match="Expected --milan FOLDER, which `lwta describe-train milan"):
        load_describers("milan")


@pytest.fixture
def annotated(tmp_path):
    """Exemplars of two layers in MILAN's layout, and a table about three units of one, and of a strange place."""
    for layer in ("conv1", "layer1"):
        place = tmp_path / "exemplars" / layer
        place.mkdir(parents=True)
        images = np.zeros((2, 3, 3, 16, 16), np.uint8)
        images[1, :, 0] = 255
        np.save(place / "images.npy", images)
        np.save(place / "masks.npy", np.ones((2, 3, 1, 16, 16), np.uint8))
    np.save(tmp_path / "exemplars" / "layer1" / "units.npy", np.array([4, 7]))
    rows = [
        ("layer1", 7, "red"),
        ("layer1", 7, " a red thing "),
        ("layer1", 4, "black"),
        ("../x", 0, "no"),
        ("conv1", 9, "x"),
    ]
    with (tmp_path / "annotations.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("layer", "unit", "summary"), *rows])
    return tmp_path


def test_annotations_in_milans_format_are_read(annotated, backbone):
    black, red = annotated_units(annotated / "exemplars", annotated / "annotations.csv", backbone)
    assert black.descriptions == ("black",) and red.descriptions == ("red", "a red thing")
    assert torch.allclose(red.features, torch.tensor([1.0, 0, 0] * 2).expand(3, 6)) and not black.features.any()


def test_annotations_of_nothing_there_are_told(annotated, backbone):
    table = annotated / "annotations.csv"
    table.write_text("layer,unit,summary\nlayer9,0,red\n")
    with pytest.raises(ValueError, match=r"Expected exemplars of units that .* describes in .*exemplars' but got none"):
        annotated_units(annotated / "exemplars", table, backbone)
    table.write_text("layer,unit\n")
    with pytest.raises(ValueError, match=r"Expected the columns layer, unit, summary in .* got \['layer', 'unit'\]"):
        annotated_units(annotated / "exemplars", table, backbone)
