"""Cases 1-12 and 28 of the faults: pictures, folders and splits that are not as they should be."""

import json
import re
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from blackbox import ONE_ARM, augment, clean, fine, fingerprint, finished, peak_mb, pictures, rows
from PIL import Image

from augment.storage.tables import read_csv

DUPLICATE = (
    "--preset smoke --jobs 1 --seeds 1 --generator duplicate --ratio 1 --arm real+synth "
    "--set classifier.steps=2 --set classifier.width=8"
).split()


def manifest(out):
    return read_csv(out / "manifest.csv", ("file", "label", "split"))


def bomb(file, side=30_000):
    """A whole 1-bit PNG of 900 megapixels in a hundred kilobytes."""

    def chunk(kind, body):
        whole = kind + body
        return struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))

    body = zlib.compress(bytes(side * (1 + side // 8)), 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def cut_jpeg(file):
    """`verify()` passes it; only a full decode sees that its end is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(file, quality=95)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with Image.open(file) as image:
        image.verify()


BAD = {
    "test_01": ("cut.jpg", cut_jpeg),
    "test_02_empty": ("empty.png", lambda file: file.touch()),
    "test_02_text": ("text.png", lambda file: file.write_text("hello, I am a text\n" * 9)),
    "test_03": ("bomb.png", bomb),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """(what `check` found, `run`, `run --skip-bad` and its folder) of a folder with each fault."""
    root = pictures(tmp_path_factory.mktemp("damaged") / "pictures")
    for name, make in BAD.values():
        make(root / "across" / name)
    before, out = fingerprint(root), root.parent / "run"
    checked = augment("check", root, "--json")
    assert checked.returncode == 3, checked.stderr
    refused = augment("run", "--dataset", root, *ONE_ARM, "--out", out)
    assert not out.exists()
    skipped = fine(augment("run", "--dataset", root, *ONE_ARM, "--skip-bad", "--out", out))
    assert fingerprint(root) == before
    return json.loads(checked.stdout), refused, skipped, out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in BAD.values()], ids=list(BAD))
def test_01_02_03_unreadable_file_is_named_refused_or_left_out(damaged, name):
    found, refused, skipped, out = damaged
    assert any(line.startswith(f"across/{name}: ") for line in found["unreadable"])
    clean(refused, 3, "4 unreadable images: across/bomb.png (", "--skip-bad")
    assert "left out unreadable images (4)" in skipped.stderr
    listed = manifest(out).set_index("file")["split"]
    assert listed[f"across/{name}"].startswith("left out: ")
    assert (listed == "test").sum() >= 2
    assert finished(out) == 1


@pytest.mark.slow
def test_03_a_bomb_is_not_decoded(tmp_path):
    root = pictures(tmp_path / "pictures")
    without = peak_mb("check", root)
    assert without > 100  # torch alone: it was measured
    bomb(root / "across" / "bomb.png")
    assert peak_mb("check", root) - without < 200


def modes(root):
    """Pictures of 16×16 in every mode, one of them lying on its side."""
    ramp = np.linspace(0, 255, 256).round().astype(np.uint8).reshape(16, 16)
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255  # the upper half is white
    lying = Image.Exif()
    lying[0x0112] = 6  # a viewer turns it: white to the right
    pictures = {
        "train/a/deep.png": Image.fromarray(deep),
        "train/a/grey.png": Image.fromarray(ramp),
        "train/a/rgb.png": Image.new("RGB", (16, 16), (200, 0, 0)),
        "train/a/rgba.png": Image.new("RGBA", (16, 16), (0, 0, 0, 128)),
        "train/b/cmyk.jpg": Image.new("CMYK", (16, 16), (0, 255, 255, 0)),
        "train/b/palette.png": Image.new("RGB", (16, 16), (0, 0, 200)).quantize(4),
        "train/b/lying.jpg": Image.fromarray(half),
        "test/a/one.png": Image.new("RGB", (16, 16), (90, 0, 0)),
        "test/b/two.png": Image.new("RGB", (16, 16), (0, 90, 0)),
    }
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / name, **({"exif": lying} if "lying" in name else {}))
    return root


@pytest.fixture(scope="module")
def learnt_from(tmp_path_factory):
    """(what `run` said, its labelled pictures by file name, as `export` hands them over)."""
    root = modes(tmp_path_factory.mktemp("modes") / "pictures")
    out, exported = root.parent / "run", root.parent / "exported"
    said = fine(augment("run", "--dataset", root, *DUPLICATE, "--out", out))
    fine(augment("export", out, exported))
    names = manifest(out).query("split == 'labelled'")["file"]
    files = sorted(exported.rglob("real-*.png"), key=lambda file: file.name)
    pixels = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    assert "converted to RGB" in (out / "report.html").read_text()
    return said.stderr, dict(zip(names.str.removeprefix("train/"), pixels, strict=True))


@pytest.mark.slow
def test_04_16_bit_grey_keeps_its_levels(learnt_from):
    levels = np.unique(learnt_from[1]["a/deep.png"])
    assert len(levels) >= 200
    assert (levels.min(), levels.max()) == (0, 255)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("a/rgb.png", (200, 0, 0)),
        ("a/rgba.png", (127, 127, 127)),
        ("b/cmyk.jpg", (255, 0, 0)),
        ("b/palette.png", (0, 0, 200)),
    ],
)
def test_05_modes_become_colour_and_are_counted(learnt_from, name, colour):
    said, pixels = learnt_from
    assert np.abs(pixels[name].astype(int) - colour).max() <= 3
    assert len(np.unique(pixels["a/grey.png"])) == 256
    assert re.search(r"pixel formats: RGB 3.*\bCMYK 1\b", said)


@pytest.mark.slow
def test_06_a_turned_photograph_is_upright(learnt_from):
    picture = learnt_from[1]["b/lying.jpg"]
    assert picture[:, 8:].min() > 200
    assert picture[:, :8].max() < 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "kept", "said"),
    [(3, 1, "class 'third' has 1"), (1, 8, "a single class ('across')")],
    ids=["one-image", "single-class"],
)
def test_07_class_too_small_is_named_with_its_count(tmp_path, classes, kept, said):
    names = ("across", "down", "third")[:classes]
    root, out = pictures(tmp_path / "pictures", classes=names), tmp_path / "run"
    for file in sorted((root / names[-1]).iterdir())[kept:]:
        file.unlink()
    words = ["run", "--dataset", root, *ONE_ARM, "--out", out]
    clean(augment(*words), 3, said)
    assert not out.exists()
    if classes > 2:
        done = fine(augment(*words, "--drop-small-classes"))
        assert "dropped small classes (1)" in done.stderr
        assert finished(out) == 1


@pytest.mark.slow
def test_07_empty_folder_is_left_out_and_counted(tmp_path):
    root, out = pictures(tmp_path / "pictures"), tmp_path / "run"
    (root / "third").mkdir()
    done = fine(augment("run", "--dataset", root, *ONE_ARM, "--out", out))
    assert "left out folders without images (1): third" in done.stderr
    assert finished(out) == 1


@pytest.fixture(scope="module")
def untidy(tmp_path_factory):
    """(what `run` said, its folder) of a data set with given splits and much that is not meant."""
    above = tmp_path_factory.mktemp("untidy")
    root, elsewhere = above / "pictures", pictures(above / "elsewhere", n=1)
    train, test = pictures(root / "train"), pictures(root / "test", n=4, seed=1)
    for file in (test / "down").iterdir():  # case 9
        file.unlink()
    (test / "down").rmdir()
    for hidden in (".ipynb_checkpoints", "across/.ipynb_checkpoints"):  # case 8
        (train / hidden).mkdir()
        (train / hidden / "copy.png").write_bytes((elsewhere / "across/000.png").read_bytes())
    (train / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (test / "across/equal.png").write_bytes((train / "across/000.png").read_bytes())  # case 11
    Image.open(train / "across/001.png").save(test / "across/near.jpg", quality=95)
    (train / "across/again").symlink_to(train / "across")  # case 28
    (train / "away").symlink_to(elsewhere)
    (train / "across/out.png").symlink_to(elsewhere / "down/001.png")
    before = fingerprint(above)
    done = fine(augment("run", "--dataset", root, *ONE_ARM, "--out", above / "run"))
    assert {k: v for k, v in fingerprint(above).items() if k.split("/")[0] != "run"} == before
    return done.stderr, above / "run"


@pytest.mark.slow
def test_08_hidden_folders_make_no_class(untidy):
    said, out = untidy
    assert "left out hidden folders (2)" in said
    listed = manifest(out)
    assert set(listed["label"].dropna()) == {"across", "down"}
    assert not listed["file"].str.contains("copy|DS_Store").any()


@pytest.mark.slow
def test_09_class_without_a_test_image_is_told_and_has_no_scores(untidy):
    said, out = untidy
    assert "class 'down' has no test image: its own scores are empty" in said
    scores = pd.read_csv(out / "per_class.csv").set_index("class")
    assert np.isnan(scores.loc["down", "recall"])
    assert not np.isnan(scores.loc["across", "recall"])


@pytest.mark.slow
def test_09_class_that_only_the_test_has_is_refused(tmp_path):
    root = tmp_path / "pictures"
    pictures(root / "train")
    pictures(root / "test", classes=("across", "down", "more"), seed=1)
    done = augment("run", "--dataset", root, *ONE_ARM, "--out", tmp_path / "run")
    clean(done, 3, "class 'more' has 0 to learn from and 8 to test on", "--drop-small-classes")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_10_imbalance_keeps_every_class_on_both_sides_and_is_told(tmp_path):
    rng = np.random.default_rng(0)
    marks = np.repeat([0, 1], [1000, 3])
    images = rng.integers(0, 100, (1003, 8, 8), np.uint8) + 100 * marks[:, None, None]
    file, out = tmp_path / "skewed.npz", tmp_path / "run"
    np.savez(file, train_images=images.astype(np.uint8), train_labels=marks)
    assert "tables lead with balanced accuracy" in fine(augment("check", file)).stdout
    fine(augment("run", "--dataset", file, *DUPLICATE, "--frac", "0.5", "--out", out))
    listed = manifest(out).groupby(["label", "split"]).size()
    assert listed["1", "labelled"] == 1
    assert listed["1", "test"] >= 1
    assert (rows(out)["measure"] == "balanced accuracy").all()
    assert "; balanced accuracy" in (out / "table.md").read_text()
    drawn = fine(augment("export", out, tmp_path / "exported", "--synthetic-only"))
    assert (
        len(list((tmp_path / "exported/train/1").iterdir())) == 1
    )  # `ratio` for each labelled image
    assert f"{listed['0', 'labelled'] + 1} synthetic images" in drawn.stderr


@pytest.mark.slow
def test_11_picture_of_both_sides_leaves_train_and_a_near_copy_is_told(untidy):
    said, out = untidy
    assert "training images removed that are also test images: 1" in said
    assert "1 test image looks like a copy of training images: test/across/near.jpg ≈ " in said
    assert "train/across/001.png" in said
    listed = manifest(out).set_index("file")["split"]
    assert listed["test/across/equal.png"] == "test"
    assert "train/across/000.png" not in listed


@pytest.mark.slow
def test_12_a_group_never_straddles_the_split(tmp_path):
    root = pictures(tmp_path / "pictures", n=12)
    files = sorted(root.rglob("*.png"))
    lines = [f"{f.relative_to(root)},{f.parent.name},patient{i % 6}" for i, f in enumerate(files)]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,group", *lines]))
    fine(augment("run", "--dataset", root, *ONE_ARM, "--out", tmp_path / "run"))
    patient = {line.split(",")[0]: line.split(",")[2] for line in lines}
    listed = manifest(tmp_path / "run")
    sides = listed["file"].map(patient).groupby(listed["split"]).agg(set)
    assert sides["labelled"]
    assert sides["test"]
    assert not sides["labelled"] & sides["test"]

    given = [f"{line},{'test' if i % 2 else 'train'}" for i, line in enumerate(lines)]
    given[1] = given[1].replace("patient1", "patient0")
    (root / "metadata.csv").write_text("\n".join(["file_name,label,group,split", *given]))
    done = augment("run", "--dataset", root, *ONE_ARM, "--out", tmp_path / "other")
    clean(done, 3, "group 'patient0'", "stands in train and in test")


@pytest.mark.slow
def test_28_links_end_and_lead_nowhere_else(untidy):
    said, out = untidy
    assert "left out links to folders or to nothing (2)" in said
    assert "left out links out of the folder (1): train/across/out.png" in said
    assert not manifest(out)["file"].str.contains("again|away|out.png").any()
