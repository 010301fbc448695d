"""The data card of an export: what its reader must know, with a head for `datasets`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from augment.data.images import ImageShape
from augment.experiment.records import SyntheticResult
from augment.report.export_formats import ExportFormat
from augment.report.format import escape


@dataclass(frozen=True)
class CardFacts:
    """What a card states of an export."""

    row: dict[str, Any]  # of results.csv
    sampled: SyntheticResult
    n_labelled: int
    n_synthetic: int
    with_real: bool
    shape: ImageShape  # of the synthetic images
    original_size: bool  # of the labelled ones
    n_groups: int
    classes: list[str]
    findings: list[str]  # sentences

    @property
    def contents(self) -> str:
        """Counts and sizes of the images."""
        _, height, width = self.shape
        size = f"{width} × {height} pixels"
        synthetic = f"{self.n_synthetic} synthetic images of {size}"
        if not self.with_real:
            return synthetic
        own = "at their own size" if self.original_size else f"of {size}"
        return f"{self.n_labelled} labelled images {own} and {synthetic}"

    @property
    def shape_warning(self) -> str:
        """An item of the card where labelled and synthetic images differ in size and shape."""
        if not self.original_size or not self.with_real:
            return ""
        _, height, width = self.shape
        return (
            f"- **Two sizes.** Labelled images have the size and shape of their files; synthetic "
            f"ones are all {width}×{height} pixels (width×height), with bands beside the picture "
            "where the run padded labelled ones. Bring both to one size in one way before "
            "training, or a model tells them apart by that.\n"
        )


def data_card(facts: CardFacts, head: dict[str, Any], layout: ExportFormat) -> str:
    """Write the card in Markdown; `head` is what `datasets` is told."""
    # a value of JSON is one of YAML
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items()]
    yaml = f"---\n{''.join(lines)}---\n\n" if head else ""
    row, sampled = facts.row, facts.sampled
    trained = f"trained on those {facts.n_labelled} labelled images alone"
    if not sampled.closed_set:
        trained = "trained elsewhere, on data that this card does not know"
    findings = "".join(f"- {escape(sentence)}\n" for sentence in facts.findings)
    return f"""{yaml}# Augmented data set

{facts.contents}.

## How to read it

OUT is the folder of this card. {layout.reading}
- Compare classes by name, not by number: readers sort them in different ways.
{_about_names(facts.classes)}{_about_groups(facts)}\
{facts.shape_warning}\
- Hold out labelled images alone, never synthetic ones, whose labels nobody has looked at.

## What it is

- Made by `augment` {row["version"]} from `{row["dataset"]}`, trial {row["seed"]}: generator
  `{row["generator"]}` (preset {row["preset"]}), {row["ratio"]:g} synthetic images for each
  labelled one, {trained}
  (closed set: {"yes" if sampled.closed_set else "no"}).
{findings}- **Not anonymous.** Synthetic images can repeat labelled ones: copy rate
  {sampled.copy_rate:.1%} (share with d1/d2 < 1/3 in pixels, or nearer to a labelled image than
  99 % of those are to each other; a low rate is no proof of privacy).
- {layout.labels}; nobody looked at them.
- No test image is in here. Do not test on synthetic images, and do not test on labelled images
  that trained the generator.
- Licence and terms: those of the source data.
"""


def _about_groups(facts: CardFacts) -> str:
    """State that the labelled images come in groups, if they do."""
    if not facts.n_groups or not facts.with_real:
        return ""
    return (
        f"- The labelled images are of {facts.n_groups} groups (column `group`): keep each on one "
        "side of a split.\n"
    )


def _about_names(classes: list[str]) -> str:
    """Warn of classes that a file system of Windows or macOS takes for one."""
    counts = Counter(name.casefold() for name in classes)
    twins = [escape(name) for name in classes if counts[name.casefold()] > 1]
    if not twins:
        return ""
    return (
        f"- The classes {', '.join(twins)} differ in capitals alone: on Windows and macOS "
        "their folders become one.\n"
    )
