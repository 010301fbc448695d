"""Tables and groups as an outsider's data sets had them: read as meant, or refused by name."""

import pytest

from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError


def table(head, *lines):
    return "\n".join([head, *(",".join(map(str, line)) for line in lines)])


def layout(root, files, tables=None, **flags):
    """The layout of empty files and tables."""
    contents = dict.fromkeys(files, b"") | (tables or {})
    for name, text in contents.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_layout(root, ReadingFlags(**flags))


def grouped(found):
    """The sets of names that share a group."""
    groups = {}
    for entry in found.entries:
        groups.setdefault(entry.group, set()).add(entry.name)
    return sorted(map(sorted, groups.values()))


PAIRED = [f"x{i}.jpg" for i in range(12)]
CLASSES = ["leaf", "rust"]

# F2: several splits of one set

DTD = [f"images/{c}/{c}_{i}.jpg" for c in CLASSES for i in range(6)]
THREE_WAYS = {
    f"labels/{split}{n}.txt": "\n".join(
        f"{c}/{c}_{i}.jpg" for c in CLASSES for i in range(6) if (i // 2 + n) % 3 == k
    )
    for n in (1, 2, 3)
    for k, split in enumerate(("train", "val", "test"))
}


def test_lists_of_several_splits_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"several splits lie in labels/test1\.txt.*--labels"):
        layout(tmp_path, DTD, THREE_WAYS)


def test_one_list_chooses_its_split(tmp_path):
    found = layout(tmp_path, DTD, THREE_WAYS, labels="labels/train2.txt")
    splits = {entry.name: entry.split for entry in found.entries}
    assert len(splits) == 12
    assert splits["images/leaf/leaf_2.jpg"] == "train"
    assert splits["images/leaf/leaf_4.jpg"] == "val"
    assert splits["images/leaf/leaf_0.jpg"] == "test"


def test_folders_leave_the_lists(tmp_path):
    found = layout(tmp_path, DTD, THREE_WAYS, labels="folders")
    assert {entry.split for entry in found.entries} == {""}


# F3: whose pictures they are


@pytest.mark.parametrize("sides", [("left", "right"), ("L", "R"), ("OD", "OS")])
@pytest.mark.parametrize("flags", [{}, {"group_by": "name"}])
def test_two_eyes_are_one_group(tmp_path, sides, flags):
    files = [
        f"{c}/{n + i}_{s}.jpg" for c, n in (("dr", 10), ("no", 20)) for i in range(4) for s in sides
    ]
    found = layout(tmp_path, files, **flags)
    assert len(grouped(found)) == 8
    assert all(len(names) == 2 for names in grouped(found))


def test_eyes_of_different_grades_are_one_group(tmp_path):
    files = [f"train/{i}_{side}.jpeg" for i in range(6) for side in ("left", "right")]
    stems = [file.removeprefix("train/").removesuffix(".jpeg") for file in files]
    grades = table("image,level", *((stem, k % 2) for k, stem in enumerate(stems)))
    found = layout(tmp_path, files, {"trainLabels.csv": grades})
    assert len(grouped(found)) == 6


TRACKS = [
    f"{c}/0000{t}_0000{f}.ppm" for c in ("00000", "00001") for t in range(4) for f in range(3)
]


def test_tracks_are_told(tmp_path):
    found = layout(tmp_path, TRACKS)
    assert any("8 series of pictures" in note for note in found.notes)


def test_tracks_are_counted_anew_in_each_class(tmp_path):
    found = layout(tmp_path, TRACKS, group_by="name")
    assert len(grouped(found)) == 8
    assert all(len({name[:5] for name in names}) == 1 for names in grouped(found))


def test_a_series_over_two_classes_is_one_group(tmp_path):
    files = [f"{c}/P{i}_{k}.png" for k, c in enumerate(CLASSES) for i in range(4)]
    assert len(grouped(layout(tmp_path, files, group_by="name"))) == 4


@pytest.mark.parametrize("subject", ["OAS1_{:04}", "{:03}_S_4001", "sub-{:02}", "TCGA-AB-{:04}"])
def test_the_subject_is_the_prefix(tmp_path, subject):
    names = [
        f"{subject.format(i)}_MR1_mpr-{v}_10{s}.jpg"
        for i in range(8)
        for v in (1, 2)
        for s in (0, 1)
    ]
    files = [f"{CLASSES[k // 16]}/{name}" for k, name in enumerate(names)]
    assert [len(group) for group in grouped(layout(tmp_path, files))] == [4] * 8


def test_clips_of_a_recording_are_one_group(tmp_path):
    files = [
        f"{c}/v_{c}_g0{g}_c0{k}/frame_{f}.jpg"
        for c in CLASSES
        for g in (1, 2, 3)
        for k in (1, 2)
        for f in (0, 1)
    ]
    found = layout(tmp_path, files)
    assert [len(group) for group in grouped(found)] == [4] * 6
    assert "groups from folders like leaf/v_leaf_g01" in found.sentence


def test_an_id_that_repeats_is_a_group(tmp_path):
    text = table(
        "ID,filename,labels", *((i // 2, f"x{i}.jpg", f"['{CLASSES[i % 2]}']") for i in range(12))
    )
    found = layout(tmp_path, PAIRED, {"full_df.csv": text})
    assert found.classes == {*CLASSES}
    assert len(grouped(found)) == 6


def test_the_id_of_a_class_is_no_group(tmp_path):
    text = table("filename,id,label", *((f"x{i}.jpg", i % 3, "abc"[i % 3]) for i in range(12)))
    assert {entry.group for entry in layout(tmp_path, PAIRED, {"t.csv": text}).entries} == {""}


# F5: several labels a picture


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Finding Labels", ["Mass", "Hernia", "Mass|Effusion"]),
        ("dx", ["Mass", "Hernia", "Mass|Effusion"]),
        ("tags", ["clear primary", "clear primary road", "haze", "cloudy"]),
        ("tags", ["clear primary water", "clear habitation primary road", "clear primary"]),
        ("labels", ["['N']", "\"['N', 'D']\"", "['D']"]),
    ],
)
def test_several_labels_are_refused(tmp_path, column, values):
    text = table(f"image,{column}", *((f"x{i}.jpg", values[i % len(values)]) for i in range(12)))
    with pytest.raises(DataError, match="several labels a picture"):
        layout(tmp_path, PAIRED, {"t.csv": text})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("labels", ["Boeing 707", "Boeing 727", "A300"]),
        ("labels", ["Very mild Dementia", "mild Dementia", "Non Demented"]),
        ("tags", ["leaf rust", "leaf spot", "stem rust"]),
    ],
)
def test_names_of_several_words_are_labels(tmp_path, column, values):
    text = table(f"image,{column}", *((f"x{i}.jpg", values[i % len(values)]) for i in range(12)))
    assert layout(tmp_path, PAIRED, {"t.csv": text}).classes == {*values}


# F7: a table of the split beside the table of the labels

CELEBA = {
    "list_attr_celeba.csv": table(
        "image_id,Smiling,Male", *((f"x{i}.jpg", 1, i % 2) for i in range(12))
    ),
    "list_eval_partition.csv": table(
        "image_id,partition", *((f"x{i}.jpg", i // 4) for i in range(12))
    ),
}


def test_the_partition_of_celeba_is_its_split(tmp_path):
    found = layout(tmp_path, PAIRED, CELEBA, labels="list_attr_celeba.csv", label_column="Male")
    assert [entry.split for entry in found.entries] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert "splits from list_eval_partition.csv" in found.sentence


def test_numbers_of_a_split_are_no_label_and_are_told(tmp_path):
    text = table("image,partition", *((f"x{i}.jpg", i // 4) for i in range(12)))
    tables = {"a.csv": CELEBA["list_attr_celeba.csv"], "b.csv": text}
    found = layout(tmp_path, PAIRED, tables, label_column="Male")
    assert "columns of b.csv not used: partition" in found.notes


# the words

KINDS = {
    f"data/images_{kind}_{split}.txt": "\n".join(f"x{i} {kind}{i % 2}" for i in range(k, 12, 2))
    for kind in ("family", "variant")
    for k, split in enumerate(("train", "test"))
}


def test_several_kinds_of_label_are_named_with_their_folder(tmp_path):
    with pytest.raises(
        DataError, match=r"data/images_family_\w+\.txt.*data/images_variant_\w+\.txt"
    ):
        layout(tmp_path, PAIRED, KINDS)
    lists = {
        name: "\n".join(f"x{i} v{i % 4 // 2}" for i in range(k % 2, 12, 2))
        for k, name in enumerate(KINDS)
    }
    found = layout(tmp_path, PAIRED, lists, labels="data/images_variant_train.txt")
    assert sorted(entry.split for entry in found.entries) == ["test"] * 6 + ["train"] * 6
    assert "splits from images_variant_test.txt, images_variant_train.txt" in found.sentence


def test_a_test_set_that_a_table_names_is_not_left_out(tmp_path):
    files = [*(f"Train/{i % 2}/a{i}.png" for i in range(8)), *(f"Test/b{i}.png" for i in range(4))]
    tables = {
        "Train.csv": table("Path,ClassId", *((file, file[6]) for file in files[:8])),
        "Test.csv": table("Path,ClassId", *((file, k % 2) for k, file in enumerate(files[8:]))),
    }
    found = layout(tmp_path, files, tables)
    assert len(found.entries) == 12
    assert not any(found.left_out.values())


def test_coordinates_are_no_label(tmp_path):
    text = table(
        "patientId,x,y,Target", *((f"x{i}", *([i % 2 * 10.0] * 2), i % 2) for i in range(12))
    )
    found = layout(tmp_path, PAIRED, {"labels.csv": text})
    assert "column Target" in found.sentence


def test_a_table_in_another_encoding_says_how_to_save_it(tmp_path):
    text = table("Bild,Klasse", *((f"x{i}.jpg", ("gut", "mäßig")[i % 2]) for i in range(12)))
    with pytest.raises(DataError, match=r"Befunde\.csv .*save it as UTF-8"):
        layout(
            tmp_path, [f"Bilder/{name}" for name in PAIRED], {"Befunde.csv": text.encode("cp1252")}
        )


def test_metadata_that_names_no_images_says_what_to_do(tmp_path):
    files = [f"patches/p{i}/patch_{i}.png" for i in range(6)]
    text = table("patient,tumor", *((i, i % 2) for i in range(6)))
    with pytest.raises(DataError, match=r"metadata\.csv .*write the path .*file_name"):
        layout(tmp_path, files, {"metadata.csv": text})


def test_numbers_to_predict_are_named(tmp_path):
    text = table("id,boneage,male", *((f"x{i}", 30 + 7 * i, i % 2 == 0) for i in range(30)))
    files = [f"images/x{i}.jpg" for i in range(30)]
    with pytest.raises(DataError, match="not the numbers of boneage"):
        layout(tmp_path, files, {"ages.csv": text})


def test_pathology_is_a_label(tmp_path):
    words = ["BENIGN", "MALIGNANT"]
    text = table("view,pathology,path", *(("CC", words[i % 2], f"x{i}.jpg") for i in range(12)))
    assert layout(tmp_path, PAIRED, {"t.csv": text}).classes == {*words}


def test_a_list_may_have_labels_of_several_words(tmp_path):
    words = ["Boeing 707", "A300"]
    found = layout(
        tmp_path, PAIRED, {"t.txt": "\n".join(f"x{i} {words[i % 2]}" for i in range(12))}
    )
    assert found.classes == {*words}
