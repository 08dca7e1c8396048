"""Every source gives the same: names, classes, pictures as they look, and what was skipped."""

import pickle
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pictures import Pictures, Place, open_pictures


def noise(side: int = 48, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def save(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def png(seed: int) -> bytes:
    noise(4, seed).save(buffer := BytesIO(), format="png")
    return buffer.getvalue()


def in_tar(shard: Path, content: dict[str, bytes]) -> None:
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """One good picture and every bad one."""
    folder = tmp_path / "odd"
    good = save(folder / "good.jpg", noise())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(good.read_bytes()[:1500])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "notes.txt").write_text("no picture, and not named as one")
    return folder


def test_unreadable_pictures_are_skipped_and_listed_by_name_with_the_reason(odd_folder):
    found = open_pictures(odd_folder)
    reasons = dict(found.skipped)
    assert found.names == ("good.jpg",) and found.positions == (1,) and found.found == 4
    assert set(reasons) == {"empty.jpg", "truncated.jpg", "text.jpg"}
    assert reasons["empty.jpg"] == "0 bytes" and reasons["text.jpg"] == "not an image"


def test_unreadable_pictures_are_refused_by_name_when_asked_and_not_looked_for_on_trust(odd_folder):
    with pytest.raises(
        ValueError, match=r"readable but 3 of 4 are not \(on_bad skip leaves them out\)\n  empty\.jpg: 0"
    ):
        open_pictures(odd_folder, on_bad="refuse")
    assert len(open_pictures(odd_folder, on_bad="trust")) == 4


def test_nothing_readable_is_refused(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"readable but 1 of 1 are not\n  empty\.jpg: 0 bytes"):
        open_pictures(tmp_path)


@pytest.mark.parametrize("name", [None, "table.csv"])
def test_an_empty_or_imageless_folder_is_refused(tmp_path, name):
    if name:
        (tmp_path / name).write_text("a,b")
    with pytest.raises(ValueError, match=r"Expected images \(.*\.jpg.*\) in the folder .* but got none"):
        open_pictures(tmp_path)


def test_a_missing_source_is_refused_and_a_file_of_words_is_no_picture(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wds/NAME, torch/NAME, hfds/NAME but got .* does not exist"):
        open_pictures(tmp_path / "nothing")
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(ValueError, match=r"words.txt: not an image"):
        open_pictures(tmp_path / "words.txt")


def test_limit_spreads_over_the_sorted_names(tmp_path):
    for i in range(10):
        save(tmp_path / f"{i}.png", noise(4))
    found = open_pictures(tmp_path, limit=5)
    assert found.names == ("0.png", "2.png", "4.png", "6.png", "8.png")
    assert found.positions == (0, 2, 4, 6, 8) and found.found == 10
    assert open_pictures(tmp_path, limit=99).found == len(open_pictures(tmp_path, limit=99)) == 10


def test_hashes_follow_content_not_time_and_are_made_where_asked(tmp_path):
    path = save(tmp_path / "a.png", noise(4))
    before = open_pictures(tmp_path, hashed=True).hashes
    path.touch()
    assert open_pictures(tmp_path, hashed=True).hashes == before != ("",)
    save(path, noise(4, seed=1))
    assert open_pictures(tmp_path, hashed=True).hashes != before
    assert open_pictures(tmp_path).hashes == ("",)


@pytest.mark.parametrize(
    "options, match", [({"on_bad": "ignore"}, "'refuse', 'skip', 'trust'"), ({"limit": 0}, "limit >= 1")]
)
def test_options_are_checked(tmp_path, options, match):
    save(tmp_path / "a.png", noise(4))
    with pytest.raises(ValueError, match=match):
        open_pictures(tmp_path, **options)


def test_a_picture_that_breaks_after_the_check_is_named(tmp_path):
    path = save(tmp_path / "a.png", noise(4))
    found = open_pictures(tmp_path)
    path.write_text("overwritten")
    with pytest.raises(OSError, match=r"Expected image 'a\.png' to be readable still but got: not an image"):
        found[0]
    path.unlink()
    with pytest.raises(OSError, match=r"'a\.png' to be readable still but got: No such file"):
        found[0]


def test_a_small_picture_is_enough_for_a_thumbnail(tmp_path):
    save(tmp_path / "a.jpg", noise(256))
    found = open_pictures(tmp_path)
    assert found[0].size == (256, 256) and found.small(0, 64).size == (64, 64)


def sources(tmp_path: Path) -> dict[str, Place]:
    """Three pictures of two classes, everywhere."""
    pictures = [noise(4, seed) for seed in range(3)]
    for seed, name in enumerate(("0/a", "0/b", "1/c")):
        save(tmp_path / "folder" / "val" / f"{name}.png", pictures[seed])
    rows = torch.from_numpy(np.stack([np.asarray(image) for image in pictures]))
    save_file({"images": rows, "labels": torch.tensor([0, 0, 1])}, tmp_path / "val.safetensors")
    in_tar(tmp_path / "shards" / "set-val-0.tar", {"a.png": png(0), "a.cls": b"0", "b.cls": b"0\n", "b.png": png(1)})
    in_tar(tmp_path / "shards" / "set-val-1.tar", {"c.png": png(2), "c.cls": b"1"})
    in_tar(tmp_path / "shards" / "set-train-0.tar", {"d.png": png(3), "d.cls": b"2"})
    return {
        "folder": Place(str(tmp_path / "folder"), "val"),
        "safetensors": Place(str(tmp_path), "val"),
        "wds": Place("wds/shards", "val", str(tmp_path)),
        "torch": Place("torch/image_folder", "val", str(tmp_path / "folder")),
    }


@pytest.mark.parametrize("kind", ["folder", "safetensors", "wds", "torch"])
def test_every_source_gives_the_same_pictures_and_classes_also_in_another_process(tmp_path, kind):
    found = open_pictures(sources(tmp_path)[kind], labelled=True, hashed=True)
    assert found.labels == ("0", "0", "1") and found.numbers(("dark", "light")) == [0, 0, 1]
    again: Pictures = pickle.loads(pickle.dumps(found))
    for i in range(3):
        assert np.array_equal(found[i], noise(4, i)) and np.array_equal(again[i], noise(4, i))
    assert len(set(found.hashes)) == 3 and all(found.hashes)


def test_tensors_are_read_by_their_index(tmp_path):
    images = torch.randint(0, 256, (12, 3, 4, 3), dtype=torch.uint8)
    save_file({"images": images, "labels": torch.arange(12) % 3}, tmp_path / "p.safetensors")
    found = open_pictures(tmp_path / "p.safetensors", limit=4)
    assert found.names == ("00", "03", "06", "09") and found.labels == ("0", "0", "0", "0")
    assert torch.equal(torch.from_numpy(np.array(found[1])), images[3])


@pytest.mark.parametrize(
    "tensors, match",
    [
        ({"pictures": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)}, "Expected a tensor 'images'.* but got pictures"),
        ({"images": torch.zeros(1, 2, 2, 3)}, r"as uint8 \(N, H, W, 3\) but got F32"),
        ({"images": torch.zeros(0, 2, 2, 3, dtype=torch.uint8)}, r"but got U8 \(0, 2, 2, 3\)"),
        (
            {"images": torch.zeros(2, 2, 2, 3, dtype=torch.uint8), "labels": torch.zeros(3)},
            "Expected 2 labels .* but got 3",
        ),
    ],
)
def test_a_safetensors_file_of_something_else_is_refused(tmp_path, tensors, match):
    save_file(tensors, tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=match):
        open_pictures(tmp_path / "p.safetensors")


def test_a_damaged_safetensors_file_is_named(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match=r"Expected a safetensors file but got .*p\.safetensors"):
        open_pictures(tmp_path / "p.safetensors")


def test_tensors_without_labels_say_so(tmp_path):
    save_file({"images": torch.zeros(2, 2, 2, 3, dtype=torch.uint8)}, tmp_path / "p.safetensors")
    assert open_pictures(tmp_path / "p.safetensors").labels is None
    with pytest.raises(ValueError, match=r"Expected a tensor 'labels' in .* but got images alone"):
        open_pictures(tmp_path / "p.safetensors", labelled=True)


def test_tar_shards_are_read_in_the_order_of_shards_and_members(tmp_path):
    in_tar(tmp_path / "b-1.tar", {"c.png": png(2), "c.cls": b"1"})
    in_tar(tmp_path / "b-0.tar", {"a.cls": b"0", "a.png": png(0), "bad.png": b"text", "b.png": png(1), "b.cls": b"1"})
    found = open_pictures(f"wds/{tmp_path}")
    assert found.names == ("b-0.tar/a.png", "b-0.tar/b.png", "b-1.tar/c.png") and found.labels == ("0", "1", "1")
    assert found.skipped == (("b-0.tar/bad.png", "not an image"),)


def test_masks_beside_the_pictures_of_shards_are_no_pictures_and_cost_no_label(tmp_path):
    content = {"x/7.jpg": png(0), "x/7.seg.png": png(1), "x/7.png": png(2), "x/7.cls": b"3", "x/._7.jpg": b"mac"}
    in_tar(tmp_path / "0.tar", {**content, "8.depth.png": png(3), "8.jpg": png(4), "8.cls": b"1"})
    found = open_pictures(f"wds/{tmp_path}", on_bad="refuse")
    assert found.names == ("0.tar/x/7.jpg", "0.tar/8.jpg") and found.labels == ("3", "1")
    assert [name for name, _ in found.skipped] == ["0.tar/x/7.seg.png", "0.tar/x/7.png", "0.tar/8.depth.png"]


def test_captions_of_shards_are_no_classes_where_there_are_classes(tmp_path):
    in_tar(
        tmp_path / "0.tar", {"a.png": png(0), "a.txt": b"a red boat", "a.cls": b"1", "b.png": png(1), "b.txt": b"a cat"}
    )
    assert open_pictures(f"wds/{tmp_path}").labels is None
    found = open_pictures(f"wds/{tmp_path}", labelled=True)
    assert found.labels == ("1",) and found.skipped == (("0.tar/b.png", "beside the classes, in none"),)


def test_a_cut_shard_gives_what_it_still_holds(tmp_path):
    in_tar(tmp_path / "0.tar", {"a.png": png(0), "b.png": noise(200).tobytes()})
    in_tar(tmp_path / "1.tar", {"c.png": png(1)})
    whole = (tmp_path / "0.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(whole[:3000])
    found = open_pictures(f"wds/{tmp_path}")
    assert found.names == ("0.tar/a.png", "1.tar/c.png") and {name for name, _ in found.skipped} >= {"0.tar"}


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected \.tar shards in the folder"):
        open_pictures(f"wds/{tmp_path}")
    in_tar(tmp_path / "train-0.tar", {"a.txt": b"no picture"})
    with pytest.raises(ValueError, match=r"Expected images .* in .*\*\.tar' but got none"):
        open_pictures(f"wds/{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"shards of the split 'val' in .* but got train-0\.tar"):
        open_pictures(Place("wds/.", "val", str(tmp_path)))


def test_a_named_data_set_is_read_with_bad_pictures_listed(tmp_path):
    """`torch/image_folder` stands for all that timm knows by name."""
    for i, name in enumerate(("val/cat/1.png", "val/dog/2.png", "val/dog/3.png")):
        save(tmp_path / name, noise(4, seed=i))
    (tmp_path / "val/dog/2.png").write_text("no picture")
    found = open_pictures(Place("torch/image_folder", "val", str(tmp_path)))
    assert found.labels == ("cat", "dog") and found.positions == (0, 2)
    assert found.skipped == (("1", "not an image"),)
    assert np.array_equal(found[1], noise(4, seed=2))


@pytest.mark.parametrize(
    "source, options, match",
    [
        ("trch/cifar10", {}, "does not exist, did you mean 'torch'"),
        ("torch/cifer10", {}, r"Expected torch/NAME but got 'torch/cifer10' \(.*\), did you mean 'cifar10'"),
        ("hfds/a/b", {"trust_remote_code": True}, "trust_remote_code asks 'hfds/a/b' to run its own code"),
        ("hfds/a/b", {"class_map": "classes.pkl"}, r"class_map as a mapping or a \.txt file.* got 'classes.pkl'"),
    ],
)
def test_a_slip_in_a_name_and_options_that_run_code_are_refused(tmp_path, source, options, match):
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        open_pictures(Place(source, "train", str(tmp_path), options))


def deep_and_turned(folder: Path) -> None:
    """A dark grey of 16 bits, and a picture that its EXIF turns: torchvision and timm lose both."""
    save(folder / "val/cat/deep.png", Image.fromarray(np.full((4, 4), 257 * 50, np.uint16)))
    exif = Image.Exif()
    exif[0x112] = 6
    save(folder / "val/cat/turned.jpg", Image.new("RGB", (8, 4)), exif=exif)


def test_named_data_sets_give_pictures_as_they_look(tmp_path):
    deep_and_turned(tmp_path)
    found = open_pictures(Place("torch/image_folder", "val", str(tmp_path)))
    assert found[0].getpixel((0, 0)) == (50, 50, 50) and found[1].size == (4, 8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm's reader leaves files open
def test_data_sets_of_the_hubs_library_give_pictures_as_they_look_and_bad_ones_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets", reason="hfds/ needs `pip install datasets`")
    deep_and_turned(tmp_path / "set")
    (tmp_path / "set/val/dog").mkdir()
    (tmp_path / "set/val/dog/bad.png").write_bytes(b"words")
    save(tmp_path / "set/val/dog/good.png", noise(4))
    found = open_pictures(Place(f"hfds/{tmp_path / 'set'}", "validation", str(tmp_path / "cache")))
    assert found.labels == ("cat", "cat", "dog") and found.skipped == (("2", "not an image"),)
    assert found[0].getpixel((0, 0)) == (50, 50, 50) and found[1].size == (4, 8)


def test_a_data_set_of_a_library_that_is_not_there_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r"Expected the package 'datasets' for 'hfds/a/b'.*pip install datasets"
    ):
        open_pictures("hfds/a/b")
