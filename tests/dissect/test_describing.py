"""The dissection folder: complete, read back as written, and never stale."""

import csv
import json
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest
import torch
from competing import change
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

from competition_layers import StochasticLWTA
from dissect import ConceptSet, DescribeOptions, Dissection, Naming, describe, describe_beside, describing
from dissect.folder import claim
from dissect.folder.strips import PIXELS
from dissect.folder.tables import TEXTS
from dissect.recording.subject import default_layer
from dissect.recording.top_images import KEPT as TILES

CONCEPTS = ConceptSet(("boat", 'palm, "tall"', "<sun>", "=1+1"), source="words")


class RandomEncoder:
    """Embeddings from a seed; counts how often it was asked."""

    def __init__(self, seed: int = 0) -> None:
        self.identity = f"random {seed}"
        self.generator = torch.Generator().manual_seed(seed)
        self.asked = []

    def encode_images(self, probe):
        self.asked.append("images")
        return normalize(torch.randn(len(probe), 6, generator=self.generator), dim=1)

    def encode_texts(self, concepts):
        self.asked.append("concepts")
        return normalize(torch.randn(len(concepts), 6, generator=self.generator), dim=1)

    def known(self, concepts):
        return concepts, 0


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        StochasticLWTA(4, channel_dim=1),
        nn.Flatten(),
        nn.Linear(8 * 9, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ).eval()
    with torch.no_grad():
        model[0].bias[5] = -1000.0  # never wins
    return model


@pytest.fixture
def run(model, probe, to_tensor, tmp_path, monkeypatch):
    """Describe into one folder; `run.passes` counts the passes through the network."""
    passes = []
    record = describing.recording

    def counted(model, layers, summaries):
        passes.append(layers)
        return record(model, layers, summaries)

    monkeypatch.setattr(describing, "recording", counted)

    def call(**changed):
        if "similarity" in changed:
            changed["naming"] = Naming(changed.pop("similarity"))
        given = {"model": model, "probe": probe, "concepts": CONCEPTS, "encoder": RandomEncoder(), **changed}
        first = [given.pop(name) for name in ("model", "probe", "concepts", "encoder")]
        out = given.pop("out", tmp_path / "out")
        return describe(*first, out, DescribeOptions(**{"layers": ["1", "5"], "transform": to_tensor, **given}))

    call.passes = passes
    return call


def test_every_unit_has_exactly_one_row_under_the_header_that_others_read(run):
    dissection = run()
    with (dissection.folder / "descriptions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:4] == ["layer", "unit", "description", "similarity"]
    assert [(row[0], int(row[1])) for row in rows] == [("1", u) for u in range(8)] + [("5", u) for u in range(3)]
    assert [row[2] for row in rows if row[:2] == ["1", "5"]] == [""]


def test_names_come_back_as_they_were(run):
    dissection = run()
    assert {d.description for d in dissection.descriptions.values()} <= {*CONCEPTS.names, ""}
    unit = dissection.description("1", 0)
    assert unit.candidates[0].similarity == unit.similarity
    assert len(unit.candidates) == 4 and unit.support <= 10
    assert dissection.description("5", 0).win_rate is None


def test_a_unit_that_never_won_is_unnamed_and_has_no_strip(run):
    dissection = run()
    dead = dissection.description("1", 5)
    assert not dead.named and dead.support == 0 and dead.win_rate == 0
    assert dissection.exemplar_images("1", 5) == ()
    assert not dissection.exemplars("1", 5).exists() and dissection.exemplars("1", 4).exists()


def test_exemplars_are_the_units_best_images_in_order(run, probe):
    dissection = run()
    record = dissection.record("5")
    for unit in range(3):
        values = record.summaries["mean"][:, unit]
        best = values.argsort(descending=True)[: min(TILES, 9)]
        shown = dissection.exemplar_images("5", unit)
        assert [e.image for e in shown] == [probe.names[i] for i in best]
        assert [e.rank for e in shown] == list(range(1, len(shown) + 1))
        assert [e.value for e in shown] == pytest.approx(values[best].tolist(), rel=1e-4)
    with Image.open(dissection.exemplars("5", 0)) as strip:
        assert strip.size == (len(dissection.exemplar_images("5", 0)) * (PIXELS + 2) - 2, PIXELS)
        tile = strip.crop((0, 0, PIXELS, PIXELS))
    index = probe.names.index(dissection.exemplar_images("5", 0)[0].image)
    assert tile.getpixel((1, 1)) == pytest.approx(probe[index].getpixel((0, 0)), abs=16)  # a JPEG's


def test_a_competitions_exemplars_are_images_it_won(run, probe):
    dissection = run()
    won = dissection.record("1").won["mean"]
    for unit in range(8):
        shown = [probe.names.index(e.image) for e in dissection.exemplar_images("1", unit)]
        assert len(shown) == min(TILES, int(won[:, unit].sum())) and all(won[i, unit] for i in shown)


def test_the_folder_says_what_it_was_made_from(run, model, probe):
    dissection = run()
    manifest = dissection.manifest
    assert manifest["format"] == 2 and manifest["model"]["rules"] == {"1": "argmax"}
    assert manifest["probe"]["fingerprint"] == probe.fingerprint and dissection.images == probe.names
    assert manifest["options"]["similarity"] == "claims"
    assert dissection.layers == ("1", "5") and dissection.units("1") == 8 and dissection.summary("1") == "mean"
    prior = load_file(dissection.folder / "describers" / "clip-dissect" / "1.safetensors")["prior"]
    assert prior.shape == (4,) and prior.isfinite().all()


def test_an_unchanged_call_computes_nothing_and_changes_no_file(run):
    before = run().folder
    stamps = {path: path.stat().st_mtime_ns for path in before.rglob("*")}
    encoder = RandomEncoder()
    run(encoder=encoder)
    assert encoder.asked == [] and len(run.passes) == 1
    assert {path: path.stat().st_mtime_ns for path in before.rglob("*")} == stamps


@pytest.mark.parametrize(
    "change, passes, asked",
    [
        ({"similarity": "cosine"}, 1, []),
        ({"concepts": replace(CONCEPTS, names=("boat", "fish", "sun"))}, 1, ["concepts"]),
        ({"encoder": RandomEncoder(1)}, 1, ["concepts", "images"]),
        ({"summary": "max"}, 2, []),
        ({"layers": ["1", "3"]}, 2, []),
    ],
    ids=["similarity", "concepts", "encoder", "summary", "layers"],
)
def test_only_what_depends_on_a_changed_input_is_computed(run, change, passes, asked):
    run()
    encoder = change.get("encoder") or RandomEncoder()
    run(**{**change, "encoder": encoder})
    assert len(run.passes) == passes and encoder.asked == asked


def test_changed_weights_images_or_rule_are_never_served_from_the_folder(run, model, probe):
    run()
    with torch.no_grad():
        model[5].bias[0] += 1
    run(overwrite=True)
    assert len(run.passes) == 2
    run(probe=replace(probe, hashes=("other", *probe.hashes[1:])))
    assert len(run.passes) == 3
    change(model, inference="sample")
    dissection = run(overwrite=True)
    assert len(run.passes) == 4 and dissection.manifest["model"]["rules"] == {"1": "sample (noise 1)"}


def test_pictures_and_phrases_are_embedded_once_for_a_network_and_its_random_weights(run, model, probe, to_tensor):
    encoder = RandomEncoder()
    found, random = run(encoder=encoder, layers=["1"]), deepcopy(model)
    random[0].reset_parameters()
    beside = describe_beside(found, random, probe, CONCEPTS, encoder, DescribeOptions(transform=to_tensor))
    assert encoder.asked == ["concepts", "images"] and run.passes == [["1"], ["1"]]
    other = Dissection.open(beside.layout.beside_random)
    assert torch.equal(other.image_embeddings(), found.image_embeddings())
    assert not torch.equal(other.record("1").summaries["mean"], found.record("1").summaries["mean"])


def test_a_layer_added_later_is_the_only_one_that_is_recorded(run):
    run(layers=["1"])
    run(layers=["1", "5"])
    assert run.passes == [["1"], ["5"]]


def test_a_damaged_record_is_computed_again(run):
    folder = run().folder
    (shard,) = (folder / "activations" / "1").iterdir()
    shard.write_bytes(b"half a file")
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected a finished dissection \(manifest.json\)"):
        Dissection.open(folder)
    assert run().record("1").won is not None and run.passes == [["1", "5"], ["1"]]


def test_few_units_or_many_share_the_layers_prior(run, tmp_path):
    """Names never depend on which other layers were asked for."""
    together, alone = run(), run(layers=["1"], out=tmp_path / "alone")
    assert together.description("1", 2) == alone.description("1", 2)


def test_a_folder_of_another_format_is_refused(run):
    folder = run().folder
    manifest = json.loads((folder / "manifest.json").read_text())
    for number, what in ((99, "a newer lwta reads it"), (1, "describe again")):
        (folder / "manifest.json").write_text(json.dumps({**manifest, "format": number}))
        with pytest.raises(ValueError, match=f"Expected a dissection of format 2 but got {number} in .*; {what}"):
            Dissection.open(folder)


def test_a_dissection_is_frozen_and_knows_its_layers_and_units(run):
    dissection = run()
    with pytest.raises(FrozenInstanceError):
        dissection.folder = None
    with pytest.raises(TypeError):
        dissection.manifest["format"] = 2
    with pytest.raises(ValueError, match=r"Expected a dissected layer \(1, 5\) but got '3'"):
        dissection.units("3")
    with pytest.raises(ValueError, match="Expected a unit of layer '1' between 0 and 7 but got 8"):
        dissection.description("1", 8)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"similarity": "soft_wmpi"}, "Expected a similarity among .* but got 'soft_wmpi', did you mean 'soft_wpmi'"),
        (
            {"summary": "mena"},
            "Expected a summary among auto, mean, .* but got 'mena', did you mean 'mean'",
        ),
        ({"layers": "9"}, "Expected a known layer but got '9'"),
    ],
)
def test_a_slip_is_told_before_anything_runs(run, change, match):
    with pytest.raises(ValueError, match=match):
        run(**change)
    assert run.passes == []


def test_refused_words_stop_before_the_pass_and_leave_what_was_there(run):
    class Strict(RandomEncoder):
        def encode_texts(self, concepts):
            raise ValueError("Expected phrases of words that the encoder was trained on")

    folder = run().folder
    with pytest.raises(ValueError, match="Expected phrases"):
        run(encoder=Strict(1), summary="max")
    assert len(run.passes) == 1
    assert Dissection.open(folder).description("1", 0).candidates


def test_the_default_layer_is_the_last_competition(model, run):
    # in a network that says nothing: the last activation that could compete
    assert default_layer(model, torch.zeros(1, 3, 8, 8)) == "4"
    model.lwta = type("Spec", (), {"sites": (type("Site", (), {"name": "1", "channel_dim": 1})(),)})()
    assert run(layers=None).layers == ("1",)


def test_a_cell_that_a_spreadsheet_would_compute_is_inert_and_read_back_as_it_was(run, tmp_path):
    names = ("=cmd|' /C calc'!A0", "@SUM(1+9)", "+1+cmd", "-2", "'=1", "'tis", 'palm, "tall"', "nan", "café", "<b>&")
    dissection = run(concepts=replace(CONCEPTS, names=names), out=tmp_path / "out")
    for name in ("descriptions.csv", "candidates.csv", "exemplars.csv"):
        with (tmp_path / "out" / name).open(newline="", encoding="utf-8") as file:
            words = [row[key] for row in csv.DictReader(file) for key in row if key in TEXTS]
        assert words and not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in words)
    candidates = {c.description for d in dissection.descriptions.values() for c in d.candidates}
    assert candidates <= set(names) and {"'=1", "=cmd|' /C calc'!A0"} & candidates
    assert all(float(d.similarity) == d.similarity for d in dissection.descriptions.values())  # numbers stay numbers


@pytest.mark.parametrize("name", ["manifest.json", "descriptions.csv", "candidates.csv", "exemplars.csv"])
@pytest.mark.parametrize("damage", ["truncated", "without its last line", "garbage", "nested"])
def test_a_damaged_file_is_one_line_that_names_it_and_the_remedy(run, name, damage):
    folder = run().folder
    content = (folder / name).read_bytes()
    damaged = {
        "truncated": content[: len(content) * 2 // 3].rstrip(),
        "without its last line": b"".join(content.splitlines(keepends=True)[:-1]),
        "garbage": b"\xff\x00\xfe,,\n1,2\n",
        "nested": b"[" * 100_000,
    }
    (folder / name).write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=rf"Expected .*{name}.* describe again") as error:
        Dissection.open(folder).exemplar_images("1", 0)
    assert "\n" not in str(error.value)
    assert run().exemplar_images("1", 4)  # and the remedy is one


@pytest.mark.parametrize("place", ["activations/1", "tops", "embeddings", "embeddings/images"])
def test_a_damaged_shard_is_named_too(run, place):
    folder = run().folder
    (file,) = sorted((folder / place).glob("*.safetensors"))[:1]
    file.write_bytes(file.read_bytes()[:-20])
    dissection = Dissection.open(folder)
    read = {"embeddings": dissection.concept_embeddings, "embeddings/images": dissection.image_embeddings}
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{file.name}.*describe again"):
        read.get(place, lambda: dissection.record("1"))()


HOSTILE = (-1, "../../up", [None])


def keys_of(said, at=()):
    """The path of every key of a manifest, and of the first entry of every list."""
    yield at
    for key, value in said.items() if isinstance(said, dict) else enumerate(said[:1]) if isinstance(said, list) else ():
        yield from keys_of(value, (*at, key))


def told(folder, text, at, value):
    """What is said of a manifest that has `value` at the path `at`; nothing where it is read."""
    whole = said = {"": json.loads(text)}
    for key in ("", *at)[:-1]:
        said = said[key]
    said[("", *at)[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(whole[""]))
    try:
        found = Dissection.open(folder)
        return "" if all(map(found.outcomes, found.layers)) else "no outcomes"
    except ValueError as error:
        return str(error)


def test_a_manifest_of_anybody_is_checked_before_it_is_used(run):
    """Whatever stands at whatever key: it is read, or refused in one line."""
    folder = run().folder
    text = (folder / "manifest.json").read_text()
    said = [told(folder, text, at, value) for at in keys_of(json.loads(text)) for value in HOSTILE]
    assert all(one.startswith("Expected ") and "\n" not in one for one in said if one)
    for at in ("layers", "probe", "key", "options", "model.label_names", "layers.1.units", "probe.names", "warnings"):
        assert at in told(folder, text, at.split("."), {"a": 1})
    assert "Expected model.label_names.0 (str)" in told(folder, text, ("model", "label_names"), [3])


def test_a_layers_name_leads_nowhere_out_of_the_folder(run):
    manifest = run().layout.manifest
    said = json.loads(manifest.read_text())
    said["layers"]["../../up"] = said["layers"].pop("1")
    manifest.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"Expected a module's dotted name for a layer but got '\.\./\.\./up'"):
        Dissection.open(manifest.parent)


@pytest.mark.parametrize(
    "file, change, told",
    [
        ("embeddings/concepts", {"embeddings": torch.ones(1, 4)}, r"4 rows in .* but got \(1, 4\)"),
        ("embeddings/images", {"embeddings": torch.ones(3, 4)}, r"rows in .* but got \(3, 4\)"),
        ("tops/1", {"images": torch.full((8, 8), 10**6)}, "places of .* images in .* but got 1000000"),
        ("tops/1", {"images": None}, "top images in .* but got no 'images'"),
        ("activations/1", {"competition": torch.tensor([2, 0, 2**40])}, "1099511627776 units, not 8"),
        (
            "activations/1",
            {"competition": torch.tensor([2**40, 0, 8]), "index.wins": torch.zeros(1, 2, dtype=torch.uint8)},
            "no groups of 1099511627776",
        ),
        ("activations/1", {"summaries": torch.tensor([99])}, "index out of range"),
        ("activations/1", {"value.wins": None}, "value.wins"),
    ],
)
def test_tensors_of_anybody_are_checked_before_they_are_used(run, file, change, told):
    found = run()
    path = found.folder / f"{file}.safetensors"
    path = path if path.is_file() else next((found.folder / file).glob("*.safetensors"))
    flat = {name: tensor for name, tensor in {**load_file(path), **change}.items() if tensor is not None}
    save_file(flat, path, metadata={"key": "format 2, of somebody"})
    found = Dissection.open(found.folder)
    read = {"embeddings/concepts": found.concept_embeddings, "embeddings/images": found.image_embeddings}
    read |= {"tops/1": partial(found.maps, "1", 0), "activations/1": partial(found.record, "1")}
    with pytest.raises(ValueError, match=rf"Expected .*{told}.*describe again"):
        read[file]()


def test_a_dissection_inside_the_pictures_folder_adds_no_pictures(run, tmp_path):
    strips = run().folder / "exemplars"
    assert (strips / ".nomedia").is_file() and any(strips.rglob("*.jpg"))


def test_a_folder_that_cannot_be_written_is_told_before_the_pass(run, monkeypatch, tmp_path):
    monkeypatch.setattr(claim.os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"Expected a folder that can be written but got .*out'.*another --out"):
        run()
    assert run.passes == []
