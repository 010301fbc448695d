"""The words and tables of an advice, as Markdown, HTML and for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from augment.report.format import interval_text, markdown_table, percent
from augment.runtime.units import duration

Lines = list[list[str]]  # cells of a table
RACE_HEAD = ("way", "folds", "log loss", "better than the best free way by", "accuracy %")


def advice_sentences(facts: dict[str, Any]) -> list[str]:
    """Write the answer: what to do, what it brings, what that is worth, what it took."""
    best = facts["ways"][0]
    sentences = [f"Use {best['way']}: {best['about']}."]
    if facts["winner"] == facts["best_free"]:
        sentences.append(_no_generator(facts))
    over = {facts["usual"]: best["gain"], facts["best_free"]: best["gain_over_free"]}
    gains = [_gain_sentence(name, gain) for name, gain in over.items() if gain]
    sentences.append(
        f"On the {facts['n_test']} test images, scored once: {facts['measure']} "
        f"{percent(best['accuracy'])} %, mean of {best['n']} trials"
        + (f"; that is {' and '.join(gains)}." if gains else ".")
    )
    if best["gain_over_free"] and facts["winner_generator"]:
        sentences += _doubt(best["gain_over_free"]["verdict"], facts["best_free"])
    if worth := facts["equivalent"]:
        sentences.append(
            f"To be as good, {worth['baseline']} would need {worth['words']}; it has "
            f"{facts['n_labelled']}."
        )
    took = f"This took {duration(facts['used_seconds'])}"
    sentences.append(f"{took} of a budget of {duration(facts['budget_seconds'])}.")
    return sentences


def _no_generator(facts: dict[str, Any]) -> str:
    """Say why no generator is advised: none was better, or none was raced."""
    if any(":" in each["way"] for each in facts["race"]):
        return "No generator: with none was the log loss lower by more than its standard error."
    return "No generator was raced: there was no time for one (--budget)."


def _doubt(verdict: str, free: str) -> list[str]:
    """Say what the race saw and the test images do not; nothing where they agree."""
    if verdict == "helps":
        return []
    if verdict == "hurts":
        return [f"The test images say otherwise than the race: {free} is better, so use that."]
    return [
        f"That does not show that it is better than {free}, which needs no generator: where simple "
        "counts, use that."
    ]


def _gain_sentence(name: str, gain: dict[str, Any]) -> str:
    """Write a gain over a way as part of a sentence."""
    interval = interval_text(gain["low"], gain["high"])
    text = f"{percent(gain['mean'], True)} points over {name}"
    return f"{text} (95 % interval {interval}: {gain['verdict']})" if interval else text


def gain_text(gain: dict[str, Any] | None) -> str:
    """Write a gain in points with its interval and verdict; empty where there is none."""
    if not gain:
        return ""
    interval = interval_text(gain["low"], gain["high"])
    return (
        percent(gain["mean"], True)
        + (f" ({interval})" if interval else "")
        + (f", {gain['verdict']}")
    )


def measured_table(facts: dict[str, Any]) -> tuple[list[str], Lines]:
    """Lay out the ways that were measured on the test images: head and lines."""
    both = facts["best_free"] != facts["usual"]
    head = ["way", f"{facts['measure']} %", "n", f"gain over {facts['usual']}"]
    head += [f"gain over {facts['best_free']}"] if both else []
    head += ["generator s", "sampling s", "classifier s"]
    lines = [
        [
            each["way"],
            percent(each["accuracy"]),
            str(each["n"]),
            gain_text(each["gain"]),
            *([gain_text(each["gain_over_free"])] if both else []),
            *(
                "" if each[cost] is None else f"{each[cost]:.1f}"
                for cost in ("generator_seconds", "sample_seconds", "classifier_seconds")
            ),
        ]
        for each in facts["ways"]
    ]
    return head, lines


def race_lines(facts: dict[str, Any]) -> Lines:
    """Lay out how each way did in the race, and what was left out."""
    return [
        [
            each["way"],
            str(each["folds"]),
            f"{each['loss']:.3f}",
            f"{each['gain']:+.3f} ± {each['standard_error']:.3f}"
            if each["way"] != facts["best_free"]
            else "",
            percent(each["accuracy"]),
        ]
        for each in facts["race"]
    ]


def left_out_lines(facts: dict[str, Any]) -> list[str]:
    """Write what did not run to its end, and why."""
    return [f"{name}: {why}" for name, why in facts["left_out"].items()]


def next_steps(facts: dict[str, Any]) -> list[str]:
    """Name the commands that come next."""
    if not facts["winner_generator"]:
        return []
    chosen = f"--generator {facts['winner_generator']}"
    return [f"augment export {facts['folder']} ./augmented {chosen}"]


def _parts(facts: dict[str, Any]) -> dict[str, Any]:
    """Collect what both pages show."""
    head, lines = measured_table(facts)
    return {
        "title": f"What to do with {facts['dataset']}: {facts['n_labelled']} labelled images "
        f"({facts['amount']})",
        "sentences": advice_sentences(facts),
        "head": head,
        "lines": lines,
        "race_head": RACE_HEAD,
        "race": race_lines(facts),
        "left_out": left_out_lines(facts),
        "commands": next_steps(facts),
        "notes": _notes(facts),
    }


def _notes(facts: dict[str, Any]) -> list[str]:
    """Explain how the figures came about."""
    notes = [
        "The race saw the labelled images alone: each way is trained without a fold and scored on "
        "it; after each fold the better half by log loss goes on (each way at its best "
        "temperature). A way with a generator wins if it is better than the best free way, one "
        "without a generator, by more than one standard error of the paired difference. "
        "ARM+synth: NAME, 0.25 means that a quarter of each batch is drawn by NAME; duplicate and "
        "noise are controls.",
        "The measurement is of other trials than the race's, and nothing was chosen on it. Gains "
        "are in points, with a 95 % interval that is not corrected for several comparisons. "
        "Seconds are means of one training, of the images drawn for it, and of one classifier.",
    ]
    if facts["equivalent"] and facts["equivalent"]["curve"]:
        points = facts["equivalent"]["curve"]
        curve = ", ".join(f"{percent(error)} % with {n}" for n, error in points)
        notes.append(
            f"Error of {facts['equivalent']['baseline']}: {curve} labelled images. A power law "
            "through these tells how many more would lower it to that of the advice; up to four "
            "times as many."
        )
    if facts["preset"] == "smoke":
        notes.append("Preset smoke trains for seconds: it says nothing about any way.")
    return notes


def advice_markdown(facts: dict[str, Any]) -> str:
    """Write the page as Markdown."""
    parts = _parts(facts)
    first, *others = parts["sentences"]
    text = [f"# {parts['title']}", "", f"**{first}** {' '.join(others)}", ""]
    text += ["## Measured on test images", "", *markdown_table(parts["head"], parts["lines"]), ""]
    text += ["## The race", "", *markdown_table(RACE_HEAD, parts["race"]), ""]
    if parts["left_out"]:
        text += ["Left out:", "", *(f"- {line}" for line in parts["left_out"]), ""]
    if parts["commands"]:
        text += ["## Next", "", "```sh", *parts["commands"], "```", ""]
    return "\n".join([*text, "## How to read this", "", *(f"{n}\n" for n in parts["notes"])])


def advice_html(facts: dict[str, Any]) -> str:
    """Write the page as one HTML file that opens without a network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("advice.html.j2").render(**_parts(facts))
