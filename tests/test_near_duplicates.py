"""Copies of one image are found whatever was done to them, and stay on one side of the split."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from test_folder import grey, noted, put, table, two_classes

from augment.data.copies.copies_together import _source, join_copies
from augment.data.copies.near_duplicates import TooManyImages, copy_pairs
from augment.data.datasets import embedded_digits, load_dataset
from augment.data.pictures.fitting import fit_pixels
from augment.data.pictures.framing import Frame
from augment.data.raw import RawDataset
from augment.data.split import split


def textured(seed, side=48):
    """A grey picture with detail of all sizes, in the middle levels."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((side, side))
    for cells, weight in ((4, 40), (12, 25), (48, 8)):
        coarse = Image.fromarray(rng.normal(0, weight, (cells, cells)).astype(np.float32))
        pixels += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray((pixels + 120).clip(20, 220).astype(np.uint8))


def recoded(picture):
    """The picture as a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return Image.open(buffer)


CHANGES = {
    "equal": lambda picture: picture,
    **{turn.name: lambda picture, turn=turn: picture.transpose(turn) for turn in Image.Transpose},
    "recoded": recoded,
    "brightened, clipped": lambda picture: picture.point(lambda level: min(255, int(1.4 * level))),
    "darkened": lambda picture: picture.point(lambda level: level // 2),
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.4),
    "turned, recoded": lambda picture: recoded(picture.transpose(Image.Transpose.ROTATE_90)),
}


def as_tensor(pictures):
    """[N, 1, H, W] uint8."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))[:, None]


@pytest.mark.parametrize("side", [24, 48, 64])
@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_and_nothing_else(change, side):
    originals = [textured(seed, side) for seed in range(12)]
    images = as_tensor([*originals, *(CHANGES[change](picture) for picture in originals[:4])])
    pairs, alike = copy_pairs(images)
    assert sorted(pairs.tolist()) == [[k, 12 + k] for k in range(4)]
    assert alike.min() > 0.98
    across, _ = copy_pairs(images[12:], images[:12])
    assert sorted(across.tolist()) == [[k, k] for k in range(4)]


def test_a_turned_copy_is_found_among_oblong_pictures_of_one_shape():
    pictures = [textured(seed).resize((64, 32)) for seed in range(6)]
    images = as_tensor([*pictures, pictures[2].transpose(Image.Transpose.ROTATE_180)])
    assert copy_pairs(images)[0].tolist() == [[2, 6]]


@pytest.mark.parametrize("picture", [grey(90), textured(0).point(lambda level: 100 + level // 200)])
def test_flat_pictures_are_copies_of_nothing(picture):
    assert len(copy_pairs(as_tensor([picture] * 5))[0]) == 0


def test_similar_digits_are_no_copies():
    digits = embedded_digits()
    assert len(copy_pairs(digits.images)[0]) == 0
    notes = []
    assert set(join_copies(digits, notes)) == {""}
    assert notes == []


def moved(picture, right, down):
    """The picture with its edges repeated where nothing comes in."""
    pixels = np.pad(np.asarray(picture), 8, mode="edge")
    side = len(pixels) - 16
    return Image.fromarray(pixels[8 + down : 8 + down + side, 8 + right : 8 + right + side])


def noisy(picture):
    noise = np.random.default_rng(0).normal(0, 5, np.asarray(picture).shape)
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


MOVES = {
    "two pixels": lambda picture: moved(picture, 2, -2),
    "a 16th": lambda picture: moved(picture, picture.width // 16, 1),
    "moved, recoded": lambda picture: recoded(moved(picture, -1, 2)),
    "moved, brighter": lambda picture: moved(picture, 1, 2).point(lambda v: int(1.1 * v + 9)),
    "noise": noisy,
    **{
        f"moved, {turn.name}": lambda picture, turn=turn: moved(picture.transpose(turn), 2, 1)
        for turn in Image.Transpose
    },
}


@pytest.mark.parametrize("side", [48, 64, 100])
@pytest.mark.parametrize("move", MOVES)
def test_a_large_picture_that_was_moved_is_a_copy(move, side):
    originals = [textured(seed, side) for seed in range(12)]
    copies = [MOVES[move](picture) for picture in originals[:4]]
    pairs, _ = copy_pairs(as_tensor([*originals, *copies]))
    assert pairs.tolist() == [[k, 12 + k] for k in range(4)]
    across, _ = copy_pairs(as_tensor(copies), as_tensor(originals))
    assert across.tolist() == [[k, k] for k in range(4)]


def test_pairs_of_spectra_are_bounded(monkeypatch):
    pictures = [textured(seed, 48) for seed in range(20)]
    images = as_tensor([*pictures, moved(pictures[3], 2, 0)])
    monkeypatch.setattr("augment.data.copies.shifted.MOST_PAIRS", 22)  # with themselves: 21
    assert copy_pairs(images)[0].tolist() == [[3, 20]]


@pytest.mark.parametrize("side", [20, 32, 64])
def test_bands_do_not_make_pictures_copies(side):
    rng = np.random.default_rng(0)
    slope = np.linspace(40, 220, 12)[:, None]  # so that the bands are dark above, light below
    pictures = [slope + rng.normal(0, 8, (12, 30)) for _ in range(6)]
    frame = Frame(side, side, "pad")
    fitted = [fit_pixels(each.clip(0, 255).astype(np.uint8), frame) for each in pictures]
    brighter = (0.9 * fitted[2] + 20).astype(np.uint8)
    copies = [fitted[0][:, ::-1], np.rot90(fitted[1]), brighter]
    pairs, _ = copy_pairs(as_tensor([*fitted, *copies]))
    assert sorted(pairs.tolist()) == [[0, 6], [1, 7], [2, 8]]


def test_too_many_candidates_are_not_compared(monkeypatch):
    monkeypatch.setattr("augment.data.copies.near_duplicates.MAX_CANDIDATES", 5)
    with pytest.raises(TooManyImages):
        copy_pairs(as_tensor([textured(0)] * 4))


# the split


def sides(data):
    """The number in the name of each file, of the pool and of the test set."""
    return [
        {name.split("/")[1][:3] for name in files} for files in (data.pool_files, data.test_files)
    ]


def test_moved_copies_stay_on_one_side(tmp_path):
    for k in range(10):
        put(tmp_path, f"{'ab'[k % 2]}/{k:03}a.png", picture=textured(k, 64))
        put(tmp_path, f"{'ab'[k % 2]}/{k:03}b.png", picture=moved(textured(k, 64), 3, 2))
    data = load_dataset(str(tmp_path))
    pool, test = sides(data)
    assert not pool & test
    assert noted(data.notes, "10 images look like copies of others", "stay on one side")


@pytest.mark.parametrize("named", [True, False])
def test_augmented_copies_stay_on_one_side(tmp_path, named):
    for k in range(10):
        for n, change in enumerate(
            ["equal", "FLIP_LEFT_RIGHT", "ROTATE_90", "brightened, clipped"]
        ):
            word = ["", "_flip", "_rot90", "_bright"][n] if named else f"{'abcd'[n]}"
            name = f"{'ab'[k % 2]}/{k:03}{word}.png"
            put(tmp_path, name, picture=CHANGES[change](textured(k)))
    data = load_dataset(str(tmp_path))
    pool, test = sides(data)
    assert not pool & test
    assert len(data.pool) + len(data.test) == 40
    assert noted(data.notes, "30 images look like copies of others", "stay on one side")
    first = "" if named else "a"
    expected = {f"copies of {file[:5]}{first}.png" for file in data.pool_files}
    assert set(data.pool_groups) == expected


def test_names_alone_keep_what_pixels_do_not_tell(tmp_path):
    for k in range(10):
        put(tmp_path, f"{'ab'[k % 2]}/{k:03}.png", f"{'ab'[k % 2]}/{k:03}_crop.png")  # noise each
    pool, test = sides(load_dataset(str(tmp_path)))
    assert not pool & test


def test_copies_join_the_groups_that_they_are_in(tmp_path):
    same = textured(1)
    rows = [(f"{i}.png", "ab"[i % 2], f"patient{i // 2}") for i in range(20)]
    for name, *_ in rows:
        put(tmp_path, name, picture=textured(50 + int(name[:-4])))
    put(tmp_path, "3.png", picture=same)
    put(tmp_path, "16.png", picture=same.transpose(Image.Transpose.ROTATE_90))
    table(tmp_path, rows, ("file_name", "label", "group"))
    data = load_dataset(str(tmp_path))
    group = dict(
        zip(
            [*data.pool_files, *data.test_files],
            [*data.pool_groups, *data.test_groups],
            strict=True,
        )
    )
    assert {group[f"{i}.png"] for i in (2, 3, 16, 17)} == {"patient1"}
    assert group["4.png"] == "patient2"


def test_a_set_without_copies_is_split_as_before(tmp_path):
    raw = RawDataset(
        as_tensor([textured(seed) for seed in range(20)]),
        [k % 2 for k in range(20)],
        ["a", "b"],
        [""] * 20,
        [f"{'ab'[k % 2]}/{k}.png" for k in range(20)],
    )
    data = split("set", raw, "document", 0.2)
    assert data.notes == []
    assert set(data.pool_groups) == {""}


def test_a_long_series_of_similar_pictures_is_told_and_not_joined(tmp_path):
    for k in range(30):
        picture = textured(0)
        picture.paste(200 if k % 2 else 60, (k, 0, k + 1, 1))
        put(tmp_path, f"{'ab'[k % 2]}/{k}.png", picture=picture)
    data = load_dataset(str(tmp_path))
    assert noted(data.notes, "30 images look nearly alike, too many for copies of one")
    assert len(data.test) == 6


def test_copies_across_a_given_split_are_told_and_left(tmp_path):
    two_classes(tmp_path, 4, "train/")
    put(tmp_path, "train/a/x.png", picture=textured(1))
    put(tmp_path, "test/b/turned.png", picture=textured(1).transpose(Image.Transpose.TRANSVERSE))
    put(tmp_path, "test/a/1.png", "test/b/2.png")
    data = load_dataset(str(tmp_path), size=48)
    assert noted(data.notes, "1 test image looks like a copy", "test/b/turned.png ≈ train/a/x.png")
    assert len(data.pool) == 9


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("000_flip", "000"),
        ("000_rot90", "000"),
        ("img12-rotated_180", "img12"),
        ("img12_hflip_bright2", "img12"),
        ("img12_flip_lr", "img12"),
        ("img12 - Copy (2)", "img12"),
        ("img12 copy", "img12"),
        ("flipped_img12", "img12"),
        ("leaf_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9", "leaf_jpg"),
        ("cat_original_x.png_8f14e45f-ceea-467f-a0e6-0123456789ab", "x"),
        ("benign (1)", "benign (1)"),
        ("IMG_0012", "IMG_0012"),
        ("patient007_frame1", "patient007_frame1"),
        ("rotor_3", "rotor_3"),
        ("copyright", "copyright"),
        ("flip", "flip"),
        ("dark", "dark"),
    ],
)
def test_what_a_name_says_of_its_source(stem, source):
    assert _source(stem) == source
