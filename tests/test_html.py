"""report.html: whole, self-contained, escaped, and readable in a browser."""

import base64
import html
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import bars, write_folder
from PIL import Image

import augment
from augment.experiment.recipe import USUAL_ARMS
from augment.metrics.fidelity import TELLING_FROM
from augment.report.html import numeric_columns, warnings
from augment.report.html_sections import QUALITY_HEAD, copying, quality_lines, with_variants

NASTY = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run on pictures whose class name is an attack."""
    place = tmp_path_factory.mktemp("html")
    data = write_folder(place / "pictures", bars(16, (NASTY, "down")))
    settings = {"generator": {"steps": 10}, "classifier": {"steps": 10, "epochs": 0}}
    return augment.run(
        dataset=str(data),
        generator="cvae",
        seeds=2,
        preset="smoke",
        set=settings,
        ratio=2,
        out=place / "run",
        jobs=1,
    )


@pytest.fixture(scope="module")
def page(run):
    return (run.path / "report.html").read_text()


class Tags(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_verdict_stands_first_and_is_that_of_the_table(run, page):
    line = run.summary.set_index("arm").loc["real+classic+synth"]
    body = page[page.index("<body>") :]
    gains = body.index('alt="Gains with 95 % intervals. ')
    assert 0 < body.index('class="verdict') < gains < body.index("<table")
    assert body.count("<img", 0, gains) == 1  # the plot of gains comes before all others
    assert f"{100 * line['difference']:+.2f} points against classic transforms alone" in body


def test_nothing_is_loaded_from_elsewhere(page):
    tags = Tags(page).found
    assert {tag for tag, _ in tags}.isdisjoint({"script", "iframe", "object", "form"})
    links = [a[key] for _, a in tags for key in ("src", "href") if key in a]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(
        r"url\(|@import|http", page[page.index("<style>") : page.index("</style>")]
    )


def test_each_picture_is_one(page):
    pictures = [a["src"] for tag, a in Tags(page).found if tag == "img"]
    assert len(pictures) >= 6  # gains, accuracy, labelled, synthetic, closest pairs, confusion
    for source in pictures:
        Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).verify()


def test_plot_of_gains_is_told_in_words(run, page):
    (alt,) = (a["alt"] for tag, a in Tags(page).found if tag == "img" and "Gains" in a["alt"])
    contrasts = run.summary[run.summary["against"] != ""]
    assert alt.count(" points over ") == len(contrasts) == len(USUAL_ARMS) - 1
    for line in contrasts.to_dict("records"):
        assert f"{100 * line['difference']:+.2f} points over {line['against']}" in alt
    assert all(a["alt"] for tag, a in Tags(page).found if tag == "img")


def test_only_columns_of_numbers_are_aligned_to_the_right():
    lines = [["ddpm 2", "61.00 ± 1.20", "+0.41 … +0.61", "<0.001", ""], ["", "5/6", "", "3", ""]]
    assert numeric_columns(lines) == [False, True, True, True, False]
    assert numeric_columns([]) == []


def test_names_cannot_become_tags(page):
    assert NASTY not in page
    assert html.escape(NASTY, quote=False) in page
    assert all("onerror" not in attributes for _, attributes in Tags(page).found)


def test_figures_are_those_of_the_csv_files(run, page):
    quality = pd.read_csv(run.path / "quality.csv")
    assert len(quality) == 4  # two trials, two feature spaces
    assert set(quality["features"]) == {"real+classic classifier", "random network"}
    for value in quality["agreement"]:
        assert f"{100 * value:.2f}" in page
    means = run.table.groupby("arm")["classifier_seconds"].mean()
    assert all(f">{seconds:.1f}</td>" in page for seconds in means)
    assert "not anonymous" in page


def test_conversions_are_counted(tmp_path):
    root = write_folder(tmp_path / "pictures", bars(12))
    for number, mode in enumerate(("P", "CMYK", "I;16", "P")):
        file = root / f"across/{number:03d}.png"
        picture = Image.open(file)
        file.unlink()
        picture.convert("I;16" if mode == "I;16" else mode).save(file.with_suffix(".tif"))
    settings = {"classifier": {"steps": 2, "epochs": 0}}
    out = tmp_path / "run"
    augment.run(
        dataset=str(root), arm="real", seeds=1, preset="smoke", set=settings, out=out, jobs=1
    )
    said = "pictures: pixel formats: L 20, P 2, CMYK 1, I;16 1; 24 converted to RGB"
    assert said in (out / "report.html").read_text()


def test_sets_that_begin_alike_are_shown_once_beside_real_ones_and_named(tmp_path):
    settings = {"generator": {"steps": 2}, "classifier": {"steps": 2, "epochs": 0}}
    run = augment.run(
        dataset="digits",
        per_class=12,
        generator="cvae,noise",
        ratio=[1, 2],
        seeds=2,
        jobs=1,
        arm="real+classic,real+classic+synth",
        preset="smoke",
        set=settings,
        out=tmp_path / "run",
    )
    said = re.findall(r"<figcaption>(.*?)</figcaption>", (run.path / "report.html").read_text())
    shown = [i for i, caption in enumerate(said) if caption.startswith("synthetic: ")]
    assert {said[i] for i in shown} == {
        f"synthetic: {name} ratio=1, {name} ratio=2" for name in ("cvae", "noise")
    }
    assert all(said[i - 1] == "labelled: digits-120, trial 0" for i in shown)


def test_warnings_of_several_trials_are_one_line_in_the_words_of_the_worst():
    quality = pd.DataFrame(
        [
            {
                "dataset": "digits",
                "asked": "10 a class",
                "seed": s,
                "variant": g,
                "warning": said,
                "agreement": agreement,
                "synthetic": f"{g}{s}",
                "features": f,
            }
            for g, s, said, agreement in (
                ("cgan", 0, "odd A", 0.7),
                ("cgan", 1, None, 0.9),
                ("cgan", 2, "odd C", 0.4),
                ("cvae", 0, None, 0.3),
            )
            for f in ("one", "two")
        ]
    )
    assert warnings(quality) == [
        "cgan on digits, 10 a class, trial 2, the worst (2 of 3 trials have a warning): odd C"
    ]


def test_lines_of_one_generator_tell_its_settings_apart():
    classes = pd.DataFrame(
        [
            {"dataset": "digits", "asked": "10 a class", "generator": g, "ratio": r, "class": "7"}
            for g, r in ((None, None), ("ddpm", 1.0), ("ddpm", 5.0))
        ]
    )
    assert with_variants(classes)["variant"].tolist() == ["", "ddpm ratio=1", "ddpm ratio=5"]


def test_copy_rate_stands_beside_that_of_real_images():
    sets = pd.DataFrame({"synthetic": ["a", "a", "b"], "copy_rate": [0.1, 0.1, 0.3]})
    assert copying(sets) == " (copy rate here: 20.00 %)"  # a table of before
    floors = sets.assign(copy_rate_floor=[0.05, 0.05, 0.07])
    assert copying(floors) == " (copy rate here: 20.00 %; of unseen real images 6.00 %)"
    assert copying(pd.DataFrame()) == ""


def brightness(colour):
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("name", ["ink", "faint"])
def test_text_has_contrast(page, name):
    ink = brightness(re.search(rf"--{name}: (#\w{{3,6}})", page)[1].ljust(7, "5"))
    paper = brightness("#f1f1f1")  # the darkest ground that text stands on
    assert (paper + 0.05) / (ink + 0.05) >= 4.5


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")
@pytest.mark.parametrize("size", ["390,844", "1280,900"], ids=["phone", "desk"])
def test_browser_shows_it_without_a_complaint(run, size, tmp_path):
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--disable-background-networking",
            f"--window-size={size}",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={shot}",
            (run.path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    colours = Image.open(shot).convert("RGB").getcolors(2**24)
    assert colours is not None
    assert len(colours) > 50  # text and pictures, not a blank page


def test_rates_of_balls_are_shown_of_enough_images_only():
    def cells(n):
        line = dict(dataset="x", asked="all", variant="cvae", seed=0, features="x", copy_rate=0.0)
        names = ("agreement", "precision", "coverage", "kid", "kid_floor", "fd", "fd_floor")
        measures = dict.fromkeys(names, 1.0)
        shown = quality_lines(pd.DataFrame([{**line, **measures, "n": n}]))[0]
        return dict(zip(QUALITY_HEAD, shown, strict=True))

    few, many = cells(TELLING_FROM - 1), cells(TELLING_FROM)
    assert few["precision %"] == few["coverage %"] == ""
    assert many["precision %"] == many["coverage %"] == "100.00"
    assert few["KID"] == many["KID"] != ""


def test_page_says_from_how_many_images_on_rates_are_shown(page):
    assert f"below {TELLING_FROM} images" in page
