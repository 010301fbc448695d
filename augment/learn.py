"""The only training loop, what it trains on, and the parts that all learners share."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from augment.classic import Transform
from augment.compositions import Composition
from augment.data.images import LabelledImages, to_float
from augment.errors import Diverged
from augment.recover import update_in_parts
from augment.runtime import seed_for

Metrics = dict[str, Tensor]
SNAPSHOTS = (0.25, 0.5, 0.75, 1.0)  # of a generator's training: when it is drawn, its weights kept


class Learner(Protocol):
    """Anything that learns: hyperparameters in __init__, networks in `prepare`, a step in `update`.

    Generators and classifiers alike, so that no arm differs by accident.
    """

    # after prepare; where there is an "ema", it and a "memory" are kept in the end, nothing else
    modules: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]

    @property
    def steps(self) -> int:
        """How many updates make a training; 0 for a control."""
        ...

    @property
    def batch(self) -> int:
        """Images an update."""
        ...

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks for images like these."""
        ...

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """One optimiser step on float images [B, C, H, W] in [-1, 1], labels [B] int64.

        Classifiers also take mixed labels [B, K] float, a row counting what it adds up to; [B, 2K],
        the second half of rows that are to be normalised apart; and fewer labels than images: the
        rows beyond are weak views of unlabelled images, then as many strong ones.
        """
        ...


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """What is learnt from: parts, the share of each batch that each fills, its transform."""

    parts: tuple[LabelledImages, ...]
    shares: tuple[float, ...]  # sums to 1, and beyond by the unlabelled ones
    transforms: tuple[Transform, ...]
    compose: Composition | None = None  # on the whole batch
    # of how much is done of the training, 0…1: what the second part takes of the first two's share
    second: Callable[[float], float] | None = None
    # in place of the parts' labels: [N, K] or [N, 2K], see Learner.update
    targets: tuple[Tensor, ...] | None = None

    def to(self, device: torch.device) -> TrainingSet:
        """The same set with its images on a device."""
        targets = self.targets and tuple(t.to(device) for t in self.targets)
        parts = tuple(p.to(device) for p in self.parts)
        return dataclasses.replace(self, parts=parts, targets=targets)

    def counts(self, batch: int, done: float = 0.0) -> list[int]:
        """How many images of a batch come from each part; they add up to `batch` times shares.

        `done` is the part of the training before it, 0…1.
        """
        shares = self.shares
        if self.second:
            now = self.second(done)
            shares = (1 - now, now, *shares[2:])
        counts = [round(share * batch) for share in shares[:-1]]
        return [*counts, round(sum(shares) * batch) - sum(counts)]


def draws(
    n: int,
    take: int,
    seed: int,
    position: int,
    cache: dict[int, Tensor],
    device: torch.device | None = None,
) -> Tensor:
    """Places of the `take` images drawn from n after `position` others: each once an epoch.

    The order of epoch e depends on (seed, e) alone, so that a resumed run draws the same.
    """
    places = []
    end = position + take
    while position < end:
        epoch, offset = divmod(position, n)
        if epoch not in cache:
            rng = torch.Generator().manual_seed(seed_for(seed, "epoch", epoch))
            cache.clear()
            # moved once an epoch: to move each batch's places would wait for the GPU in every step
            cache[epoch] = torch.randperm(n, generator=rng).to(device)
        places.append(cache[epoch][offset : offset + end - position])
        position += len(places[-1])
    return torch.cat(places)


def train(
    learner: Learner,
    data: TrainingSet,
    *,
    seed: int,
    device: torch.device,
    start: int = 0,
    micro_batch: int = 0,
) -> Iterator[tuple[int, Metrics]]:
    """The loop: yields (steps done, metrics) after each step; who iterates logs, draws, stops.

    Step s is a pure function of the learner's state, the data, the seed and s: nothing else is
    remembered, so a run continued from a checkpoint equals one that never stopped. A batch larger
    than `micro_batch` is learnt from in parts.
    """
    data = data.to(device)
    rng = torch.Generator(device)
    known = data.targets or tuple(part.labels for part in data.parts)
    caches: list[dict[int, Tensor]] = [{} for _ in data.parts]
    counts = [data.counts(learner.batch, (s + 0.5) / learner.steps) for s in range(learner.steps)]
    drawn = [sum(taken) for taken in zip(*counts[:start], strict=True)] or [0] * len(data.parts)
    parts = -(-learner.batch // (micro_batch or max(1, learner.batch)))
    update = learner.update if parts <= 1 else functools.partial(update_in_parts, learner, parts)
    for step in range(start, learner.steps):
        rng.manual_seed(seed_for(seed, "step", step))
        images, labels = [], []
        for number, (part, take) in enumerate(zip(data.parts, counts[step], strict=True)):
            if take:
                places = draws(
                    len(part), take, seed_for(seed, number), drawn[number], caches[number], device
                )
                drawn[number] += take
                images.append(data.transforms[number](to_float(part.images[places]), rng))
                labels.append(known[number][places])
        batch, targets = torch.cat(images), torch.cat(labels)
        if data.compose:
            batch, targets = data.compose(batch, targets, len(data.parts[0].classes), rng)
        yield step + 1, update(batch, targets, step=step, rng=rng)


def fit(
    learner: Learner, data: TrainingSet, *, seed: int, device: torch.device, precision: str = "fp32"
) -> None:
    """Prepare and train to the end, without a word."""
    learner.prepare(data.parts[0], seed=seed, device=device, precision=precision)
    for _ in train(learner, data, seed=seed, device=device):
        pass


def as_numbers(step: int, metrics: Metrics) -> dict[str, float]:
    """Metrics as floats; raises Diverged if one is not finite."""
    numbers = {name: float(value) for name, value in metrics.items()}
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(f"{bad[0]} was {numbers[bad[0]]} at step {step}")
    return numbers


def rise_and_fall(step: int, steps: int, warmup: float = 0.05, floor: float = 0.02) -> float:
    """Factor of the learning rate: linear from 0 to 1 over `warmup`, then a cosine to `floor`."""
    progress = (step + 1) / steps
    if progress < warmup:
        return progress / warmup
    fallen = (progress - warmup) / (1 - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fallen))


def steps_for(epochs: int, data: LabelledImages, batch: int) -> int:
    """Steps that see every image `epochs` times."""
    return math.ceil(epochs * len(data) / batch)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this rate, times the group's own `scale` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def average_of(net: nn.Module) -> nn.Module:
    """A frozen copy that `follow` keeps as the moving average."""
    return copy.deepcopy(net).requires_grad_(False).eval()


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the net; short at the start: min(decay, (1 + s) / (10 + s)).

    Floating-point buffers (batch-norm statistics) are averaged too, others copied.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    (floats, others), (new_floats, new_others) = tensors_of(average), tensors_of(net)
    torch._foreach_lerp_(floats, new_floats, weight)
    for to, new in zip(others, new_others, strict=True):
        to.copy_(new)


TENSORS: WeakKeyDictionary[nn.Module, tuple[list[Tensor], list[Tensor]]] = WeakKeyDictionary()


def tensors_of(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, the floating-point ones and the others.

    Looked up once a network, whose tensors training changes in place and never replaces: this and
    `in_mode` took a quarter off a small classifier's step.
    """
    if net not in TENSORS:
        own = [*net.parameters(), *net.buffers()]
        floats = [t for t in own if t.is_floating_point()]
        TENSORS[net] = floats, [t for t in own if not t.is_floating_point()]
    return TENSORS[net]


def in_mode(net: nn.Module, training: bool) -> nn.Module:
    """The network in training or evaluation mode; it is walked through only if it was not."""
    return net if net.training == training else net.train(training)


def fresh(build: Any, seed: int) -> Any:
    """Call `build()` with torch's initialisers seeded; the global random state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
