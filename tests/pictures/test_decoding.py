"""One picture: as it looks, whatever its file's format, mode and metadata; or a reason."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import EXTENSIONS, PictureError, decode, read_rgb, why_unreadable

RED, BLACK, WHITE = (200, 30, 60), (0, 0, 0), (255, 255, 255)


def halves(left=RED, right=BLACK) -> Image.Image:
    """16 x 8 pixels of two colours."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = left, right
    return Image.fromarray(pixels)


def looks(path: Path, left, right, tolerance: int = 0) -> bool:
    """Whether the picture can be read, is 16 x 8, and of two colours."""
    seen = np.asarray(read_rgb(path)).astype(int)
    colours = (abs(seen[4, 2] - left).max(), abs(seen[4, 13] - right).max())
    return not why_unreadable(path) and seen.shape == (8, 16, 3) and max(colours) <= tolerance


def see_through(image: Image.Image) -> Image.Image:
    """`image` with a right half that lets everything through."""
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(16) < 8, 255, 0).astype(np.uint8)[None].repeat(8, 0)))
    return image


@pytest.mark.parametrize(
    ("name", "image", "left", "right", "tolerance"),
    [
        ("cmyk.jpg", halves().convert("CMYK"), RED, BLACK, 30),
        ("cmyk.tif", halves().convert("CMYK"), RED, BLACK, 2),
        (
            "lab.tif",
            Image.merge("LAB", [halves((255,) * 3).getchannel(0), *[Image.new("L", (16, 8), 128)] * 2]),
            *(WHITE, BLACK, 4),
        ),
        ("palette.png", halves().quantize(8), RED, BLACK, 0),
        ("transparent.png", see_through(halves()), RED, WHITE, 0),
        ("grey and transparent.png", see_through(halves()).convert("LA"), (84, 84, 84), WHITE, 0),
        ("one bit.png", halves(WHITE).convert("1"), WHITE, BLACK, 0),
    ],
)
def test_a_picture_looks_as_it_does_elsewhere(tmp_path, name, image, left, right, tolerance):
    image.save(tmp_path / name)
    assert looks(tmp_path / name, left, right, tolerance)


@pytest.mark.parametrize("ending", ["gif", "webp", "tif"])
def test_of_several_frames_the_first_is_the_picture(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    halves().save(
        tmp_path / f"a.{ending}", save_all=True, append_images=[Image.new("RGB", (16, 8), "white")], **options
    )
    assert looks(tmp_path / f"a.{ending}", RED, BLACK)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(tmp_path, ending, orientation):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose, undone
    stored = halves() if orientation == 1 else halves().transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif, quality=95, **({"subsampling": 0} if ending == "jpg" else {}))
    assert looks(tmp_path / f"a.{ending}", RED, BLACK, 25)


def exif_jpeg(*fields: tuple[int, int, int, bytes]) -> bytes:
    """A JPEG of 8 x 4 pixels with these EXIF fields (tag, type, count, value), which no library would write."""
    Image.new("RGB", (8, 4), "red").save(buffer := BytesIO(), "JPEG")
    plain, pool, table = buffer.getvalue(), b"", b""
    for tag, kind, count, value in sorted(fields):
        if len(value) > 4:
            table += struct.pack("<HHII", tag, kind, count, 14 + 12 * len(fields) + len(pool))
            pool += value
        else:
            table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    tiff = b"II*\0" + struct.pack("<IH", 8, len(fields)) + table + b"\0\0\0\0" + pool
    segment = b"Exif\0\0" + tiff
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


TURNED = (0x112, 3, 1, struct.pack("<H", 6))


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ([TURNED, (0x11A, 10, 1, struct.pack("<ii", -1, 0))], (4, 8)),
        ([TURNED, (0x11A, 5, 2, struct.pack("<IIII", 72, 1, 72, 1))], (4, 8)),
        ([TURNED, (0x8825, 4, 1, struct.pack("<I", 99999))], (4, 8)),
        ([TURNED, (0x128, 5, 1, struct.pack("<II", 2, 1))], (4, 8)),
        ([TURNED, (0x9C9B, 2, 5, b"abcd\0")], (4, 8)),
        ([TURNED, (5, 4, 1, struct.pack("<I", 70000))], (4, 8)),
        ([TURNED, (0x100, 2, 4, b"abc\0")], (4, 8)),
        ([TURNED, (0x8769, 4, 1, struct.pack("<I", 4000000))], (4, 8)),
        ([(0x112, 2, 2, b"6\0")], (8, 4)),
        ([(0x112, 3, 1, struct.pack("<H", 0))], (8, 4)),
        ([(0x112, 3, 2, struct.pack("<HH", 6, 6))], (4, 8)),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Pillow's about EXIF that is not as it should be
def test_exif_that_nobody_can_rewrite_spoils_no_picture(fields, size):
    content = exif_jpeg(*fields)
    assert not why_unreadable(content)
    assert decode(content).size == size


RAMP = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
WITH_NAN = RAMP.copy()
WITH_NAN[0, 0] = np.nan


@pytest.mark.parametrize(
    "values",
    [RAMP, WITH_NAN, RAMP * 255, RAMP * 4095, RAMP * 2 - 1, RAMP * -400, (RAMP * 1e6).astype(np.int32)],
    ids=["0..1", "with a NaN", "0..255", "0..4095", "-1..1", "-400..0", "32-bit integers"],
)
def test_wide_values_keep_their_range(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "x.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        greys = np.asarray(read_rgb(tmp_path / "x.tif"))[32, :, 0].astype(int)
    assert {greys.min(), greys.max()} == {0, 255} and len(set(greys)) == 64


def test_what_is_no_number_is_dark(tmp_path):
    Image.fromarray(WITH_NAN).save(tmp_path / "x.tif")
    assert read_rgb(tmp_path / "x.tif").getpixel((0, 0)) == BLACK
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "none.tif")
    assert np.asarray(read_rgb(tmp_path / "none.tif")).max() == 0


def test_sixteen_bits_are_scaled_by_what_they_can_hold(tmp_path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(read_rgb(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(np.full((2, 2), 200, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert np.asarray(read_rgb(tmp_path / "dark.png")).max() == 1


def test_a_narrow_or_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (1, 100_000)).save(tmp_path / "narrow.png")
    assert why_unreadable(tmp_path / "narrow.png") == "1 x 100000 pixels: one side is more than 100 times the other"
    header = b"P6 20000 20000 255\n"  # 1.2 GB of pixels, none of which is there
    assert "400000000 pixels" in why_unreadable(header)
    with pytest.raises(PictureError, match="one side is more than 100 times the other"):
        decode(Image.new("RGB", (1, 101)))


def test_postscript_is_no_picture_whatever_its_name(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for interpreter in ("gs", "gswin64c"):
        (tmp_path / "bin" / interpreter).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (tmp_path / "bin" / interpreter).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    eps = tmp_path / "a.png"
    eps.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    assert why_unreadable(eps) == "not an image"
    with pytest.raises(PictureError, match="not an image"):
        read_rgb(eps)
    assert not (tmp_path / "started").exists()


def test_an_ending_says_nothing_about_the_format(tmp_path):
    halves().save(tmp_path / "a.JFIF", format="PNG")
    assert looks(tmp_path / "a.JFIF", RED, BLACK)
    assert {".webp", ".bmp", ".tif", ".gif", ".heic"} < EXTENSIONS


@pytest.mark.parametrize(("content", "why"), [(b"", "0 bytes"), (b"words", "not an image")])
def test_what_is_no_picture_says_why(tmp_path, content, why):
    (tmp_path / "a.png").write_bytes(content)
    assert why_unreadable(tmp_path / "a.png") == why
    assert why_unreadable(tmp_path / "nowhere.png") == "No such file or directory"


def test_a_truncated_picture_is_found_though_it_opens_well():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG"):
        noise.save(buffer := BytesIO(), kind)
        whole = buffer.getvalue()
        assert not why_unreadable(whole) and "truncated" in why_unreadable(whole[: len(whole) // 2])
