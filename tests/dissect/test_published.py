"""Published descriptions: every tool's table is read as it means it, and the published files give the known counts."""

import json
from pathlib import Path

import pytest

from dissect.judging.published import PublishedDescription, read_published
from dissect.judging.publishing import FORMS, write_published
from dissect.naming.description import Candidate, Description

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published-descriptions"
there = pytest.mark.skipif(not SHARED.is_dir(), reason="the published files stand beside the checkout")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.csv", "layer,unit,description,similarity\nlayer4,3,red boats,0.25\n", ("layer4", 3, "red boats", 1, 0.25)),
        ("x.csv", "layer,unit,summary\nconv1,0,edges\n", ("conv1", 0, "edges", 1, None)),
        ("a_layer2.csv", "unit,description,sim ablation,sim correlation\n5,sea,0.1,.3\n", ("layer2", 5, "sea", 1, 0.3)),
        (
            "a_layer1.csv",
            "unit,category,label,score\n1,scene,swimming_pool-s,0.04\n",
            ("layer1", 0, "swimming pool", 1, 0.04),
        ),
        ("r_fc.csv", 'Neuron ID,label\n7," birds "\n', ("fc", 7, "birds", 1, None)),
        ("r_avgpool.csv", "neuron,concept,metric\n2,tench,x\n", ("avgpool", 2, "tench", 1, None)),
        ("r_fc.csv", "neuron,concept,AUC,U1,p,MAD\n2,tench,.9,1,0,2\n", ("fc", 2, "tench", 1, 0.9)),
        ("p.csv", "layer,unit,description,mean_activation,highlights\n3,8,sea,.7,[]\n", ("3", 8, "sea", 1, 0.7)),
        ("p.csv", "layer,unit,explanation,AUC,U1,p,MAD\n3,8,sea,.8,1,0,2\n", ("3", 8, "sea", 1, 0.8)),
    ],
    ids=[
        "clip-dissect",
        "milan",
        "linear explanations",
        "netdissect",
        "dnd",
        "invert",
        "cosy",
        "prism",
        "prism's scores",
    ],
)
def test_a_table_is_read_as_its_tool_means_it(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert read_published(tmp_path / name) == (PublishedDescription(*expected),)


def test_several_rows_of_a_unit_are_ranked_and_empty_ones_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("layer,unit,summary\na,1,red\nb,1,sea\na,1,\na,1,boat\n")
    found = [(one.layer, one.description, one.rank) for one in read_published(tmp_path / "t.csv")]
    assert found == [("a", "red", 1), ("b", "sea", 1), ("a", "boat", 2)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "Expected the columns of a known tool .* but got a, b"),
        ("layer,unit,description\nx,-3,y\n", "Expected the number of a unit in .* but got '-3'"),
        ("unit,description\n3,y\n", "Expected a column 'layer', or a file name that ends in one"),
    ],
)
def test_what_is_no_such_table_is_told(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_published(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match="Expected a CSV file of descriptions"):
        read_published(tmp_path / "none.csv")


@there
def test_the_published_files_hold_what_is_known_of_them():
    clip = read_published(SHARED / "CLIP_Dissect_results" / "resnet50_imagenet_broden.csv")
    assert len(clip) == 3904 and len({one.description for one in clip}) == 1110
    people = read_published(SHARED / "MILANNOTATIONS_resnet152_imagenet.csv")
    assert len({(one.layer, one.unit) for one in people}) == 3904 and max(one.rank for one in people) == 3
    labels = [read_published(SHARED / "DnD_results" / f"resnet50_imagenet_broden_layer{n}.csv") for n in (1, 2, 3, 4)]
    assert [len({one.unit for one in layer}) for layer in labels] == [50] * 4
    assert {one.layer for layer in labels for one in layer} == {f"layer{n}" for n in (1, 2, 3, 4)}


def test_maias_histories_are_read(tmp_path):
    place = tmp_path / "layer4" / "unit_12" / "history.json"
    place.parent.mkdir(parents=True)
    last = "Done.\n[DESCRIPTION]: boats on\n water\n[LABEL 1]: boat\n[LABEL 2]: harbour"
    history = [
        {"role": "user", "content": "say [DESCRIPTION]: ..."},
        {"role": "assistant", "content": [{"text": last}]},
    ]
    place.write_text(json.dumps(history))
    found = read_published(place)
    assert [(one.layer, one.unit, one.description, one.rank) for one in found] == [
        ("layer4", 12, "boats on water", 1),
        ("layer4", 12, "boat", 2),
        ("layer4", 12, "harbour", 3),
    ]
    place.write_text("[]")
    with pytest.raises(ValueError, match=r"Expected \[DESCRIPTION\]: in .* but got none"):
        read_published(place)
    place.rename(tmp_path / "history.json")
    with pytest.raises(ValueError, match=r"Expected MAIA's LAYER/UNIT/history\.json"):
        read_published(tmp_path / "history.json")


def test_delphis_explanations_are_read(tmp_path):
    (tmp_path / "layers.5_latent12.txt").write_text(json.dumps("boats\n and water"))
    (tmp_path / "7.txt").write_text(json.dumps("palms"))
    found = read_published(tmp_path, layer="layer1")
    assert {(one.layer, one.unit, one.description) for one in found} == {
        ("layers.5", 12, "boats and water"),
        ("layer1", 7, "palms"),
    }
    (tmp_path / "7.txt").write_text("no json")
    with pytest.raises(ValueError, match=r"Expected JSON in .*7\.txt"):
        read_published(tmp_path, layer="layer1")


class Described:
    """Two units of a layer: a named one, and one that nothing verified."""

    layers = ("layer4",)

    def units(self, layer):
        return 2

    def description(self, layer, unit):
        said = (Candidate("red boat", 0.5, "dnd"), Candidate("boat", 0.4, "dnd"))
        return Description(layer, unit, "" if unit else "red boat", 0.5, None, None, 9, said)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_for_other_tools_is_read_again(tmp_path, form):
    (path,) = write_published(Described(), form, tmp_path)
    found = [(one.layer, one.unit, one.description) for one in read_published(path)]
    named = [("layer4", 0, "red boat")]
    labels = [("layer4", unit, text) for unit in range(2) for text in ("red boat", "boat")]
    assert found == (labels if form == "dnd" else named)


def test_an_unknown_form_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a form among cosy, .* but got 'milian', did you mean 'milan'"):
        write_published(Described(), "milian", tmp_path)
