"""`augment advise` from images to page, tiny: resumable, blind to test images, words as figures."""

import dataclasses
import json
import shutil

import pytest
from conftest import SMOKE
from test_cli import call

from augment.cli.advice import show_advice
from augment.engine.advise import execute_advice
from augment.engine.executors import make_executor
from augment.engine.status import CELL, read_status
from augment.errors import RunFolderError, UsageError
from augment.experiment import ways
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.results_table import read_results
from augment.experiment.ways import REFERENCE, advice_recipe
from augment.report.advice_page import advice_markdown, advice_sentences
from augment.report.export import ExportRequest, export_images
from augment.runtime.steps import run_to_end

FEW = (REFERENCE, "real", "real+mixup")
HOUR = 3600
TINY = dict(
    dataset="digits",
    per_class=4,
    preset="smoke",
    seeds=4,
    generator="cvae,noise",
    ratio=2,
    set={**SMOKE, "classifier": {"steps": 40, "batch": 16, "width": 8}},
)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(ways, "RACED_WAYS", FEW)


def steps_of(out, budget=HOUR, **settings):
    recipe = advice_recipe(**{**TINY, **settings})
    executor = make_executor("local", "cpu", jobs=1)
    return execute_advice(recipe, budget, out=out, data_dir=None, executor=executor)


@pytest.fixture(scope="module")
def advised(tmp_path_factory):
    """A finished advice; its folder is to be read, never to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "RACED_WAYS", FEW)
        return run_to_end(steps_of(tmp_path_factory.mktemp("advised") / "run"))


def without_seconds(facts):
    """The facts but for durations and the folder."""
    kept = {k: v for k, v in facts.items() if "seconds" not in k and k not in ("folder", "ways")}
    lines = [{k: v for k, v in way.items() if "seconds" not in k} for way in facts["ways"]]
    return {**kept, "ways": lines}


def test_page_holds_the_answer_and_its_figures(advised):
    facts = advised.advice
    assert json.loads((advised.path / "advice.json").read_text()) == facts
    page = (advised.path / "advice.md").read_text()
    assert page == advice_markdown(facts)
    assert page.startswith("# What to do with digits: 40 labelled images (4 a class)")
    assert all(sentence in page.replace("**", "") for sentence in advice_sentences(facts))
    html = (advised.path / "advice.html").read_text()
    assert facts["ways"][0]["about"] in html
    names = [way["way"] for way in facts["ways"]]
    assert names[0] == facts["winner"]
    assert {REFERENCE, facts["best_free"], facts["runner_up"]} <= set(names)
    assert len(names) == len(set(names)) <= 4


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("can't tell", "does not show"), ("hurts", "say otherwise than the race"), ("helps", "")],
)
def test_page_says_where_the_test_images_do_not_bear_out_the_race(advised, verdict, words):
    facts = json.loads(json.dumps(advised.advice))
    gain = {"mean": 0.001, "low": -0.01, "high": 0.012, "verdict": verdict, "n": 3}
    facts |= {"winner": "real+classic+synth: cvae, 0.25", "winner_generator": "cvae"}
    facts["best_free"] = "real+mixup"
    facts["ways"][0] |= {"gain": gain, "gain_over_free": gain}
    said = [each for each in advice_sentences(facts) if "use that" in each]
    assert len(said) == bool(words)
    assert all(words in each and "real+mixup" in each for each in said)


def test_figures_are_those_of_the_results(advised):
    table = read_results(advised.path / "results.csv")
    assert set(table["seed"]) == {1, 2, 3}  # the race was run in trial 0
    usual = table[(table["arm"] == REFERENCE) & (table["asked"] == "4 a class")]
    way = next(way for way in advised.advice["ways"] if way["way"] == REFERENCE)
    assert way["accuracy"] == pytest.approx(usual["accuracy"].mean())
    assert way["n"] == 3
    curve = advised.advice["equivalent"]["curve"]
    assert [n for n, _ in curve] == [20, 30, 40]
    assert (advised.path / "report.html").exists()
    assert (advised.path / "table.md").exists()


def test_race_covers_ways_with_and_without_a_generator(advised):
    raced = {each["way"] for each in advised.advice["race"]}
    assert raced > set(FEW)
    assert sum("noise, 0.25" in name for name in raced) == 1
    assert any("cvae, 0.5" in name for name in raced)


def test_second_call_makes_nothing_anew(advised):
    files = {
        p: p.stat().st_mtime_ns for p in (advised.path / "artefacts").rglob("*") if p.is_file()
    }
    timing = (advised.path / "timing.json").read_bytes()
    again = run_to_end(steps_of(advised.path))
    assert again.advice == advised.advice
    now = {p: p.stat().st_mtime_ns for p in (advised.path / "artefacts").rglob("*") if p.is_file()}
    assert now == files
    assert (advised.path / "timing.json").read_bytes() == timing


def test_stopped_advice_goes_on_to_the_same_answer(advised, tmp_path):
    steps = steps_of(tmp_path / "run")
    ended = 0
    while ended < 9:
        step = next(steps)
        ended += step.stage == CELL and step.number is not None
    steps.close()
    assert read_status(tmp_path / "run")["state"] == "stopped"
    assert len(json.loads((tmp_path / "run/timing.json").read_text())["cells"]) == 8
    result = run_to_end(steps_of(tmp_path / "run"))
    assert without_seconds(result.advice) == without_seconds(advised.advice)


def test_race_never_reads_a_test_image(advised, tmp_path, monkeypatch):
    original = DatasetCache.of

    def noise_as_test(self, cell):
        data = original(self, cell)
        images = (255 - data.test.images).flip(0)
        labels = data.test.labels.roll(1)
        return dataclasses.replace(
            data, test=dataclasses.replace(data.test, images=images, labels=labels)
        )

    monkeypatch.setattr(DatasetCache, "of", noise_as_test)
    other = run_to_end(steps_of(tmp_path / "run")).advice
    for key in ("race", "winner", "runner_up", "best_free", "left_out"):
        assert other[key] == advised.advice[key]
    assert other["ways"][0]["accuracy"] != advised.advice["ways"][0]["accuracy"]


def test_advice_without_time_is_the_usual_way(tmp_path):
    facts = run_to_end(steps_of(tmp_path / "run", budget=1)).advice
    assert facts["left_out"].keys() >= {"cvae", "noise"}
    assert "no time for one" in " ".join(advice_sentences(facts))
    assert all(way["n"] == 3 for way in facts["ways"])


def test_images_of_an_advice_can_be_exported(advised, tmp_path):
    request = (advised.path, tmp_path / "out", ExportRequest(), None)
    if any(":" in way["way"] for way in advised.advice["ways"]):
        assert export_images(*request)["real"] == 40
    else:  # on this processor a way without a generator came first and second
        with pytest.raises(UsageError, match="no finished cell with a generator"):
            export_images(*request)


def test_command_prints_the_page_or_json(advised, monkeypatch, capsys):
    show_advice(advised.advice)
    out = capsys.readouterr().out
    assert all(sentence in out for sentence in advice_sentences(advised.advice))
    assert all(each["way"] in out for each in advised.advice["race"])
    words = ["resume", str(advised.path), "--jobs", "1", "--device", "cpu", "--json", "--quiet"]
    code, out, err = call(monkeypatch, capsys, *words)
    assert code == 0, err
    assert json.loads(out) == advised.advice


def test_damaged_times_are_told(advised, tmp_path):
    run = shutil.copytree(advised.path, tmp_path / "run")
    (run / "timing.json").write_text("[1")
    with pytest.raises(RunFolderError, match=r"timing.json is damaged: delete it"):
        run_to_end(steps_of(run))
    (run / "timing.json").unlink()
    assert run_to_end(steps_of(run)).advice["winner"]


def test_advice_takes_no_until(advised, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "resume", advised.path, "--until", "1")
    assert code == 2
    assert "leave --until out" in err


def test_budget_that_is_no_time_is_refused(monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "advise", "digits", "--budget", "soon")
    assert code == 2
    assert "--budget soon: write a number and a unit, e.g. 90s, 10m or 2h" in err


def test_other_budget_in_the_same_folder_is_refused(advised):
    with pytest.raises(RunFolderError, match="budget: 3600 → 60"):
        next(steps_of(advised.path, budget=60))
