"""Pictures deeper than 8 bits, of several pages, and in the formats that Pillow does not read."""

import base64
import logging
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, features
from test_folder import grey, noted, only, put, two_classes

from augment.data.folder import read_folder
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.npz import read_npz
from augment.data.pictures.deep import choose_range, sketch
from augment.errors import DataError

RAMP = np.linspace(0, 4095, 64 * 64).round().astype(np.uint16).reshape(64, 64)  # of a 12-bit camera
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], 2)  # [H, W, 3]
PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → colour type


def deep_png(file, pixels):
    """Write [H, W(, C)] uint16 as a 16-bit PNG, which Pillow cannot."""
    height, width, channels = (*pixels.shape, 1)[:3]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOURS[channels], 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def deep_tiff(file, pixels, **options):
    """Write [H, W(, C)] as a TIFF with tifffile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, pixels, **options)


def test_16_bit_colour_keeps_its_levels_in_png_and_tiff(tmp_path):
    deep_png(tmp_path / "a/1.png", COLOUR)
    deep_tiff(tmp_path / "a/2.tif", COLOUR, photometric="rgb")
    deep_tiff(tmp_path / "b/1.tif", COLOUR.transpose(2, 0, 1), photometric="rgb", planarconfig=2)
    found = read_folder(tmp_path, None)
    assert found.images.shape == (3, 3, 64, 64)
    assert len(found.images[0, 0].unique()) == 256
    assert torch.equal(found.images[0], found.images[1])
    assert torch.equal(found.images[0], found.images[2])
    expected = torch.from_numpy(np.round(COLOUR.astype(np.float32) * (255 / 4095)))
    assert torch.equal(found.images[0].permute(1, 2, 0), expected.to(torch.uint8))
    assert noted(found.notes, "3 pictures are deeper than 8 bits: 0 to 4095")


def test_deep_alpha_is_laid_on_white_and_grey_stays_grey(tmp_path):
    alpha = np.full((8, 8, 1), 65535, np.uint16)
    alpha[:, :4] = 0
    level = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8, 1)
    deep_png(tmp_path / "a/1.png", np.concatenate([level, alpha], 2))
    deep_png(tmp_path / "b/1.png", np.concatenate([level, level, level, alpha], 2))
    images = read_folder(tmp_path, None).images
    assert images.shape == (2, 1, 8, 8)
    assert images[..., :4].unique().tolist() == [255]
    assert torch.equal(
        images[0, 0, :, 4:], torch.from_numpy(np.round(level[:, 4:, 0] / 257)).byte()
    )
    assert torch.equal(images[0], images[1])


@pytest.mark.parametrize("hot", [[(3, 5), (3, 6), (3, 7)], [(0, 0)]])
def test_hot_pixels_do_not_take_the_levels(tmp_path, hot):
    for k in range(20):
        slice_ = (RAMP * (1800 / 4095)).astype(np.uint16)
        if k == 3:
            slice_[tuple(zip(*hot, strict=True))] = 65535
        put(tmp_path, f"{'ab'[k % 2]}/{k}.tif", picture=Image.fromarray(slice_))
    found = read_folder(tmp_path, None)
    assert len(only(found, "a/0.tif").unique()) >= 200
    assert noted(found.notes, "20 pictures are deeper than 8 bits", "become 0 to 255")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(4096), (0, 4095)),  # the bit depth
        (np.arange(60_000, 65_536), (60_000, 65_535)),  # lowest to highest
        (np.arange(1100), (0, 1099)),
        (np.arange(200), (0, 255)),  # no more levels than 8 bits have
        (np.full(9, 5000), (0, 8191)),  # flat
        (np.arange(-1000, 3000), (-1000, 2999)),  # Hounsfield units
    ],
)
def test_the_range_is_the_widest_that_keeps_200_levels(values, expected):
    assert choose_range([sketch(values.astype(np.float32))]) == expected


def test_the_range_follows_the_bulk_where_single_values_lie_far_off():
    values = np.concatenate([np.arange(10_000, 14_000), [0, 65_535]]).astype(np.float32)
    low, high = choose_range([sketch(values)] * 3)
    assert 10_000 <= low < 10_050
    assert 13_950 < high < 14_000


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_is_zero_is_inverted_at_any_depth_and_byte_order(tmp_path, order, dtype):
    pixels = np.linspace(0, np.iinfo(dtype).max, 64 * 64).round().reshape(64, 64)
    for name, stored, photometric in (
        ("a/1.tif", pixels, "minisblack"),
        ("b/1.tif", np.iinfo(dtype).max - pixels, "miniswhite"),
    ):
        deep_tiff(tmp_path / name, stored.astype(dtype), photometric=photometric, byteorder=order)
    images = read_folder(tmp_path, None).images
    assert torch.equal(images[0], images[1])
    assert images[0, 0, 0, 0] == 0


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_colour_is_made_upright(tmp_path, turn):
    upright = Image.fromarray((COLOUR >> 4).astype(np.uint8))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation → its inverse in Pillow
    stored = upright.transpose(Image.Transpose(back[turn])) if turn > 1 else upright
    pixels = np.asarray(stored).astype(np.uint16) << 4
    deep_tiff(
        tmp_path / "a/1.tif", pixels, photometric="rgb", extratags=[(274, "H", 1, turn, True)]
    )
    found = read_folder(tmp_path, None).images[0].permute(1, 2, 0).int()
    assert (found - torch.tensor(np.asarray(upright)).int()).abs().max() <= 1


def test_channels_that_are_no_colour_are_refused(tmp_path):
    for n in (2, 4):
        deep_tiff(
            two_classes(tmp_path) / f"a/{n}.tif",
            np.zeros((8, 8, n), np.uint8),
            photometric="minisblack",
            planarconfig=1,
        )
    with pytest.raises(DataError, match=r"a/2.tif \(2 channels that are neither grey nor colour"):
        read_folder(tmp_path, None)


def test_compression_that_needs_the_extra_is_told(tmp_path, monkeypatch):
    deep_tiff(two_classes(tmp_path) / "a/x.tif", COLOUR, photometric="rgb", compression="zlib")
    assert read_folder(tmp_path, 64).bad == []

    def no_codec(self):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.asarray", no_codec)
    with pytest.raises(DataError, match=r"a/x.tif .*extra: pip install 'augment-compare\[tiff\]'"):
        read_folder(tmp_path, None)


def test_several_pages_are_told(tmp_path):
    pages = [grey(level) for level in (10, 20, 30)]
    put(tmp_path, "a/1.tif", "b/1.tif", picture=pages[0], save_all=True, append_images=pages[1:])
    found = read_folder(tmp_path, None)
    assert found.images.unique().tolist() == [10]
    assert noted(found.notes, "2 files have several pages (up to 3): the first alone is read")


def stack(file, levels):
    """A TIFF with a grey page of each level."""
    pages = [grey(level) for level in levels]
    put(file.parent, file.name, picture=pages[0], save_all=True, append_images=pages[1:])


def test_pages_are_channels_on_request(tmp_path):
    stack(tmp_path / "a/1.tif", (10, 20, 30))
    stack(tmp_path / "b/1.tif", (40, 50))
    images = read_folder(tmp_path, None, flags=ReadingFlags(pages="channels")).images
    assert images[:, :, 0, 0].tolist() == [[10, 20, 30], [40, 50, 0]]
    stack(tmp_path / "b/2.tif", (1, 2, 3, 4))
    with pytest.raises(DataError, match=r"b/2.tif \(4 pages are more than 3 channels\)"):
        read_folder(tmp_path, None, flags=ReadingFlags(pages="channels"))


def test_deep_pages_are_channels_of_one_range(tmp_path):
    for name in ("a/1.tif", "b/1.tif"):
        deep_tiff(tmp_path / name, COLOUR.transpose(2, 0, 1), photometric="minisblack")
    images = read_folder(tmp_path, None, flags=ReadingFlags(pages="channels")).images
    expected = np.round(COLOUR.astype(np.float32) * (255 / 4095))
    assert torch.equal(images[0].permute(1, 2, 0), torch.from_numpy(expected).byte())


def test_pages_are_pictures_of_one_group_on_request(tmp_path):
    stack(tmp_path / "a/1.tif", (10, 20, 30))
    put(tmp_path, "b/1.tif", picture=grey(90))
    found = read_folder(tmp_path, None, flags=ReadingFlags(pages="pictures"))
    assert found.files == ["a/1.tif#1", "a/1.tif#2", "a/1.tif#3", "b/1.tif"]
    assert found.images[:, 0, 0, 0].tolist() == [10, 20, 30, 90]
    assert found.groups == ["a/1.tif"] * 3 + [""]
    assert noted(found.notes, "1 files have several pages: each page is a picture")


def test_grey_saved_as_colour_is_read_as_grey_unless_one_has_colour(tmp_path):
    put(tmp_path, *(f"{c}/{i}.jpg" for c in "ab" for i in range(3)), picture=grey().convert("RGB"))
    found = read_folder(tmp_path, None)
    assert found.images.shape[1] == 1
    assert noted(found.notes, "grey saved as colour")
    put(tmp_path, "a/c.png", picture=Image.new("RGB", (8, 8), (9, 8, 9)))
    assert read_folder(tmp_path, None).images.shape[1] == 3


def test_the_same_pictures_are_the_same_from_a_folder_and_an_npz(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 40, 40, 3), np.uint8)
    for k, picture in enumerate(pixels):
        put(tmp_path / "set", f"{'ab'[k % 2]}/{k}.png", picture=Image.fromarray(picture))
    np.savez(tmp_path / "set.npz", train_images=pixels, train_labels=np.arange(6) % 2)
    folder, npz = read_folder(tmp_path / "set", 13), read_npz(tmp_path / "set.npz", 13)
    order = [folder.files.index(f"{'ab'[k % 2]}/{k}.png") for k in range(6)]
    assert torch.equal(folder.images[order], npz.images)


# formats


def test_names_of_downloads_are_read(tmp_path):
    put(tmp_path, *(f"a/{i}.jfif" for i in range(3)), format="JPEG")
    suffix = "avif" if features.check("avif") else "webp"
    put(tmp_path, *(f"b/{i}.{suffix}" for i in range(3)), picture=grey().convert("RGB"))
    found = read_folder(tmp_path, None)
    assert found.labels == [0] * 3 + [1] * 3


def test_heic_without_its_extra_is_told(tmp_path, monkeypatch):
    two_classes(tmp_path)
    (tmp_path / "a/x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(DataError, match=r"a/x.heic \(HEIC needs the extra: pip install"):
        read_folder(tmp_path, None)


# 16×16 HEIC, red on the left, blue on the right, compressed: no library here writes HEIC
HEIC = (
    "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>Ufw3kxwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfN=qY1_E"
    "awR?f`KO9S&jqM|@fDif5KQI>27V)7MamgK^f{K+gRDge@VG7FOPfpjTQnKL6ZNN56Bk=zG{KYxGxU|`^9P5|nVa"
    "A4$N{Qn=MfElEM8HD6^F*zgxB{iKG8PQ}GC^WK8d$n%Xvj>U`4m2<@@HBvgTatjP*<2V879Z>c+98~rpHq~VoKpc"
    "5<z-+4Dq#@GEG|feddvZeHIj1@K@Jmux*bga|Ns92kY<9>An}6CicFA3W)2PxASIDmkP8cAV6d?^GBLBZ0NLKTDT"
    "$ykw%1@>&v_#Kq?GcEY5zn2e|fLy5@!FZCY;OgM_=am?9*Er;_OtfzV5vHS?_1l^uwReJYMiB;7k7g-~~@YMNd@Z"
    "001<naZ&"
)


def test_heic_is_read_with_its_extra(tmp_path):
    pytest.importorskip("pi_heif")
    put(tmp_path, "b/1.png", "b/2.png", picture=Image.new("RGB", (16, 16), "green"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.heic").write_bytes(zlib.decompress(base64.b85decode(HEIC)))
    image = read_folder(tmp_path, None).images[0].int()
    left, right = torch.tensor([220, 40, 30]), torch.tensor([20, 60, 200])
    assert (image[:, 8, 2] - left).abs().max() < 10
    assert (image[:, 8, 13] - right).abs().max() < 10


def dicom_file(file, stored, photometric="MONOCHROME2", **elements):
    """Write [H, W] int16 or uint16 as a DICOM file."""
    pydicom = pytest.importorskip("pydicom")
    record = pydicom.Dataset()
    record.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    record.SOPInstanceUID = "1.2.3"
    record.Rows, record.Columns = stored.shape
    record.SamplesPerPixel, record.PhotometricInterpretation = 1, photometric
    record.BitsAllocated, record.BitsStored, record.HighBit = 16, 12, 11
    record.PixelRepresentation = int(stored.dtype.kind == "i")
    record.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(record, name, value)
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.parent.mkdir(parents=True, exist_ok=True)
    record.save_as(file, enforce_file_format=True)


def test_dicom_is_rescaled_and_monochrome1_inverted(tmp_path):
    units = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    dicom_file(tmp_path / "a/1.dcm", RAMP, **units)
    dicom_file(tmp_path / "b/1.dcm", 4095 - RAMP, "MONOCHROME1", **units)
    halved = (RAMP // 2).astype(np.int16) - np.int16(1024)
    dicom_file(tmp_path / "b/2.dcm", halved, RescaleSlope=2, RescaleIntercept=1024)
    found = read_folder(tmp_path, None)
    assert torch.equal(found.images[0], found.images[1])
    assert (found.images[0].int() - found.images[2].int()).abs().max() <= 1
    assert noted(found.notes, "3 pictures are deeper than 8 bits: -1024 to 3071")


def test_dicom_without_its_extra_is_told(tmp_path, monkeypatch):
    (two_classes(tmp_path) / "a/x.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"a/x.dcm \(DICOM needs the extra: pip install"):
        read_folder(tmp_path, None)


def test_no_library_speaks_for_us(tmp_path, capfd, caplog):
    (two_classes(tmp_path) / "a/x.tif").write_bytes(b"II*\0\x08\0\0\0")
    with pytest.raises(DataError, match=r"a/x.tif \(not an image\)"):
        read_folder(tmp_path, None)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("tifffile").level < logging.CRITICAL  # as it was
