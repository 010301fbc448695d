"""Two files of one name: masks and previews are left out, what cannot be told is refused."""

import numpy as np
import pytest
from PIL import Image
from test_folder import noted

from augment.data.folder import read_folder
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

CLASSES = ("blowhole", "crack", "free")


def photo(seed, mode="RGB"):
    """A picture of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((30, 24), Image.Resampling.BICUBIC).convert(mode)


def mask(seed, colours=((0, 0, 0), (255, 255, 255))):
    """A picture of a few flat colours."""
    spots = np.random.default_rng(seed).integers(0, len(colours), (4, 5))
    return Image.fromarray(np.array(colours, np.uint8)[spots]).resize((30, 24), 0)


def paired(root, second, make, first="{n}.jpg", n=6):
    """Folders of classes with n pictures each, and another one beside each."""
    for k, name in enumerate(CLASSES):
        (root / name).mkdir()
        for i in range(n):
            picture = photo(100 * k + i)
            picture.save(root / name / first.format(n=f"e{k}_{i}"))
            made = make(picture, 100 * k + i)
            if made:
                made.save(root / name / second.format(n=f"e{k}_{i}"))
    return root


def left(root, **flags):
    """Number of pictures that are read, and what is left out by kind."""
    layout = read_layout(root, ReadingFlags(**flags))
    return len(layout.entries), {k: len(v) for k, v in layout.left_out.items() if v}


FORMS = {
    "another suffix": ("{n}.png", lambda p, i: mask(i)),
    "in grey": ("{n}.png", lambda p, i: mask(i).convert("L")),
    "one even colour": ("{n}.png", lambda p, i: Image.new("L", (30, 24))),
    "as JPEG": ("{n}.jpeg", lambda p, i: mask(i)),
    "of some pictures": ("{n}.png", lambda p, i: mask(i) if i < 200 else None),
    "a letter": ("{n}-d.bmp", lambda p, i: mask(i, [(255, 0, 0), (0, 0, 128), (0, 0, 255)])),
    "a letter without a sign": ("{n}m.png", lambda p, i: mask(i)),
    "a word of no list": ("{n}_lesion.png", lambda p, i: mask(i)),
    "a word before": ("gt_{n}.png", lambda p, i: mask(i)),
}


@pytest.mark.parametrize("name", FORMS)
def test_flat_twins_are_masks(tmp_path, name):
    form, make = FORMS[name]
    paired(tmp_path, form, make)
    n_masks = 12 if name == "of some pictures" else 18
    assert left(tmp_path) == (18, {"masks": n_masks})
    assert noted(read_folder(tmp_path, None).notes, f"left out masks ({n_masks})")


VERSIONS = {
    "TIFF beside JPEG": ("{n}.tif", lambda p, i: p, "{n}.tif"),
    "a smaller preview": ("{n}.gif", lambda p, i: p.resize((15, 12)), "{n}.jpg"),
    "capitals": ("{n}.JPG", lambda p, i: p, "{n}.jpg"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_of_one_name_count_once(tmp_path, name):
    form, make, kept = VERSIONS[name]
    paired(tmp_path, form, make)
    layout = read_layout(tmp_path, ReadingFlags())
    assert len(layout.entries) == 18
    assert {entry.name.rpartition(".")[2] for entry in layout.entries} == {kept[4:]}
    assert len(layout.left_out["previews and other versions of one picture"]) == 18


def test_pictures_that_share_a_name_by_chance_all_count(tmp_path):
    paired(tmp_path, "{n}.png", lambda p, i: photo(900 + i))
    assert left(tmp_path) == (36, {})


def test_a_second_picture_of_each_is_a_question(tmp_path):
    paired(tmp_path, "{n}_uv.jpg", lambda p, i: photo(900 + i))
    with pytest.raises(DataError, match=r"e0_0\.jpg and blowhole/e0_0_uv\.jpg.*--labels folders"):
        read_layout(tmp_path, ReadingFlags())
    assert left(tmp_path, labels="folders") == (36, {})


def test_a_second_picture_of_each_is_none_to_a_table(tmp_path):
    paired(tmp_path, "{n}_uv.jpg", lambda p, i: photo(900 + i))
    files = [f"{c}/e{k}_{i}.jpg" for k, c in enumerate(CLASSES) for i in range(6)]
    lines = [f"{file},{'ab'[n % 2]}" for n, file in enumerate(files)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    assert left(tmp_path) == (18, {"images that metadata.csv does not name": 18})


def test_copies_are_none(tmp_path):
    paired(tmp_path, "{n}_flip.jpg", lambda p, i: p.transpose(0))
    assert left(tmp_path) == (36, {})


def test_files_that_cannot_be_opened_tell_nothing(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.jpg").write_bytes(b"")
            (tmp_path / name / f"{i}.png").write_bytes(b"")
    assert left(tmp_path) == (24, {})
