"""Probe images: every odd picture becomes RGB or is named, before work starts."""

import sys
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dissect import open_probe
from dissect.probe.passes import batches, shared_batches


def save(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def noise(side: int = 48, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """One good picture and every bad one."""
    folder = tmp_path / "odd"
    good = save(folder / "good.jpg", noise())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(good.read_bytes()[:1500])
    (folder / "text.jpg").write_text("not a picture")
    whole = save(folder / "cut.png", noise())
    whole.write_bytes(whole.read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture, and not named as one")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def test_unreadable_images_are_skipped_and_listed_by_name_with_the_reason(odd_folder):
    probe = open_probe(odd_folder)
    reasons = dict(probe.skipped)
    assert probe.names == ("good.jpg",)
    assert set(reasons) == {"empty.jpg", "truncated.jpg", "text.jpg", "cut.png"}
    assert reasons["empty.jpg"] == "0 bytes" and reasons["text.jpg"] == "not an image"
    assert "truncated" in reasons["truncated.jpg"]


def test_unreadable_images_are_refused_by_name_when_asked(odd_folder):
    with pytest.raises(ValueError, match=r"Expected every image .* readable but got 4 bad: .*empty\.jpg \(0 bytes\)"):
        open_probe(odd_folder, on_bad="refuse")


def test_a_folder_of_bad_images_alone_is_refused(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Expected a readable image in .* but got none: empty\.jpg"):
        open_probe(tmp_path)


@pytest.mark.parametrize("name", [None, "table.csv"])
def test_an_empty_or_imageless_folder_is_refused(tmp_path, name):
    if name:
        (tmp_path / name).write_text("a,b")
    with pytest.raises(ValueError, match=r"Expected images \(.*\.jpg.*\) in the folder .* but got none"):
        open_probe(tmp_path)


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_probe(tmp_path / "nothing")


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    save(tmp_path / "deep.png", Image.fromarray(values))
    assert np.array(open_probe(tmp_path)[0])[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark(tmp_path):
    save(tmp_path / "dark.png", Image.fromarray(np.full((2, 2), 200, dtype=np.uint16)))
    assert np.array(open_probe(tmp_path)[0]).max() == 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (10, 200, 30)])
def test_cmyk_becomes_rgb(tmp_path, colour):
    save(tmp_path / "print.tif", Image.new("RGB", (8, 8), colour).convert("CMYK"))
    image = open_probe(tmp_path)[0]
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((4, 4)), colour, atol=2)


def test_a_palette_becomes_its_colours_and_transparency_lies_on_white(tmp_path):
    save(tmp_path / "a.png", Image.new("RGB", (4, 4), (0, 128, 255)).quantize(4))
    save(tmp_path / "b.png", Image.new("RGBA", (4, 4), (0, 0, 0, 0)))
    probe = open_probe(tmp_path)
    assert probe[0].getpixel((0, 0)) == (0, 128, 255)
    assert probe[1].getpixel((0, 0)) == (255, 255, 255)


def test_a_jpeg_by_another_ending_is_read_and_a_telephones_picture_is_listed(tmp_path):
    noise(4).save(tmp_path / "a.JFIF", format="JPEG")
    (tmp_path / "b.heic").write_bytes(b"what Pillow alone does not read")
    probe = open_probe(tmp_path)
    assert probe.names == ("a.JFIF",) and probe.skipped == (("b.heic", "not an image"),)


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    save(tmp_path / "turned.png", image, exif=exif)
    upright = open_probe(tmp_path)[0]
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 0)) == (255, 255, 255)


def test_one_pixel_and_one_bit_are_images(tmp_path):
    save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    save(tmp_path / "b.png", Image.new("1", (2, 2), 1))
    probe = open_probe(tmp_path)
    assert probe[0].getpixel((0, 0)) == (1, 2, 3)
    assert probe[1].getpixel((0, 0)) == (255, 255, 255)


def test_class_folders_give_labels_at_any_depth(tmp_path):
    for name in ("test/cat/1.png", "test/dog/1.png", "train/cat/2.png"):
        save(tmp_path / name, noise(4))
    assert open_probe(tmp_path).labels == ("cat", "dog", "cat")
    assert open_probe(tmp_path / "test").labels == ("cat", "dog")
    save(tmp_path / "loose.png", noise(4))
    assert open_probe(tmp_path).labels is None


def test_limit_spreads_over_the_sorted_names(tmp_path):
    for i in range(10):
        save(tmp_path / f"{i}.png", noise(4))
    probe = open_probe(tmp_path, limit=5)
    assert probe.names == ("0.png", "2.png", "4.png", "6.png", "8.png")
    assert probe.positions == (0, 2, 4, 6, 8) and probe.found == 10
    assert open_probe(tmp_path, limit=99).found == len(open_probe(tmp_path, limit=99)) == 10


def test_the_fingerprint_follows_content_not_time(tmp_path):
    path = save(tmp_path / "a.png", noise(4))
    before = open_probe(tmp_path).fingerprint
    path.touch()
    assert open_probe(tmp_path).fingerprint == before
    save(path, noise(4, seed=1))
    assert open_probe(tmp_path).fingerprint != before


def test_a_safetensors_file_is_a_probe(tmp_path):
    images = torch.randint(0, 256, (12, 3, 4, 3), dtype=torch.uint8)
    save_file({"images": images, "labels": torch.arange(12) % 3}, tmp_path / "p.safetensors")
    probe = open_probe(tmp_path / "p.safetensors", limit=4)
    assert probe.names == ("00", "03", "06", "09") and probe.labels == ("0", "0", "0", "0")
    assert torch.equal(torch.from_numpy(np.array(probe[1])), images[3])


@pytest.mark.parametrize(
    "tensors, match",
    [
        ({"pictures": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)}, "Expected a tensor 'images'.* but got pictures"),
        ({"images": torch.zeros(1, 2, 2, 3)}, r"as uint8 \(N, H, W, 3\) but got F32"),
        (
            {"images": torch.zeros(2, 2, 2, 3, dtype=torch.uint8), "labels": torch.zeros(3)},
            "Expected 2 labels .* but got 3",
        ),
    ],
)
def test_a_safetensors_file_of_something_else_is_refused(tmp_path, tensors, match):
    save_file(tensors, tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=match):
        open_probe(tmp_path / "p.safetensors")


def in_tar(shard: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(shard, "w") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))


def png(seed: int) -> bytes:
    noise(4, seed).save(buffer := BytesIO(), format="png")
    return buffer.getvalue()


def test_tar_shards_are_a_probe_in_the_order_of_shards_and_members(tmp_path):
    in_tar(tmp_path / "b-1.tar", {"c.png": png(2), "c.cls": b"1"})
    in_tar(tmp_path / "b-0.tar", {"a.cls": b"0", "a.png": png(0), "bad.png": b"text", "b.png": png(1), "b.cls": b"1"})
    probe = open_probe(f"wds/{tmp_path}")
    assert probe.names == ("b-0.tar/a.png", "b-0.tar/b.png", "b-1.tar/c.png") and probe.labels is None
    assert probe.skipped == (("b-0.tar/bad.png", "not an image"),)
    for i in range(3):
        assert np.array_equal(probe[i], noise(4, i))
    assert open_probe("wds/.", root=tmp_path).fingerprint == probe.fingerprint
    in_tar(tmp_path / "b-0.tar", {"a.cls": b"0", "a.png": png(0)})
    assert open_probe(f"wds/{tmp_path}").labels == ("0", "1")


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected \.tar shards in the folder"):
        open_probe(f"wds/{tmp_path}")
    in_tar(tmp_path / "0.tar", {"a.txt": b"no picture"})
    with pytest.raises(ValueError, match=r"Expected images .* in .*\*\.tar' but got none"):
        open_probe(f"wds/{tmp_path}")


def test_a_named_data_set_is_a_probe_with_bad_images_listed(tmp_path):
    """`torch/image_folder` stands for all that timm knows by name."""
    for i, name in enumerate(("val/cat/1.png", "val/dog/2.png", "val/dog/3.png")):
        save(tmp_path / name, noise(4, seed=i))
    (tmp_path / "val/dog/2.png").write_text("no picture")
    probe = open_probe("torch/image_folder", root=tmp_path, split="val")
    assert probe.labels == ("cat", "dog") and probe.positions == (0, 2)
    assert [name for name, _ in probe.skipped] == ["1"]
    assert np.array_equal(probe[1], noise(4, seed=2))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm's reader leaves files open
def test_a_data_set_of_the_hubs_library_is_a_probe(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets", reason="hfds/ needs `pip install datasets`")
    for i, name in enumerate(("validation/cat/1.png", "validation/dog/2.png", "train/cat/3.png")):
        save(tmp_path / "set" / name, noise(4, seed=i))
    probe = open_probe(f"hfds/{tmp_path / 'set'}", root=tmp_path / "cache")
    assert len(probe) == 2 and np.array_equal(probe[1], noise(4, seed=1))


def test_a_data_set_of_a_library_that_is_not_there_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r"Expected the package 'datasets' for 'hfds/a/b'.*pip install datasets"
    ):
        open_probe("hfds/a/b")


def test_an_image_that_breaks_after_the_check_is_named(tmp_path):
    path = save(tmp_path / "a.png", noise(4))
    probe = open_probe(tmp_path)
    path.write_text("overwritten")
    with pytest.raises(OSError, match=r"Expected image 'a\.png' to be readable still"):
        probe[0]


def test_a_small_picture_is_enough_for_a_thumbnail(tmp_path):
    save(tmp_path / "a.jpg", noise(256))
    probe = open_probe(tmp_path)
    assert probe[0].size == (256, 256) and probe.small(0, 64).size == (64, 64)


def test_pictures_are_decoded_once_for_several_networks(tmp_path):
    for i in range(5):
        save(tmp_path / f"{i}.png", noise(4, seed=i))
    probe, read = open_probe(tmp_path), []
    once = replace(probe, read=lambda i: read.append(i) or probe[i])
    corner = lambda image: torch.tensor(image.getpixel((0, 0)))  # noqa: E731
    size = lambda image: torch.tensor(image.size)  # noqa: E731
    seen = list(shared_batches(once, [corner, size], [range(3), range(3, 5)]))
    assert sorted(read) == list(range(5)) and [run for run, _ in seen] == [range(3), range(3, 5)]
    assert torch.equal(torch.cat([x for _, (x, _) in seen]), torch.cat(list(batches(probe, corner, batch_size=2))))
    assert all(sizes.shape == (len(run), 2) for run, (_, sizes) in seen)


def test_batches_keep_the_order(tmp_path):
    images = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 2, 2, 3).contiguous()
    save_file({"images": images}, tmp_path / "p.safetensors")
    probe = open_probe(tmp_path / "p.safetensors")
    seen = list(batches(probe, lambda image: torch.tensor(image.getpixel((0, 0))), batch_size=3))
    assert [len(batch) for batch in seen] == [3, 3, 1]
    assert torch.cat(seen)[:, 0].tolist() == list(range(7))


@pytest.mark.parametrize("options, match", [({"on_bad": "ignore"}, "'skip' or 'refuse'"), ({"limit": 0}, "limit >= 1")])
def test_options_are_checked(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        open_probe(tmp_path, **options)
