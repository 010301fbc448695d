"""No picture is distorted by default, in whatever way a set is laid out, and none is made up."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from test_depth import deep_png, dicom_file
from test_export import pixels_of, rows_of
from test_folder import grey, noted, only, put, table

import augment
from augment.data.datasets import load_dataset
from augment.data.folder import read_folder
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.npz import read_npz
from augment.data.pictures import mapped, stacking
from augment.data.pictures.fitting import fit_pixels
from augment.data.pictures.framing import Frame, Framing, choose_frame, framing_notes, inner_size
from augment.data.split import Dataset
from augment.engine.shards import merge
from augment.errors import DataError, MachineError, RunFolderError
from augment.report.export import ExportRequest, export_images

WIDE, TALL, SQUARE = (512, 384), (120, 300), (200, 200)  # W, H
SETS = {"wide": [WIDE] * 4, "tall": [TALL] * 4, "mixed": [WIDE, TALL, SQUARE, (384, 512)]}


def circle(size, deep=False):
    """A white circle amid a dark picture, [H, W]."""
    image, (width, height) = Image.new("L", size, 30), size
    r = min(size) * 0.4
    box = (width / 2 - r, height / 2 - r, width / 2 + r, height / 2 + r)
    ImageDraw.Draw(image).ellipse(box, fill=230)
    pixels = np.asarray(image)
    return pixels.astype(np.uint16) * 257 if deep else pixels


def is_round(image):
    """Tell whether the circle of an image [C, H, W] is as wide as high, to a pixel."""
    bright = image[0].float() > (image[0].float().max() + image[0].float().min()) / 2
    across, down = bright.any(0).sum().item(), bright.any(1).sum().item()
    area = np.pi / 4 * across * down
    return across >= 5 and abs(across - down) <= 1 and abs(bright.sum().item() - area) < 0.15 * area


def as_folder(root, sizes):
    for k, size in enumerate(sizes):
        put(root, f"{'ab'[k % 2]}/{k}.png", picture=Image.fromarray(circle(size)))
    return read_folder(root, None)


def as_table(root, sizes):
    for k, size in enumerate(sizes):
        put(root, f"{k}.jpg", picture=Image.fromarray(circle(size)))
    table(root, [(f"{k}.jpg", "ab"[k % 2]) for k in range(len(sizes))])
    return read_folder(root, None)


def as_npz(root, sizes):
    images = np.stack([circle(sizes[0]) for _ in sizes])
    np.savez(root / "set.npz", train_images=images, train_labels=np.arange(len(sizes)) % 2)
    return read_npz(root / "set.npz", None)


def as_pages(root, sizes, pages="pictures"):
    for k, size in enumerate(sizes):
        page = Image.fromarray(circle(size))
        name = f"{'ab'[k % 2]}/{k}.tif"
        put(root, name, picture=page, save_all=True, append_images=[page.copy()])
    return read_folder(root, None, flags=ReadingFlags(pages=pages))


def as_channels(root, sizes):
    return as_pages(root, sizes, "channels")


def as_deep(root, sizes):
    for k, size in enumerate(sizes):
        deep_png(root / "ab"[k % 2] / f"{k}.png", circle(size, deep=True))
    return read_folder(root, None)


def as_dicom(root, sizes):
    for k, size in enumerate(sizes):
        dicom_file(root / "ab"[k % 2] / f"{k}.dcm", circle(size, deep=True) // 16)
    return read_folder(root, None)


@pytest.mark.parametrize("sizes", SETS.values(), ids=SETS)
@pytest.mark.parametrize(
    "read", [as_folder, as_table, as_npz, as_pages, as_channels, as_deep, as_dicom]
)
def test_circles_stay_round(tmp_path, read, sizes):
    images = read(tmp_path, sizes).images
    assert len(images) >= 4
    assert all(is_round(image) for image in images)


@pytest.mark.parametrize(("fit", "is_kept"), [("pad", True), ("crop", True), ("stretch", False)])
def test_only_stretching_distorts(tmp_path, fit, is_kept):
    as_folder(tmp_path, SETS["wide"])
    images = read_folder(tmp_path, Framing(48, fit)).images
    assert images.shape[2:] == ((36, 48) if fit == "pad" else (48, 48))
    assert {is_round(image) for image in images} == {is_kept}


def test_bands_have_one_colour_the_median_of_their_edge():
    pixels = np.full((10, 40, 3), (10, 20, 30), np.uint8)
    pixels[0, :30] = 90, 80, 70
    fitted = fit_pixels(pixels, Frame(40, 40, "pad"))
    assert np.array_equal(fitted[15:25], pixels)
    assert np.unique(fitted[:15].reshape(-1, 3), axis=0).tolist() == [[90, 80, 70]]
    assert np.unique(fitted[25:].reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_a_crop_is_the_middle_at_full_coverage():
    pixels = np.zeros((20, 60), np.uint8)
    pixels[:, 20:40] = 200
    assert np.unique(fit_pixels(pixels, Frame(20, 20, "crop"))).tolist() == [200]


@pytest.mark.parametrize("size", [(512, 384), (3, 1000), (640, 640), (100, 99)])
def test_a_whole_picture_lies_inside_its_frame_and_touches_it(size):
    width, height = inner_size(size, Frame(64, 48, "pad"))
    assert 1 <= width <= 64
    assert 1 <= height <= 48
    assert (width, height)[width < 64] == (64, 48)[width < 64]


def test_the_side_that_was_chosen_is_told_with_its_reason_and_cost(tmp_path):
    put(tmp_path, *(f"{c}/{k}.png" for c in "ab" for k in range(3)), picture=grey(side=(200, 200)))
    notes = read_folder(tmp_path, Framing(affords=64)).notes
    assert noted(notes, "64 px", "have 200", "128 px would take about 0.88 times", "--size 128")
    notes = read_folder(tmp_path, Framing()).notes
    assert noted(notes, "128 px", "have 200", "192 px would take about 2 times", "--size 192")
    assert not noted(read_folder(tmp_path, 64).notes, "would take")
    assert not noted(read_folder(tmp_path, Framing(affords=256)).notes, "would take")


def test_transparent_parts_are_told_to_become_white(tmp_path):
    image = grey(50, (16, 16)).convert("RGBA")
    put(tmp_path, "a/1.png", "b/1.png", picture=image)
    assert not noted(read_folder(tmp_path, None).notes, "transparent")
    image.putalpha(100)
    put(tmp_path, "a/1.png", picture=image)
    assert noted(read_folder(tmp_path, None).notes, "1 pictures have transparent parts")


# large sets


@pytest.fixture
def large(monkeypatch):
    """Every set counts as large."""
    monkeypatch.setattr(mapped, "LARGE", 0)
    monkeypatch.setattr(stacking, "LARGE", 0)


def odd_set(root, kind):
    """Pictures of several sizes, one damaged: grey, in colour, grey saved as colour, or deep."""
    for k in range(12):
        picture = grey(side=(30 + k % 2, 20))
        if kind == "deep":
            deep_png(root / "ab"[k % 2] / f"{k}.png", np.asarray(picture, np.uint16) * 100)
            continue
        if kind == "saved as colour" or (kind == "colour" and k):
            picture = picture.convert("RGB")
        if kind == "colour" and k:
            picture.putpixel((0, 0), (255, k, 0))
        put(root, f"{'ab'[k % 2]}/{k}.png", picture=picture)
    (root / "a/x.png").write_bytes((root / "a/0.png").read_bytes()[:60])
    return root


@pytest.mark.parametrize("kind", ["grey", "colour", "saved as colour", "deep"])
def test_a_large_set_is_read_as_a_small_one(tmp_path, monkeypatch, kind):
    root = odd_set(tmp_path / "set", kind)
    small = read_folder(root, None, skip_bad=True)
    monkeypatch.setattr(mapped, "LARGE", 0)
    monkeypatch.setattr(stacking, "LARGE", 0)
    for _ in range(2):  # decoded, then found
        raw = read_folder(root, None, skip_bad=True)
        assert raw.mapped.file.is_file()
        assert dataclasses.replace(raw, images=None, mapped=None) == dataclasses.replace(
            small, images=None
        )
        assert torch.equal(raw.images, small.images)
        monkeypatch.setattr(
            "augment.data.pictures.decoded_file.map_files", lambda *_: pytest.fail("read")
        )


def test_a_large_set_splits_as_a_small_one_and_stays_in_files(tmp_path, monkeypatch):
    root = odd_set(tmp_path / "set", "colour")
    small = load_dataset(str(root), skip_bad=True)
    monkeypatch.setattr(mapped, "LARGE", 0)
    monkeypatch.setattr(stacking, "LARGE", 0)
    data = load_dataset(str(root), skip_bad=True)
    assert (data.sha, data.pool_files, data.notes) == (small.sha, small.pool_files, small.notes)
    assert None not in (data.pool.mapped, data.test.mapped)
    sent = pickle.dumps(data)
    assert len(sent) < 20_000  # no pixels
    again = pickle.loads(sent)  # what this test wrote itself
    assert isinstance(again, Dataset)
    assert torch.equal(again.pool.images, small.pool.images)
    some = data.pool.select([3, 1])
    assert torch.equal(some.images, small.pool.images[[3, 1]])
    part = pickle.loads(pickle.dumps(data.pool.select(range(2, 5))))
    assert torch.equal(part.images, small.pool.images[2:5])
    data.pool.mapped.file.unlink()
    with pytest.raises(MachineError, match="is gone or cut: run again"):
        pickle.loads(sent)


def test_a_changed_file_is_decoded_again(tmp_path, large):
    root = odd_set(tmp_path / "set", "grey")
    read_folder(root, None, skip_bad=True)
    put(root, "a/0.png", picture=grey(77, (30, 20)))
    found = read_folder(root, None, skip_bad=True)
    assert 77 in only(found, "a/0.png")
    assert len(only(found, "a/0.png").unique()) == 1


def test_no_room_for_a_large_set_is_told(tmp_path, large, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    root = odd_set(tmp_path / "set", "grey")
    with pytest.raises(MachineError, match=r"No space left.*--data-dir or a smaller --size"):
        read_folder(root, None)
    assert not [*(tmp_path / "cache").rglob("*.*")]


# runs

SMALL = dict(
    arm="real,synth",
    generator="cvae",
    preset="smoke",
    seeds=1,
    jobs=1,
    ratio=1,
    set={"generator": {"steps": 2}, "classifier": {"steps": 2, "width": 8}},
)


@pytest.fixture
def photographs(tmp_path):
    for k in range(16):
        put(tmp_path / "data", f"{'ab'[k % 2]}/{k}.png", picture=grey(side=(96, 72)))
    return tmp_path / "data"


def test_a_resumed_run_keeps_the_side_that_was_chosen_first(photographs, tmp_path, monkeypatch):
    run = dict(dataset=str(photographs), out=tmp_path / "run", **SMALL)
    first = augment.run(**run)
    assert first.synthetic.shape == (1, 72, 96)
    monkeypatch.setattr("augment.engine.run.AFFORDED_SIDE", 64)
    again = augment.run(**run)
    assert again.table["signature"].tolist() == first.table["signature"].tolist()
    other = augment.run(**{**run, "out": tmp_path / "other"})
    assert other.synthetic.shape == (1, 48, 64)
    with pytest.raises(RunFolderError, match=r"other settings .*fit: not given → crop"):
        augment.run(**run, fit="crop")


def test_shards_with_a_chosen_side_are_merged(photographs, tmp_path):
    shards = [
        augment.run(
            dataset=str(photographs), out=tmp_path / f"{k}", shard=f"{k}/2", **SMALL | {"seeds": 2}
        )
        for k in (1, 2)
    ]
    table = merge([each.path for each in shards], tmp_path / "merged")
    assert (table["status"] == "ok").sum() == 4
    whole = augment.run(dataset=str(photographs), out=tmp_path / "merged", **SMALL | {"seeds": 2})
    assert whole.table["signature"].tolist() == table["signature"].tolist()


def test_a_run_of_an_older_version_goes_on_with_stretched_32_pixels(photographs, tmp_path):
    run = dict(dataset=str(photographs), out=tmp_path / "run", **SMALL)
    first = augment.run(**run, size=32, fit="stretch")
    file = first.path / "settings.json"
    settings = json.loads(file.read_text()) | {"size": None}  # as that version wrote it
    del settings["fit"]
    file.write_text(json.dumps(settings))
    again = augment.run(**run)
    assert again.synthetic.shape == (1, 32, 32)
    assert again.table["signature"].tolist() == first.table["signature"].tolist()


def test_a_set_that_is_not_square_is_exported_and_read_back_at_its_shape(photographs, tmp_path):
    made = augment.run(dataset=str(photographs), out=tmp_path / "run", size=64, **SMALL)
    for own, side in ((True, (96, 72)), (False, (64, 48))):
        out = tmp_path / f"export-{own}"
        export_images(made.path, out, ExportRequest(original_size=own), None)
        sizes = {True: set(), False: set()}
        for row in rows_of(out / "metadata.csv"):
            height, width = pixels_of(out / row["file_name"]).shape[:2]
            sizes[row["source"] == "real"].add((width, height))
        assert sizes == {True: {side}, False: {(64, 48)}}
        assert "synthetic images of 64 × 48 pixels" in (out / "README.md").read_text()
        again = load_dataset(str(out), size=64)
        assert again.pool.shape == (1, 48, 64)
        assert not noted(again.notes, "bands")


def said(sizes, size=None, fit=None):
    """The notes on sets of these sizes, and their frame."""
    framing = Framing(size, fit)
    frame = choose_frame(sizes, framing)
    return frame[:2], " | ".join(framing_notes(sizes, framing, frame))


def test_notes_state_sizes_that_occur():
    assert "the pictures have 300 to 512; " in said([(300, 200), (512, 340), (400, 270)])[1]
    assert "the pictures have 512; " in said([(512, 384)] * 3)[1]


@pytest.mark.parametrize(
    ("fit", "n"), [("pad", 1), ("crop", 2), ("stretch", 1)]
)  # 100×40 fills a square of 64 by its height alone
def test_enlarged_pictures_are_counted(fit, n):
    sizes = [(200, 200), (200, 190), (100, 40), (30, 30)]
    assert f"{n} of 4 pictures are smaller and enlarged" in said(sizes, 64, fit)[1]
    assert "enlarged" not in said(sizes[:2], 64, fit)[1]


def test_narrow_pictures_keep_pixels_across_or_it_is_said():
    assert said([(300, 40)] * 4) == ((128, 17), said([(300, 40)] * 4)[1])
    assert "has only" not in said([(300, 40)] * 4)[1]
    frame, notes = said([(300, 40)] * 4, 64)
    assert frame == (64, 9)
    assert "of pictures of 300×40 the shorter side has only 9 px left: --size 128" in notes
    assert "has only 1 px left: --size 128" in said([(300, 40)] * 4, 8)[1]
    assert "has only" not in said([(100, 6)] * 4, 100)[1]  # they have no more


def test_native_size_of_several_sizes_names_them_and_a_side():
    with pytest.raises(DataError, match=r"\(200×100, 100×200\).*--size 200$"):
        choose_frame([(200, 100), (100, 200)], Framing("native"))
    with pytest.raises(DataError, match=r"4 sizes.*\(10×20, 30×40, 50×60, …\).*side in pixels$"):
        choose_frame([(10, 20), (30, 40), (50, 60), (70, 80)], Framing("native"))
