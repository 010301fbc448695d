"""Recipes and the results that they gave belong together."""

import re
from pathlib import Path

import pytest

from augment.experiment.cells import expand
from augment.experiment.recipe import Recipe
from augment.experiment.results_table import RESULTS_COLUMNS, read_results
from augment.experiment.validation import make_recipe, read_recipe
from augment.report.table import markdown, summarise

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "pipelines").glob("*.toml"))
COMMITTED = sorted((ROOT / "results").glob("*.csv"))
KEY = ["dataset", "asked", "seed", "generator", "guidance", "ratio", "share", "mixing", "arm"]


def cells_of(recipe):
    return expand(make_recipe(**read_recipe(recipe)).resolved("cpu"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_recipe_expands_to_distinct_cells(recipe):
    cells = cells_of(recipe)
    assert len({repr(cell) for cell in cells}) == len(cells) > 0
    assert read_recipe(recipe)["question"].endswith("?")
    assert len(recipe.read_text().splitlines()) <= 30


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_recipe_is_listed_with_its_number_of_cells(recipe):
    text = (ROOT / "pipelines/README.md").read_text()
    line = re.search(rf"^\| `{recipe.name}` \|.*$", text, re.M)
    assert line
    assert int(line[0].split("|")[3]) == len(cells_of(recipe))


@pytest.mark.parametrize("table", COMMITTED, ids=lambda p: p.stem)
def test_committed_results_hold_each_cell_of_their_recipe_once(table):
    found = read_results(table)
    assert set(found.columns) == set(RESULTS_COLUMNS)
    # what a trial chose on validation is not what the recipe says
    found.loc[found["candidates"].notna(), ["guidance", "ratio", "share", "mixing"]] = float("nan")
    cells = cells_of(ROOT / "pipelines" / f"{table.stem}.toml")
    wanted = [
        (
            c.dataset,
            c.amount,
            c.seed,
            c.generator,
            c.use.guidance,
            c.use.ratio,
            c.use.share,
            c.use.mixing,
            c.arm,
        )
        for c in cells
    ]
    rows = [
        tuple(None if v != v else v for v in row)  # NaN to None
        for row in found[KEY].itertuples(index=False, name=None)
    ]
    assert sorted(rows, key=repr) == sorted(wanted, key=repr)


@pytest.mark.parametrize("table", COMMITTED, ids=lambda p: p.stem)
def test_committed_markdown_is_what_the_csv_renders_to(table):
    rendered = markdown(summarise(read_results(table)))
    assert rendered in table.with_suffix(".md").read_text()
    assert table.with_suffix(".png").stat().st_size > 1000


def test_results_readme_names_each_table_with_command_and_hardware():
    text = (ROOT / "results/README.md").read_text()
    for table in COMMITTED:
        assert f"augment sweep pipelines/{table.stem}.toml" in text
        assert f"[{table.stem}]({table.stem}.md)" in text


def test_every_setting_can_be_written_in_a_recipe(tmp_path):
    import tomli_w

    settings = make_recipe(frac=0.5, size=16, guidance=2, set={"ddpm": {"lr": 1e-3}})
    file = tmp_path / "all.toml"
    file.write_text(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)))
    assert Recipe(**read_recipe(file)) == settings
