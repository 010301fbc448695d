"""Whose picture it is, by the names of files alone: grouped where clear, told where possible."""

import pytest
from test_folder import noted
from test_layouts import AB, build

from augment.data.layouts.name_groups import clear_groups, groups_by_name, series_note
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import UsageError

PEOPLE = [(n, AB[n % 2]) for n in range(12)]  # number, class; two pictures each


def names(form, pictures=2):
    """Paths of all people, and their classes and numbers."""
    found = [
        (f"{c}/{form.format(n=n, p=100 + 7 * n, k=k, r=hash_of(n, k))}", c, n)
        for n, c in PEOPLE
        for k in range(pictures)
    ]
    return [list(column) for column in zip(*found, strict=True)]


def hash_of(n, k):
    """Letters that no two names share."""
    return "".join(chr(65 + (n * 31 + k * 17 + j * 7 + n * k) % 26) for j in range(9))


def same(groups, people):
    """Whether the groups part the pictures as the people do."""
    pairs = set(zip(groups, people, strict=True))
    return len(pairs) == len(set(groups)) == len(set(people))


@pytest.mark.parametrize(
    "form",
    [
        "blk-{r}-TCGA-AZ-6{p}-01Z-00-DX1.png",  # after a name at random
        "TCGA-AZ-6{p}-01Z-00-DX{k}.svs.png",
        "person{p}_bacteria_{n}{k}.jpeg",
        "{p}_OD_2019041{k}.jpg",  # the side of a person before a date
        "scan_sub-{p}_run-{k}.png",
    ],
)
def test_clear_names_are_groups(form):
    paths, labels, people = names(form)
    assert same(clear_groups(paths, labels), people)


@pytest.mark.parametrize(
    ("form", "example"),
    [
        ("A{p}_f{k}_t000.tif", "A100 of A100_f0_t000.tif"),  # wells, not their fields
        ("CNV-10{p}-{k}.jpeg", "CNV-10100 of CNV-10100-0.jpeg"),
        ("{k}_K{p}.png", "K100 of 0_K100.png"),  # the number of the picture first
        ("2019-05-{p}_cam1_{k}.jpg", "2019-05-100 of 2019-05-100_cam1_0.jpg"),
        ("{r}_D{p}_z{k}.png", "D100 of "),  # after a name at random
        ("IM-0{p}-000{k}.jpeg", "IM-0100 of IM-0100-0000.jpeg"),
    ],
)
def test_names_are_told_and_grouped_by_words(form, example):
    paths, labels, people = names(form)
    assert clear_groups(paths, labels) == []
    assert "names look like 12 series" in series_note(paths, labels, [""] * len(paths))
    groups, how = groups_by_name(paths, labels)
    assert same(groups, people)
    assert how.startswith("groups from names (12 of 2 images, such as ")
    assert example in how


def test_a_name_is_not_cut_inside_a_word():
    paths, labels, _ = names("{n}_{k}_DX1.png")
    assert not any(group.endswith("DX") for group in groups_by_name(paths, labels)[0])


def test_two_forms_of_names_are_grouped_each_by_its_own_words():
    sick, labels, people = names("person{p}_virus_{k}.jpeg")
    sound, more, others = names("NORMAL2-IM-1{p}-000{k}.jpeg")
    paths, labels = sick + sound, labels + more
    groups, how = groups_by_name(paths, labels)
    assert same(groups, people + [100 + n for n in others])
    assert "(24 of 2 images" in how


@pytest.mark.parametrize("form", ["{c}/{c}_{i}.png", "{c}/ic_{c}_{i:02d}.png", "{c}/x{c}{i}.jpg"])
def test_names_that_no_other_shares_are_refused(tmp_path, form):
    build(tmp_path, [form.format(c=c, i=i) for c in AB for i in range(12)])
    assert not noted(read_layout(tmp_path, ReadingFlags()).notes, "series")
    with pytest.raises(UsageError, match=r"--group-by name: no two names tell .*column of"):
        read_layout(tmp_path, ReadingFlags(group_by="name"))


def test_counters_that_begin_anew_in_each_class_are_no_series():
    paths = [f"{c}/{i}_{hash_of(i, k)}.jpg" for k, c in enumerate(AB) for i in range(20)]
    assert series_note(paths, [path[:4] for path in paths], [""] * 40) == ""


def test_names_of_persons_in_letters_are_grouped_when_asked():
    people = {"leaf": "kim roy ng diaz", "rust": "smith jones li cruz"}
    paths = [f"{c}/{who}_{i}.png" for c in AB for who in people[c].split() for i in range(4)]
    labels = [path[:4] for path in paths]
    assert series_note(paths, labels, [""] * 32) == ""
    groups, how = groups_by_name(paths, labels)
    assert same(groups, [path[5:].partition("_")[0] for path in paths])
    assert "(8 of 4 images" in how


def test_equal_names_in_folders_of_one_class_are_no_groups():
    paths = [f"{c}/{part}/{i}.png" for c in AB for part in "xyz" for i in range(4)]
    with pytest.raises(UsageError, match="no two names"):
        groups_by_name(paths, [path[:4] for path in paths])


def test_a_person_before_the_word_of_the_class_stands_in_several_classes():
    paths = [f"{c}/s{n:02d}_{c}.png" for c in ("glad", "sad", "calm") for n in range(9)]
    groups, how = groups_by_name(paths, [path.partition("/")[0] for path in paths])
    assert sorted(set(groups)) == [f"s{n:02d}" for n in range(9)]
    assert "(9 of 3 images" in how


def test_series_over_a_given_split_are_told_before_the_flag(tmp_path):
    files = [
        f"{split}/{c}/{c}-{100 + n}-{k}.jpeg"
        for n, c in PEOPLE
        for k, split in enumerate(("train", "train", "test"))
    ]
    build(tmp_path, files)
    notes = read_layout(tmp_path, ReadingFlags()).notes
    assert noted(notes, "12 series", "12 of these series stand in train and in test")
    apart = [
        f"{'test' if n > 8 else 'train'}/{c}/{c}-{100 + n}-{k}.png"
        for n, c in PEOPLE
        for k in (1, 2)
    ]
    build(tmp_path / "apart", apart)
    assert not noted(read_layout(tmp_path / "apart", ReadingFlags()).notes, "stand in train and")
