"""Shards: whole trials, each once; merged they are what one run gives."""

import json
import shutil

import pandas as pd
import pytest
from conftest import SMALL_RUN
from test_engine import values, weights

import augment
from augment.engine.shards import merge, parse_shard, shard_of
from augment.errors import RunFolderError, UsageError
from augment.experiment.cells import expand
from augment.experiment.validation import make_recipe
from augment.storage.tables import read_csv


@pytest.fixture(scope="module")
def shards(finished, tmp_path_factory):
    """A whole run of two trials, and the same in two shards."""
    root = tmp_path_factory.mktemp("shards")
    shutil.copytree(finished.path, root / "whole")
    for number in (1, 2):
        augment.run(**SMALL_RUN, out=root / f"shard-{number}", shard=f"{number}/2")
    return root


@pytest.fixture
def copies(shards, tmp_path):
    """The shards' folders, to spoil."""
    for number in (1, 2):
        shutil.copytree(shards / f"shard-{number}", tmp_path / f"shard-{number}")
    return [tmp_path / "shard-1", tmp_path / "shard-2"]


def test_shards_share_out_the_trials_each_once():
    cells = expand(make_recipe(seeds=5, per_class=[3, 5], generator="ddpm,cvae").resolved("cpu"))
    parts = [shard_of(cells, (number, 3)) for number in (1, 2, 3)]
    assert sorted(c.name for part in parts for c in part) == sorted(c.name for c in cells)
    trials = [{c.trial for c in part} for part in parts]
    assert sum(map(len, trials)) == 10
    assert max(map(len, trials)) - min(map(len, trials)) <= 1
    assert shard_of(cells, None) == cells


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/2", "1/2/3", ""])
def test_shard_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="write I/N"):
        parse_shard(text)


def test_more_shards_than_trials_are_refused():
    cells = expand(make_recipe(seeds=2).resolved("cpu"))
    with pytest.raises(UsageError, match="take 2 shards at most"):
        shard_of(cells, (1, 3))


def test_merged_shards_are_the_whole_run(shards, tmp_path):
    out = tmp_path / "merged"
    merge([shards / "shard-2", shards / "shard-1"], out)  # in any order
    whole = shards / "whole"
    pd.testing.assert_frame_equal(values(whole), values(out))
    assert weights(whole) == weights(out)
    assert (whole / "table.md").read_text() == (out / "table.md").read_text()
    assert (whole / "settings.json").read_text() == (out / "settings.json").read_text()
    assert {p.name for p in whole.rglob("*.png")} == {p.name for p in out.rglob("*.png")}
    lines = [
        read_csv(folder / "manifest.csv", ("label", "seeds"))
        .sort_values(["split", "file"])
        .reset_index(drop=True)
        for folder in (whole, out)
    ]
    pd.testing.assert_frame_equal(*lines)


def test_merged_run_is_finished_and_can_be_gone_on_with(shards, tmp_path, monkeypatch):
    from augment.experiment import stages

    merge([shards / "shard-1", shards / "shard-2"], tmp_path / "merged")
    monkeypatch.setattr(stages, "train_with_checkpoints", None)  # nothing may be trained
    before = (tmp_path / "merged/results.csv").read_text()
    settings = json.loads((tmp_path / "merged/settings.json").read_text())
    settings.pop("data")
    augment.run(**settings, out=tmp_path / "merged", jobs=1)
    assert (tmp_path / "merged/results.csv").read_text() == before


def test_missing_shard_is_refused_unless_said(shards, tmp_path):
    with pytest.raises(UsageError, match=r"missing \(2/2\)"):
        merge([shards / "shard-1"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert len(merge([shards / "shard-1"], tmp_path / "merged", partial=True)) == 5


def test_shard_given_twice_is_refused(shards, tmp_path):
    with pytest.raises(UsageError, match="shard 1/2 is given twice"):
        merge([shards / "shard-1", shards / "shard-1"], tmp_path / "merged", partial=True)


def test_unfinished_shard_is_refused_with_the_way_to_finish_it(copies, tmp_path):
    rows = (copies[1] / "results.csv").read_text().splitlines(keepends=True)
    (copies[1] / "results.csv").write_text("".join(rows[:-1]))
    with pytest.raises(UsageError, match="4 of its 5 cells: augment resume"):
        merge(copies, tmp_path / "merged")
    assert len(merge(copies, tmp_path / "merged", partial=True)) == 9


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("ratio", [3.0], "ratio"), ("data", {"digits": "other"}, "other images in digits")],
)
def test_shards_of_other_settings_are_refused(copies, tmp_path, key, value, told):
    file = copies[1] / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(RunFolderError, match=told):
        merge(copies, tmp_path / "merged")


def test_whole_run_is_no_shard(shards, tmp_path):
    with pytest.raises(UsageError, match="is a whole run"):
        merge([shards / "whole"], tmp_path / "merged")


def test_other_shard_into_the_same_folder_is_refused(copies, small_run):
    with pytest.raises(RunFolderError, match="shard: "):
        augment.run(**{**small_run, "out": copies[0], "shard": "2/2"})


def test_merge_prints_the_table_or_exits_6(copies, tmp_path, monkeypatch, capsys):
    from test_cli import call

    words = ["merge", *copies, "--out", tmp_path / "merged"]
    code, out, _ = call(monkeypatch, capsys, *words)
    assert code == 0
    assert out.startswith("generator\tarm\taccuracy")
    file = copies[1] / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ratio": [3.0]}))
    code, out, err = call(monkeypatch, capsys, *words)
    assert code == 6
    assert out == ""
    assert len(err.strip().splitlines()) == 1
