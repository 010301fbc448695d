"""Damaged pictures and recipes, and any class names: a result or one sentence, nothing else."""

import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augment.data.folder import read_folder
from augment.data.layouts.entries import SPLITS
from augment.errors import AugmentError, DataError
from augment.experiment.cells import expand
from augment.experiment.recipe import Recipe
from augment.experiment.setting_types import MOST_SEEDS
from augment.experiment.validation import make_recipe, read_recipe

PIPELINES = sorted((Path(__file__).parents[1] / "pipelines").glob("*.toml"))


def encoded(mode, kind, **options):
    """A small picture in one of the formats that are read."""
    file = io.BytesIO()
    ramp = np.linspace(0, 255, 16 * 12).astype(np.uint8).reshape(16, 12)
    image = Image.fromarray(ramp).convert("RGB" if mode == "P" else mode)
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6  # turned
PICTURES = [
    encoded("L", "PNG"),
    encoded("RGBA", "PNG"),
    encoded("P", "PNG"),
    encoded("I;16", "PNG"),
    encoded("RGB", "PNG", exif=EXIF),
    encoded("L", "JPEG"),
    encoded("RGB", "JPEG", exif=EXIF),
    encoded("CMYK", "JPEG"),
    encoded("RGB", "JPEG", progressive=True),
    encoded("P", "GIF"),
    encoded("RGB", "TIFF"),
    encoded("RGB", "WEBP"),
    encoded("RGB", "BMP"),
]


def mutated(original, unit):
    """Pieces of the original cut out, doubled and overwritten; `unit` makes what is put in."""
    place = st.floats(0, 1)
    edits = st.lists(st.tuples(place, st.integers(0, 8), unit, st.booleans()), max_size=6)

    @st.composite
    def draw_one(draw):
        text = draw(original)
        for where, gone, put, early in draw(edits):
            at = int(where**2 * len(text)) if early else int(where * len(text))  # heads matter most
            text = text[:at] + put + text[at + gone :]
        return text[: int(draw(place) * len(text))] if draw(st.integers(0, 9)) == 0 else text

    return draw_one()


@pytest.mark.slow
@given(
    raw=mutated(st.sampled_from(PICTURES), st.binary(max_size=8)),
    name=st.sampled_from(["a.png", "a.jpg", "a.tga"]),
)
@settings(max_examples=500, deadline=None)
def test_a_damaged_picture_is_read_or_refused(raw, name):
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        (Path(root) / "class").mkdir()
        (Path(root) / "class" / name).write_bytes(raw)
        try:
            said, shape = "", read_folder(Path(root), 8).images.shape
        except DataError as error:
            said, shape = str(error), None
    assert shape[2:] == (8, 8) if shape else f"class/{name}" in said and "\n" not in said


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["digits", "ddpm", "real", "real+synth", "0-3", "1,4", "ddpm calls=5"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from([*Recipe.model_fields, "sets"])
TEXTS = mutated(
    st.sampled_from([p.read_text() for p in PIPELINES])
    | st.dictionaries(KEYS, VALUES, max_size=3).map(tomli_w.dumps),
    st.text("=[]{}\"'\n.,-0129eE_#té\0", max_size=8) | st.just(""),
)


@pytest.mark.slow
@given(text=TEXTS)
@settings(max_examples=500, deadline=None)
def test_a_damaged_recipe_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / "recipe.toml"
        file.write_text(text, encoding="utf-8")
        try:
            said, recipe = "", make_recipe(**read_recipe(file)).resolved("cpu")
        except AugmentError as error:
            said, recipe = str(error), None
    if recipe is None:
        assert str(file) in said
        return
    assert make_recipe(**recipe.model_dump(mode="json")) == recipe
    if len(recipe.seeds) < 100:
        cells = expand(recipe)
        assert len(set(map(repr, cells))) == len(cells)


@pytest.mark.parametrize("seeds", [10**15, f"0-{10**15}", MOST_SEEDS + 1])
def test_trials_without_number_are_refused_before_they_are_counted_out(seeds):
    with pytest.raises(AugmentError, match=f"{MOST_SEEDS} at most"):
        make_recipe(seeds=seeds)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: not name.startswith((".", "__MACOSX")) and name.lower() not in SPLITS)


@given(counts=st.dictionaries(NAMES, st.integers(1, 3), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_every_image_keeps_the_class_of_its_folder(counts):
    with tempfile.TemporaryDirectory() as root:
        for shade, (name, count) in enumerate(counts.items()):
            (Path(root) / name).mkdir()
            for k in range(count):
                Image.new("L", (8, 8), 40 * shade).save(Path(root) / name / f"{k}.png")
        found = read_folder(Path(root), None)
    shades = [list(counts)[value // 40] for value in found.images[:, 0, 0, 0].tolist()]
    assert found.classes == sorted(counts)
    assert [found.classes[label] for label in found.labels] == shades
    assert [file.split("/")[0] for file in found.files] == shades
    assert {name: shades.count(name) for name in counts} == counts
