"""What can be said of a synthetic set before any classifier is trained on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_float
from augment.metrics.copies import nearest_two
from augment.metrics.fidelity import NEIGHBOURS, class_spread, fidelity, knn_radii
from augment.training.learner import seeded_init

MAX_IMAGES = 5000  # of each side in the measures
TWIN_QUANTILE = 0.01  # of real images have a neighbour this near; a synthetic twin is nearer still


def measures(
    synthetic: LabelledImages, real: LabelledImages, spaces: dict[str, Any], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Measure fidelity and diversity by feature space, at equal n, and the same of real images.

    `real` is split in two halves: synthetic images and the second half (the floor: what real images
    reach) are each measured against the first. `spaces` maps a name to images → features [N, D].
    Empty where there are too few images for a neighbourhood.
    """
    rng = torch.Generator().manual_seed(seed)
    n = min(len(synthetic), len(real) // 2, MAX_IMAGES)
    if n <= NEIGHBOURS:
        return {}
    order = torch.randperm(len(real), generator=rng)
    # disjoint halves: a real image is never its own neighbour in the floor
    first, second = real.select(order[:n]), real.select(order[n : 2 * n])
    chosen = synthetic.select(torch.randperm(len(synthetic), generator=rng)[:n])
    by_space = {}
    for name, embed in spaces.items():
        reference, real_features = embed(first.images), embed(second.images)  # [n, D] each
        features = embed(chosen.images)
        floor = {f"{key}_floor": v for key, v in fidelity(reference, real_features).items()}
        twin_radius = float(knn_radii(real_features, 1).quantile(TWIN_QUANTILE))
        real_spread = class_spread(real_features, second.labels)
        spread = class_spread(features, chosen.labels)
        by_space[name] = {
            "n": n,
            **fidelity(reference, features),
            **floor,
            "diversity": spread / real_spread if real_spread else float("nan"),
            "twins": float((knn_radii(features, 1) < twin_radius).float().mean()),
        }
    return by_space


def closer_to_train(
    synthetic: Tensor, labelled: LabelledImages, others: LabelledImages, seed: int = 0
) -> float | None:
    """Compute the share of synthetic images nearer to a labelled than to an unseen real image.

    In pixels, of MAX_IMAGES synthetic images where there are more: the share is then known to a
    point and a half. As many unseen images as labelled ones, class for class; 0.5 means no memory.
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
    unseen = others.images[torch.cat(indices)].flatten(1)
    flat = synthetic[torch.randperm(len(synthetic), generator=rng)[:MAX_IMAGES]].flatten(1)
    to_labelled = nearest_two(flat, labelled.images.flatten(1))[0][:, 0]
    to_unseen = nearest_two(flat, unseen)[0][:, 0]
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
        return torch.cat([net(to_float(part.to(device))).cpu() for part in images.split(512)])

    return embed


def label_agreement(
    probabilities: Tensor, labels: Tensor, n_classes: int
) -> tuple[float, list[float | None]]:
    """Compute the share of images that a classifier puts into the class wanted.

    `probabilities` [N, K], `labels` [N]; over all, and by class (None for a class without images).
    """
    right = probabilities.argmax(1) == labels
    by_class = [
        float(right[labels == k].float().mean()) if bool((labels == k).any()) else None
        for k in range(n_classes)
    ]
    return float(right.float().mean()), by_class


def quality_warning(quality: dict[str, Any]) -> str:
    """Warn in one sentence of a set so far from real images that it is likely to hurt, else ""."""
    faults = []
    if quality["agreement"] < quality["agreement_floor"] - 0.1:
        faults.append(
            f"{100 * quality['agreement']:.0f} % of its images are taken for the class wanted, of "
            f"real ones {100 * quality['agreement_floor']:.0f} %"
        )
    for name, space in quality["spaces"].items():
        if space["coverage"] < 0.5 * space["coverage_floor"]:
            faults.append(
                f"in the features of the {name} they cover {100 * space['coverage']:.0f} % of real "
                f"images, other real ones {100 * space['coverage_floor']:.0f} %"
            )
    return "; ".join(faults)
