"""`lwta find` and `lwta judge` on a dissection of painted scenes by the bundled encoder."""

import csv
import json
import re

import pytest
from torch import nn

from competition_layers import create_model, save_model
from dissect import DescribeOptions, Dissection, Naming, describe, load_concepts, load_encoder, open_probe
from dissect.folder.sources import ModelSource, write_encoder
from lwta.commands import find, judge
from lwta.scene_truth import scene_truth
from pictures.scenes import write_scenes


def network() -> nn.Module:
    small = {"channels": (16, 32, 32, 64)}
    return create_model("resnet10t", competitors=4, num_classes=10, image_size=32, **small)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An untrained network's names on 40 scenes."""
    place = tmp_path_factory.mktemp("named")
    scenes = write_scenes(place / "scenes", splits={"probe": 40}, size=64, processes=1, progress=False)
    model = network()
    save_model(model.eval(), place / "model")
    describe(model, open_probe(scenes / "probe"), load_concepts("scenes"), load_encoder("bundled"), place / "names")
    return place


def test_find_prints_the_units_that_follow_a_phrase(place, capsys):
    assert find.main(["a red boat", "--dissection", str(place / "names"), "--top", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5 and printed[0].split()[:3] == ["layer", "unit", "r"]
    assert "how well 'a red boat' predicts the unit over 40 probe images" in printed[-1]
    correlations = [float(line.split()[2]) for line in printed[1:4]]
    assert correlations == sorted(correlations, reverse=True)


def test_unknown_words_and_layers_and_another_encoder_are_refused_by_name(place):
    folder = str(place / "names")
    with pytest.raises(ValueError, match=r"got 1 with others: 'a red zeppelin' \(zeppelin\)"):
        find.main(["a red zeppelin", "--dissection", folder])
    with pytest.raises(ValueError, match="Expected a known layer but got 'layer9'"):
        find.main(["a red boat", "--dissection", folder, "--layers", "layer9"])
    manifest = place / "names" / "manifest.json"
    before = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(before), "encoder": "clip 123"}))
    try:
        with pytest.raises(
            ValueError, match=r"Expected the encoder of .* \(clip 123\) but got 'bundled' .*; say --clip"
        ):
            find.main(["a red boat", "--dissection", folder])
    finally:
        manifest.write_text(before)


def test_find_reads_the_phrase_in_the_prompts_that_the_concepts_were_read_in(place, tmp_path, capsys):
    concepts = load_concepts("scenes", templates=["a boat beside {}"])
    model = network()
    out = tmp_path / "names"
    dissection = describe(model, open_probe(place / "scenes" / "probe"), concepts, load_encoder("bundled"), out)
    assert dissection.manifest["concepts"]["templates"] == ["a boat beside {}"]
    known = concepts.names[0]
    found = []
    for phrase in (known, f" {known}"):  # as one of the concepts, and as words that are none
        find.main([phrase, "--dissection", str(out), "--top", "3"])
        found.append(capsys.readouterr().out.splitlines()[1:4])
    assert found[0] == found[1]


def test_no_phrase_and_no_units_are_refused(place):
    folder = str(place / "names")
    with pytest.raises(ValueError, match="Expected a phrase, a few words, but got ' '"):
        find.main([" ", "--dissection", folder])
    with pytest.raises(ValueError, match="Expected --top to be a number >= 1 but got 0"):
        find.main(["a red boat", "--dissection", folder, "--top", "0"])


def test_an_encoder_that_a_dissection_names_is_not_fetched_by_its_word(place, capsys):
    folder = place / "names"
    write_encoder(folder, "hf-hub:evil/clip")
    try:
        with pytest.raises(ValueError, match=r"Expected --clip from you .*it calls its encoder 'hf-hub:evil/clip'"):
            find.main(["a red boat", "--dissection", str(folder)])
        known = Dissection.open(folder).concepts[0]
        find.main([known, "--dissection", str(folder), "--top", "1"])  # its embedding is in the dissection
        find.main(["a red boat", "--dissection", str(folder), "--top", "1", "--clip", "bundled"])
    finally:
        write_encoder(folder, "bundled")
    assert capsys.readouterr().out.count("  name\n") == 2


def test_judge_prints_a_table_a_layer_and_says_what_it_means(place, tmp_path, capsys):
    out = tmp_path / "verdicts.json"
    probe = str(place / "scenes" / "probe")
    assert judge.main([str(place / "names"), "--truth", probe, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    columns = "r AUPRC rivals CoSy AUC CoSy MAD true r true AUPRC F1 IoU"
    assert columns.split() in [line.split() for line in printed.splitlines()]
    assert "sanity tests" in printed and "which gave the names" in printed
    (layer,) = json.loads(out.read_text())["layers"]
    rows = {(row["control"], row["measure"]): row for row in layer["verdicts"]}
    assert {control for control, _ in rows} == {"", "constant", "shuffled", "random", "best of 5", "best of 5 random"}
    assert rows["", "r"]["low"] < rows["", "r"]["mean"] < rows["", "r"]["high"]
    assert len(layer["units"]) + layer["not_described"]["clip-dissect"] == layer["of"]


@pytest.mark.slow
def test_judge_writes_a_page_that_fetches_nothing(place, tmp_path):
    page = tmp_path / "judged.html"
    drawn = ["--model", str(place / "model"), "--text_to_image", "painter"]
    judge.main([str(place / "names"), *drawn, "--out", str(page)])
    text = page.read_text()
    assert "Which descriptions to believe" in text and "drawn AUC" in text and "sanity tests" in text
    assert "default-src 'none'" in text and 'src="http' not in text


@pytest.mark.slow
def test_two_methods_are_judged_on_the_same_units_beside_random_weights(place, tmp_path, capsys):
    scenes, model = place / "scenes", network()
    options = DescribeOptions(naming=Naming("wpmi"))
    described = (load_concepts("scenes"), load_encoder("bundled"))
    save_model(model.eval(), tmp_path / "model")
    describe(model, open_probe(scenes / "probe"), *described, tmp_path / "wpmi", options)
    out = tmp_path / "verdicts.csv"
    asked = [str(tmp_path / "wpmi"), "--untrained", str(place / "names"), "--out", str(out)]
    looks = ["--model", str(tmp_path / "model"), "--text_to_image", "painter", "--truth", str(scenes / "probe")]
    judge.main([*asked, *looks])
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["control"] for row in rows if row["measure"] == "r"][-1] == "random weights"
    told = r"Random weights are judged without their network: Expected --model, since the dissection .* does not say"
    assert re.search(told, capsys.readouterr().out)
    ModelSource.of(place / "names", str(place / "model")).write(place / "names")
    judge.main([*asked, *looks])
    rows = list(csv.DictReader(out.read_text().splitlines()))
    columns = {row["measure"] for row in rows}
    assert {row["measure"] for row in rows if row["control"] == "random weights"} == columns >= {"true r", "drawn AUC"}


def test_what_judge_cannot_do_is_refused_before_it_works(place, tmp_path):
    folder = str(place / "names")
    with pytest.raises(ValueError, match="Expected --images, the pictures that were the probe"):
        judge.main([folder, "--effects"])
    with pytest.raises(ValueError, match=r"Expected --out to end in .json, .csv or .html but got 'table.txt'"):
        judge.main([folder, "--out", "table.txt"])
    pictures = write_scenes(tmp_path / "scenes", splits={"val": 12}, size=64, processes=1, progress=False) / "val"
    with pytest.raises(ValueError, match=r"Expected the 40 images of the dissection but .* has no"):
        judge.main([folder, "--images", str(pictures), "--evaluator", "bundled"])


def test_the_truth_of_scenes_is_what_was_painted(place):
    images = open_probe(place / "scenes" / "probe").names
    truth = scene_truth(place / "scenes" / "probe", images, ["beach", "a boat", "nonsense"])
    assert set(truth) == {"beach", "a boat"}
    assert truth["beach"].tolist() == [int(name.startswith("beach/")) for name in images]
    with pytest.raises(ValueError, match=r"Expected pictures of .* but got 'holiday.png'"):
        scene_truth(place / "scenes" / "probe", ["holiday.png"], ["beach"])
    with pytest.raises(FileNotFoundError, match="Expected the pictures of a split of painted scenes"):
        scene_truth(place / "scenes", images, ["beach"])


@pytest.mark.parametrize("row", ["{}", "[" * 100_000, '{"split": "probe", "things": [{}]}', "cut"])
def test_a_table_of_scenes_that_is_none_is_one_line(tmp_path, row):
    (tmp_path / "probe").mkdir()
    (tmp_path / "scenes.json").write_text('{"size": 8}')
    (tmp_path / "scenes.jsonl").write_text(row)
    with pytest.raises(ValueError, match="Expected the whole table of painted scenes in"):
        scene_truth(tmp_path / "probe", [], ["beach"])
