"""MedMNIST by name (Yang et al. 2023): eleven sets of medical pictures at 28, 64, 128 and 224 px.

The files, their names and their MD5 sums are those of the public package medmnist 3.0.2: whoever
has its folder gives that as the data folder. `train`, `val` and `test` are the official ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from augment.data.download import fetched_file
from augment.data.npz import read_npz
from augment.data.pictures.framing import Framing
from augment.data.raw import RawDataset
from augment.errors import UsageError

SIZES = (28, 64, 128, 224)  # sides that each set comes in, in pixels
_SOURCE = "https://zenodo.org/records/10519652/files"


@dataclass(frozen=True)
class MedSet:
    """One set: what it is, the transforms that suit it, its classes and its files."""

    about: str
    classic: str  # key of CLASSIC
    classes: tuple[str, ...]  # in label order
    md5: tuple[str, ...]  # of the file of each of SIZES


_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
MEDMNIST: dict[str, MedSet] = {
    "pathmnist": MedSet(
        "107,180 patches of colorectal tissue, colour",
        "any-orientation",  # a slide has no upright side
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        (
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
    ),
    "dermamnist": MedSet(
        "10,015 skin lesions, colour",
        "any-orientation",  # a dermatoscope is held at any angle
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        (
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
    ),
    "octmnist": MedSet(
        "109,309 OCT scans of the retina, grey",
        "natural",  # the other eye is the mirror image, and layers stay horizontal
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
    ),
    "pneumoniamnist": MedSet(
        "5,856 chest X-rays of children, grey",
        "document",  # a mirrored chest has its heart on the wrong side
        ("normal", "pneumonia"),
        (
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
    ),
    "retinamnist": MedSet(
        "1,600 fundus photographs, colour",
        "natural",  # the other eye is the mirror image
        ("0", "1", "2", "3", "4"),
        (
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
    ),
    "breastmnist": MedSet(
        "780 ultrasound pictures of the breast, grey",
        "natural",  # the skin is always on top, left and right are alike
        ("malignant", "normal, benign"),
        (
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
    ),
    "bloodmnist": MedSet(
        "17,092 blood cells, colour",
        "any-orientation",  # a smear has no upright side
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        (
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
    ),
    "tissuemnist": MedSet(
        "236,386 kidney cortex cells, grey",
        "any-orientation",  # a section has no upright side
        (
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        (
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
    ),
    "organamnist": MedSet(
        "58,830 axial CT of organs, grey",
        "document",  # classes tell left organs from right ones
        _ORGANS,
        (
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
    ),
    "organcmnist": MedSet(
        "23,583 coronal CT of organs, grey",
        "document",  # as above
        _ORGANS,
        (
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
    ),
    "organsmnist": MedSet(
        "25,211 sagittal CT of organs, grey",
        "document",  # as above
        _ORGANS,
        (
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
    ),
}

_SEVERAL_LABELS = ("chestmnist",)
_VOLUMES = (
    *("organmnist3d", "nodulemnist3d", "adrenalmnist3d", "fracturemnist3d", "vesselmnist3d"),
    "synapsemnist3d",
)


def refuse_other_medmnist(name: str) -> None:
    """Raise UsageError for the sets of MedMNIST that no classifier here can learn."""
    known = name.lower()
    if known in _SEVERAL_LABELS or known in _VOLUMES:
        what = "several labels a picture" if known in _SEVERAL_LABELS else "volumes, not pictures"
        raise UsageError(
            f"--dataset {name} of MedMNIST holds {what}: take one of {', '.join(MEDMNIST)}"
        )


def file_name(name: str, side: int) -> str:
    """Return the name that the public package gives to a file."""
    return f"{name}.npz" if side == SIZES[0] else f"{name}_{side}.npz"


def read_medmnist(name: str, size: Framing | int | None, folder: Path) -> RawDataset:
    """Read a set at `size` px, 28 without one; other sizes are made from the next larger pictures.

    The file comes from `folder`, or is downloaded there. Raises MachineError offline, DataError
    for a file with another MD5 sum.
    """
    asked = Framing.of(size).size
    wanted = asked if isinstance(asked, int) else SIZES[0]
    number = next((k for k, side in enumerate(SIZES) if side >= wanted), len(SIZES) - 1)
    file, found = file_name(name, SIZES[number]), MEDMNIST[name]
    raw = read_npz(
        fetched_file(folder / file, f"{_SOURCE}/{file}?download=1", found.md5[number]), wanted
    )
    # without `classes` in the file they are called by their labels
    classes = [found.classes[int(label)] for label in raw.classes]
    if wanted > SIZES[-1]:
        raw.notes.append(
            f"{SIZES[-1]} px is the largest size of {name}: the pictures are enlarged to {wanted}, "
            "which shows no more detail"
        )
    return dataclasses.replace(raw, classes=classes)
