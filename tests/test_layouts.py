"""Layouts that people have: read as they are meant and said, or refused with the way out.

`LAYOUTS` is the form of public sets, exports and mishaps, with empty files for images: nothing is
opened. An entry holds the files, the tables, and what is right: images a class, a split, the
number of groups, or a piece of the refusal.
"""

import json
from collections import Counter

import numpy as np
import pytest
from test_folder import noted, put

from augment.cli import main
from augment.data.check import inspect
from augment.data.datasets import load_dataset
from augment.data.layouts.name_groups import _subject
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import READING_FLAGS, ReadingFlags
from augment.errors import DataError, MachineError, UsageError
from augment.experiment.cells import expand
from augment.experiment.validation import make_recipe
from augment.storage.run_folder import differences


def rows(head, *lines, sign=","):
    return "\n".join([head.replace(",", sign), *(sign.join(map(str, line)) for line in lines)])


def numbered(pattern, n, **cycled):
    """`pattern` n times, with {i} the number, and each keyword's values in turn."""
    return [pattern.format(i=i, **{k: v[i % len(v)] for k, v in cycled.items()}) for i in range(n)]


def each(pattern, n, **values):
    """`pattern` n times for each of the values of one keyword."""
    ((key, names),) = values.items()
    return [pattern.format(i=i, **{key: name}) for name in names for i in range(n)]


AB = ["leaf", "rust"]
SPLIT = {"train": 8, "test": 4}
LAYOUTS = {
    # the handed cases
    "C01 table of another name, ids without suffix, parts": dict(
        files=each("HAM_images_part_{p}/ISIC_{p}{i}.jpg", 6, p=[1, 2]),
        tables={
            "HAM10000_metadata.csv": rows(
                "lesion_id,image_id,dx,dx_type,age",
                *(
                    (
                        f"HAM_{p}{i // 2}",
                        f"ISIC_{p}{i}",
                        ["nv", "mel", "bkl"][i % 3],
                        "histo",
                        40 + i,
                    )
                    for p in (1, 2)
                    for i in range(6)
                ),
            )
        },
        classes={"nv": 4, "mel": 4, "bkl": 4},
        groups=6,
        said="3 classes from column dx of HAM10000_metadata.csv, 12 images found by name in 2 "
        "folders, groups from column lesion_id",
    ),
    "C03 metadata.csv without suffixes": dict(
        files=each("part_{p}/x{p}{i}.jpg", 4, p=[1, 2]),
        tables={
            "metadata.csv": rows(
                "file_name,label", *((f"x{p}{i}", AB[i % 2]) for p in (1, 2) for i in range(4))
            )
        },
        classes={"leaf": 4, "rust": 4},
    ),
    "C06 train.csv, and test images without labels": dict(
        files=numbered("train_images/a{i}.png", 6) + numbered("test_images/b{i}.png", 4),
        tables={
            "train.csv": rows("id_code,diagnosis", *((f"a{i}", i % 2) for i in range(6))),
            "test.csv": rows("id_code", *((f"b{i}",) for i in range(4))),
        },
        classes={"0": 3, "1": 3},
        left=("images that train.csv does not name", 4),
    ),
    "C08 masks in a folder of each class": dict(
        files=each("{c}/images/{c}-{i}.png", 3, c=AB) + each("{c}/masks/{c}-{i}.png", 3, c=AB),
        tables={"leaf.metadata.xlsx": "PK"},
        classes={"leaf": 3, "rust": 3},
        left=("masks", 6),
    ),
    "C09 masks beside the images": dict(
        files=each("{c}/{c} ({i}).png", 3, c=AB)
        + each("{c}/{c} ({i})_mask.png", 3, c=AB)
        + ["leaf/leaf (1)_mask_1.png"],
        classes={"leaf": 3, "rust": 3},
        left=("masks", 7),
    ),
    "C11 splits with a word before, each in itself": dict(
        files=each("seg_train/seg_train/{c}/{i}.jpg", 4, c=AB)
        + each("seg_test/seg_test/{c}/{i}.jpg", 2, c=AB)
        + numbered("seg_pred/seg_pred/{i}.jpg", 5),
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
        left=("unlabelled images", 5),
    ),
    "C13 patients above classes": dict(
        files=[f"{p}/{c}/{p}_{i}.png" for p in range(8860, 8866) for c in (0, 1) for i in range(2)],
        classes={"0": 12, "1": 12},
        groups=6,
    ),
    "C19 one label typed three ways": dict(
        files=numbered("{i}.png", 6),
        tables={
            "metadata.csv": rows(
                "file_name,label",
                *((f"{i}.png", ["b", "healthy", "Healthy ", "healthy "][i % 4]) for i in range(6)),
            )
        },
        classes={"healthy": 3, "Healthy": 1, "b": 2},
    ),
    "C24 a table in each split's folder": dict(
        files=numbered("train/{i}.png", 8) + numbered("test/{i}.png", 4),
        tables={
            f"{part}/metadata.csv": rows(
                "file_name,label", *((f"{i}.png", AB[i % 2]) for i in range(n))
            )
            for part, n in SPLIT.items()
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "C25 splits in the paths of a table": dict(
        files=numbered("train/{i}.png", 8) + numbered("test/{i}.png", 4),
        tables={
            "metadata.csv": rows(
                "file_name,label",
                *((f"{part}/{i}.png", AB[i % 2]) for part, n in SPLIT.items() for i in range(n)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "C26 metadata.jsonl": dict(
        files=numbered("images/{i}.png", 6),
        tables={
            "metadata.jsonl": "\n".join(
                json.dumps({"file_name": f"images/{i}.png", "label": AB[i % 2]}) for i in range(6)
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "C27 class folders, and a table of patients": dict(
        files=each("{c}/{i}.png", 6, c=AB),
        tables={
            "metadata.csv": rows(
                "file_name,patient_id,age",
                *((f"{c}/{i}.png", f"{c}{i // 3}", 50 + i) for c in AB for i in range(6)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        groups=4,
        note="columns not used: age",
    ),
    "C28 patient_id instead of group": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "metadata.csv": rows(
                "file_name,label,patient_id",
                *((f"img/{i}.png", AB[i // 2 % 2], f"P{i // 2}") for i in range(8)),
            )
        },
        classes={"leaf": 4, "rust": 4},
        groups=4,
    ),
    "C29 patients in the names of files": dict(
        files=[f"{AB[p % 2]}/patient{p:03d}_frame{f}.png" for p in range(8) for f in range(2)],
        classes={"leaf": 8, "rust": 8},
        groups=8,
    ),
    "C48 numbers as classes": dict(
        files=each("{c}/{i}.png", 2, c=range(12)), classes={str(k): 2 for k in range(12)}
    ),
    "C51 several labels an image": dict(
        files=numbered("images/{i}.png", 6),
        tables={
            "metadata.csv": rows(
                "file_name,label",
                *((f"images/{i}.png", ["A", "B", "A|B", "B|A"][i % 4]) for i in range(6)),
            )
        },
        refused=r"metadata.csv column label: several labels a picture \('A\|B'\)",
    ),
    "C57 splits below the classes": dict(
        files=each("{c}/train/{i}.jpg", 4, c=AB) + each("{c}/test/{i}.jpg", 2, c=AB),
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "C62 semicolons": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "metadata.csv": rows(
                "file_name,label", *((f"img/{i}.png", AB[i % 2]) for i in range(6)), sign=";"
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "C67 a folder a video below each class": dict(
        files=[f"{AB[v % 2]}/{v * 7919:08x}/{f:06d}.png" for v in range(8) for f in range(2)],
        classes={"leaf": 8, "rust": 8},
        groups=8,
    ),
}
HOT = ["MEL", "NV", "BCC"]
LABEL_STUDIO = [
    {
        "id": i,
        "data": {"image": f"/data/upload/1/0a1b2c{i:02d}-photo{i}.jpg"},
        "annotations": [{"result": [{"type": "choices", "value": {"choices": [AB[i % 2]]}}]}],
    }
    for i in range(6)
]
CVAT = "\n".join(
    f'<image id="{i}" name="photo{i}.jpg"><tag label="{AB[i % 2]}"></tag></image>' for i in range(6)
)
LAYOUTS |= {
    # other members of the same kinds
    "ISIC one-hot ground truth, patients in another table": dict(
        files=numbered("ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_{i:04d}.jpg", 6),
        tables={
            "ISIC_2019_Training_GroundTruth.csv": rows(
                "image,MEL,NV,BCC",
                *((f"ISIC_{i:04d}", *(f"{float(i % 3 == k)}" for k in range(3))) for i in range(6)),
            ),
            "ISIC_2019_Training_Metadata.csv": rows(
                "image,age_approx,lesion_id,sex",
                *((f"ISIC_{i:04d}", 40 + i, f"L{i // 2}", "male") for i in range(6)),
            ),
        },
        classes=dict.fromkeys(HOT, 2),
        groups=3,
    ),
    "NIH ChestX-ray: several findings an image": dict(
        files=each("images_{p:03d}/images/{p}{i}_000.png", 4, p=[1, 2]),
        tables={
            "Data_Entry_2017.csv": rows(
                "Image Index,Finding Labels,Follow-up #,Patient ID",
                *(
                    (f"{p}{i}_000.png", ["A|B", "A", "No Finding", "B"][i], 0, i)
                    for p in (1, 2)
                    for i in range(4)
                ),
            ),
            "test_list.txt": "\n".join(f"2{i}_000.png" for i in range(4)),
            "train_val_list.txt": "\n".join(f"1{i}_000.png" for i in range(4)),
        },
        refused="Data_Entry_2017.csv column Finding Labels: several labels a picture",
    ),
    "CheXpert: a column a finding": dict(
        files=[
            f"CheXpert-v1.0-small/{part}/patient{p:05d}/study1/view1_frontal.jpg"
            for part, ps in (("train", range(6)), ("valid", range(6, 9)))
            for p in ps
        ],
        tables={
            f"CheXpert-v1.0-small/{part}.csv": rows(
                "Path,Sex,Age,Edema,Effusion,Fracture",
                *(
                    (
                        f"CheXpert-v1.0-small/{part}/patient{p:05d}/study1/view1_frontal.jpg",
                        "Male",
                        60 + p,
                        "1.0",
                        ["1.0", "0.0", "-1.0"][p % 3],
                        ["", "1.0"][p % 2],
                    )
                    for p in ps
                ),
            )
            for part, ps in (("train", range(6)), ("valid", range(6, 9)))
        },
        refused="several labels a picture",
    ),
    "PlantVillage in three versions": dict(
        files=[
            f"plantvillage dataset/{v}/Tomato___{c}/{i}.JPG"
            for v in ("color", "grayscale", "segmented")
            for c in AB
            for i in range(4)
        ],
        refused="color.*Tomato___leaf.*give the path of the folder that holds them",
    ),
    "PlantVillage with a copy of itself": dict(
        files=each("PlantVillage/{c}/{i}.JPG", 3, c=AB)
        + each("PlantVillage/PlantVillage/{c}/{i}.JPG", 3, c=AB),
        classes={"leaf": 3, "rust": 3},
        left=("copies of the set inside itself", 6),
    ),
    "chest_xray with a copy of its splits and __MACOSX": dict(
        files=[
            f"{top}{part}/{c}/{i}.jpeg"
            for top in ("chest_xray/", "chest_xray/chest_xray/", "chest_xray/__MACOSX/")
            for part, n in SPLIT.items()
            for c in AB
            for i in range(n // 2)
        ],
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
        left=("copies of the set inside itself", 12),
    ),
    "a folder inside that repeats class names with other images": dict(
        files=each("{c}/{i}.png", 3, c=AB) + each("more/{c}/{i}-new.png", 3, c=AB),
        refused="more/ holds folders of the same names as beside it",
    ),
    "COVID-QU-Ex: two kinds of masks below images": dict(
        files=[
            f"Lung Segmentation Data/Lung Segmentation Data/{part}/{c}/{kind}/{c}_{part}{i}.png"
            for part in ("Train", "Val", "Test")
            for c in ("COVID-19", "Normal")
            for kind in ("images", "lung masks")
            for i in range(2)
        ],
        classes={"COVID-19": 6, "Normal": 6},
        splits={"train": 4, "val": 4, "test": 4},
        left=("masks", 12),
    ),
    "BreakHis: a hierarchy of four levels": dict(
        files=[
            f"BreaKHis_v1/histology_slides/breast/{c}/SOB/{s}/SOB_{c[0]}_14-{p}{s[0]}/{z}X/{i}.png"
            for c, kinds in (("benign", ["adenosis", "tumor"]), ("malignant", ["ductal", "papil"]))
            for s in kinds
            for p in range(100, 103)
            for z in (40, 100)
            for i in range(2)
        ],
        refused="benign, malignant or, below them, adenosis",
    ),
    "BreakHis, when the level is given": dict(
        files=[
            f"breast/{c}/SOB/{s}/SOB_{c[0]}_14-{p}{s[0]}/{z}X/{i}.png"
            for c, kinds in (("benign", ["adenosis", "tumor"]), ("malignant", ["ductal", "papil"]))
            for s in kinds
            for p in range(100, 103)
            for z in (40, 100)
            for i in range(2)
        ],
        flags={"class_level": 2},
        classes={"benign": 24, "malignant": 24},
        groups=12,
    ),
    "LC25000: two sets of two and three classes": dict(
        files=each("lung_colon_image_set/colon_image_sets/{c}/{i}.jpeg", 3, c=["aca", "n"])
        + each("lung_colon_image_set/lung_image_sets/{c}/{i}.jpeg", 3, c=["laca", "ln", "lscc"]),
        refused="colon_image_sets, lung_image_sets or, below them, aca",
    ),
    "LC25000, with the level of the classes": dict(
        files=each("lung_colon_image_set/colon_image_sets/{c}/{i}.jpeg", 3, c=["aca", "n"])
        + each("lung_colon_image_set/lung_image_sets/{c}/{i}.jpeg", 3, c=["laca", "ln", "lscc"]),
        flags={"class_level": 3},
        classes=dict.fromkeys(["aca", "n", "laca", "ln", "lscc"], 3),
    ),
    "HyperKvasir: a tree of findings": dict(
        files=each("labeled-images/lower-gi-tract/{c}/{i}.jpg", 3, c=["cecum", "ileum"])
        + each("labeled-images/upper-gi-tract/{c}/{i}.jpg", 3, c=["pylorus", "z-line"]),
        refused="lower-gi-tract, upper-gi-tract or, below them, cecum",
    ),
    "Oxford pets: lists of four columns": dict(
        files=each("images/{c}_{i}.jpg", 4, c=["Abyssinian", "Beagle"]),
        tables={
            f"annotations/{part}.txt": "#Image CLASS-ID SPECIES\n"
            + "\n".join(
                f"{c}_{i} {k} {k}" for k, c in ((1, "Abyssinian"), (2, "Beagle")) for i in which
            )
            for part, which in (("trainval", range(3)), ("test", [3]))
        },
        refused="--labels .*annotations/t.*txt --file-column 1 --label-column",
    ),
    "Oxford pets, with the column named": dict(
        files=each("images/{c}_{i}.jpg", 4, c=["Abyssinian", "Beagle"]),
        tables={
            f"annotations/{part}.txt": "#Image CLASS-ID SPECIES\n"
            + "\n".join(
                f"{c}_{i} {k} {k}" for k, c in ((1, "Abyssinian"), (2, "Beagle")) for i in which
            )
            for part, which in (("trainval", range(3)), ("test", [3]))
        },
        flags={"label_column": "2"},
        classes={"1": 4, "2": 4},
        splits={"train": 6, "test": 2},
    ),
    "CUB: numbers that join images.txt and train_test_split.txt": dict(
        files=each("CUB/images/{c}/{c}_{i}.jpg", 4, c=["001.Albatross", "002.Auklet"]),
        tables={
            "CUB/images.txt": "\n".join(
                f"{4 * k + i + 1} {c}/{c}_{i}.jpg"
                for k, c in enumerate(["001.Albatross", "002.Auklet"])
                for i in range(4)
            ),
            "CUB/image_class_labels.txt": "\n".join(f"{n + 1} {n // 4 + 1}" for n in range(8)),
            "CUB/train_test_split.txt": "\n".join(f"{n + 1} {int(n % 4 > 0)}" for n in range(8)),
            "CUB/classes.txt": "1 001.Albatross\n2 002.Auklet",
        },
        classes={"001.Albatross": 4, "002.Auklet": 4},
        splits={"train": 6, "test": 2},
    ),
    "Food-101: lists without suffixes": dict(
        files=each("food-101/images/{c}/{c}{i}.jpg", 4, c=AB),
        tables={
            "food-101/meta/train.txt": "\n".join(f"{c}/{c}{i}" for c in AB for i in range(3)),
            "food-101/meta/test.txt": "\n".join(f"{c}/{c}3" for c in AB),
            "food-101/meta/classes.txt": "leaf\nrust",
            "food-101/README.txt": "Food, by us.\n",
        },
        classes={"leaf": 4, "rust": 4},
        splits={"train": 6, "test": 2},
    ),
    "a list of paths and numbers, with names beside": dict(
        files=numbered("pictures/x{i}.png", 6),
        tables={
            "train.txt": "\n".join(f"pictures/x{i}.png {i % 2}" for i in range(4)),
            "test.txt": "\n".join(f"pictures/x{i}.png {i % 2}" for i in range(4, 6)),
            "classes.txt": "leaf\nrust\n",
        },
        classes={"leaf": 3, "rust": 3},
        splits={"train": 4, "test": 2},
    ),
    "EuroSAT: folders and tables that agree": dict(
        files=each("EuroSAT/{c}/{c}_{i}.jpg", 4, c=["Forest", "River"]),
        tables={
            f"EuroSAT/{part}.csv": rows(
                ",Filename,Label,ClassName",
                *(
                    (n, f"{c}/{c}_{i}.jpg", k, c)
                    for k, c in enumerate(["Forest", "River"])
                    for n, i in enumerate(which)
                ),
            )
            for part, which in (("train", range(2)), ("validation", [2]), ("test", [3]))
        }
        | {"EuroSAT/label_map.json": json.dumps({"Forest": 0, "River": 1})},
        classes={"Forest": 4, "River": 4},
        splits={"train": 4, "val": 2, "test": 2},
    ),
    "folders and a table that contradict": dict(
        files=each("{c}/{c}{i}.png", 4, c=AB),
        tables={
            "labels.csv": rows(
                "image,label", *((f"{c}{i}.png", "xy"[i % 2]) for c in AB for i in range(4))
            )
        },
        refused=r"folders \(leaf, rust\) and labels.csv \(column label\) tell different classes",
    ),
    "the same, by the folders": dict(
        files=each("{c}/{c}{i}.png", 4, c=AB),
        tables={
            "labels.csv": rows(
                "image,label", *((f"{c}{i}.png", "xy"[i % 2]) for c in AB for i in range(4))
            )
        },
        flags={"labels": "folders"},
        classes={"leaf": 4, "rust": 4},
    ),
    "the same, by the table": dict(
        files=each("{c}/{c}{i}.png", 4, c=AB),
        tables={
            "labels.csv": rows(
                "image,label", *((f"{c}{i}.png", "xy"[i % 2]) for c in AB for i in range(4))
            )
        },
        flags={"labels": "labels.csv"},
        classes={"x": 4, "y": 4},
    ),
    "Label Studio JSON": dict(
        files=numbered("images/photo{i}.jpg", 6),
        tables={"project-1.json": json.dumps(LABEL_STUDIO)},
        classes={"leaf": 3, "rust": 3},
    ),
    "Label Studio, uploaded names": dict(
        files=numbered("images/0a1b2c{i:02d}-photo{i}.jpg", 6),
        tables={
            "project-1.json": json.dumps(
                [
                    {"id": i, "image": t["data"]["image"], "choice": AB[i % 2]}
                    for i, t in enumerate(LABEL_STUDIO)
                ]
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "Label Studio, annotators who disagree": dict(
        files=numbered("images/photo{i}.jpg", 6),
        tables={
            "project-1.json": json.dumps(
                [
                    {
                        **task,
                        "annotations": [
                            {"result": [{"value": {"choices": [AB[(n + i) % 2]]}}]}
                            for i in range(1 + (n == 5))
                        ],
                    }
                    for n, task in enumerate(LABEL_STUDIO)
                ]
            )
        },
        refused="several labels a picture",
    ),
    "CVAT annotations.xml": dict(
        files=numbered("images/photo{i}.jpg", 6),
        tables={"annotations.xml": f"<annotations><version>1.1</version>{CVAT}</annotations>"},
        classes={"leaf": 3, "rust": 3},
    ),
    "Roboflow _classes.csv": dict(
        files=numbered("train/x{i}.jpg", 8) + numbered("test/y{i}.jpg", 4),
        tables={
            f"{part}/_classes.csv": rows(
                "filename, leaf, rust",
                *((f"{letter}{i}.jpg", int(i % 2 == 0), int(i % 2)) for i in range(n)),
            )
            for part, letter, n in (("train", "x", 8), ("test", "y", 4))
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "Hugging Face metadata.jsonl in each split": dict(
        files=numbered("data/train/{i}.png", 8) + numbered("data/test/{i}.png", 4),
        tables={
            f"data/{part}/metadata.jsonl": "\n".join(
                json.dumps({"file_name": f"{i}.png", "label": i % 2, "caption": "x"})
                for i in range(n)
            )
            for part, n in SPLIT.items()
        },
        classes={"0": 6, "1": 6},
        splits=SPLIT,
    ),
    "integers with names in JSON beside": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "metadata.csv": rows("file_name,label", *((f"img/{i}.png", i % 2) for i in range(6))),
            "class_names.json": json.dumps({"0": "leaf", "1": "rust"}),
        },
        classes={"leaf": 3, "rust": 3},
        said="with the names of class_names.json",
    ),
    "a label as number and as name": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "labels.tsv": rows(
                "image_name,target,class_name",
                *((f"{i}.png", i % 2, AB[i % 2]) for i in range(6)),
                sign="\t",
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "two columns that may be the label": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "info.csv": rows(
                "image,species,diagnosis",
                *((f"{i}.png", AB[i % 2], "xy"[i // 4]) for i in range(8)),
            )
        },
        refused="--labels info.csv --file-column image --label-column with one of species, diag",
    ),
    "numbers to predict": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "metadata.csv": rows("file_name,label", *((f"img/{i}.png", 0.37 * i) for i in range(8)))
        },
        refused="numbers to predict",
    ),
    "ages to predict": dict(
        files=numbered("img/{i}.png", 40),
        tables={"ages.csv": rows("image,target", *((f"{i}.png", 3 * i + 18) for i in range(40)))},
        refused="numbers to predict",
    ),
    "several labels with blanks": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "train.csv": rows(
                "image,labels",
                *((f"{i}.png", ["scab", "rust", "scab rust", "healthy"][i % 4]) for i in range(8)),
            )
        },
        refused=r"several labels a picture \('scab rust'\)",
    ),
    "class names with blanks in common": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "train.csv": rows(
                "image,label",
                *(
                    (
                        f"{i}.png",
                        ["Viral Pneumonia", "Bacterial Pneumonia", "Normal", "Viral"][i % 4],
                    )
                    for i in range(8)
                ),
            )
        },
        classes=dict.fromkeys(["Viral Pneumonia", "Bacterial Pneumonia", "Normal", "Viral"], 2),
    ),
    "rows without a label": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "metadata.csv": rows(
                "file_name,label", *((f"img/{i}.png", [*AB, ""][i % 3]) for i in range(8))
            )
        },
        refused=r"line 4: img/2.png has no label \(2 rows have none\): .*--skip-unlabelled",
    ),
    "rows without a label, left out": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "metadata.csv": rows(
                "file_name,label", *((f"img/{i}.png", [*AB, ""][i % 3]) for i in range(8))
            )
        },
        flags={"skip_unlabelled": True},
        classes={"leaf": 3, "rust": 3},
        left=("rows without a label", 2),
    ),
    "patient folders and nothing else": dict(
        files=each("patient_{p:03d}/{i}.png", 3, p=range(5)),
        refused="patients or recordings, and nothing tells the classes",
    ),
    "part folders and nothing else": dict(
        files=each("part{p}/{i}.png", 3, p=range(3)), refused="parts of the set"
    ),
    "folds above classes": dict(
        files=[f"fold{f}/{c}/{f}{i}.png" for f in range(1, 6) for c in AB for i in range(2)],
        classes={"leaf": 10, "rust": 10},
        groups=5,
    ),
    "batches above classes": dict(
        files=[f"batch_{f}/{c}/{f}{i}.png" for f in (1, 2) for c in AB for i in range(2)],
        classes={"leaf": 4, "rust": 4},
        groups=0,
    ),
    "patients below classes, the same in both": dict(
        files=[f"{c}/person{p:02d}/{i}.png" for c in AB for p in range(5) for i in range(2)],
        classes={"leaf": 10, "rust": 10},
        groups=5,
    ),
    "patients and visits above classes": dict(
        files=[
            f"P{p:03d}/visit{v}/{c}/{p}{v}{i}.png"
            for p in range(4)
            for v in (1, 2)
            for c in AB
            for i in range(2)
        ],
        classes={"leaf": 16, "rust": 16},
        groups=4,
    ),
    "splits, then patients, then classes": dict(
        files=[
            f"{part}/patient{p}/{c}/{i}.png"
            for part, ps in (("train", range(4)), ("test", range(4, 6)))
            for p in ps
            for c in AB
            for i in range(2)
        ],
        classes={"leaf": 12, "rust": 12},
        splits={"train": 16, "test": 8},
        groups=6,
    ),
    "tiny-imagenet": dict(
        files=each("train/{c}/images/{c}_{i}.JPEG", 4, c=["n01443537", "n01629819"])
        + numbered("val/images/val_{i}.JPEG", 4)
        + numbered("test/images/test_{i}.JPEG", 3),
        tables={"wnids.txt": "n01443537\nn01629819"},
        classes={"n01443537": 4, "n01629819": 4},
        splits={"train": 8},
        left=("images outside class folders", 7),
    ),
    "two views of a class, by words": dict(
        files=[f"{c}/{v}/{i}.png" for c in AB for v in ("day", "night") for i in range(3)],
        refused="two ways, with the classes leaf, rust or, below them, day, night",
    ),
    "masks above classes": dict(
        files=each("images/{c}/{i}.png", 3, c=AB) + each("masks/{c}/{i}.png", 3, c=AB),
        classes={"leaf": 3, "rust": 3},
        left=("masks", 6),
    ),
    "classes called mask and no_mask": dict(
        files=each("{c}/{i}.png", 3, c=["with_mask", "without_mask"]),
        classes={"with_mask": 3, "without_mask": 3},
    ),
    "images and masks without classes": dict(
        files=numbered("images/{i}.png", 4) + numbered("masks/{i}.png", 4),
        refused="parts of the set, and nothing tells the classes",
    ),
    "folders of texts beside the classes": dict(
        files=each("{c}/{i}.png", 3, c=AB),
        tables={"annotations/1.xml": "<a/>", "annotations/2.xml": "<a/>", "docs/x.pdf": "x"},
        classes={"leaf": 3, "rust": 3},
        left=("folders without images", 2),
    ),
    "a class whose files are not read": dict(
        files=each("{c}/{i}.png", 3, c=AB),
        tables={"third/1.nii": "x", "third/2.nii": "x"},
        classes={"leaf": 3, "rust": 3},
        empty={"third"},
        left=("files that are no images", 2),
    ),
    "val and test without train": dict(
        files=each("val/{c}/{i}.png", 4, c=AB) + each("test/{c}/{i}.png", 2, c=AB),
        classes={"leaf": 6, "rust": 6},
        splits={"val": 8, "test": 4},
    ),
    "a single folder at the top, and a preview": dict(
        files=[*each("set/data/{c}/{i}.png", 3, c=AB), "preview.png"],
        classes={"leaf": 3, "rust": 3},
        left=("images outside class folders", 1),
    ),
    "a class called train, with folders": dict(
        files=[
            f"{c}/{v}{i}/{n}.png"
            for c, v in (("bus", "b"), ("train", "t"))
            for i in range(3)
            for n in range(2)
        ],
        refused="train/ can be a split, or a class beside bus",
    ),
    "series of names that may be anything": dict(
        files=[f"{AB[p % 2]}/A{p}_{f}.png" for p in range(8) for f in range(3)],
        classes={"leaf": 12, "rust": 12},
        groups=0,
        note="names look like 8 series of pictures",
    ),
    "series of names, grouped by the flag": dict(
        files=[f"{AB[p % 2]}/A{p}_{f}.png" for p in range(8) for f in range(3)],
        flags={"group_by": "name"},
        classes={"leaf": 12, "rust": 12},
        groups=8,
    ),
    "a spreadsheet in UTF-16 with its own first line": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "metadata.csv": "sep=;\n".encode("utf-16")
            + rows(
                "file_name,label", *((f"img/{i}.png", AB[i % 2]) for i in range(6)), sign=";"
            ).encode("utf-16-le")
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "paths as Windows writes them": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "labels.csv": rows(
                "path,label", *((rf"C:\Users\me\img\{i}.png", AB[i % 2]) for i in range(6))
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "one name in two folders": dict(
        files=each("part_{p}/{i}.png", 3, p=[1, 2]),
        tables={"labels.csv": rows("image,label", *((f"{i}.png", AB[i % 2]) for i in range(3)))},
        refused="parts of the set, and nothing tells the classes",
    ),
    "augment's own export": dict(
        files=each("train/{c}/real-{i}.png", 4, c=AB)
        + each("train/{c}/synthetic-{i}.png", 6, c=AB),
        tables={
            "metadata.csv": rows(
                "file_name,label,source,group",
                *(
                    (f"train/{c}/{s}-{i}.png", c, s, f"P{i}" if s == "real" else "")
                    for c in AB
                    for s, n in (("real", 4), ("synthetic", 6))
                    for i in range(n)
                ),
            )
        },
        classes={"leaf": 10, "rust": 10},
        splits={"": 8, "synthetic": 12},
        groups=4,
        note="12 synthetic images are learnt from and never held out",
    ),
}

LAYOUTS |= {
    # forms of tables
    "diagnoses by patient, whose folders hold the images": dict(
        files=each("scans/patient_{p:03d}/{i}.png", 3, p=range(6)),
        tables={
            "patients.csv": rows(
                "patient_id,age,diagnosis",
                *((f"patient_{p:03d}", 50 + p, AB[p % 2]) for p in range(6)),
            )
        },
        classes={"leaf": 9, "rust": 9},
        groups=6,
    ),
    "a table without a head line": dict(
        files=numbered("img/{i}.png", 6),
        tables={"labels.csv": "\n".join(f"{i}.png,{AB[i % 2]}" for i in range(6))},
        classes={"leaf": 3, "rust": 3},
    ),
    "numbers for names with zeros before": dict(
        files=numbered("train/{i:05d}.png", 6),
        tables={"labels.csv": rows("id,breed", *((i, AB[i % 2]) for i in range(6)))},
        classes={"leaf": 3, "rust": 3},
    ),
    "the same names in train and in test": dict(
        files=numbered("train/{i}.png", 8) + numbered("test/{i}.png", 4),
        tables={
            f"{part}.csv": rows("image,label", *((f"{i}.png", AB[i % 2]) for i in range(n)))
            for part, n in SPLIT.items()
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "GTSRB: folders to learn from, tables for all": dict(
        files=each("Train/{c}/{c}_{i}.png", 3, c=[0, 1])
        + numbered("Test/t{i}.png", 4)
        + numbered("Meta/{i}.png", 2),
        tables={
            "Train.csv": rows(
                "Width,Height,ClassId,Path",
                *((30 + i, 30, c, f"Train/{c}/{c}_{i}.png") for c in (0, 1) for i in range(3)),
            ),
            "Test.csv": rows(
                "Width,Height,ClassId,Path", *((40, 41, i % 2, f"Test/t{i}.png") for i in range(4))
            ),
            "Meta.csv": rows("Path,ClassId,Shape", *((f"Meta/{i}.png", i, 0) for i in range(2))),
        },
        classes={"0": 5, "1": 5},
        splits={"train": 6, "test": 4},
    ),
    "train and test without labels": dict(
        files=[
            *numbered("train/cat.{i}.jpg", 3),
            *numbered("train/dog.{i}.jpg", 3),
            *numbered("test1/{i}.jpg", 3),
        ],
        refused="nothing tells the classes",
    ),
    "MVTec: good alone to learn from": dict(
        files=numbered("bottle/train/good/{i:03d}.png", 6)
        + each("bottle/test/{c}/{i:03d}.png", 2, c=["good", "broken"])
        + numbered("bottle/ground_truth/broken/{i:03d}_mask.png", 2),
        classes={"good": 8, "broken": 2},
        splits={"train": 6, "test": 4},
    ),
    "a table of numbers that happen to be names": dict(
        files=each("{c}/{i}.png", 6, c=AB),
        tables={"people.csv": rows("id,age,sex", *((i, 40 + i, "mf"[i % 2]) for i in range(6)))},
        classes={"leaf": 6, "rust": 6},
        note="people.csv",
    ),
    "a metadata.csv in one class folder": dict(
        files=each("{c}/{i}.png", 6, c=AB),
        tables={"leaf/metadata.csv": rows("file_name,date", *((f"{i}.png", i) for i in range(6)))},
        classes={"leaf": 6, "rust": 6},
    ),
    "a sheet beside images": dict(
        files=numbered("img/{i}.png", 6),
        tables={"labels.xlsx": "PK"},
        refused="labels.xlsx may hold the labels: save it as CSV",
    ),
    "a DomainNet of three styles": dict(
        files=[
            f"{s}/{c}/{s}_{i}.png" for s in ("art", "clip", "real") for c in AB for i in range(3)
        ],
        refused="two ways, with the classes art, clip, real or, below them, leaf, rust",
    ),
    "dates above classes": dict(
        files=[
            f"2021-03-{d:02d}/{c}/{d}{i}.png" for d in range(1, 6) for c in AB for i in range(2)
        ],
        classes={"leaf": 10, "rust": 10},
        groups=5,
    ),
    "a class whose pictures lie in one folder more": dict(
        files=each("{c}/{c}_images/{i}.png", 4, c=AB), classes={"leaf": 4, "rust": 4}
    ),
    "unlabelled pictures beside the classes": dict(
        files=each("{c}/{i}.png", 4, c=AB) + numbered("unlabeled/{i}.png", 5),
        classes={"leaf": 4, "rust": 4},
        left=("unlabelled images", 5),
    ),
    "a class in all lists, split by lists of other names": dict(
        files=each("images/{c}/{c}{i}.png", 4, c=AB),
        tables={
            "splits/train_list.txt": "\n".join(
                f"images/{c}/{c}{i}.png" for c in AB for i in range(3)
            ),
            "splits/test_list.txt": "\n".join(f"images/{c}/{c}3.png" for c in AB),
        },
        classes={"leaf": 4, "rust": 4},
        splits={"train": 6, "test": 2},
    ),
    "classes that are called images of something": dict(
        files=each("{c}/{i}.png", 3, c=["cat_images", "dog_images"]),
        classes={"cat_images": 3, "dog_images": 3},
    ),
    "results of a test as classes": dict(
        files=each("{c}/{i}.png", 3, c=["test_positive", "test_negative"]),
        classes={"test_positive": 3, "test_negative": 3},
    ),
    "a class called test": dict(
        files=each("{c}/{i}.png", 3, c=["cat", "dog", "test"]),
        classes={"cat": 3, "dog": 3, "test": 3},
        note="the folders test are taken for classes, not for splits",
    ),
    "two sets side by side, each with splits": dict(
        files=[
            f"{s}/{part}/{c}/{i}.png"
            for s in ("sheep", "goats")
            for part in ("train", "test")
            for c in AB
            for i in range(2)
        ],
        refused="two ways, with the classes goats, sheep or, below them, leaf, rust",
    ),
    "patients with several visits in a table": dict(
        files=numbered("img/{i}.png", 12),
        tables={
            "metadata.csv": rows(
                "file_name,label,visit,scan_id,subject",
                *((f"img/{i}.png", AB[i // 3 % 2], i % 3, i, f"S{i // 3}") for i in range(12)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        groups=4,
    ),
    "suffixes in other capitals": dict(
        files=numbered("img/IMG_{i}.JPG", 6),
        tables={
            "metadata.csv": rows(
                "file_name,label", *((f"img_{i}.jpg", AB[i % 2]) for i in range(6))
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "a list of the test images alone": dict(
        files=each("{c}/{c}{i}.png", 4, c=AB),
        tables={"testing_list.txt": "leaf/leaf3.png\nrust/rust3.png"},
        classes={"leaf": 4, "rust": 4},
        splits={"train": 6, "test": 2},
    ),
    "COCO with one category an image": dict(
        files=numbered("images/{i}.jpg", 6),
        tables={
            "annotations/instances.json": json.dumps(
                {
                    "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(6)],
                    "annotations": [{"image_id": i, "category_id": i % 2} for i in range(6)],
                    "categories": [{"id": 0, "name": "leaf"}, {"id": 1, "name": "rust"}],
                }
            )
        },
        classes={"leaf": 3, "rust": 3},
    ),
    "an .npz in a folder": dict(
        files=[],
        tables={"bloodmnist.npz": "PK"},
        refused="holds no images, but bloodmnist.npz: give its path",
    ),
    "one table for train_images/ and test_images/": dict(
        files=numbered("train_images/a{i}.png", 8) + numbered("test_images/b{i}.png", 4),
        tables={
            "labels.csv": rows(
                "image,label",
                *((f"a{i}.png", AB[i % 2]) for i in range(8)),
                *((f"b{i}.png", AB[i % 2]) for i in range(4)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "hospitals and nothing else": dict(
        files=each("hospital_{p}/{i}.png", 3, p="abc"), refused="nothing tells the classes"
    ),
    "dates and nothing else": dict(
        files=each("2021-03-0{p}/{i}.png", 3, p=range(1, 5)), refused="nothing tells the classes"
    ),
    "patients that are the classes, as the user says": dict(
        files=each("person_{p}/{i}.png", 3, p=range(4)),
        flags={"class_level": 1},
        classes={f"person_{p}": 3 for p in range(4)},
    ),
    "patients above classes, with the same names in each": dict(
        files=[f"P{p:03d}/{c}/{i}.png" for p in range(6) for c in (0, 1) for i in range(5)],
        classes={"0": 30, "1": 30},
        groups=6,
    ),
    "the same images in two sizes": dict(
        files=[f"{s}x{s}/{c}/{i}.png" for s in (128, 256) for c in AB for i in range(5)],
        refused="two ways, with the classes 128x128, 256x256 or, below them, leaf, rust",
    ),
    "a competition: names in JSON, and a form to fill in": dict(
        files=numbered("train_images/a{i}.jpg", 8) + numbered("test_images/b{i}.jpg", 4),
        tables={
            "train.csv": rows("image_id,label", *((f"a{i}.jpg", i % 2) for i in range(8))),
            "sample_submission.csv": rows("image_id,label", *((f"b{i}.jpg", 1) for i in range(4))),
            "label_num_to_disease_map.json": json.dumps({"0": "leaf", "1": "rust"}),
        },
        classes={"leaf": 4, "rust": 4},
        left=("images that train.csv does not name", 4),
        note="not used: sample_submission.csv",
    ),
    "yes and no of one thing": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "t.csv": rows("filename,age,tumour", *((f"{i}.png", 30 + i, i % 2) for i in range(8)))
        },
        refused="--labels t.csv --file-column filename --label-column with one of",
    ),
    "yes and no, when the column is named": dict(
        files=numbered("img/{i}.png", 8),
        tables={
            "t.csv": rows("filename,age,tumour", *((f"{i}.png", 30 + i, i % 2) for i in range(8)))
        },
        flags={"label_column": "tumour"},
        classes={"0": 4, "1": 4},
    ),
}

IN_OTHER_LANGUAGES = {
    "Spanish": ("entrenamiento", "prueba", "validación"),
    "Spanish without accents": ("Entrenamiento", "Pruebas", "Validacion"),
    "French": ("apprentissage", "test", "validation"),
    "French with accents": ("entraînement", "essai", "évaluation"),
    "German": ("Trainingsdaten", "Testdaten", "Validierungsdaten"),
    "German and English": ("Training", "Test", "Validierung"),
    "Portuguese": ("treino", "teste", "validação"),
    "Portuguese of Brazil": ("treinamento", "teste", "validacao"),
    "Italian": ("addestramento", "prova", "validazione"),
    "Chinese": ("训练集", "测试集", "验证集"),
    "Chinese in short": ("训练", "测试", "验证"),
    "traditional Chinese": ("訓練集", "測試集", "驗證集"),
    "Spanish as macOS writes it": ("entrenamiento", "prueba", "validacio\u0301n"),
}
LAYOUTS |= {
    f"splits in {language}": dict(
        files=each(f"{train}/{{c}}/{{i}}.png", 4, c=AB)
        + each(f"{test}/{{c}}/{{i}}.png", 2, c=AB)
        + each(f"{val}/{{c}}/{{i}}.png", 1, c=AB),
        classes={"leaf": 7, "rust": 7},
        splits=SPLIT | {"test": 4, "val": 2},
        said="splits test, train, val from folders",
    )
    for language, (train, test, val) in IN_OTHER_LANGUAGES.items()
}
ROBOFLOW_BOXES = [
    f"{split}/im{i}_jpg.rf.{i:032x}.jpg" for split in ("train", "valid") for i in range(4)
]
CELEBA = numbered("{i:06d}.jpg", 12)
LAYOUTS |= {
    "Spanish splits below classes": dict(
        files=each("{c}/entrenamiento/{i}.png", 4, c=AB) + each("{c}/prueba/{i}.png", 2, c=AB),
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
    ),
    "a column of Portuguese splits": dict(
        files=numbered("img/{i}.png", 12),
        tables={
            "labels.csv": rows(
                "file,label,split",
                *((f"{i}.png", AB[i % 2], ["treino", "teste"][i % 3 == 0]) for i in range(12)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        splits=SPLIT,
        said="splits from column split",
    ),
    "a class that is called as a split of another language": dict(
        files=each("{c}/{i}.png", 4, c=["prova", "pizza"]), classes={"prova": 4, "pizza": 4}
    ),
    "Roboflow's COCO of boxes": dict(
        files=ROBOFLOW_BOXES,
        tables={
            f"{split}/_annotations.coco.json": json.dumps(
                dict(
                    images=[
                        dict(id=k, file_name=name.partition("/")[2])
                        for k, name in enumerate(ROBOFLOW_BOXES)
                        if name.startswith(split)
                    ],
                    categories=[dict(id=0, name="cell"), dict(id=1, name="rbc")],
                    annotations=[
                        dict(id=k, image_id=k, category_id=k % 2, bbox=[1, 2, 3, 4])
                        for k in range(8)
                    ],
                )
            )
            for split in ("train", "valid")
        },
        refused=r"train/_annotations\.coco\.json holds boxes, .*Folder Structure.*--labels",
    ),
    "CelebA's list of attributes": dict(
        files=[f"img_align_celeba/{name}" for name in CELEBA],
        tables={
            "list_attr_celeba.txt": "12\nBald Male Smiling \n"
            + "\n".join(
                f"{f}  {i % 2 * 2 - 1:2}  1 {i % 3 // 2 * 2 - 1:2}" for i, f in enumerate(CELEBA)
            )
        },
        refused="several labels a picture .*--label-column",
    ),
    "one of CelebA's attributes and its splits": dict(
        files=[f"img_align_celeba/{name}" for name in CELEBA],
        tables={
            "list_attr_celeba.txt": "12\nBald Male Smiling \n"
            + "\n".join(
                f"{f}  {i % 2 * 2 - 1:2}  1 {i % 3 // 2 * 2 - 1:2}" for i, f in enumerate(CELEBA)
            ),
            "list_eval_partition.txt": "\n".join(f"{f} {i // 4}" for i, f in enumerate(CELEBA)),
        },
        flags={"label_column": "Smiling"},
        classes={"-1": 8, "1": 4},
        splits={"train": 4, "val": 4, "test": 4},
        said="column Smiling of list_attr_celeba.txt",
    ),
    "a spreadsheet's text in UTF-16 with a head line": dict(
        files=numbered("img/{i}.png", 6),
        tables={
            "Befunde.txt": rows(
                "Bild,Befund", *((f"{i}.png", ["gut", "mäßig"][i % 2]) for i in range(6)), sign="\t"
            ).encode("utf-16")
        },
        classes={"gut": 3, "mäßig": 3},
        said="column Befund of Befunde.txt",
    ),
    "folders that are long numbers": dict(
        files=each("{p}/{i}.png", 4, p=[8863, 8864, 8865]),
        refused="8863, 8864, 8865 are numbers as patients, .*--labels.*--class-level 1 if",
    ),
    "long numbers that are said to be classes": dict(
        files=each("{p}/{i}.png", 4, p=[8863, 8864]),
        flags={"class_level": 1},
        classes={"8863": 4, "8864": 4},
    ),
    "long numbers, the same in both splits": dict(
        files=each("train/{p}/{i}.png", 4, p=[8863, 8864])
        + each("test/{p}/{i}.png", 2, p=[8863, 8864]),
        classes={"8863": 6, "8864": 6},
        splits=SPLIT,
    ),
    "classes that are numbered with zeros before": dict(
        files=each("{p:05d}/{i}.png", 3, p=range(43)), classes={f"{p:05d}": 3 for p in range(43)}
    ),
    "malaria's cells, whose names tell the patient": dict(
        files=[
            f"cell_images/{c}/{p}thinF_IMG_20150619_11475{i}a_cell_{k}{i}.png"
            for k, c in enumerate(["Parasitized", "Uninfected"])
            for p in ("C33P1", "C39P4", "C100P61", "C1_", "C2N", "C37BP2_")
            for i in range(2)
        ],
        classes={"Parasitized": 12, "Uninfected": 12},
        groups=6,
        said="groups from names like C1",
    ),
    "castings at two sizes, one of them split": dict(
        files=each("casting_data/casting_data/train/{c}/{i}.jpeg", 4, c=["def_front", "ok_front"])
        + each("casting_data/casting_data/test/{c}/{i}.jpeg", 2, c=["def_front", "ok_front"])
        + each("casting_512x512/casting_512x512/{c}/{i}.jpeg", 3, c=["def_front", "ok_front"]),
        refused="casting_data/ holds train and test folders and .*give the path of one of the two",
    ),
}


def build(root, files=(), tables=None, **_):
    """Write empty files for images, and the tables."""
    for name, content in [*((name, b"") for name in files), *(tables or {}).items()]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_understood_or_refused(tmp_path, name):
    read_or_refused(tmp_path, LAYOUTS[name])


def read_or_refused(root, right):
    """Build a layout, read it, and compare with what is right."""
    build(root, **right)
    flags = ReadingFlags(**right.get("flags", {}))
    if "refused" in right:
        with pytest.raises(DataError, match=right["refused"]):
            read_layout(root, flags)
        return
    layout = read_layout(root, flags)
    entries = layout.entries
    assert Counter(entry.label for entry in entries) == right["classes"]
    assert layout.classes - set(right["classes"]) == right.get("empty", set())
    splits = right.get("splits", {"": len(entries)})
    assert Counter(entry.split for entry in entries) == splits
    assert len({entry.group for entry in entries} - {""}) == right.get("groups", 0)
    if "left" in right:
        kind, count = right["left"]
        assert len(layout.left_out[kind]) == count
    assert right.get("said", "") in layout.sentence
    assert right.get("note", "") in "; ".join(layout.notes)
    assert f"{len(layout.classes)} classes from" in layout.sentence


def test_handed_layouts_are_read_from_disk_to_dataset(tmp_path):
    """The honest split of C28, C29 and C67: no patient and no recording on both sides."""
    for name in ("C27", "C28", "C29", "C67", "C13"):
        key = next(each for each in LAYOUTS if each.startswith(name))
        root = tmp_path / name
        build(root, tables=LAYOUTS[key].get("tables"))
        put(root, *LAYOUTS[key]["files"])
        data = load_dataset(str(root))
        assert len(data.pool) + len(data.test) == len(LAYOUTS[key]["files"])
        assert not set(data.pool_groups) & set(data.test_groups)
        assert noted(data.notes, "groups from")


def test_official_splits_are_the_test_set(tmp_path):
    for name in ("C11", "C24", "C25", "C57"):
        key = next(each for each in LAYOUTS if each.startswith(name))
        root = tmp_path / name
        build(root, tables=LAYOUTS[key].get("tables"))
        put(root, *LAYOUTS[key]["files"])
        data = load_dataset(str(root))
        assert (len(data.pool), len(data.test), data.official_test) == (8, 4, True)
        assert all("test" in file for file in data.test_files)


def test_sets_for_finding_defects_are_told_what_to_do(tmp_path):
    put(
        tmp_path,
        *numbered("train/good/{i}.png", 6),
        *each("test/{c}/{i}.png", 4, c=["good", "cut"]),
    )
    with pytest.raises(DataError, match="holds the class 'good' alone"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match="training split holds the class 'good' alone"):
        load_dataset(str(tmp_path), drop_small_classes=True)
    assert load_dataset(str(tmp_path / "test")).pool.classes == ("cut", "good")


def test_patients_of_malaria_cells():
    names = {
        "C33P1thinF_IMG_20150619_114756a_cell_179": "C33P1",
        "C39P4thinF_original_IMG_20150622_105554_cell_9": "C39P4",
        "C1_thinF_IMG_20150604_104722_cell_9": "C1",
        "C2NThinF_IMG_20150604_114730_cell_81": "C2N",
        "C37BP2_thinF_IMG_20150620_131423a_cell_75": "C37BP2",
        "C182P143NThinF_IMG_20151201_171950_cell_1": "C182P143N",
        "C4thin_original_IMG_20150608_163002_cell_7": "C4",
        "Cat3thing_1": "",
    }
    assert {name: _subject(name) for name in names} == names


def test_numbers_sort_by_value(tmp_path):
    put(tmp_path, *each("{c}/{i}.png", 3, c=range(12)))
    assert load_dataset(str(tmp_path)).pool.classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("drop", [False, True])
def test_classes_of_train_and_test_that_differ_in_capitals_are_refused(tmp_path, drop):
    put(tmp_path, *each("train/{c}/{i}.png", 4, c=["NORMAL", "PNEUMONIA"]))
    put(tmp_path, *each("test/{c}/{i}.png", 2, c=["Normal", "Pneumonia"]))
    with pytest.raises(DataError, match=r"'NORMAL', 'Normal'; 'PNEUMONIA', 'Pneumonia'"):
        load_dataset(str(tmp_path), drop_small_classes=drop)
    assert noted(inspect(str(tmp_path))["problems"], "'NORMAL', 'Normal'")


def test_test_folder_of_unknown_classes_is_refused(tmp_path):
    put(tmp_path, *each("train/{c}/{i}.png", 4, c=AB), *each("test/{c}/{i}.png", 2, c="xy"))
    for drop in (False, True):
        with pytest.raises(DataError, match="'x' has 0 to learn from and 2 to test on"):
            load_dataset(str(tmp_path), drop_small_classes=drop)
    assert noted(inspect(str(tmp_path))["problems"], "'x' has 0 to learn from")


def test_classes_that_differ_in_capitals_are_warned_of(tmp_path):
    put(tmp_path, *each("{c}/{i}.png", 6, c=["healthy", "Healthy", "rust"]))
    assert noted(load_dataset(str(tmp_path)).notes, "capitals", "'Healthy', 'healthy'")


def test_synthetic_images_are_never_held_out(tmp_path):
    own = LAYOUTS["augment's own export"]
    build(tmp_path, tables=own["tables"])
    put(tmp_path, *own["files"])
    data = load_dataset(str(tmp_path))
    assert not data.official_test
    assert all("real" in file for file in data.test_files)
    assert sum("synthetic" in file for file in data.pool_files) == 12
    assert not set(data.pool_groups) & set(data.test_groups)


def test_missing_images_are_counted_and_the_nearest_named(tmp_path):
    put(tmp_path, *numbered("img/{i}.png", 24))
    lines = ((f"img/{i}.{'png' if i % 8 else 'jpg'}", AB[i % 2]) for i in range(24))
    build(tmp_path, tables={"metadata.csv": rows("file_name,label", *lines)})
    why = r"3 of 24 images of the table do not exist: the first is img/0.jpg \(missing; .*line 2; "
    with pytest.raises(DataError, match=why + r"there is img/0.png\)"):
        load_dataset(str(tmp_path))
    data = load_dataset(str(tmp_path), skip_bad=True)
    assert [name for name, _ in data.bad] == ["img/0.jpg", "img/8.jpg", "img/16.jpg"]
    assert noted(data.notes, "images that do not exist (3)")


def test_notes_are_told_with_an_error(tmp_path, capsys, monkeypatch):
    put(tmp_path, "a/1.png", "a/2.png", "b/1.png", "loose.png", "a/1_mask.png")
    with pytest.raises(DataError) as caught:
        load_dataset(str(tmp_path))
    assert noted(caught.value.__notes__, "left out masks (1): a/1_mask.png")
    found = inspect(str(tmp_path))
    assert found["problems"]
    assert noted(found["warnings"], "outside class folders (1): loose.png")
    monkeypatch.setattr("sys.argv", ["augment", "run", "--dataset", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "note: left out masks (1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "error", "says"),
    [
        ({"labels": "none.csv"}, UsageError, "--labels .*none.csv: no such file"),
        ({"label_column": "x"}, UsageError, "--label-column x: no table"),
        ({"labels": "t.csv", "label_column": "lable"}, UsageError, "did you mean 'label'"),
        ({"labels": "other.csv"}, DataError, "no column names images .*--file-column"),
        ({"labels": "notes.pdf"}, DataError, "no table that can be read"),
    ],
)
def test_flags_that_name_nothing_are_refused(tmp_path, flags, error, says):
    tables = {"t.csv": "image,label\n1.png,a\n2.png,b", "other.csv": "q,r\ns,t", "notes.pdf": ""}
    build(tmp_path, each("{c}/{i}.png", 2, c=["leaf", "rust"]), tables)
    with pytest.raises(error, match=says):
        read_layout(tmp_path, ReadingFlags(**flags))


def test_flags_are_for_folders_alone(tmp_path):
    with pytest.raises(UsageError, match="digits is known"):
        load_dataset("digits", reading=ReadingFlags(group_by="name"))
    np.savez(tmp_path / "x.npz", train_images=np.zeros((4, 8, 8), np.uint8), train_labels=[0] * 4)
    with pytest.raises(UsageError, match="no folder"):
        load_dataset(str(tmp_path / "x.npz"), reading=ReadingFlags(group_by="name"))


def test_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "cvat.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it, and give the folder"):
        load_dataset(str(tmp_path / "cvat.zip"))


def test_parquet_is_read_or_its_reader_named(tmp_path):
    files = numbered("img/{i}.png", 6)
    build(tmp_path, files, {"metadata.parquet": b""})
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        with pytest.raises(MachineError, match=r"augment-compare\[parquet\]"):
            read_layout(tmp_path, ReadingFlags())
        return
    table = pa.table({"file_name": files, "label": [AB[i % 2] for i in range(6)]})
    pq.write_table(table, tmp_path / "metadata.parquet")
    assert read_layout(tmp_path, ReadingFlags()).classes == set(AB)
    pq.write_table(
        pa.table({"image": [{"bytes": b"x", "path": "x"}]}), tmp_path / "metadata.parquet"
    )
    with pytest.raises(DataError, match="holds the pictures themselves"):
        read_layout(tmp_path, ReadingFlags())


def test_flags_are_settings_that_change_no_signature_unless_given():
    plain, given = (
        expand(make_recipe(dataset="./x", **settings).resolved("cpu"))[0]
        for settings in ({}, {"labels": "t.csv", "group_by": "name"})
    )
    assert "reading" not in repr(plain)
    assert "reading" not in plain.record()
    assert given.reading == ReadingFlags(labels="t.csv", group_by="name")
    assert json.loads(json.dumps(given.record()))["reading"]["labels"] == "t.csv"
    with pytest.raises(UsageError, match="did you mean 'folder'"):
        make_recipe(group_by="foldr")


def test_run_folder_of_before_the_flags_goes_on():
    new = make_recipe(dataset="./x").model_dump(mode="json")
    old = {key: value for key, value in new.items() if key not in READING_FLAGS}
    assert differences(old, new) == ""
    assert "labels: not given → t.csv" in differences(old, new | {"labels": "t.csv"})


def test_check_takes_the_flags(tmp_path, capsys, monkeypatch):
    files = numbered("img/{i}.png", 24)
    lines = ((f"{i}.png", AB[i % 2], "xyz"[i % 3]) for i in range(24))
    put(build(tmp_path, tables={"t.csv": rows("name,kind,state", *lines)}), *files)
    words = ["augment", "check", str(tmp_path), "--json"]
    monkeypatch.setattr("sys.argv", [*words, "--label-column", "State"])
    with pytest.raises(SystemExit) as ended:
        main()
    found = json.loads(capsys.readouterr().out)
    assert ended.value.code in (0, None)
    assert found["layout"] == "3 classes from column state of t.csv, 24 images found by name"
    assert found["warnings"][0] == "columns not used: kind"
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "--label-column with one of kind, state" in capsys.readouterr().out
