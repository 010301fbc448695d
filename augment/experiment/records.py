"""Dependencies and results of each artefact, as types.

A `…Record` holds all that an artefact depends on: its fields are its signature. A `…Result` is the
artefact's `about.json`, read and written here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from augment import __version__
from augment.storage.artifacts import Store, signature
from augment.storage.atomic import write_atomic

ABOUT = "about.json"
JUDGE_FEATURES = "real+classic classifier"  # name of its feature space


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that an artefact of a kind depends on."""

    kind: ClassVar[str]

    @property
    def signature(self) -> str:
        """16 hex digits, equal for equal fields; entries of `use` count as fields."""
        # flat, as in 0.3.0, before SyntheticUse existed: old artefacts stay valid
        fields = vars(self).copy()
        use = fields.pop("use", {})
        if fields.get("edition") is None:  # nothing has changed since 0.3.0, which had no editions
            fields.pop("edition", None)
        return signature(fields | use)

    def path(self, store: Store) -> Path:
        """Return the path of the complete artefact."""
        return store.path(self.kind, self.signature)


@dataclass(frozen=True, kw_only=True)
class GeneratorRecord(Record):
    """Dependencies of a trained generator."""

    kind = "generator"
    labelled: str  # SHA-256 of the labelled images
    seed: int
    generator: str
    settings: dict[str, Any]
    classic: str
    precision: str
    version: str = __version__
    edition: int | None = None  # `generator_edition`


@dataclass(frozen=True, kw_only=True)
class SyntheticRecord(Record):
    """Dependencies of a synthetic set."""

    kind = "synthetic"
    generator: str  # signature
    settings: dict[str, Any]  # of sampling
    use: dict[str, Any]  # SyntheticUse.signed("synthetic")


@dataclass(frozen=True, kw_only=True)
class QualityRecord(Record):
    """Dependencies of the measures of a synthetic set."""

    kind = "quality"
    synthetic: str  # signature
    judge: str  # signature of the score of the classifier that judges
    data: str  # SHA-256 of the data set
    edition: int = 2  # raised when a measure changes, so that records of before are made anew


@dataclass(frozen=True, kw_only=True)
class ClassifierRecord(Record):
    """Dependencies of a trained classifier: labelled and synthetic images, never the test set."""

    kind = "classifier"
    labelled: str
    synthetic: str | None
    seed: int
    arm: str
    classic: str
    classifier: str
    settings: dict[str, Any]
    precision: str
    transform: str
    weights: str | None  # SHA-256 of the pretrained weights
    parts: list[str]  # SHA-256 of each part of the training set, unlabelled images too
    with_replacement: bool  # how batches are drawn; without this field (0.3.0): once an epoch
    use: dict[str, Any]  # SyntheticUse.signed("score")
    version: str = __version__
    edition: int | None = None  # `network_edition`

    def scored_on(self, test: str) -> ScoreRecord:
        """Return the record of its score on a test set."""
        return ScoreRecord(**vars(self), test=test)


@dataclass(frozen=True, kw_only=True)
class ScoreRecord(ClassifierRecord):
    """Dependencies of a row of results.csv: the classifier and the test set."""

    kind = "score"
    test: str  # SHA-256 of the test set


@dataclass(frozen=True)
class ArtifactResult:
    """Results of making an artefact: its about.json."""

    def write(self, folder: Path) -> None:
        """Write about.json, the last file of an artefact."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        write_atomic(folder / ABOUT, text)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read about.json; ignore keys that an older version added or left out."""
        values = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return cls(**{f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values})


@dataclass(frozen=True)
class GeneratorResult(ArtifactResult):
    """A trained generator."""

    cell: str  # the first trial that needed it
    generator: str
    closed_set: bool
    seconds: float
    precision: str
    device: str
    images_seen: int  # repeats counted
    classic: str
    seed: int
    peak_memory_mb: float
    retried: int | None = None  # step from which the learning rate was halved
    micro_batch: int | None = None
    lost: float | None = None  # share of what varies in real images, by its autoencoder


@dataclass(frozen=True)
class SyntheticResult(ArtifactResult):
    """A synthetic set, and the generator that it was sampled from."""

    cell: str
    generator: str
    closed_set: bool
    precision: str
    device: str
    images_seen: int
    classic: str
    seed: int
    retried: int | None
    micro_batch: int | None
    generator_seconds: float
    sample_seconds: float
    n: int
    copy_rate: float
    ratio: float | None
    settings: dict[str, Any]  # of sampling
    model: str  # signature of the generator
    generator_memory_mb: float
    lost: float | None = None  # as of the generator


@dataclass(frozen=True)
class QualityResult(ArtifactResult):
    """The measures of a synthetic set."""

    against: str  # real images of the comparison
    agreement: float
    agreement_by_class: list[float | None]
    agreement_floor: float | None  # None: there are no real images that a judge has not learnt
    copy_rate: float
    copy_rate_features: float | None
    closer_to_train: float | None
    spaces: dict[str, dict[str, float]]  # measures by feature space
    warning: str = ""
    copy_rate_floor: float | None = None  # of unseen real images; None as above, and in edition 1
    copy_rate_features_floor: float | None = None
    lost: float | None = None  # as of the generator
    kappa: float | None = None  # of labels and judges by halves; None before edition 4
    kappa_floor: float | None = None  # of labelled images that they have not learnt; None: no such
    trust: float | None = None  # one over the other, 0…1
    agreement_through: float | None = None  # of those real images, passed through its autoencoder


@dataclass(frozen=True)
class ClassifierResult(ArtifactResult):
    """A trained classifier."""

    cell: dict[str, Any]
    steps: int
    batch: int
    seconds: float
    precision: str
    device: str
    classes: list[str]
    peak_memory_mb: float
    retried: int | None
    micro_batch: int | None
    synthetic: str | None  # signatures
    quality: str | None
    pictures: str | None = None  # of an arm that adds some, where boxes are learnt


@dataclass(frozen=True)
class ScoreResult(ClassifierResult):
    """Scores on the test set, fractions from 0 to 1: of a classifier, or of a detector."""

    accuracy: float | None = None
    balanced_accuracy: float | None = None
    macro_precision: float | None = None
    macro_recall: float | None = None
    macro_f1: float | None = None
    map: float | None = None  # COCO's AP@[.5:.95], mean over classes
    ap50: float | None = None
    box_precision: float | None = None  # at `box_threshold`
    box_recall: float | None = None
    box_threshold: float | None = None  # of the score, chosen on labelled pictures
    classifier: str | None = None  # signature; None: its weights lie beside the score (0.3.0)


def artifact(
    store: Store, record: Record, build: Callable[[Path], Iterator[Any]]
) -> Generator[Any, None, Path]:
    """Return the path of an artefact; if it is missing, `build(folder)` fills it, with progress.

    An artefact is complete or absent; a second process waits for the one that makes it.
    """
    path = record.path(store)
    with store.making(record.kind, record.signature) as folder:
        if folder is not None:
            yield from build(folder)
    return path


def classifier_path(store: Store, score: Path) -> Path:
    """Find the folder with the weights and the history of a scored classifier."""
    signature_of = ScoreResult.read(score).classifier
    return store.path("classifier", signature_of) if signature_of else score
