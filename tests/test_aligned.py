"""Above 32 pixels a side a copy is found under shifts, mirroring and other light."""

import pytest
import torch
import torch.nn.functional as F

from augment.data.copies.aligned import aligned_search, misleading_pixels
from augment.metrics.copies import RATIO_THRESHOLD, copy_finder, distance_to_nearest


def surfaces(n, seed, shape=(1, 64, 64)):
    """Textures of one kind: the same spectrum, other places."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, shape[0], shape[1] + 4, shape[2] + 4, generator=rng)
    smooth = F.avg_pool2d(noise, 5, 1)
    return (128 + 200 * smooth).clamp(0, 255).to(torch.uint8)


def shifted(images, rows, columns):
    reach = max(abs(rows), abs(columns))
    padded = F.pad(images.float(), (reach,) * 4, mode="replicate").to(torch.uint8)
    height, width = images.shape[2:]
    return padded[
        ..., reach + rows : reach + rows + height, reach + columns : reach + columns + width
    ]


def in_other_light(images):
    return (1.1 * images.float() + 9).clamp(0, 255).to(torch.uint8)


CHANGES = {
    "none": lambda x: x,
    "shift by one": lambda x: shifted(x, 0, 1),
    "shift by two": lambda x: shifted(x, 2, -2),
    "shift by an eighth": lambda x: shifted(x, -(x.shape[2] // 8), 3),
    "other light": in_other_light,
    "mirror": lambda x: x.flip(-1),
    "all": lambda x: in_other_light(shifted(x.flip(-1), 1, 2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 80, 50), (1, 33, 40)])
def test_changed_copies_are_found_and_other_surfaces_are_not(change, shape):
    labelled = surfaces(24, 0, shape)
    find = copy_finder(labelled, mirrored=True)
    copied, ratio, nearest = find(change(labelled))
    assert torch.equal(nearest, torch.arange(24))
    assert copied.all()
    assert (ratio < RATIO_THRESHOLD).all()
    others = find(surfaces(40, 1, shape))
    assert (others[1] > RATIO_THRESHOLD).all()
    assert others[0].float().mean() < 0.2  # as near as the nearest labelled ones are


def test_a_mirrored_image_counts_only_where_mirroring_is_allowed():
    labelled = surfaces(12, 0)
    ratio = copy_finder(labelled, mirrored=False)(labelled.flip(-1))[1]
    assert (ratio > RATIO_THRESHOLD).all()


def test_an_image_does_not_depend_on_those_beside_it():
    search = aligned_search(surfaces(30, 0), mirrored=True)
    asked = surfaces(300, 1)
    distances, nearest = search(asked)
    alone = search(asked[277:278])
    torch.testing.assert_close(distances[277:278], alone[0])
    assert nearest[277] == alone[1][0]


def test_nearest_is_that_of_all_windows_one_by_one():
    targets, asked = surfaces(5, 0), surfaces(4, 1)
    targets[2] = shifted(asked[3:4], 5, -7)[0]
    distances, nearest = aligned_search(targets, mirrored=False)(asked)

    def unit(window):
        centred = window - window.mean()
        return centred / centred.norm()

    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3) / 16
    soft_targets, soft = (
        F.conv2d(F.pad(x.float(), (1, 1, 1, 1), mode="replicate"), kernel)[:, 0]
        for x in (targets, asked)
    )
    best = torch.zeros(4, 5)
    for i in range(4):
        middle = unit(soft[i, 8:56, 8:56])
        for j in range(5):
            best[i, j] = max(
                (middle * unit(soft_targets[j, r : r + 48, c : c + 48])).sum()
                for r in range(17)
                for c in range(17)
            )
    wanted = (2 - 2 * best).sqrt().sort(1)
    torch.testing.assert_close(distances, wanted.values[:, :2], atol=1e-3, rtol=1e-3)
    assert torch.equal(nearest, wanted.indices[:, 0])


def test_flat_images_are_near_nothing():
    targets = surfaces(6, 0)
    targets[:2] = torch.tensor([40, 200], dtype=torch.uint8).view(2, 1, 1, 1)
    distances, _ = aligned_search(targets, mirrored=True)(torch.full_like(targets[:1], 40))
    assert (distances > 1.4).all()


def test_small_images_keep_the_distance_of_pixels():
    assert not misleading_pixels((3, 32, 32))
    assert misleading_pixels((1, 33, 20))
    images = surfaces(6, 0, (1, 32, 32))
    moved = distance_to_nearest(shifted(images, 0, 1), images)
    assert (moved == (shifted(images, 0, 1).float() - images.float()).flatten(1).norm(dim=1)).any()
