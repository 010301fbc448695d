"""The size of a file from its first bytes is Pillow's, or none is told."""

import os

import numpy as np
import pytest
from PIL import Image

from augment.data.folder import read_folder
from augment.data.pictures.decode import read_picture
from augment.data.pictures.framing import Framing
from augment.data.pictures.head_sizes import plain_size

FORMS = {
    "grey PNG": dict(mode="L", suffix=".png"),
    "PNG with a palette": dict(mode="P", suffix=".png"),
    "16-bit PNG": dict(mode="I;16", suffix=".png"),
    "JPEG": dict(mode="RGB", suffix=".jpg"),
    "progressive JPEG": dict(mode="RGB", suffix=".jpg", progressive=True),
    "JPEG of four inks": dict(mode="CMYK", suffix=".jpg"),
    "JPEG with a comment": dict(mode="L", suffix=".jpg", comment=b"x" * 500),
}
UNTOLD = {
    "JPEG with a long comment": dict(mode="L", suffix=".jpg", comment=b"x" * 9000),
    "JPEG that is turned": dict(mode="RGB", suffix=".jpg", exif=True),
    "PNG that is turned": dict(mode="RGB", suffix=".png", exif=True),
    "BMP": dict(mode="RGB", suffix=".bmp"),
}


def saved(folder, *, mode, suffix, exif=False, **options):
    """A picture of 23×11 pixels in a file."""
    image = Image.fromarray(np.arange(253, dtype=np.uint8).reshape(11, 23))
    if exif:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6  # turned by a quarter
    image.convert("RGB" if mode == "CMYK" else "L").convert(mode).save(
        folder / f"x{suffix}", **options
    )
    return folder / f"x{suffix}"


@pytest.mark.parametrize("name", FORMS | UNTOLD)
def test_sizes_are_those_of_the_decoder(tmp_path, name):
    file = saved(tmp_path, **(FORMS | UNTOLD)[name])
    picture = read_picture(file, None)
    assert not isinstance(picture, str)
    header = picture.header
    assert plain_size(file) == (None if name in UNTOLD else (header.width, header.height))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damaged_heads_tell_a_size_or_none(tmp_path, suffix):
    content = saved(tmp_path, mode="RGB", suffix=suffix).read_bytes()
    rng = np.random.default_rng(0)
    for n in range(200):
        damaged = bytearray(content[: rng.integers(0, 300)])
        for at in rng.integers(0, max(1, len(damaged)), 5 if damaged else 0):
            damaged[at] = rng.integers(0, 256)
        file = tmp_path / f"{n}{suffix}"
        file.write_bytes(damaged)
        size = plain_size(file)
        assert size is None or len(size) == 2


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert plain_size(tmp_path / "x.png") is None


@pytest.mark.parametrize("late", [False, True])
def test_the_frame_is_that_of_the_upright_pictures(tmp_path, late):
    """PNG may say at its very end that it is turned, where a head does not show it."""
    rng = np.random.default_rng(1)
    for n in range(40):
        pixels = rng.integers(0, 256, (40, 120, 3), dtype=np.uint8)
        path = tmp_path / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels[: 40 - n % 3]).save(path, exif=exif)
        content = path.read_bytes()
        at = content.index(b"eXIf") - 4
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if late:  # the chunk goes before the last one, of 12 bytes
            path.write_bytes(content[:at] + content[end:-12] + content[at:end] + content[-12:])
    raw = read_folder(tmp_path, Framing.of(32))
    assert raw.images.shape[2:] == (32, 10)
