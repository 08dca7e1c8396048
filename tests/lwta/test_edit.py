"""Claims about `lwta edit` as typed."""

import csv
import json

import pytest
import torch
from competing import small_resnet
from made_pictures import paint

from competition_layers import DecisionLayer, load_model, save_model
from competition_layers.attribution import logits_without
from dissect import describe, load_concepts, load_encoder, model_fingerprint, open_probe
from lwta.commands import compare, edit

LABELS = ("blue", "red")
NAMES = {2: "red ball", 5: "a red ball", 6: "grass"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A model folder, pictures, and a dissection."""
    folder = tmp_path_factory.mktemp("edit")
    model = small_resnet(4, LABELS, decision=DecisionLayer(units=16, competitors=4))
    save_model(model, folder / "model")
    paint(folder / "pictures", each=20, size=32)
    describe(
        model,
        open_probe(folder / "pictures"),
        load_concepts("the test", names=["red", "blue", "grass", "green"]),
        load_encoder("bundled"),
        out=folder / "names",
    )
    with (folder / "names" / "descriptions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "names" / "descriptions.csv").open("w", newline="") as file:  # noise has no names of its own
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows({**row, "description": NAMES.get(int(row["unit"]), "")} for row in rows)
    return folder


def test_units_are_switched_off_by_name_and_number(room, tmp_path, capsys):
    words = [str(room / "model"), "--dissection", str(room / "names"), "--data", str(room / "pictures")]
    off = json.dumps(["a red ball", "decision:3"])
    assert edit.main([*words, "--off", off, "--out", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    assert "a red ball" in said and "40 pictures" in said and "weights" in said
    silent = torch.zeros(16, dtype=torch.bool)
    silent[[2, 3, 5]] = True
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    want = logits_without(load_model(room / "model"), x, "decision", silent.expand(2, -1))
    assert torch.allclose(load_model(tmp_path / "m")(x), want, atol=1e-5)
    # what was written is a file of edits of the network before
    again = tmp_path / "again"
    assert edit.main([str(room / "model"), "--with", str(tmp_path / "m" / "edits.json"), "--out", str(again)]) == 0
    assert model_fingerprint(load_model(again)) == model_fingerprint(load_model(tmp_path / "m"))
    compare.main([str(tmp_path / "m"), "--data", str(room / "pictures"), "--out", str(tmp_path / "c.html")])


def test_a_kill_leaves_a_network_with_its_own_edits_or_none(room, tmp_path, monkeypatch):
    """The weights and what was done to them take their place in one rename, and leave it together."""
    out = tmp_path / "m"

    def written(unit, *more):
        assert edit.main([str(room / "model"), "--off", f"decision:{unit}", "--out", str(out), *more]) == 0

    def edited():
        return [json.loads((out / name).read_text()) for name in ("edits.json", "config.json")]

    written(1)
    before = (out / "model.safetensors").read_bytes()

    def killed(folder, target):
        assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in out.iterdir())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("competition_layers.files.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            written(2, "--overwrite")
    edits, config = edited()
    assert edits == config["edited"] and edits["edits"][0]["unit"] == 1
    assert (out / "model.safetensors").read_bytes() == before
    written(2, "--overwrite")
    edits, config = edited()
    assert edits == config["edited"] and edits["edits"][0]["unit"] == 2
    save_model(load_model(room / "model"), out)  # an older folder's edits are not the new network's
    assert not (out / "edits.json").exists()


def test_the_head_is_refitted_and_the_worst_group_reported(room, tmp_path, capsys):
    pictures = open_probe(room / "pictures")
    table = tmp_path / "groups.csv"
    rows = [f"{name},{'left' if i % 2 else 'right'}" for i, name in enumerate(pictures.names)]
    table.write_text("\n".join(["image,group", *rows]))
    where = str(room / "pictures")
    words = [str(room / "model"), "--off", "decision:1", "--refit", "head", "--train", where, "--data", where]
    assert edit.main([*words, "--groups", str(table), "--out", str(tmp_path / "m")]) == 0
    written = json.loads((tmp_path / "m" / "edits.json").read_text())
    assert written["refit"]["images"] == 40
    assert written["measured"]["after"]["worst_group"] in ("left", "right")
    assert written["measured"]["after"]["accuracy"] > written["measured"]["before"]["accuracy"]
    assert "These are the pictures that the head was fitted to" in capsys.readouterr().out
    table.write_text("image,group\n")
    with pytest.raises(ValueError, match=r"Expected a group for each picture .* got none for 'blue/0.png' \(40\)"):
        edit.main([*words, "--groups", str(table), "--out", str(tmp_path / "n")])


def test_slips_are_answered_before_work_starts(room, tmp_path):
    model, out = str(room / "model"), ["--out", str(tmp_path / "m")]
    for words, error in (
        ([], "Expected edits but got none"),
        (["--off", "watermark"], "Expected --dissection FOLDER"),
        (["--off", "decision:1", "--refit", "head"], "Expected --refit head together with --train"),
        (["--off", "decision:99"], "between 0 and 15 but got 99"),
        (["--off", "watermark", "--dissection", str(room / "names")], "but got 'watermark'"),
    ):
        with pytest.raises(ValueError, match=error):
            edit.main([model, *words, *out])
    with pytest.raises(ValueError, match="is the network's own"):
        edit.main([model, "--off", "decision:1", "--out", model, "--overwrite"])
    with pytest.raises(ValueError, match="holds a model; --overwrite replaces it"):
        edit.main([model, "--off", "decision:1", "--out", model])
