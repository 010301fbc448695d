"""What can be said of a synthetic set before any classifier is trained on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_float
from augment.metrics.copies import nearest_two
from augment.metrics.fidelity import NEIGHBOURS, fidelity, radii, spread
from augment.training.learner import seeded_init

MOST = 5000  # images of each side in the measures
SAME = 0.01  # of real images have a neighbour this near; a synthetic twin is nearer still


def measures(
    synthetic: LabelledImages, real: LabelledImages, spaces: dict[str, Any], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Fidelity and diversity by feature space, at equal n, and the same between real images.

    `real` is split in two halves: synthetic images and the second half (the floor: what real images
    reach) are each measured against the first. `spaces` maps a name to images → features [N, D].
    Empty where there are too few images for a neighbourhood.
    """
    rng = torch.Generator().manual_seed(seed)
    n = min(len(synthetic), len(real) // 2, MOST)
    if n <= NEIGHBOURS:
        return {}
    order = torch.randperm(len(real), generator=rng)
    first, second = real.select(order[:n]), real.select(order[n : 2 * n])
    chosen = synthetic.select(torch.randperm(len(synthetic), generator=rng)[:n])
    found = {}
    for name, embed in spaces.items():
        known, other, made = embed(first.images), embed(second.images), embed(chosen.images)
        floor = {f"{key}_floor": value for key, value in fidelity(known, other).items()}
        twin = float(radii(other, 1).quantile(SAME))
        usual = spread(other, second.labels)
        found[name] = {
            "n": n,
            **fidelity(known, made),
            **floor,
            "diversity": spread(made, chosen.labels) / usual if usual else float("nan"),
            "twins": float((radii(made, 1) < twin).float().mean()),
        }
    return found


def closer_to_train(
    synthetic: Tensor, labelled: LabelledImages, others: LabelledImages, seed: int = 0
) -> float | None:
    """Share of synthetic images nearer, in pixels, to a labelled than to an unseen real image.

    Of MOST synthetic images where there are more: the share is then known to a point and a half.
    As many unseen images as labelled ones, class for class; 0.5 means no memory. None if some class
    has too few unseen images.
    """
    rng = torch.Generator().manual_seed(seed)
    indices = []
    for label, count in enumerate(labelled.counts().tolist()):
        own = (others.labels == label).nonzero().flatten()
        if len(own) < count:
            return None
        indices.append(own[torch.randperm(len(own), generator=rng)[:count]])
    unseen = others.images[torch.cat(indices)].flatten(1)
    flat = synthetic[torch.randperm(len(synthetic), generator=rng)[:MOST]].flatten(1)
    to_seen = nearest_two(flat, labelled.images.flatten(1))[0][:, 0]
    to_unseen = nearest_two(flat, unseen)[0][:, 0]
    return float((to_seen < to_unseen).float().mean() + 0.5 * (to_seen == to_unseen).float().mean())


def random_features(channels: int, device: torch.device) -> Any:
    """A fixed network of random weights: images [N, C, H, W] uint8 → [N, 512] on the CPU."""
    net = seeded_init(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 32, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        ),
        seed=0,
    )
    net = net.to(device=device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed(images: Tensor) -> Tensor:
        return torch.cat([net(to_float(part.to(device))).cpu() for part in images.split(512)])

    return embed


def agreement(
    probabilities: Tensor, labels: Tensor, n_classes: int
) -> tuple[float, list[float | None]]:
    """Share of images that a classifier puts into the class wanted, over all and by class."""
    right = probabilities.argmax(1) == labels
    by_class = [
        float(right[labels == k].float().mean()) if bool((labels == k).any()) else None
        for k in range(n_classes)
    ]
    return float(right.float().mean()), by_class


def warning(about: dict[str, Any]) -> str:
    """One sentence if the set is so far from real images that it is likely to hurt, else empty."""
    said = []
    if about["agreement"] < about["agreement_floor"] - 0.1:
        said.append(
            f"{100 * about['agreement']:.0f} % of its images are taken for the class wanted, of "
            f"real ones {100 * about['agreement_floor']:.0f} %"
        )
    for name, space in about["spaces"].items():
        if space["coverage"] < 0.5 * space["coverage_floor"]:
            said.append(
                f"in the features of the {name} they cover {100 * space['coverage']:.0f} % of real "
                f"images, other real ones {100 * space['coverage_floor']:.0f} %"
            )
    return "; ".join(said)
