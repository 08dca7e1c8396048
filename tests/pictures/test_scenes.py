"""The painted scenes: repeatable, truthful, and held out where they say so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pictures.scenes import (
    COLOURED,
    COLOURS,
    HELD_OUT_COMPANIONS,
    HELD_OUT_PAIRS,
    OBJECTS,
    SCENES,
    SPLITS,
    paint,
    read_scenes,
    write_scenes,
)
from pictures.scenes.table import decode_mask, encode_mask
from pictures.scenes.vocabulary import COMPANIONS, HELD_OUT_LAYOUTS, SKY, TELLING

SHOWN, HELD_OUT = ("train", "val", "clip"), ("probe", "test")


@pytest.fixture(scope="module")
def scenes():
    return {split: [paint(split, index) for index in range(120)] for split in SPLITS}


def pairs(scene):
    return {(thing.name, thing.colour) for thing in scene.things}


def companions(scene):
    names = {thing.name for thing in scene.things}
    return {(t, c) for t, c in HELD_OUT_COMPANIONS if t in names and c in names}


def test_same_arguments_give_same_bytes_in_any_order():
    later, first = paint("train", 7), paint("train", 3)
    again = paint("train", 3), paint("train", 7)
    assert [first.image.tobytes(), later.image.tobytes()] == [scene.image.tobytes() for scene in again]
    assert first.captions == again[0].captions
    assert first.image.tobytes() != paint("train", 3, seed=1).image.tobytes()


def test_no_picture_is_in_two_splits(scenes):
    painted = [scene.image.tobytes() for split in SPLITS for scene in scenes[split]]
    assert len(set(painted)) == len(painted)


def test_every_scene_and_most_objects_appear(scenes):
    assert {scene.label for scene in scenes["train"]} == set(SCENES)
    assert {thing.name for split in SPLITS for scene in scenes[split] for thing in scene.things} == set(OBJECTS)
    assert len(SCENES) >= 8
    assert len(OBJECTS) >= 20
    assert len(COLOURS) >= 8


def test_masks_agree_with_boxes_and_visibility(scenes):
    for scene in scenes["train"]:
        for thing in scene.things:
            left, top, right, bottom = thing.box
            rows, columns = np.nonzero(thing.mask)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)
            assert 0 < thing.visible <= 1
            assert thing.mask.shape == (64, 64)


def test_no_pixel_belongs_to_two_things(scenes):
    for scene in scenes["train"]:
        owners = sum(thing.mask.astype(int) for thing in scene.things if thing.name != "window")
        assert owners.max() <= 1
        houses = sum(thing.mask.astype(int) for thing in scene.things if thing.name not in SKY)
        windows = [thing.mask for thing in scene.things if thing.name == "window"]
        assert all((houses[mask] == 2).all() for mask in windows)


def test_masks_lie_on_the_colour_they_name():
    """Most pixels of a clear, daylight ball look more like its colour than like any other."""
    palette = np.array(list(COLOURS.values()))
    right = []
    for index in range(400):
        scene = paint("train", index)
        if scene.attributes["time"] != "day" or scene.attributes["weather"] not in ("clear", "cloudy"):
            continue
        for thing in scene.things:
            if thing.name in ("kite", "ball", "flag") and thing.mask.sum() > 30:
                pixels = np.asarray(scene.image)[thing.mask].astype(int)
                nearest = np.abs(pixels[:, None] - palette).sum(-1).argmin(1)
                right.append(np.bincount(nearest, minlength=len(palette)).argmax() == [*COLOURS].index(thing.colour))
    assert len(right) > 30
    assert np.mean(right) > 0.9


def test_held_out_pairs_never_train(scenes):
    assert {kind for kind, _ in HELD_OUT_PAIRS} == set(COLOURED)
    assert {colour for _, colour in HELD_OUT_PAIRS} == set(COLOURS)
    assert not any(pairs(scene) & HELD_OUT_PAIRS for split in SHOWN for scene in scenes[split])
    assert all(any(pairs(scene) & HELD_OUT_PAIRS for scene in scenes[split]) for split in HELD_OUT)


def test_held_out_layouts_and_companions_never_train(scenes):
    for split in SHOWN:
        assert not any(scene.attributes["layout"] in HELD_OUT_LAYOUTS or companions(scene) for scene in scenes[split])
    for split in HELD_OUT:
        assert all(scene.attributes["layout"] in HELD_OUT_LAYOUTS and companions(scene) for scene in scenes[split])


def test_every_label_can_be_told_from_what_is_seen(scenes):
    for split in SPLITS:
        for scene in scenes[split]:
            clear = [thing for thing in scene.things if thing.visible >= 0.5 and thing.mask.sum() >= 28]
            assert any(thing.name in TELLING[scene.label] for thing in clear)
            others = {kind for label, kinds in TELLING.items() if label != scene.label for kind in kinds}
            assert not others & {thing.name for thing in scene.things}


def test_telling_kinds_belong_to_one_scene_and_companions_to_several():
    telling = [kind for kinds in TELLING.values() for kind in kinds]
    assert len(set(telling)) == len(telling)
    shared = [kind for kinds in COMPANIONS.values() for kind in kinds]
    assert all(shared.count(kind) >= 2 for kind in shared)
    assert not set(telling) & set(shared)


def test_captions_speak_of_what_is_seen(scenes):
    for scene in scenes["val"]:
        seen = {thing.name for thing in scene.things}
        assert all(scene.label in caption for caption in scene.captions)
        said = " ".join(scene.captions)
        assert not any(f" {name} " in f" {said} " for name in set(OBJECTS) - seen - {"tree"})


def test_the_table_gives_back_what_was_painted(tmp_path):
    folder = write_scenes(tmp_path / "scenes", splits={"train": 6, "test": 4}, processes=1, progress=False)
    read = read_scenes(folder, "test")
    assert len(read) == 4
    for index, scene in enumerate(read):
        painted = paint("test", index)
        assert np.array_equal(np.asarray(scene.image), np.asarray(painted.image))
        assert (scene.label, scene.captions, scene.attributes) == (painted.label, painted.captions, painted.attributes)
        for one, other in zip(scene.things, painted.things, strict=True):
            assert (one.name, one.colour, one.box) == (other.name, other.colour, other.box)
            assert one.visible == pytest.approx(other.visible, abs=1e-4)
            assert np.array_equal(one.mask, other.mask)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert files == sorted(json.loads(line)["file"] for line in (folder / "scenes.jsonl").read_text().splitlines())


def test_a_folder_with_the_same_settings_is_kept_and_any_other_refused(tmp_path):
    settings = {"splits": {"val": 3}, "processes": 1, "progress": False}
    folder = write_scenes(tmp_path / "scenes", **settings)
    before = (folder / "scenes.jsonl").stat().st_mtime_ns
    assert write_scenes(folder, **settings) == folder
    assert (folder / "scenes.jsonl").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match=r"Expected scenes painted with .*'seed': 1.* but got .*'seed': 0"):
        write_scenes(folder, seed=1, **settings)
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="Expected no folder or one of painted scenes but got"):
        write_scenes(tmp_path / "other", **settings)


def test_bad_arguments_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a split among train, val, .* but got 'tests'"):
        paint("tests", 0)
    with pytest.raises(ValueError, match="Expected an index of 0 or more"):
        paint("test", -1)
    with pytest.raises(ValueError, match="Expected at least 1 picture of split 'val' but got 0"):
        write_scenes(tmp_path / "scenes", splits={"val": 0})
    with pytest.raises(FileNotFoundError, match=r"Expected a folder of painted scenes with a scenes\.json"):
        read_scenes(tmp_path, "val")
    assert not list(tmp_path.iterdir())


def test_masks_survive_their_runs():
    generator = np.random.default_rng(0)
    for mask in (generator.random((8, 8)) < 0.5, np.zeros((8, 8), bool), np.ones((8, 8), bool)):
        assert np.array_equal(decode_mask(encode_mask(mask), 8), mask)
    with pytest.raises(ValueError, match="Expected runs that fill 8 x 8 pixels but got 3"):
        decode_mask([1, 2], 8)


@pytest.mark.parametrize("script", ["go.py", "-"])
def test_a_script_without_its_guard_ends_with_a_word_about_it(tmp_path, script):
    """Spawned workers import the script; were they started anew whenever they die, it would never end."""
    code = "from pictures.scenes import write_scenes\nwrite_scenes('s', splits={'train': 65}, processes=2)\n"
    (tmp_path / "go.py").write_text(code)
    done = subprocess.run(
        [sys.executable, script],
        input=code,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "needs `if __name__ == '__main__':` around it" in done.stderr
    assert not (tmp_path / "s").exists() and sorted(path.name for path in tmp_path.iterdir()) == ["go.py"]
