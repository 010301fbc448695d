"""What the documents say can be done is there to be done, and their figures are in the tables."""

import dataclasses
import functools
import itertools
import re
import shlex
import tomllib
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from typer.main import get_command

from augment import cli
from augment.experiment.results_table import read_results
from augment.generators import GENERATORS
from augment.report.format import interval_text, percent, probability
from augment.report.table import summarise
from augment.report.verdicts import plan_sentence

ROOT = Path(__file__).resolve().parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "tests/faults/README.md"]
DOCUMENTS = [README, CHINESE, *OTHERS, *PAGES, *ROOT.glob("[!.]*/README.md")]
with_each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT))
)
VERDICTS = r"(?:helps|hurts)\??|can't tell|too few trials|one trial"
SIGNED = r"[+−]\d+\.\d\d"
FIGURE = re.compile(rf"({SIGNED})(?: \(({SIGNED}) … ({SIGNED})\))?(?:, ({VERDICTS}))?")


def commands_in(document):
    """Every `augment …` line of the fenced blocks of a document."""
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", document.read_text(), re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("augment ")]


@with_each_document
def test_commands_in_documents_parse(document):
    group = get_command(cli.app)
    for words in commands_in(document):
        name, *rest = words[1:]
        if name.startswith("-"):
            continue
        command = group.commands[name]
        context = command.make_context(name, list(rest), resilient_parsing=False)
        assert not context.args, words  # nothing left over that the command does not know


def test_readme_is_short_and_has_ten_commands():
    assert len(README.read_text().splitlines()) <= 150
    assert len(main_commands(README)) == 10


def main_commands(document):
    """The commands of the longest fenced block, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.S)
    longest = max(blocks, key=lambda block: block.count("augment "))
    return [
        " ".join(shlex.split(line, comments=True))
        for line in longest.splitlines()
        if line.startswith("augment ")
    ]


def test_chinese_readme_has_the_commands_of_the_english_one():
    assert main_commands(CHINESE) == main_commands(README)
    english = commands_in(README)
    assert all(words in english for words in commands_in(CHINESE))


def test_chinese_readme_links_to_what_the_english_one_links_to():
    own = {README.name, CHINESE.name}
    assert set(links(CHINESE)) - own <= set(links(README))
    assert {f"docs/{page.name}" for page in PAGES} <= set(links(CHINESE))


@pytest.mark.parametrize("name", sorted(get_command(cli.app).commands))
def test_each_command_is_in_the_documents(name):
    texts = [README.read_text(), *(page.read_text() for page in PAGES)]
    assert any(f"augment {name}" in text for text in texts)


def links(document):
    """The targets of a document's links to files, images among them, without anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    return [t.split("#")[0] for t in found if ":" not in t and not t.startswith("#")]


@with_each_document
def test_links_between_documents_lead_somewhere(document):
    for target in links(document):
        assert (document.parent / target).exists(), target


@with_each_document
def test_links_to_headings_lead_to_headings(document):
    for target, anchor in re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", document.read_text()):
        page = document.parent / target if target else document
        heads = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
        slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
        assert anchor in slugs


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_each_page_can_be_reached_from_the_readme_and_leads_back(page):
    assert f"docs/{page.name}" in links(README)
    assert "../README.md" in links(page)


@functools.cache
def summary_of(stem):
    """The summary of a committed table, its rows with a gain only."""
    table = summarise(read_results(ROOT / "results" / f"{stem}.csv"))
    return table[table["against"] != ""]


def blocks_with_figures(document):
    """Paragraphs, list items and table rows that state a gain."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    blocks = re.split(r"\n\s*\n|\n(?=[|] )|\n(?=- )", text)
    return [" ".join(block.split()) for block in blocks if re.search(SIGNED, block)]


def row_of(stem, names):
    """The one row of a table that all names fit; without an arm, the decisive one."""
    table = summary_of(stem)
    if not set(names) & set(table["arm"]):
        names = [*names, "real+classic+synth"]
    for name in names:
        own = table[["dataset", "asked", "generator", "arm"]].eq(name).any(axis=1)
        table = table[own]
    assert len(table) == 1, (stem, names)
    return table.iloc[0]


def verdict_of(row):
    """The verdict's words, from interval and corrected p alone."""
    if row["pairs"] < 3:
        return "too few trials" if row["pairs"] == 2 else "one trial"
    if row["low"] <= 0 <= row["high"]:
        return "can't tell"
    word = "helps" if row["low"] > 0 else "hurts"
    return word if row["p_holm"] <= 0.05 else f"{word}?"


def check_block(block, document):
    """Compare each figure of a block with the table that it links to; return how many."""
    found = {
        Path(target).stem
        for target in re.findall(r"\]\(([^)]+\.md)\)", block)
        if (document.parent / target).resolve().parent == ROOT / "results"
    }
    stems = found & {file.stem for file in (ROOT / "results").glob("*.csv")}
    assert len(stems) == 1, f"no table, or several, for the figures of: {block}"
    stem, end = stems.pop(), 0
    known = set(summary_of(stem)[["dataset", "asked", "generator", "arm"]].to_numpy().ravel())
    figures = list(FIGURE.finditer(block))
    assert sum(len([g for g in f.groups()[:3] if g]) for f in figures) == len(
        re.findall(SIGNED, block)
    ), f"a figure that is not written as gain (low … high): {block}"
    for figure in figures:
        before = block[end : figure.start()]
        cell = before.rpartition(" | ")[2]
        names = [n for n in re.findall(r"`([^`]+)`", cell if "`" in cell else before) if n in known]
        row = row_of(stem, names)
        gain, low, high, verdict = (g and g.replace("−", "-") for g in figure.groups())
        assert gain == percent(row["difference"], True), (block, names)
        assert (f"{low} … {high}" if low else "") == interval_text(row["low"], row["high"]), block
        assert verdict in (None, verdict_of(row)), (block, names)
        trials = re.search(r"\| (\d+) \|", block)
        assert not trials or int(trials[1]) == row["pairs"], block
        end = figure.end()
    return len(figures)


@with_each_document
def test_gains_are_those_of_the_committed_tables(document):
    for block in blocks_with_figures(document):
        assert check_block(block, document) > 0


def test_each_row_of_the_results_states_a_gain():
    readme = ROOT / "results/README.md"
    rows = [b for b in blocks_with_figures(readme) if b.startswith("|")]
    stated = {re.search(r"\[([\w-]+)\]\(\1\.md\)", row)[1] for row in rows}
    assert stated == {file.stem for file in (ROOT / "results").glob("*.csv")}


def test_a_wrong_figure_is_found():
    row = "| x | `ddpm` +0.61 (−0.09 … +1.32), can't tell | 16 | [fresh-digits](fresh-digits.md) |"
    readme = ROOT / "results/README.md"
    assert check_block(row, readme) == 1
    for right, wrong in [("0.61", "0.62"), ("0.09", "0.08"), ("can't tell", "helps"), ("16", "15")]:
        with pytest.raises(AssertionError):
            check_block(row.replace(right, wrong, 1), readme)


@pytest.mark.parametrize("document", [README, CHINESE], ids=["en", "zh"])
def test_sample_table_is_the_committed_one(document):
    sample = re.search(r"```\n(digits, .*?)```", document.read_text(), re.S)[1]
    lines = [line for line in sample.splitlines() if " ± " in line]
    table = summarise(read_results(ROOT / "results/fresh-digits.csv"))
    assert len(lines) == len(table)
    for line, (_, row) in zip(lines, table.iterrows(), strict=True):
        gain = [
            percent(row["difference"], True),
            interval_text(row["low"], row["high"]),
            verdict_of(row),
        ]
        compared = [row["against"], probability(row["p_holm"])]
        cells = [
            row["generator"],
            row["arm"],
            f"{percent(row['mean'])} ± {percent(row['sd'])}",
            *(gain if row["against"] else []),
            str(row["n"]),
            *(compared if row["against"] else []),
        ]
        assert re.split(r"\s{2,}", line.strip()) == [cell for cell in cells if cell]


@pytest.mark.parametrize("document", [README, ROOT / "docs/results.md"], ids=lambda p: p.name)
def test_power_is_that_of_the_sample_table(document):
    row = row_of("fresh-digits", ["ddpm"])
    assert plan_sentence(row.to_dict()) in " ".join(document.read_text().split())


def coverage_rows(first):
    """The figures of the coverage tables whose row's first cell fits: (with the rule, without)."""
    text = (ROOT / "results/bench/coverage.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    cells = [cell for row in rows if re.match(first, row[0].strip()) for cell in row]
    return [tuple(map(float, f)) for c in cells for f in re.findall(r"([\d.]+) \(([\d.]+)\)", c)]


def test_false_verdicts_are_those_of_the_committed_simulation():
    text = " ".join((ROOT / "docs/results.md").read_text().split())
    verdicts = coverage_rows(r"\d+ (groups|images)")
    assert len(verdicts) == 5 * 3 * 3
    worst = max(rule for rule, _ in verdicts)
    assert worst <= 6.5
    assert f"false verdict in at most {worst:g} % with 3 to 12 trials" in text
    (_, _, four, nine), others = coverage_rows("3, 6, 9"), coverage_rows(r"[36], [49]")
    assert max(rule for rule, _ in others) <= nine[0] <= 7.5
    assert f"{four[1]:.0f} % get a verdict within four looks, at 3, 6, 9 and 12 trials" in text
    assert f"and {nine[1]:.0f} % within nine" in text
    assert f"then {nine[0]:g} % get a verdict within nine looks" in text


def test_misses_of_until_are_those_of_the_committed_simulation():
    table = (ROOT / "results/bench/coverage.md").read_text().split("(`--until`)")[1]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if " points" in line]
    assert {row[0].split(",")[0].strip() for row in rows} == {"60", "200", "2000"}
    worst = max(float(row[1]) for row in rows)
    assert worst <= 6
    text = " ".join((ROOT / "docs/results.md").read_text().split())
    assert f"2,000 test images they missed the truth in at most {worst:g} %" in text


def test_generator_of_the_design_page_has_all_that_the_contract_asks_for():
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs/design.md").read_text(), re.S)[1]
    code = "\n".join(line.removeprefix("   ") for line in source.splitlines())
    names = {"dataclass": dataclasses.dataclass, "field": dataclasses.field, "ClassVar": ClassVar}
    exec(compile(code, "docs/design.md", "exec"), names)
    mine, control = names["Mine"](), GENERATORS["duplicate"]()
    assert {n for n in dir(control) if not n.startswith("_")} <= {*dir(mine)}
    assert mine.presets.keys() == control.presets.keys()


def test_constraints_pin_every_dependency_without_addresses():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines if "==" in line}
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=\[]", w)[0]).lower() for w in wanted}
    assert names <= pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+|#.*|", line) for line in lines)


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 40


def test_table_of_sizes_is_that_of_its_csv():
    document = (ROOT / "results/bench/sizes.md").read_text()
    lines = [line for line in document.splitlines() if re.match(r"\| (steel|blood cells) ", line)]
    rows = pd.read_csv(ROOT / "results/bench/sizes.csv", dtype=str).to_dict("records")
    assert [line.strip("| ").split(" | ") for line in lines] == [
        [
            *(row["images"], row["side"], f"{int(row['steps']):,}", row["way"]),
            f"{row['agreement']} ({row['floor']})",
            f"{row['detail']} ({row['detail_real']})",
            *(row["kid"], row["precision"], row["train_seconds"]),
        ]
        for row in rows
    ]


def test_table_of_the_size_of_the_detail_is_that_of_its_csv():
    document = (ROOT / "results/bench/sizes.md").read_text()
    lines = [line for line in document.splitlines() if re.match(r"\| \d+ \| (steel|blood)", line)]
    rows = pd.read_csv(ROOT / "results/bench/sizes-detail.csv", dtype=str).to_dict("records")
    assert [line.strip("| ").split(" | ") for line in lines] == [
        [
            *(row["seed"], row["images"], row["side"], row["way"].removeprefix("size ")),
            f"{row['agreement']} ({row['floor']})",
            f"{row['detail']} ({row['detail_real']})",
            row["kid"],
        ]
        for row in rows
    ]
