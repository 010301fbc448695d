"""What can be said of a synthetic set before any classifier is trained on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, images_at_once, to_float
from augment.metrics.copies import distance_to_nearest
from augment.metrics.fidelity import NEIGHBOURS, class_spread, fidelity, knn_radii
from augment.metrics.rates import Rate, surely_below
from augment.training.learner import seeded_init

MAX_IMAGES = 5000  # of each side in the measures
TWIN_QUANTILE = 0.01  # of real images have a neighbour this near; a synthetic twin is nearer still


def measures(
    synthetic: LabelledImages,
    real: LabelledImages,
    embed: Any,
    units: Tensor | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Measure fidelity and diversity in the features of `embed`, and the same of real images.

    `real` is split in two halves: synthetic images and the second half (the floor: what real images
    reach) are each measured against the first, at equal n. Images of one unit [M], as those of a
    patient, stay in one half. `embed` maps images to features [N, D]. Empty where there are too few
    images for a neighbourhood.
    """
    rng = torch.Generator().manual_seed(seed)
    n = min(len(synthetic), len(real) // 2, MAX_IMAGES)
    order, n = _disjoint_halves(torch.randperm(len(real), generator=rng), units, n)
    if n <= NEIGHBOURS:
        return {}
    # disjoint halves: a real image is never its own neighbour in the floor
    first, second = real.select(order[:n]), real.select(order[n : 2 * n])
    chosen = synthetic.select(torch.randperm(len(synthetic), generator=rng)[:n])
    reference, real_features = embed(first.images), embed(second.images)  # [n, D] each
    features = embed(chosen.images)
    floor = {f"{key}_floor": v for key, v in fidelity(reference, real_features).items()}
    twin_radius = float(knn_radii(real_features, 1).quantile(TWIN_QUANTILE))
    real_spread = class_spread(real_features, second.labels)
    spread = class_spread(features, chosen.labels)
    return {
        "n": n,
        **fidelity(reference, features),
        **floor,
        "diversity": spread / real_spread if real_spread else float("nan"),
        "twins": float((knn_radii(features, 1) < twin_radius).float().mean()),
    }


def _disjoint_halves(order: Tensor, units: Tensor | None, n: int) -> tuple[Tensor, int]:
    """Sort an order [M] so that units stand together; lower n until none is on both sides of it."""
    if units is None:
        return order, n
    _, unit_of = units[order].unique(return_inverse=True)
    positions = torch.arange(len(order))
    first = torch.full((len(order),), len(order)).scatter_reduce_(0, unit_of, positions, "amin")
    by_unit = first[unit_of].sort(stable=True)  # a unit stands where its first image stood
    while 0 < n < len(order) and by_unit.values[n - 1] == by_unit.values[n]:
        n -= 1
    return order[by_unit.indices], n


def averaged(found: list[dict[str, float]]) -> dict[str, float]:
    """Average the measures of several judges; n is that of one. Those without any are left out."""
    found = [space for space in found if space]
    return {
        key: float(torch.tensor([space[key] for space in found], dtype=torch.float64).nanmean())
        for key in (found[0] if found else {})
    }


def closer_to_train(
    synthetic: Tensor, labelled: LabelledImages, others: LabelledImages, seed: int = 0
) -> float | None:
    """Compute the share of synthetic images nearer to a labelled than to an unseen real image.

    Of MAX_IMAGES synthetic images where there are more: the share is then known to a point and a
    half. As many unseen images as labelled ones, class for class; 0.5 means no memory.
    None if some class has too few unseen images.
    """
    rng = torch.Generator().manual_seed(seed)
    indices = []
    for label, count in enumerate(labelled.counts().tolist()):
        unseen_of_class = (others.labels == label).nonzero().flatten()
        if len(unseen_of_class) < count:
            return None
        order = torch.randperm(len(unseen_of_class), generator=rng)
        indices.append(unseen_of_class[order[:count]])
    unseen = others.images[torch.cat(indices)]
    some = synthetic[torch.randperm(len(synthetic), generator=rng)[:MAX_IMAGES]]
    to_labelled = distance_to_nearest(some, labelled.images)
    to_unseen = distance_to_nearest(some, unseen)
    nearer, tied = to_labelled < to_unseen, to_labelled == to_unseen
    return float(nearer.float().mean() + 0.5 * tied.float().mean())  # a tie counts half


def random_features(channels: int, device: torch.device) -> Any:
    """Build a fixed network of random weights: images [N, C, H, W] uint8 → [N, 512] on the CPU."""
    net = seeded_init(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 32, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),  # the same features for any size of image
            nn.Flatten(),  # 128 channels of 2×2
        ),
        seed=0,
    )
    net = net.to(device=device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed(images: Tensor) -> Tensor:
        parts = images.split(images_at_once(images.shape))
        return torch.cat([net(to_float(part.to(device))).cpu() for part in parts])

    return embed


def agreement_fault(agreement: Rate, floor: Rate | None) -> str:
    """Say that far fewer synthetic than unseen real images are taken for their class, else ""."""
    if not floor or agreement.value >= floor.value - 0.1 or not surely_below(agreement, floor):
        return ""
    return (
        f"{100 * agreement.value:.0f} % of its images are taken for the class wanted, of "
        f"real ones {100 * floor.value:.0f} %"
    )


def coverage_faults(spaces: dict[str, dict[str, float]]) -> list[str]:
    """Say where synthetic images cover less than half of what other real images do."""
    faults = []
    for name, space in spaces.items():
        covered, floor = (Rate(space[key], space["n"]) for key in ("coverage", "coverage_floor"))
        if covered.value < 0.5 * floor.value and surely_below(covered, floor):
            faults.append(
                f"in the features of the {name} they cover {100 * covered.value:.0f} % of real "
                f"images, other real ones {100 * floor.value:.0f} %"
            )
    return faults


def copies_fault(copies: Rate, floor: Rate | None) -> str:
    """Say that surely more synthetic than unseen real images repeat a labelled one, else ""."""
    if not floor or not surely_below(floor, copies):
        return ""
    return (
        f"{100 * copies.value:.1f} % of its images repeat a labelled one, of unseen real images "
        f"{100 * floor.value:.1f} % would count as such"
    )
