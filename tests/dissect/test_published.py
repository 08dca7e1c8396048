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
        ("layer,unit,description\nx,-3,y\n", "Expected the number of a unit, from 0, in .* but got '-3'"),
        ("layer,unit,description\nx,1234567890,y\n", "Expected the number of a unit, from 0, in .* got '1234567890'"),
        ("unit,category,label\n0,scene,sea\n", "Expected the number of a unit, from 1, in .* but got '0'"),
        ("unit,description\n3,y\n", "Expected a column 'layer', or a file name that ends in one"),
        (f"layer,unit,description\nx,1,{'y' * 200_000}\n", "Expected a CSV file in UTF-8 but got .*field larger"),
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
    place.with_name("eval_results.json").write_text('{"average_positive_score": 0.75, "average_negative_score": 0.5}')
    assert {(one.unit, one.score) for one in read_published(tmp_path)} == {(12, 0.25)}, "a folder of them too"
    place.write_text("[]")
    with pytest.raises(ValueError, match=r"Expected \[DESCRIPTION\]: in .* but got none"):
        read_published(place)
    place.rename(tmp_path / "history.json")
    with pytest.raises(ValueError, match=r"Expected MAIA's LAYER/UNIT/history\.json"):
        read_published(tmp_path / "history.json")


def test_delphis_explanations_are_read(tmp_path):
    place, scores = tmp_path / "explanations", tmp_path / "scores" / "detection"
    for folder in (place, scores):
        folder.mkdir(parents=True)
    (place / "layers.5_latent12.txt").write_text(json.dumps("boats\n and water"))
    (place / "7.txt").write_text(json.dumps("palms"))
    rows = [{"activating": i < 4, "correct": i in (0, 1, 2, 4)} for i in range(6)]
    (scores / "7.txt").write_text(json.dumps(rows))
    found = read_published(place, layer="layer1")
    assert {(one.layer, one.unit, one.description, one.score) for one in found} == {
        ("layers.5", 12, "boats and water", None),
        ("layer1", 7, "palms", (3 / 4 + 1 / 2) / 2),
    }
    (place / "7.txt").write_text("no json")
    with pytest.raises(ValueError, match=r"Expected JSON in .*7\.txt"):
        read_published(place, layer="layer1")


def test_a_layer_that_looks_like_a_path_is_text(tmp_path):
    (tmp_path / "t.csv").write_text("layer,unit,description\n../../x,1,red\n../../x,1,red\n")
    assert [(one.layer, one.rank) for one in read_published(tmp_path / "t.csv")] == [("../../x", 1), ("../../x", 2)]


HOSTILE = (
    "red boat",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "../../etc/passwd",
    'a "b", c',
    "(LABEL 2): sea",
    "vitamin-c",
    "'-s",
    "caf\u00e9 \u6d77",
)


class Described:
    """A unit of two layers for each hostile name, and one that nothing verified."""

    layers = ("layer4", "blocks.0_1.act")

    def units(self, layer):
        return len(HOSTILE) + 1

    def description(self, layer, unit):
        name = (*HOSTILE, "")[unit]
        said = (Candidate(name or "boat", 0.5, "dnd"), Candidate("shore", 0.4, "dnd"), Candidate("shore", 2, "lwta"))
        return Description(layer, unit, name, 0.5, None, None, 9, said)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_for_other_tools_is_read_again(tmp_path, form):
    """Markup, formulas, paths, quotation marks and the tools' own marks come back as they were."""
    written = write_published(Described(), form, tmp_path / "out")
    assert all(path.is_relative_to(tmp_path / "out") for path in tmp_path.rglob("*") if path.is_file())
    whole = [tmp_path / "out"] if form == "maia" else written
    found = {}
    for one in (one for path in whole for one in read_published(path)):
        found.setdefault((one.layer, one.unit), []).append(one.description)
    expected = {(layer, unit): [name] for layer in Described.layers for unit, name in enumerate(HOSTILE)}
    if form == "dnd":
        expected |= {(layer, len(HOSTILE)): ["boat"] for layer in Described.layers}
    if form in ("dnd", "maia"):
        expected = {place: [*names * (1 + (form == "maia")), "shore"] for place, names in expected.items()}
    assert found == expected


def test_the_marks_of_maia_inside_a_name_do_not_part_it(tmp_path):
    class Marked(Described):
        def description(self, layer, unit):
            return Description(layer, unit, "[LABEL 2]: [DESCRIPTION]", 0.5, None, None, 9)

    write_published(Marked(), "maia", tmp_path)
    assert {one.description for one in read_published(tmp_path)} == {"(LABEL 2): (DESCRIPTION)"}


@pytest.mark.parametrize("form", ["maia", "delphi"])
def test_files_of_former_units_are_not_mixed_with_new_ones(tmp_path, form):
    write_published(Described(), form, tmp_path)
    with pytest.raises(FileExistsError, match=r"Expected a new folder .* but it stands already; choose another"):
        write_published(Described(), form, tmp_path)


def test_an_unknown_form_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a form among cosy, .* but got 'milian', did you mean 'milan'"):
        write_published(Described(), "milian", tmp_path)
