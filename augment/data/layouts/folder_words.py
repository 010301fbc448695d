"""What the name of a folder or a file tells: a split, a part, an identity.

Pure functions of names. Where a name alone does not decide, `folder_layout` looks at where the
name stands, and refuses what can be read two ways.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from augment.data.layouts.entries import SPLITS

# Spanish, French, German, Portuguese, Italian, Chinese; written without accents too
LOCAL_SPLITS = {
    "train": "entrenamiento apprentissage entraînement entrainement trainingsdaten trainingsset "
    "trainingsbilder trainingsmenge treino treinamento addestramento 训练 训练集 訓練 訓練集",
    "val": "validación validacion évaluation evaluation validierung validierungsdaten "
    "validierungsset validierungsbilder validierungsmenge validação validacao validazione "
    "验证 验证集 驗證 驗證集",
    "test": "prueba pruebas essai essais testdaten testbilder testmenge teste testes prova "
    "测试 测试集 測試 測試集",
}
MORE_SPLITS = SPLITS | {
    "trainval": "train",
    "dev": "val",
    "eval": "val",
    "tests": "test",
    "holdout": "test",
    # pictures that nobody labelled
    "pred": "unlabelled",
    "predict": "unlabelled",
    "unlabeled": "unlabelled",
    "unlabelled": "unlabelled",
    "unsup": "unlabelled",
    **{f"{word}{what}": SPLITS[word] for word in SPLITS for what in ("set", "list", "data")},
    **{word: split for split, words in LOCAL_SPLITS.items() for word in words.split()},
}
MEDIA = set("image images img imgs picture pictures photo photos jpegimages jpg png".split())
CONTAINERS = MEDIA | set(
    "part parts fold folds batch batches set sets dataset datasets data subset split chunk folder "
    "folders archive volume input files".split()
)
# whose picture it is, else of what recording; slides and trees are none
PERSONS = (
    "patient|pat|subject|subj|case|person|participant|lesion|specimen|donor|mouse|rat|animal|"
    "volunteer|individual|client|slide|tree"
)
RECORDINGS = "video|vid|clip|session|recording|rec|scan|sequence|seq|series|study|exam|plot|well"
PLACES = (  # of folders alone
    "group|site|hospital|center|centre|camera|cam|day|device|scanner|station|deployment|flight|"
    "trial|run|round|visit|rep|replicate|repeat|experiment|exp|lot|machine|operator|farm|lab"
)
_IDENTITY_TOKENS = [
    re.compile(
        rf"(?:^|[^a-z])({words})(?!s(?![a-z\d]))[ _-]?(?:id|no|nr)?[ _-]?"
        r"(\d+[a-z]?|[a-z])(?![a-z])",
        re.IGNORECASE,
    )
    for words in (PERSONS, RECORDINGS, PLACES)
]
# of the same files: Original/CLASS/1.jpg beside Augmented/CLASS/1_02.jpg, CLASS/thumbs/
_VERSIONS = re.compile(
    r"(?:(?:raw|orig|originals?|colou?r|gr[ae]y(?:scale)?|segmented|masked|cropped|resized|enhanced|"
    r"processed|preprocessed|aug|augmented|augmentations?|outputs?|thumbs?|thumbnails?|previews?)"
    r"(?:[ _\-]?(?:images?|imgs?|data|dataset|set|version))?)",
    re.IGNORECASE,
)
_YEAR, _MONTH, _DAY = map(re.compile, (r"(?:19|20)\d\d", r"0[1-9]|1[0-2]", r"[0-3]\d"))
# 2023/05/17 where these are folders, else one name, and the time of day
_DATE = re.compile(
    r"(?:19|20)\d\d(?:/[01]\d(?:/[0-3]\d)?|([-_. ]?)[01]\d\1[0-3]\d(?:[T_ .\-]+\d\d[\d_.:\-]*)?)"
)
_KINDS = (
    "class|type|grade|stage|level|label|category|cat|kind|degree|score|birads|character|char|letter|"
    "digit|glyph|symbol|c"
)
_NAMED_GRADE = re.compile(rf"(?:{_KINDS})[ _-]?\d{{1,2}}", re.IGNORECASE)
_GRADE = re.compile(rf"(?:(?:{_KINDS})[ _-]?)?-?\d{{1,2}}", re.IGNORECASE)
# the subject as public archives write it: OASIS, ADNI, BIDS, TCGA, LIDC-IDRI
SUBJECT = re.compile(
    r"(?<![a-z\d])(?:OAS\d_\d{4}|\d{3}_S_\d{4}|sub-[a-z]*\d+[a-z]*|TCGA-[A-Z\d]{2}-[A-Z\d]{4}|"
    r"LIDC-IDRI-\d{4})(?![a-z\d])"
    # NIH's malaria cells, C33P1thinF_IMG_…: the patient before the kind of smear
    r"|^C\d+[A-Z]{0,2}(?:P\d+)?[A-Z]?(?=_?thi(?:n|ck))",
    re.IGNORECASE,
)
_UID = re.compile(r"\d+(?:\.\d+){3,}")  # of DICOM
_NUMBER = re.compile(r"[1-9]\d{3,}")  # of a patient or a year; 00042 is one of many classes
_HEX = re.compile(r"(?=.*\d)[0-9a-f]{6,}(?:-[0-9a-f]{4,})*", re.IGNORECASE)
_WORDNET = re.compile(r"n\d{8}")
_COUNTER = re.compile(
    r"(.*?)[ _.-]*(?:frame|slice|view|image|img|im|photo|tile|patch|crop|idx|f|s|z|t|v|x|y)?[ _.-]*"
    r"\(?\d+\)?",
    re.IGNORECASE,
)


def tokens(name: str) -> list[str]:
    """Split a name into words and numbers in lower case: "seg_train2" → seg, train, 2."""
    name = unicodedata.normalize("NFC", name)  # macOS writes é as e and an accent
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())


def with_dates(folders: Sequence[str]) -> tuple[str, ...]:
    """Join folders that are a year, a month and a day: 2023/05/17 above others is one name."""
    found: list[str] = []
    n_parts = 0  # of the date at the end
    for n, name in enumerate(folders, 1):
        if n < len(folders) and 0 < n_parts < 3 and (_MONTH, _DAY)[n_parts - 1].fullmatch(name):
            found[-1] += f"/{name}"
            n_parts += 1
        else:
            found.append(name)
            n_parts = 1 if _YEAR.fullmatch(name) else 0
    return tuple(found)


def split_word(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split that a folder or table is named after, and the rest of its name."""
    words = tokens(name)
    given = [word for word in words if word in MORE_SPLITS]
    if len(given) > 1 and set(given) <= {"train", "val"}:  # train_val_list
        given = ["train"]
    if len(given) != 1:
        return None
    return MORE_SPLITS[given[0]], tuple(w for w in words if w not in MORE_SPLITS)


def split_and_rest(name: str) -> tuple[str, str]:
    """Return the split in a name, or "", and the rest as it is written: train and A of trainA."""
    name = unicodedata.normalize("NFC", name)
    word = next((word for word in tokens(name) if word in MORE_SPLITS), "")
    rest = re.sub(word, "", name, count=1, flags=re.IGNORECASE)
    return MORE_SPLITS.get(word, ""), rest.strip(" _.-")


def splits_among(names: Collection[str]) -> dict[str, str]:
    """Return those folders of one level that are splits: test, or seg_train beside seg_test."""
    families: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        if found := split_word(name):
            families[found[1]][name] = found[0]
    together = [f for f in families.values() if len({*f.values()} - {"unlabelled"}) > 1]
    found_splits = {name: split for family in together for name, split in family.items()}
    return found_splits | {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}


def are_containers(names: Collection[str]) -> bool:
    """Tell whether names differ by a split or a number alone: images_001, part_2; train1, test1.

    "cat_images" beside "dog_images" are classes.
    """
    rest = set()
    for name in names:
        words = [word for word in tokens(name) if not word.isdecimal()]
        said = [word for word in words if word in CONTAINERS or word in MORE_SPLITS]
        if not said:
            return False
        rest.add(tuple(word for word in words if word not in said and len(word) > 1))
    return len(rest) == 1


def is_identity(name: str) -> bool:
    """Tell whether a folder is named after whose pictures it holds: patient_007, a date, a hash."""
    if _DATE.fullmatch(name) or _UID.fullmatch(name) or SUBJECT.match(name):
        return True
    if len(name) >= 8 and _HEX.fullmatch(name) and not name.isdecimal():
        return True
    return any(pattern.search(name) for pattern in _IDENTITY_TOKENS)


def are_numbered(names: Collection[str]) -> bool:
    """Tell whether names differ by a number alone, as patients and parts do: kos01, kos02.

    Numbers alone, grades (class_1) and the numbers of WordNet (n01440764) are names of classes.
    """
    shapes = {re.sub(r"\d+", "#", name.lower()) for name in names}
    numbered = len(names) > 1 and len(shapes) == 1 and "#" in next(iter(shapes))
    grades = all(_GRADE.fullmatch(name) or _WORDNET.fullmatch(name) for name in names)
    return numbered and not grades and any(char.isalpha() for char in next(iter(shapes)))


def are_named_grades(names: Collection[str]) -> bool:
    """Tell whether names say that they are grades or classes: stage1, stage2."""
    return all(_NAMED_GRADE.fullmatch(name) for name in names)


def are_long_numbers(names: Collection[str]) -> bool:
    """Tell whether names are numbers such as patients or years have: 8863, 8864."""
    return len(names) > 1 and all(_NUMBER.fullmatch(name) for name in names)


def identity_in(stem: str) -> str:
    """Return the identity in the name of a file, "patient007" of patient007_frame3, or ""."""
    found = next(filter(None, (pattern.search(stem) for pattern in _IDENTITY_TOKENS[:2])), None)
    return f"{found[1]}{found[2]}".lower() if found else ""


def is_media_folder(name: str) -> bool:
    """Tell whether a folder is named after pictures alone."""
    return name.lower() in MEDIA


def is_version_folder(name: str) -> bool:
    """Tell whether a folder is named after what was done to the pictures in it."""
    return _VERSIONS.fullmatch(name) is not None


def series_key(stem: str) -> str:
    """Return the name of a file without its last counter: "A12_3" → "A12"; "" if nothing is left.

    The counter may have a word before it: "A12_frame3" → "A12".
    """
    found = _COUNTER.fullmatch(stem)
    return found[1] if found else stem


def kind_of(names: Collection[str]) -> str:
    """Judge the names of one level of folders: "ids", "grades" (0, 1, type_2) or "words"."""
    if all(_GRADE.fullmatch(name) for name in names):
        return "grades"
    shapes = Counter(re.sub(r"\d+", "#", name.lower()) for name in names)

    def like_an_id(name: str) -> bool:
        digits = sum(char.isdigit() for char in name)
        shape = re.sub(r"\d+", "#", name.lower())
        return bool(
            is_identity(name)
            or _HEX.fullmatch(name)
            or digits >= 3
            or (digits and shapes[shape] > 1)
            or name.isdecimal()
        )

    return "ids" if sum(map(like_an_id, names)) >= 0.9 * len(names) else "words"
