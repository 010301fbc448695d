"""A run's training curves as TensorBoard event files (extra `tensorboard`)."""

from __future__ import annotations

from pathlib import Path

from augment.errors import MachineError
from augment.storage.tables import read_csv


def write_events(folder: Path) -> Path:
    """Write `folder/tensorboard`, one run for each training; MachineError without the extra."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MachineError(
            "--tensorboard needs the extra: pip install 'augment-compare[tensorboard]'"
        ) from None
    out = folder / "tensorboard"
    log = read_csv(folder / "history.csv", ("dataset", "asked", "generator", "arm", "metric"))
    for (stage, artefact), curves in log.groupby(["stage", "artefact"], sort=False):
        first = curves.iloc[0]
        name = f"{stage}-{first['arm'] if stage == 'score' else first['generator']}"
        with SummaryWriter(str(out / f"{name}-seed{first['seed']}-{str(artefact)[:6]}")) as writer:
            for line in curves.to_dict("records"):
                writer.add_scalar(line["metric"], line["value"], line["step"])
    return out
