"""Folders as people have them: one rule, whoever reads them."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from made_pictures import paint
from PIL import Image

from lwta.commands.explain import readable_images
from pictures import Place, open_files, open_pictures, print_skipped
from pictures.names import readable_name
from pictures.sources.folder import NO_PICTURES


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return paint(tmp_path / "train", classes=("cat", "dog"), each=3)


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints/a.png", "cat/.ipynb_checkpoints/a.png", "cat/._a.png", "@eaDir/a.jpg/b.jpg"]
)
def test_what_is_hidden_or_of_another_system_is_no_picture(folder, name):
    picture(folder / name)
    found = open_pictures(folder)
    assert found.classes == ("cat", "dog") and len(found) == 6 and not found.skipped


def test_a_folder_of_a_hidden_place_can_be_read(tmp_path):
    assert len(open_pictures(paint(tmp_path / ".cache" / "pictures", each=2))) == 4


def test_a_class_is_the_path_of_its_folder(tmp_path):
    for name in ("a/airfield", "a/arena/outdoor", "b/bazaar/outdoor", "a/arena"):
        picture(tmp_path / name / "1.png")
    found = open_pictures(tmp_path, labelled=True)
    assert found.classes == ("a/airfield", "a/arena", "a/arena/outdoor", "b/bazaar/outdoor")
    assert found.labels == ("a/airfield", "a/arena", "a/arena/outdoor", "b/bazaar/outdoor")


def test_classes_stand_in_natural_order(tmp_path):
    for name in ("10", "9", "B", "a", "m²"):
        picture(tmp_path / name / "1.png")
    assert open_pictures(tmp_path).classes == ("9", "10", "a", "B", "m²")


def test_a_loose_picture_is_a_picture_and_of_no_class(folder):
    picture(folder / "preview.png")
    assert len(open_pictures(folder)) == 7 and open_pictures(folder).labels is None
    found = open_pictures(folder, labelled=True, on_bad="refuse")
    assert found.classes == ("cat", "dog") and found.labels == ("cat",) * 3 + ("dog",) * 3
    assert found.skipped == (("preview.png", "beside the classes, in none"),)


def test_every_kind_of_picture_is_read_by_everyone(folder, monkeypatch):
    for name in ("fox/1.webp", "owl/1.bmp", "elk/1.tif", "cat/7.WEBP", "gnu/1.gif"):
        picture(folder / name)
    found = open_pictures(folder, labelled=True)
    assert found.classes == ("cat", "dog", "elk", "fox", "gnu", "owl") and len(found) == 11


def test_linked_folders_and_files_are_followed_and_circles_end(tmp_path):
    paint(tmp_path / "store", classes=("cat", "dog"), each=3)
    data = tmp_path / "data"
    picture(data / "real" / "0.png")
    for name in ("cat", "dog"):
        (data / name).symlink_to(tmp_path / "store" / name)
    (data / "real" / "1.png").symlink_to(data / "real" / "0.png")
    (data / "real" / "back").symlink_to(data)
    assert len(open_pictures(data)) == 8 and open_pictures(data).classes == ("cat", "dog", "real")
    assert len(readable_images([str(data)])) == 8


def test_a_link_to_nothing_is_bad_and_named(folder):
    (folder / "cat" / "lost.png").symlink_to(folder / "nowhere.png")
    assert open_pictures(folder).skipped == (("cat/lost.png", "a link to nothing"),)
    with pytest.raises(ValueError, match=r"1 of 7 are not \(on_bad skip leaves them out\)\n  cat/lost.png: a link to"):
        open_pictures(folder, on_bad="refuse")


def test_what_would_block_the_reader_is_bad(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    assert open_pictures(folder).skipped == (("cat/pipe.png", "not a file"),)


def test_a_folder_that_may_not_be_read_does_not_vanish(folder, monkeypatch):
    """As root reads everything, the refusal is made."""
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert open_pictures(folder).skipped == (("dog", "Permission denied"),)
    with pytest.raises(ValueError, match="dog: Permission denied"):
        open_pictures(folder, on_bad="refuse")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.png", r"caf\xe9.png"),
        ("cafe\u0301.png".encode(), "caf\u00e9.png"),
        (b"red\x1b[31m.png", r"red\x1b[31m.png"),
        ("\u202egnp.png".encode(), r"\u202egnp.png"),
    ],
)
def test_any_name_of_a_file_can_be_printed_and_its_picture_read(tmp_path, name, shown):
    picture(tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    found = open_pictures(tmp_path)
    assert found.names == (shown,) and found[0].size == (8, 8)
    found.names[0].encode("utf-8")


def test_both_unicode_forms_of_a_name_are_one_class(tmp_path):
    for form in ("NFC", "NFD"):
        picture(tmp_path / unicodedata.normalize(form, "caf\u00e9") / f"{form}.png")
    assert open_pictures(tmp_path).classes == (unicodedata.normalize("NFC", "caf\u00e9"),)
    numbers = open_pictures(tmp_path).numbers(("dog", unicodedata.normalize("NFD", "caf\u00e9")))
    assert numbers == [1, 1]


def test_a_folder_that_says_that_it_holds_no_pictures_is_passed_over(folder):
    picture(folder / "names" / "exemplars" / "layer" / "0.jpg")
    (folder / "names" / "exemplars" / NO_PICTURES).touch()
    assert len(open_pictures(folder)) == 6
    assert len(open_pictures(folder / "names" / "exemplars")) == 1  # asked for by name


def test_a_name_is_the_same_whatever_the_locale_decodes():
    """Under LC_ALL=C Python hands out every byte that is not ASCII as a lone surrogate."""
    for name in ("猫", "hündchen.png", "cafe\u0301"):
        undecoded = name.encode().decode("ascii", "surrogateescape")
        assert readable_name(undecoded) == readable_name(name) == unicodedata.normalize("NFC", name)
    assert readable_name("\udce9\udcc3\udca9\ud800") == r"\xe9é\ud800"


@pytest.mark.parametrize("splits", [("train", "test"), ("training", "validation"), ("test",)])
def test_a_folder_of_splits_is_asked_for_one(tmp_path, splits):
    for split in splits:
        paint(tmp_path / split, each=2)
    everything = open_pictures(tmp_path)
    assert len(everything) == 4 * len(splits) and everything.labels is None
    with pytest.raises(
        ValueError, match=rf"holds {', '.join(sorted(splits))}: name one of them, '.*{sorted(splits)[-1]}'"
    ):
        open_pictures(tmp_path, labelled=True)
    found = open_pictures(Place(str(tmp_path), splits[0]), labelled=True)
    assert found.classes == ("blue", "red") and found.source == f"{tmp_path}/{splits[0]}"


def test_a_class_may_be_called_train(tmp_path):
    assert open_pictures(paint(tmp_path, classes=("bus", "train"), each=1), labelled=True).classes == ("bus", "train")


def test_a_split_that_is_not_there_is_answered_with_the_nearest(tmp_path):
    paint(tmp_path / "train", each=1)
    with pytest.raises(FileNotFoundError, match=r"Expected a folder 'trian' in .* but got train, did you mean 'train'"):
        open_pictures(Place(str(tmp_path), "trian"))


def test_files_and_folders_together_are_named_by_their_paths(tmp_path, folder):
    single = picture(tmp_path / "one.png")
    (tmp_path / "empty.png").touch()
    found = open_files([single, folder, tmp_path / "empty.png"])
    assert found.files[:2] == (single, folder / "cat" / "0.png") and len(found) == 7
    assert found.skipped == ((str(tmp_path / "empty.png"), "0 bytes"),)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_files([tmp_path / "nowhere.png"])


def test_what_was_skipped_is_said_shortly(capsys):
    print_skipped([(f"{i}.png", "0 bytes") for i in range(12)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "skipped 0.png: 0 bytes" and lines[-1] == "skipped 2 more" and len(lines) == 11
