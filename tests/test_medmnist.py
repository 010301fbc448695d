"""MedMNIST by name: the official files, sizes and splits; what cannot be learnt is refused."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from test_folder import noted

from augment.data import medmnist
from augment.data.datasets import DATASETS, load_dataset
from augment.data.layouts.direction_names import MIRRORING, direction_notes
from augment.data.medmnist import MEDMNIST, SIZES, file_name
from augment.errors import DataError, MachineError, UsageError

COUNTS = {"train": 24, "val": 8, "test": 16}


def write_set(folder, name, side, seed=0):
    """A tiny file in the form of MedMNIST's: labels [N, 1]; returns its MD5 sum."""
    rng, n_classes = np.random.default_rng(seed), len(MEDMNIST[name].classes)
    arrays = {}
    for part, n in COUNTS.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, side, side, 3), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % n_classes)[:, None].astype(np.uint8)
    file = folder / file_name(name, side)
    np.savez_compressed(file, **arrays)
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def blood(tmp_path, monkeypatch):
    """The data folder with bloodmnist at 28 and 64 px, whose sums are in the table."""
    known = MEDMNIST["bloodmnist"]
    sums = [write_set(tmp_path, "bloodmnist", side) for side in (28, 64)]
    patched = dataclasses.replace(known, md5=(*sums, *known.md5[2:]))
    monkeypatch.setitem(MEDMNIST, "bloodmnist", patched)
    return tmp_path


def arrays_of(folder, side):
    with np.load(folder / file_name("bloodmnist", side)) as archive:
        return dict(archive)


@pytest.mark.parametrize(("size", "side"), [(None, 28), (28, 28), (64, 64)])
def test_official_train_and_val_are_the_pool_and_test_is_the_test(blood, size, side):
    data = load_dataset("bloodmnist", size=size, data_dir=blood)
    arrays = arrays_of(blood, side)
    given = np.concatenate([arrays["train_images"], arrays["val_images"]]).transpose(0, 3, 1, 2)
    assert np.array_equal(data.pool.images.numpy(), given)
    assert np.array_equal(data.test.images.numpy(), arrays["test_images"].transpose(0, 3, 1, 2))
    assert data.test.labels.tolist() == arrays["test_labels"][:, 0].tolist()
    assert data.pool.classes == MEDMNIST["bloodmnist"].classes
    assert data.official_test
    assert data.classic == "any-orientation"
    assert noted(data.notes, "val images join the pool")


@pytest.mark.parametrize(("size", "side"), [(20, 28), (40, 64)])
def test_another_size_is_made_from_the_next_larger_pictures(blood, monkeypatch, size, side):
    read = []
    original = medmnist.read_npz
    monkeypatch.setattr(
        medmnist, "read_npz", lambda file, size: read.append(file.name) or original(file, size)
    )
    data = load_dataset("bloodmnist", size=size, data_dir=blood)
    assert data.pool.shape == (3, size, size)
    assert read == [file_name("bloodmnist", side)]


def test_file_that_is_another_one_is_refused(blood):
    write_set(blood, "bloodmnist", 28, seed=1)
    with pytest.raises(DataError, match=r"bloodmnist.npz is not the file of that name .* delete"):
        load_dataset("bloodmnist", data_dir=blood)


def test_offline_tells_the_file_its_source_and_its_sum(tmp_path, monkeypatch):
    def offline(url, root, filename, md5):
        (tmp_path / "cache" / filename).write_bytes(b"half")
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", offline)
    with pytest.raises(MachineError) as caught:
        load_dataset("bloodmnist", size=64, data_dir=tmp_path / "cache")
    said = str(caught.value)
    assert "\n" not in said
    url = "https://zenodo.org/records/10519652/files/bloodmnist_64.npz?download=1"
    sums = "2b94928a2ae4916078ca51e05b6b800b"
    for part in (str(tmp_path / "cache"), "put bloodmnist_64.npz", url, sums, "unreachable"):
        assert part in said
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] in ([], [".lock"])


def test_download_is_kept_and_read_from_the_folder_afterwards(blood, tmp_path_factory, monkeypatch):
    fetched = []

    def download(url, root, filename, md5):
        fetched.append((url.rpartition("/")[2], md5))
        assert root == str(cache)
        (cache / filename).write_bytes((blood / "bloodmnist.npz").read_bytes())

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    first = load_dataset("bloodmnist", data_dir=cache)
    again = load_dataset("bloodmnist", data_dir=cache)
    assert first.sha == again.sha == load_dataset("bloodmnist", data_dir=blood).sha
    assert fetched == [("bloodmnist.npz?download=1", MEDMNIST["bloodmnist"].md5[0])]
    assert [p.name for p in cache.glob("*.npz*")] == ["bloodmnist.npz"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("chestmnist", "several labels a picture"),
        ("ChestMNIST", "several labels a picture"),
        ("organmnist3d", "volumes, not pictures"),
        ("synapsemnist3d", "volumes, not pictures"),
    ],
)
def test_sets_that_cannot_be_learnt_are_refused_and_the_others_named(name, what):
    with pytest.raises(UsageError, match=f"{name} of MedMNIST holds {what}.*pathmnist.*bloodmnist"):
        load_dataset(name)


def test_table_is_whole_and_its_transforms_do_not_mirror_left_into_right():
    sums = [each for found in MEDMNIST.values() for each in found.md5]
    assert len(MEDMNIST) == 11
    assert len(set(sums)) == len(sums) == 11 * len(SIZES)
    assert {len(each) for each in sums} == {32}
    for name, found in MEDMNIST.items():
        assert DATASETS[name].classic == found.classic
        assert not direction_notes(found.classes, found.classic), name
    assert direction_notes(MEDMNIST["organamnist"].classes, MIRRORING[0])


def test_grey_files_have_one_channel(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in COUNTS.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    md5 = hashlib.md5((tmp_path / "breastmnist.npz").read_bytes()).hexdigest()
    known = MEDMNIST["breastmnist"]
    monkeypatch.setitem(
        MEDMNIST, "breastmnist", dataclasses.replace(known, md5=(md5, *known.md5[1:]))
    )
    data = load_dataset("breastmnist", data_dir=tmp_path)
    assert data.pool.shape == (1, 28, 28)
    assert data.pool.classes == ("malignant", "normal, benign")
    assert torch.equal(data.pool.counts(), torch.tensor([16, 16]))


@pytest.mark.parametrize(("size", "is_said"), [(224, False), (300, True)])
def test_sizes_above_the_largest_are_said_to_be_enlarged(blood, monkeypatch, size, is_said):
    known = MEDMNIST["bloodmnist"]
    largest = write_set(blood, "bloodmnist", SIZES[-1])
    patched = dataclasses.replace(known, md5=(*known.md5[:-1], largest))
    monkeypatch.setitem(MEDMNIST, "bloodmnist", patched)
    notes = load_dataset("bloodmnist", size=size, data_dir=blood).notes
    assert noted(notes, "224 px is the largest size of bloodmnist", "300") == is_said
