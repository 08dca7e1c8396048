"""Published descriptions: every tool's table is read as it means it, and the published files give the known counts."""

from pathlib import Path

import pytest

from dissect.judging.published import PublishedDescription, read_published

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
    ],
    ids=["clip-dissect", "milan", "linear explanations", "netdissect", "dnd", "invert"],
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
