"""A user's own images, good and bad: read as they are meant, or refused with the file's name."""

import csv
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment.data.datasets import load_dataset
from augment.data.folder import read_folder
from augment.data.pictures.decode import MAX_PIXELS
from augment.errors import DataError

NOISE = np.random.default_rng(0)


def grey(level=None, side=(8, 8)):
    """A grey picture: noise, or one level."""
    width, height = side
    pixels = NOISE.integers(0, 256, (height, width), np.uint8)
    return Image.fromarray(pixels if level is None else np.full_like(pixels, level))


def put(root, *names, picture=None, **options):
    """Write a picture under each name; without one, noise that differs."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (picture or grey()).save(file, **options)
    return root


def two_classes(root, n=4, where=""):
    """Folders a and b of n different pictures each."""
    return put(root, *(f"{where}{c}/{i}.png" for c in "ab" for i in range(n)))


def only(found, name):
    """The pixels of one file, [C, H, W]."""
    return found.images[found.files.index(name)]


def noted(notes, *parts):
    return any(all(part in note for part in parts) for note in notes)


# layouts


def test_a_folder_is_a_class_and_folders_below_it_belong_to_it(tmp_path):
    put(tmp_path, "cat/1.png", "cat/more/deep/2.PNG", "dog/3.jpeg", "dog/4.bmp")
    found = read_folder(tmp_path, None)
    assert found.classes == ["cat", "dog"]
    assert dict(zip(found.files, found.labels, strict=True)) == {
        "cat/1.png": 0,
        "cat/more/deep/2.PNG": 0,
        "dog/3.jpeg": 1,
        "dog/4.bmp": 1,
    }
    assert (found.notes, found.bad, set(found.splits)) == ([], [], {""})
    assert found.images.shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "val", "test"], {"train", "val", "test"}),
        (["Train", "Valid"], {"train", "val"}),
        (["Training", "Testing"], {"train", "test"}),
        (["train", "validation", "test"], {"train", "val", "test"}),
    ],
)
def test_split_folders_stand_above_the_class_folders(tmp_path, names, splits):
    for name in names:
        two_classes(tmp_path, 2, f"{name}/")
    found = read_folder(tmp_path, None)
    assert set(found.splits) == splits
    assert found.classes == ["a", "b"]
    assert f"{names[0]}/a/0.png" in found.files


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "bus/1.png", "bus/2.png", "train/1.png", "train/2.png")
    assert read_folder(tmp_path, None).classes == ["bus", "train"]


def test_split_folders_without_class_folders_are_no_classes(tmp_path):
    put(tmp_path, "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    with pytest.raises(DataError, match=r"expected train/ with a folder a class.*test, train"):
        read_folder(tmp_path, None)


def test_what_stands_beside_the_splits_is_noted(tmp_path):
    put(two_classes(tmp_path, 2, "train/"), "extra/1.png", "loose.png", "train/readme.png")
    notes = read_folder(tmp_path, None).notes
    assert noted(notes, "beside train/ (1)", "extra")
    assert noted(notes, "images outside class folders (1)", "readme.png")


def test_hidden_folders_make_no_class_and_are_noted(tmp_path):
    put(two_classes(tmp_path), ".ipynb_checkpoints/1.png", "a/.ipynb_checkpoints/2.png")
    put(tmp_path, "__MACOSX/a/3.png", "a/._0.png", "b/.hidden.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    found = read_folder(tmp_path, None)
    assert found.classes == ["a", "b"]
    assert len(found.files) == 8
    assert noted(found.notes, "hidden folders (3)", "a/.ipynb_checkpoints")


def test_files_of_other_kinds_are_counted(tmp_path):
    two_classes(tmp_path)
    for k in range(5):
        (tmp_path / "a" / f"{k}.txt").write_text("x")
    notes = read_folder(tmp_path, None).notes
    assert noted(notes, "no images (5)", "a/0.txt", "…")
    assert not noted(notes, "4.txt")


def test_a_folder_without_images_tells_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"no images \(\.png .*one folder a class"):
        read_folder(tmp_path, None)
    put(tmp_path, "1.png")
    with pytest.raises(DataError, match=r"outside class folders \(1\): 1\.png"):
        read_folder(tmp_path, None)


@pytest.mark.parametrize(
    "name",
    ["line\nbreak", 'it\'s "q"', "<script>alert(1)<", "=HYPERLINK(1)", "größe 猫", " x ", "-1,2"],
)
def test_strange_class_names_are_kept_as_they_are(tmp_path, name):
    put(tmp_path, f"{name}/1.png", f"{name}/2.png", "plain/1.png", "plain/2.png")
    found = read_folder(tmp_path, None)
    assert found.classes == sorted([name, "plain"])
    assert f"{name}/1.png" in found.files


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    two_classes(tmp_path)
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(DataError, match="not UTF-8"):
        read_folder(tmp_path, None)


# bad files


def truncated(file):
    """A JPEG of which the last third is missing."""
    grey(side=(64, 64)).save(file, quality=95)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with Image.open(file) as image:
        image.verify()  # sees nothing


def header_only(file, width=30_000, height=30_000):
    """A PNG that says it is so large, 1 bit a pixel, and holds next to nothing."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))


def floats(file):
    Image.fromarray(np.ones((8, 8), np.float32)).save(file)


def negative(file):
    Image.fromarray(np.full((8, 8), -5, np.int32)).save(file)


def broken_exif(file):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey().save(file, exif=exif)
    file.write_bytes(
        file.read_bytes().replace(b"MM\0*", b"MM\0\xff").replace(b"II*\0", b"II\xff\0")
    )


BAD = {
    "cut.jpg": (truncated, "truncated"),
    "empty.png": (lambda f: f.write_bytes(b""), "empty file"),
    "text.png": (lambda f: f.write_text("hello, I am a text\n" * 9), "not an image"),
    "text.tga": (lambda f: f.write_text("hello, I am a text\n" * 9), "not an image"),
    "bomb.png": (header_only, "pixels"),
    "large.png": (lambda f: header_only(f, 8_000, 8_000), "more than 50,000,000 pixels"),
    "script.png": (
        lambda f: f.write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
        ),
        "not an image",
    ),
    "float.tif": (floats, "no stated range"),
    "negative.tif": (negative, "negative"),
    "gone.png": (lambda f: f.symlink_to(f.parent / "nowhere.png"), "broken link"),
    "loop.png": (lambda f: f.symlink_to(f), "broken link"),
    "pipe.png": (os.mkfifo, "no regular file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_or_left_out_and_recorded(tmp_path, name):
    two_classes(tmp_path)
    make, why = BAD[name]
    make(tmp_path / "a" / name)
    with pytest.raises(DataError, match=f"1 unreadable images: a/{name}.*{why}.*--skip-bad"):
        read_folder(tmp_path, None)
    found = read_folder(tmp_path, None, skip_bad=True)
    assert len(found.files) == len(found.images) == len(found.labels) == 8
    assert [file for file, _ in found.bad] == [f"a/{name}"]
    assert why in found.bad[0][1]
    assert noted(found.notes, "unreadable images (1)", f"a/{name}")


def test_a_broken_exif_block_does_not_spoil_the_picture(tmp_path):
    broken_exif(put(two_classes(tmp_path), "a/x.jpg") / "a" / "x.jpg")
    assert read_folder(tmp_path, None).bad == []


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    header_only(put(tmp_path, "b/1.png") / "bomb.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "bomb.png").rename(tmp_path / "a" / "bomb.png")
    load, decoded = Image.Image.load, []

    def spy(self):
        decoded.append(self.size)
        return load(self)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: decoded.append(self.size))
    monkeypatch.setattr(Image.Image, "load", spy)
    with pytest.raises(DataError, match=r"a/bomb\.png"):
        read_folder(tmp_path, None)
    assert (8, 8) in decoded
    assert all(w * h <= MAX_PIXELS for w, h in decoded)


def test_no_damage_of_the_bytes_ends_in_anything_but_a_data_error(tmp_path):
    kinds = ["png", "jpg", "gif", "tif", "webp", "bmp", "ppm", "tga"]
    for kind in kinds:
        whole = put(tmp_path, f"a/x.{kind}", picture=grey().convert("RGB")) / "a" / f"x.{kind}"
        raw = whole.read_bytes()
        for k in range(12):
            bad = bytearray(raw)
            for place in NOISE.integers(0, len(raw), 4):
                bad[place if k % 2 else place % 64] = NOISE.integers(256)
            (tmp_path / "a" / f"{k}.{kind}").write_bytes(bytes(bad))
    found = read_folder(tmp_path, 8, skip_bad=True)
    assert len(found.images) + len(found.bad) == 13 * len(kinds)
    assert {f"a/x.{kind}" for kind in kinds} <= set(found.files)
    assert all(why and "\n" not in why for _, why in found.bad)


def test_many_bad_files_are_counted_and_the_first_named(tmp_path):
    two_classes(tmp_path)
    for k in range(5):
        (tmp_path / "b" / f"bad{k}.png").touch()
    with pytest.raises(DataError, match=r"5 unreadable.*bad0.*bad2.png \(empty file\) and 2 more"):
        read_folder(tmp_path, None)


def test_nothing_but_bad_files_is_an_error_even_if_they_are_skipped(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    with pytest.raises(DataError, match=r"none of 1 images could be read.*a/1.png"):
        read_folder(tmp_path, None, skip_bad=True)


# pixel formats


@pytest.mark.parametrize(("top", "levels"), [(65535, 256), (4095, 256), (1023, 256), (200, 201)])
def test_16_bit_grey_keeps_its_levels_at_the_depth_in_use(tmp_path, top, levels):
    ramp = np.linspace(0, top, 4096).round().astype(np.uint16).reshape(64, 64)
    put(tmp_path, "a/1.png", "a/2.tif", picture=Image.fromarray(ramp))
    put(tmp_path, "b/1.png", picture=Image.fromarray(ramp // 2))
    found = read_folder(tmp_path, None)
    assert found.images.shape == (3, 1, 64, 64)
    assert len(only(found, "a/1.png").unique()) >= min(levels, 200)
    assert torch.equal(only(found, "a/1.png"), only(found, "a/2.tif"))
    assert only(found, "a/1.png").max() == (255 if top > 255 else top)
    assert abs(int(only(found, "b/1.png").max()) - only(found, "a/1.png").max() // 2) <= 1


def test_depth_is_that_of_the_files_not_of_the_shrunken_pictures(tmp_path):
    dots = np.full((64, 64), 4000, np.uint16)
    dots[::8, ::8] = 65535
    put(tmp_path, "a/1.png", picture=Image.fromarray(dots))
    assert read_folder(tmp_path, 8).images.max() < 40


def test_8_bit_pictures_among_16_bit_ones_keep_their_values(tmp_path):
    deep = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    put(put(tmp_path, "a/deep.png", picture=deep), "a/flat.png", picture=grey(77))
    found = read_folder(tmp_path, None)
    assert only(found, "a/flat.png").unique().tolist() == [77]
    assert only(found, "a/deep.png").unique().tolist() == [255]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255]),
        ("L", 90, [90]),
        ("LA", (90, 255), [90]),
        ("LA", (90, 0), [255]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255]),
        ("RGBA", (0, 100, 200, 128), [127, 177, 227]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("P", 3, None),
    ],
)
def test_every_mode_is_converted_by_the_table(tmp_path, mode, colour, expected):
    picture = Image.new(mode, (8, 8), colour)
    if mode == "P":
        picture.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 40, 50, 60])
        expected = [40, 50, 60]
    put(tmp_path, "a/1.tif" if mode == "CMYK" else "a/1.png", picture=picture)
    images = read_folder(tmp_path, None).images
    assert images.shape[1] == len(expected)
    assert images[0].flatten(1).float().mean(1).tolist() == pytest.approx(expected, abs=1)


def test_mixed_modes_become_colour_and_are_counted(tmp_path):
    for k, mode in enumerate(["L", "L", "RGB", "RGBA", "CMYK", "P"]):
        picture = Image.new("RGB", (8, 8), (50, 51, 50)).convert(mode)
        put(tmp_path, f"a/{k}.tif", picture=picture)
    found = read_folder(tmp_path, None)
    assert found.images.shape == (6, 3, 8, 8)
    assert (found.images.int() - 50).abs().max() <= 2
    assert noted(found.notes, "pixel formats: L 2", "CMYK 1", "P 1", "RGBA 1")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_transparent_level_or_palette_entry_is_laid_on_white(tmp_path, mode):
    picture = Image.new(mode, (8, 8), 0)
    picture.paste(1, (0, 0, 4, 8))
    if mode == "P":
        picture.putpalette([200, 0, 0, 0, 0, 0])
    put(tmp_path, "a/1.png", picture=picture, transparency=0)
    images = read_folder(tmp_path, None).images
    assert images.shape[1] == 1
    assert images[0, :, :, 4:].unique().tolist() == [255]
    assert images[0, :, :, :4].max() <= 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("jpg", {"quality": 95}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})],
    ids=["png", "jpg", "raw tif", "packed tif"],
)
def test_exif_rotation_is_made_upright(tmp_path, turn, suffix, options):
    upright = np.full((8, 16), 20, np.uint8)
    upright[:, :8] = 120
    upright[:4, :8] = 220
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = Image.fromarray(np.ascontiguousarray(stored))
    put(tmp_path, f"a/1.{suffix}", picture=picture, exif=exif, **options)
    images = read_folder(tmp_path, None).images
    assert images.shape == (1, 1, 8, 16)
    assert (images[0, 0].int() - torch.tensor(upright).int()).abs().float().mean() < 6


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [grey(200), grey(10)]
    put(tmp_path, "a/1.gif", picture=frames[0], save_all=True, append_images=frames[1:])
    assert read_folder(tmp_path, None).images.unique().tolist() == [200]


# sizes


@pytest.mark.parametrize(
    ("side", "asked", "expected"),
    [
        ((64, 64), None, (64, 64)),
        ((20, 12), None, (12, 20)),
        ((65, 20), None, (20, 64)),
        ((20, 12), 16, (10, 16)),
        ((5, 7), None, (7, 5)),
        ((4, 9), None, (9, 8)),
    ],
)
def test_native_size_is_kept_up_to_64(tmp_path, side, asked, expected):
    put(tmp_path, "a/1.png", "b/1.png", picture=grey(side=side))
    assert tuple(read_folder(tmp_path, asked).images.shape[-2:]) == expected


def test_mixed_sizes_are_resized_and_noted(tmp_path):
    put(tmp_path, "a/1.png", picture=grey(10, (8, 8)))
    put(tmp_path, "a/2.png", picture=grey(99, (20, 40)))
    found = read_folder(tmp_path, None)
    assert found.images.shape == (2, 1, 24, 17)
    assert only(found, "a/2.png").unique().tolist() == [99]
    assert noted(found.notes, "2 picture sizes", "fitted whole into 17×24")


def test_a_bad_picture_has_no_say_in_the_size(tmp_path):
    truncated(two_classes(tmp_path) / "a" / "cut.jpg")  # of another size than the rest
    found = read_folder(tmp_path, None, skip_bad=True)
    assert found.images.shape == (8, 1, 8, 8)
    assert found.bad[0][0] == "a/cut.jpg"
    assert not noted(found.notes, "sizes")


# links


def test_links_are_followed_inside_the_folder_only(tmp_path):
    outside = put(tmp_path / "outside", "secret.png") / "secret.png"
    root = two_classes(tmp_path / "data")
    (root / "a" / "in.png").symlink_to(root / "b" / "0.png")
    for k in range(5):
        (root / "a" / f"out{k}.png").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "a" / "up").symlink_to(tmp_path / "outside")
    found = read_folder(root, None)
    assert sorted(set(found.files) - {f"{c}/{i}.png" for c in "ab" for i in range(4)}) == [
        "a/in.png"
    ]
    assert found.classes == ["a", "b"]
    assert noted(found.notes, "links out of the folder (5)", "a/out0.png")
    assert noted(found.notes, "links to folders", "(2)", "a/up", "linked")


def test_link_loops_end_and_are_counted(tmp_path):
    two_classes(tmp_path)
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    found = read_folder(tmp_path, None)
    assert len(found.files) == 8
    assert noted(found.notes, "links to folders", "(2)", "again", "round")


def test_the_folder_itself_may_be_a_link(tmp_path):
    two_classes(tmp_path / "data")
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    assert len(read_folder(tmp_path / "alias", None).files) == 8


# metadata.csv


def table(root, rows, head=("file_name", "label")):
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return root


def test_metadata_gives_labels_groups_and_splits(tmp_path):
    put(tmp_path, "x/1.png", "2.png", "3.png")
    rows = [
        ("x/1.png", "cat\nnew", "p1", "train"),
        ("2.png", "dog", "p2", "Test"),
        ("3.png", "dog", "", ""),
    ]
    found = read_folder(table(tmp_path, rows, ("file_name", "label", "group", "split")), None)
    assert found.classes == ["cat\nnew", "dog"]
    assert (found.labels, found.groups) == ([0, 1, 1], ["p1", "p2", ""])
    assert found.splits == ["train", "test", ""]
    assert found.files == ["x/1.png", "2.png", "3.png"]


def test_metadata_with_a_byte_order_mark_is_read(tmp_path):
    put(tmp_path, "1.png")
    (tmp_path / "metadata.csv").write_text("\ufefffile_name,label\n1.png,é\n", encoding="utf-8")
    assert read_folder(tmp_path, None).classes == ["é"]


@pytest.mark.parametrize("label", ["NA", "nan", "", "007", "None"])
def test_labels_of_metadata_stay_text(tmp_path, label):
    put(tmp_path, "1.png")
    table(tmp_path, [("1.png", label)])
    if label:
        assert read_folder(tmp_path, None).classes == [label]
    else:
        with pytest.raises(DataError, match=r"metadata.csv line 2: 1.png has no label"):
            read_folder(tmp_path, None)


@pytest.mark.parametrize("evil", ["../evil.png", "/etc/hostname", "x/../../evil.png", "out/e.png"])
def test_metadata_cannot_name_files_outside(tmp_path, evil):
    root = put(tmp_path / "data", "1.png")
    put(tmp_path, "evil.png", "else/e.png")
    (root / "out").symlink_to(tmp_path / "else")
    with pytest.raises(DataError, match=r"line 3 names .*outside its folder"):
        read_folder(table(root, [("1.png", "a"), (evil, "b")]), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx.png,a\n", "lacks the column file_name"),
        ("name\n1.png\n", "lacks the column file_name and label"),
        ("", "lacks the column"),
        ("file_name,label\n1.png\n", "line 2 has another number of cells"),
        ("file_name,label\n1.png,a,b\n", "line 2 has another number of cells"),
        ("file_name,label,split\n1.png,a,trian\n", "line 2: split 'trian' is none of train"),
        ('file_name,label\n1.png,"a\n', "no CSV in UTF-8"),
        ("file_name,label\n", "holds no images"),
        ("file_name,label\n2.png,a\n", r"2.png \(missing"),
        ("file_name,label\n.,a\n", "no regular file"),
    ],
)
def test_a_faulty_metadata_file_is_told_by_line(tmp_path, text, message):
    put(tmp_path, "1.png")
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path, None)


def test_metadata_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "metadata.csv").write_bytes("file_name,label\n1.png,é\n".encode("latin-1"))
    with pytest.raises(DataError, match="no CSV in UTF-8"):
        read_folder(tmp_path, None)


def test_a_given_split_that_parts_a_group_is_an_error(tmp_path):
    rows = [
        (f"{i}.png", "ab"[i % 2], f"p{i // 2}", "test" if i > 8 else "train") for i in range(12)
    ]
    put(tmp_path, *(row[0] for row in rows))
    table(tmp_path, rows, ("file_name", "label", "group", "split"))
    with pytest.raises(DataError, match=r"group 'p4' \(1 in all\) stands in train and in test"):
        load_dataset(str(tmp_path))


def test_the_hold_out_keeps_groups_together(tmp_path):
    rows = [(f"{i}.png", "ab"[i % 2], f"p{i // 3}") for i in range(36)]
    put(tmp_path, *(row[0] for row in rows))
    data = load_dataset(str(table(tmp_path, rows, ("file_name", "label", "group"))))
    group = {name: patient for name, _, patient in rows}
    assert not {group[f] for f in data.pool_files} & {group[f] for f in data.test_files}
    assert data.test.counts().min() >= 2
    assert not data.official_test


@pytest.mark.parametrize("locked", ["", "a", "a/more"])
def test_a_folder_without_permission_is_named(tmp_path, monkeypatch, locked):
    put(two_classes(tmp_path), "a/more/1.png")
    scan, listed = os.scandir, Path.iterdir

    def deny(real, path):
        if os.fspath(path) == str(tmp_path / locked):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", lambda path: deny(scan, path))
    monkeypatch.setattr(Path, "iterdir", lambda path: deny(listed, path))
    with pytest.raises(DataError, match=f"{tmp_path / locked} cannot be read: Permission denied"):
        read_folder(tmp_path, None)


def test_reading_changes_nothing(tmp_path):
    root = put(two_classes(tmp_path), "a/.hidden/1.png")
    (root / "a" / "bad.png").touch()
    before = {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))}
    read_folder(root, 8, skip_bad=True)
    assert {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))} == before


def test_files_are_in_one_order_on_every_machine(tmp_path, monkeypatch):
    two_classes(tmp_path)
    first, walk, listed = read_folder(tmp_path, None), os.walk, Path.iterdir

    def backwards(*args, **kwargs):
        for place, folders, names in walk(*args, **kwargs):
            yield place, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listed(self), reverse=True))
    again = read_folder(tmp_path, None)
    assert again.files == first.files
    assert torch.equal(again.images, first.images)
