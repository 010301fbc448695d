"""Data sets by name or path: what is pool, what is test, and what happens without a network."""

import pickle
import socket
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision.datasets as sources
from PIL import Image
from test_folder import grey, noted, put, table, two_classes

from augment.data.datasets import DATASETS, load_dataset
from augment.data.download import original_files, to_arrays
from augment.data.images import pixel_hashes
from augment.data.npz import read_npz
from augment.data.raw import RawDataset
from augment.data.split import split
from augment.errors import DataError, MachineError, UsageError

FETCHED = [name for name, named in DATASETS.items() if named.torchvision]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def npz(path, **arrays):
    np.savez(path / "set.npz", **arrays)
    return path / "set.npz"


# digits


def test_digits_has_ten_classes_and_a_fixed_hold_out():
    data = load_dataset("digits")
    assert data.pool.classes == tuple("0123456789")
    assert (data.pool.shape, len(data.pool) + len(data.test)) == ((1, 8, 8), 1797)
    assert (data.pool.counts() - data.test.counts()).abs().max() <= 1
    assert data.pool.images.max() == 255
    assert not set(data.pool_files) & set(data.test_files)
    again = load_dataset("digits")
    assert (again.sha, again.test_files) == (data.sha, data.test_files)
    assert data.sha == "0c3bb48f8f3cf20d"  # published figures rest on this split


def test_digits_can_be_resized():
    assert load_dataset("digits", size=12).pool.shape == (1, 12, 12)


# names


@pytest.mark.parametrize(
    ("name", "nearest"), [("cifar1O", "cifar10"), ("minst", "mnist"), ("digit", "digits")]
)
def test_an_unknown_name_is_told_the_nearest(name, nearest):
    with pytest.raises(UsageError, match=f"did you mean '{nearest}'.*stl10.*or a path"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["./nothing", "no/such", "~nobody/x", "none.npz"])
def test_a_path_to_nothing_is_a_usage_error(name):
    with pytest.raises(UsageError, match="no such folder or file"):
        load_dataset(name)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"neither a folder of images nor an .npz"):
        load_dataset(str(tmp_path / "images.zip"))


# the split


def test_given_splits_are_kept(tmp_path):
    for part, n in (("train", 5), ("test", 3)):
        two_classes(tmp_path, n, f"{part}/")
    data = load_dataset(str(tmp_path))
    assert data.official_test
    assert [f.partition("/")[0] for f in data.test_files] == ["test"] * 6
    assert (data.pool.counts().tolist(), data.test.counts().tolist()) == ([5, 5], [3, 3])


def test_val_joins_the_pool_if_there_is_a_test(tmp_path):
    for part in ("train", "val", "test"):
        two_classes(tmp_path, 2, f"{part}/")
    data = load_dataset(str(tmp_path))
    assert Counter(f.partition("/")[0] for f in data.pool_files) == {"train": 4, "val": 4}
    assert noted(data.notes, "val images join the pool")


def test_val_is_the_test_if_there_is_none(tmp_path):
    for part in ("train", "val"):
        two_classes(tmp_path, 2, f"{part}/")
    data = load_dataset(str(tmp_path))
    assert {f.partition("/")[0] for f in data.test_files} == {"val"}
    assert data.official_test
    assert noted(data.notes, "val is the test set")


def test_files_and_pixels_stay_side_by_side(tmp_path):
    put(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(10)))
    data = load_dataset(str(tmp_path))
    for side, files in ((data.pool, data.pool_files), (data.test, data.test_files)):
        for image, label, file in zip(side.images, side.labels, files, strict=True):
            assert torch.equal(image[0], torch.tensor(np.array(Image.open(tmp_path / file))))
            assert file.startswith(side.classes[label])


def test_the_hold_out_is_stratified_and_fixed_by_the_data(tmp_path):
    put(tmp_path, *(f"a/{i}.png" for i in range(40)), *(f"b/{i}.png" for i in range(4)))
    data = load_dataset(str(tmp_path))
    assert data.test.counts().tolist() == [8, 1]
    assert load_dataset(str(tmp_path)).test_files == data.test_files
    put(tmp_path, "a/0.png")
    assert load_dataset(str(tmp_path)).test_files != data.test_files


@pytest.mark.parametrize("n", [1000, 20])
def test_three_images_against_many_keep_one_on_each_side(tmp_path, n):
    images = torch.arange(n + 3).reshape(-1, 1, 1, 1).expand(-1, 1, 1, 4) // torch.tensor(
        [1, 4, 16, 64]
    )
    found = RawDataset(
        (images % 256).to(torch.uint8),
        [0] * n + [1] * 3,
        ["many", "few"],
        [""] * (n + 3),
        [str(i) for i in range(n + 3)],
    )
    data = split("x", found, "natural", 0.2)
    assert (data.pool.counts()[1].item(), data.test.counts()[1].item()) == (2, 1)


def test_an_extra_class_in_test_is_an_error(tmp_path):
    two_classes(tmp_path, 3, "train/")
    put(two_classes(tmp_path, 2, "test/"), "test/new/1.png", "test/new/2.png")
    with pytest.raises(DataError, match="'new' has 0 to learn from and 2 to test on"):
        load_dataset(str(tmp_path))
    data = load_dataset(str(tmp_path), drop_small_classes=True)
    assert data.test.classes == ("a", "b")
    assert len(data.test) == len(data.test_files) == 4


@pytest.mark.parametrize("empty", [False, True])
def test_a_class_that_test_lacks_is_noted(tmp_path, empty):
    put(two_classes(tmp_path, 3, "train/"), "train/c/1.png", "train/c/2.png")
    two_classes(tmp_path, 2, "test/")
    if empty:
        (tmp_path / "test" / "c").mkdir()
    data = load_dataset(str(tmp_path))
    assert noted(data.notes, "class 'c' has no test image")
    assert data.test.counts().tolist() == [2, 2, 0]


def test_classes_are_matched_by_name_not_by_place(tmp_path):
    put(tmp_path, *(f"train/{c}/{i}.png" for c in "abc" for i in range(2)))
    put(tmp_path, "test/b/1.png", "test/c/1.png")
    data = load_dataset(str(tmp_path))
    assert [data.test.classes[k] for k in data.test.labels] == ["b", "c"]


def test_pictures_of_test_are_removed_from_the_pool_and_counted(tmp_path):
    two_classes(tmp_path, 4, "train/")
    shared = grey()
    put(tmp_path, "train/a/x.png", "train/b/y.bmp", "test/a/z.png", picture=shared)
    put(tmp_path, "test/b/1.png")
    data = load_dataset(str(tmp_path))
    assert noted(data.notes, "training images removed that are also test images: 2")
    assert data.pool.counts().tolist() == [4, 4]
    assert not set(pixel_hashes(data.pool.images)) & set(pixel_hashes(data.test.images))


def test_the_hold_out_never_parts_equal_pictures(tmp_path):
    for k in range(12):
        put(tmp_path, f"a/{k}.png", f"a/{k}-again.bmp", f"b/{k}-too.png", picture=grey())
        put(tmp_path, f"b/{k}.png")
    data = load_dataset(str(tmp_path))
    assert not set(pixel_hashes(data.pool.images)) & set(pixel_hashes(data.test.images))
    assert len(data.pool) + len(data.test) == 48
    assert len(data.test) > 5


def test_one_picture_of_two_patients_keeps_both_on_one_side(tmp_path):
    rows = [(f"{i}.png", "ab"[i % 2], f"p{i // 4}") for i in range(40)]
    put(tmp_path, *(row[0] for row in rows))
    for k in range(0, 40, 8):  # patients 0 and 1, 2 and 3, … share a picture
        put(tmp_path, f"{k}.png", f"{k + 4}.png", picture=grey())
    data = load_dataset(str(table(tmp_path, rows, ("file_name", "label", "group"))))
    pairs = [{int(f[:-4]) // 8 for f in files} for files in (data.pool_files, data.test_files)]
    assert not pairs[0] & pairs[1]
    assert len(data.pool) + len(data.test) == 40


def test_near_copies_across_the_split_are_told_with_their_names(tmp_path):
    smooth = Image.fromarray(noise(6, 6)).resize((48, 48), Image.Resampling.BICUBIC)
    put(two_classes(tmp_path, 4, "train/"), "test/a/1.png", "test/b/1.png", "test/b/2.png")
    put(tmp_path, "train/b/orig.png", picture=smooth)
    put(tmp_path, "test/a/coded.jpg", picture=smooth, quality=60)
    data = load_dataset(str(tmp_path))
    assert noted(
        data.notes, "1 test image looks like a copy", "test/a/coded.jpg ≈ train/b/orig.png"
    )
    assert len(data.pool) == 9


def test_nearly_flat_pictures_are_no_near_copies(tmp_path):
    for k in range(12):
        pixels = np.full((8, 8), 20 * k, np.uint8)
        pixels[3, 3] += 3
        put(tmp_path, f"{'ab'[k % 2]}/{k}.png", picture=Image.fromarray(pixels))
    assert not noted(load_dataset(str(tmp_path)).notes, "look like")


def test_too_many_images_to_compare_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("augment.data.copies.near_duplicates.MAX_COMPARISONS", 3)
    assert noted(load_dataset(str(two_classes(tmp_path))).notes, "too many images")


# small classes


@pytest.mark.parametrize(("n", "learn", "test"), [(1, 1, 0), (2, 1, 1)])
def test_a_class_too_small_is_named_or_dropped(tmp_path, n, learn, test):
    two_classes(tmp_path, 5)
    (tmp_path / "rare").mkdir()
    put(tmp_path, *(f"rare/{i}.png" for i in range(n)))
    with pytest.raises(DataError, match=f"'rare' has {learn} to learn from and {test} to test"):
        load_dataset(str(tmp_path))
    data = load_dataset(str(tmp_path), drop_small_classes=True)
    assert data.pool.classes == data.test.classes == ("a", "b")
    assert len(data.pool) + len(data.test) == len(data.pool_files) + len(data.test_files) == 10
    assert noted(data.notes, "dropped small classes (1)", "'rare'")


def test_labels_move_up_when_a_class_before_them_is_dropped(tmp_path):
    put(two_classes(tmp_path, 5), "Aardvark/1.png")
    data = load_dataset(str(tmp_path), drop_small_classes=True)
    assert [data.pool.classes[k] for k in data.pool.labels] == [f[0] for f in data.pool_files]


def test_equal_pictures_count_once_towards_the_size_of_a_class(tmp_path):
    put(two_classes(tmp_path, 5), *(f"same/{i}.png" for i in range(4)), picture=grey(9))
    with pytest.raises(DataError, match=r"'same' has 4 to learn from and 0 to test on.*equal"):
        load_dataset(str(tmp_path))
    assert load_dataset(str(tmp_path), drop_small_classes=True).pool.classes == ("a", "b")


def test_a_class_emptied_by_test_pictures_can_be_dropped(tmp_path):
    two_classes(tmp_path, 3, "train/")
    shared = grey()
    put(two_classes(tmp_path, 2, "test/"), "train/c/1.png", "test/c/1.png", picture=shared)
    put(tmp_path, "train/c/2.png")
    with pytest.raises(DataError, match="'c' has 1 to learn from and 1 to test on"):
        load_dataset(str(tmp_path))
    assert load_dataset(str(tmp_path), drop_small_classes=True).test.classes == ("a", "b")


def test_a_class_of_bad_files_alone_is_not_forgotten(tmp_path):
    (two_classes(tmp_path) / "c").mkdir()
    (tmp_path / "c" / "1.png").touch()
    with pytest.raises(DataError, match="'c' has 0 to learn from"):
        load_dataset(str(tmp_path), skip_bad=True)


@pytest.mark.parametrize("drop", [False, True])
def test_a_single_class_is_an_error(tmp_path, drop):
    put(tmp_path, *(f"only/{i}.png" for i in range(6)))
    with pytest.raises(DataError, match=r"a single class .'only'.: at least two"):
        load_dataset(str(tmp_path), drop_small_classes=drop)


def test_dropping_down_to_one_class_is_an_error(tmp_path):
    put(tmp_path, *(f"a/{i}.png" for i in range(6)), "b/1.png")
    with pytest.raises(DataError, match=r"fewer than two classes are left.*'b'"):
        load_dataset(str(tmp_path), drop_small_classes=True)


@pytest.mark.parametrize(("mode", "kind"), [("L", "document"), ("RGB", "natural")])
def test_grey_folders_are_taken_for_documents_and_colour_for_photographs(tmp_path, mode, kind):
    for k in range(8):
        picture = Image.new("RGB", (8, 8), (10 * k, 0, 20)).convert(mode)
        put(tmp_path, f"{'ab'[k % 2]}/{k}.png", picture=picture)
    assert load_dataset(str(tmp_path)).classic == kind


# .npz


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_npz_with_the_keys_of_medmnist(tmp_path, column, channels):
    arrays = {}
    for k, (part, n) in enumerate((("train", 6), ("val", 4), ("test", 2))):
        arrays[f"{part}_images"] = noise(n, 5, 7, *channels, seed=k)
        labels = (np.arange(n) % 2).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None] if column else labels
    data = load_dataset(str(npz(tmp_path, **arrays)))
    assert data.pool.shape == ((channels or (1,))[0], 5, 7)
    assert (len(data.pool), len(data.test), data.pool.classes) == (10, 2, ("0", "1"))
    assert data.test_files == ["set.npz:test/0", "set.npz:test/1"]
    flat = arrays["test_images"].reshape(2, 5, 7, -1).transpose(0, 3, 1, 2)
    assert np.array_equal(data.test.images.numpy(), flat)


@pytest.mark.parametrize(
    ("labels", "classes", "names", "found"),
    [
        ([0, 1, 1, 0], None, ["0", "1"], [0, 1, 1, 0]),
        ([1, 7, 7, 1], None, ["1", "7"], [0, 1, 1, 0]),
        ([0, 1, 1, 0], ["é", "=A1"], ["é", "=A1"], [0, 1, 1, 0]),
        ([0, 1, 1, 0], [b"a", b"b"], ["a", "b"], [0, 1, 1, 0]),
        ([0, 2, 2, 0], [10, 20, 30], ["10", "20", "30"], [0, 2, 2, 0]),
    ],
)
def test_npz_names_its_classes_or_is_named_by_its_labels(tmp_path, labels, classes, names, found):
    arrays = {"train_images": noise(4, 4, 4), "train_labels": np.array(labels)}
    if classes:
        arrays["classes"] = np.array(classes)
    read = read_npz(npz(tmp_path, **arrays), None)
    assert (read.classes, read.labels) == (names, found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": noise(4, 8, 8).astype(np.float32)}, "must be .*uint8.*float32"),
        ({"train_images": noise(4, 8)}, "must be"),
        ({"train_images": noise(4, 8, 8, 2)}, "2 channels"),
        ({"train_images": noise(4, 3, 8, 8)}, "8 channels"),
        ({"train_images": noise(0, 8, 8), "train_labels": np.zeros(0, int)}, "must be"),
        ({"train_images": noise(4, 0, 8)}, "must be"),
        ({"train_images": np.array(3)}, "must be"),
        ({"train_labels": np.zeros(3, int)}, "with 3"),
        ({"train_labels": np.zeros((4, 2), int)}, "with 8"),
        ({"train_labels": np.zeros(4)}, "integers from 0"),
        ({"train_labels": np.array([0, 1, -1, 0])}, "integers from 0"),
        ({"train_labels": np.array(list("abab"))}, "integers from 0"),
        ({"train_labels": None}, "no train_labels"),
        ({"train_images": None}, "no train_images"),
        ({"classes": np.array(["one"])}, "label 1 has no name among 1"),
        ({"classes": np.array(["one", "one"])}, "one name"),
        ({"test_images": noise(2, 9, 8), "test_labels": np.arange(2)}, "2 shapes"),
        ({"test_images": noise(2, 8, 8, 3), "test_labels": np.arange(2)}, "2 shapes"),
        ({"train_labels": np.array([0, {}, 1, 1], object)}, "plain arrays"),
        ({"classes": np.array(["a", 2], object)}, "plain arrays"),
    ],
)
def test_npz_of_wrong_arrays_is_refused_by_name(tmp_path, changed, message):
    arrays = {"train_images": noise(4, 8, 8), "train_labels": np.array([0, 1, 0, 1])} | changed
    file = npz(tmp_path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=f"set.npz.*{message}"):
        read_npz(file, None)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_npz_with_a_pickle_is_refused_and_not_run(tmp_path):
    file = npz(tmp_path, train_images=np.array([Bomb()], object), train_labels=np.zeros(1, int))
    with pytest.raises(DataError, match="plain arrays"):
        load_dataset(str(file))


@pytest.mark.parametrize("kind", ["text", "empty", "npy", "pickle", "cut", "flipped", "other zip"])
def test_what_is_no_npz_is_refused(tmp_path, kind):
    file = tmp_path / "set.npz"
    np.savez_compressed(
        file, train_images=noise(40, 8, 8), train_labels=np.arange(40) % 2, classes=["a", "b"]
    )
    raw = bytearray(file.read_bytes())
    raw[900] ^= 255
    with (tmp_path / "array.npy").open("wb") as handle:
        np.save(handle, noise(4))
    np.savez(tmp_path / "zip.npz", b=noise(3))
    file.write_bytes(
        {
            "text": b"train_images",
            "empty": b"",
            "npy": (tmp_path / "array.npy").read_bytes(),
            "pickle": pickle.dumps(Bomb()),
            "cut": file.read_bytes()[:-100],
            "flipped": bytes(raw),
            "other zip": (tmp_path / "zip.npz").read_bytes(),
        }[kind]
    )
    with pytest.raises(DataError, match=r"set\.npz"):
        read_npz(file, None)


def test_npz_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    file = npz(tmp_path, train_images=noise(4, 8, 8), train_labels=np.arange(4) % 2)
    monkeypatch.setattr("augment.data.npz.MAX_BYTES", 500)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(DataError, match=r"unpacks to .* more than 500"):
        read_npz(file, None)


@pytest.mark.parametrize(("asked", "side"), [(None, (64, 55)), (10, (10, 9))])
def test_npz_of_large_pictures_is_resized(tmp_path, asked, side):
    file = npz(tmp_path, train_images=noise(4, 70, 60), train_labels=np.arange(4) % 2)
    assert tuple(read_npz(file, asked).images.shape[-2:]) == side


# downloads


class Offline:
    def __init__(self, *_, **__):
        raise OSError(101, "Network is unreachable")


@pytest.mark.parametrize("name", FETCHED)
def test_offline_is_told_with_folder_files_and_checksums(name, tmp_path, monkeypatch):
    known = getattr(sources, DATASETS[name].torchvision)
    offline = type(known.__name__, (Offline, known), {})
    monkeypatch.setattr(sources, known.__name__, offline)
    with pytest.raises(MachineError) as caught:
        load_dataset(name, data_dir=tmp_path / "cache")
    said = str(caught.value)
    assert "\n" not in said
    for part in (f"{name}.npz", str(tmp_path / "cache" / "raw"), "Network is unreachable", "md5"):
        assert part in said
    assert not list((tmp_path / "cache").glob("*.npz"))


@pytest.mark.parametrize(
    ("name", "file", "md5"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("fashion-mnist", "FashionMNIST/raw/train-images", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("kmnist", "KMNIST/raw/train-images", "bdb82020997e1d708af4cf47b453dcf7"),
        ("emnist-letters", "EMNIST/raw/gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),
        ("cifar10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ("cifar100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ("svhn", "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ("stl10", "stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),
    ],
)
def test_originals_name_the_own_files_of_each_data_set(name, file, md5):
    said = original_files(getattr(sources, DATASETS[name].torchvision))
    assert file in said
    assert md5 in said
    assert "extra" not in said


@pytest.mark.parametrize(
    "error", [OSError(), RuntimeError("File not found or corrupted."), EOFError("cut\nshort")]
)
def test_any_failure_of_a_download_is_one_sentence(error, tmp_path, monkeypatch):
    def fail(*_, **__):
        assert socket.getdefaulttimeout() <= 10
        raise error

    for attribute in ("filename", "tgz_md5"):
        setattr(fail, attribute, "x")
    monkeypatch.setattr(sources, "CIFAR10", fail)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(33)
    try:
        with pytest.raises(MachineError, match=r"cifar10 is not in .* could not be downloaded"):
            load_dataset("cifar10", data_dir=tmp_path)
        assert socket.getdefaulttimeout() == 33
    finally:
        socket.setdefaulttimeout(before)


class Fetched:
    """Stands for torchvision's FashionMNIST: ten pictures of each class."""

    calls = 0
    classes = ["T-shirt/top", *(f"{k} - c{k}" for k in range(1, 10))]

    def __init__(self, root, *, download, train):
        assert download
        type(self).calls += 1
        self.data = torch.from_numpy(noise(40, 28, 28, seed=int(train)))
        self.targets = torch.arange(40) % 10


def test_a_download_is_converted_once_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FashionMNIST", Fetched)
    monkeypatch.setattr(Fetched, "calls", 0)
    first = load_dataset("fashion-mnist", data_dir=tmp_path / "new" / "cache")
    assert Fetched.calls == 2
    monkeypatch.setattr(sources, "FashionMNIST", Offline)
    second = load_dataset("fashion-mnist", data_dir=tmp_path / "new" / "cache")
    assert first.sha == second.sha
    assert first.pool.classes[:3] == ("T-shirt/top", "1", "2")
    assert (len(first.pool), len(first.test), first.pool.shape) == (40, 40, (1, 28, 28))
    assert np.array_equal(first.test.images[:, 0].numpy(), noise(40, 28, 28, seed=0))


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(handle, **_):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "FashionMNIST", Fetched)
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(MachineError, match=r"fashion-mnist.npz cannot be written .No space left"):
        load_dataset("fashion-mnist", data_dir=tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]


def test_a_data_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"mnist.npz cannot be written"):
        load_dataset("mnist", data_dir=tmp_path / "file")


def test_a_damaged_cache_tells_to_delete_it(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK half")
    with pytest.raises(DataError, match=r"delete .*mnist.npz to have it fetched again"):
        load_dataset("mnist", data_dir=tmp_path)


def test_layouts_of_torchvision_become_rows_columns_channels():
    chw = noise(2, 3, 4, 5)
    images, labels = to_arrays("svhn", SimpleNamespace(data=chw, labels=np.array([9, 0])))
    assert np.array_equal(images, chw.transpose(0, 2, 3, 1))
    assert (labels.tolist(), labels.dtype) == ([9, 0], np.int64)
    images, labels = to_arrays("stl10", SimpleNamespace(data=chw, labels=np.array([1, 2], "u1")))
    assert images.shape == (2, 4, 5, 3)
    assert labels.tolist() == [1, 2]
    hwc = noise(2, 4, 5, 3)
    images, labels = to_arrays("cifar10", SimpleNamespace(data=hwc, targets=[3, 4]))
    assert np.array_equal(images, hwc)
    lying = torch.from_numpy(noise(2, 4, 5))
    images, labels = to_arrays(
        "emnist-letters", SimpleNamespace(data=lying, targets=torch.tensor([1, 26]))
    )
    assert np.array_equal(images, lying.numpy().transpose(0, 2, 1))
    assert labels.tolist() == [0, 25]


@pytest.mark.parametrize("name", ["svhn", "stl10", "emnist-letters"])
def test_data_sets_of_other_layouts_are_named_and_read(name, tmp_path, monkeypatch):
    n = 26 if name == "emnist-letters" else 10

    class Source:
        classes = [f"bird{k}" for k in range(10)]

        def __init__(self, root, *, download, split, train=None):
            assert split in ("train", "test", "letters")
            part = int(split == "train" or bool(train))
            shape = (2 * n, 28, 28) if n == 26 else (2 * n, 3, 32, 32)
            self.data, labels = noise(*shape, seed=part), np.arange(2 * n) % n
            if n == 26:
                self.data, self.targets = torch.from_numpy(self.data), torch.tensor(labels + 1)
            else:
                self.labels = labels

    monkeypatch.setattr(sources, DATASETS[name].torchvision, Source)
    data = load_dataset(name, data_dir=tmp_path)
    assert data.pool.counts().tolist() == data.test.counts().tolist() == [2] * n
    assert data.pool.classes[:2] == {"svhn": ("0", "1"), "stl10": ("bird0", "bird1")}.get(
        name, ("a", "b")
    )
