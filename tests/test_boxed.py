"""Box transforms: the pixels of a box move with it."""

import pytest
import torch
from fake_gpu import DEVICE, FakeGenerator, Guard, fake_gpu, on_gpu

from augment.data.box_sheets import with_boxes
from augment.transforms.boxed import BOXED, LEAST_LEFT, clipped
from augment.transforms.geometric import CLASSIC

N, SIDES = 64, (48, 64)


def drawn(shape="rectangle", sides=SIDES, seed=0):
    """A bright rectangle, or the ellipse in it, on a dark ground in each picture, and its box."""
    rng = torch.Generator().manual_seed(seed)
    height, width = sides
    low = torch.stack(
        [torch.randint(0, side // 2, (N,), generator=rng) for side in (width, height)], 1
    )
    high = low + torch.randint(8, min(sides) // 2, (N, 2), generator=rng)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    middle, radii = (low + high)[:, :, None, None] / 2, (high - low)[:, :, None, None] / 2
    across, down = (x - middle[:, 0]).abs() / radii[:, 0], (y - middle[:, 1]).abs() / radii[:, 1]
    inside = across.maximum(down) < 1 if shape == "rectangle" else across**2 + down**2 < 1
    boxes = torch.full((N, 3, 5), -1.0)
    boxes[:, 1] = torch.cat([torch.ones(N, 1), low, high], 1)
    return torch.where(inside, 0.6, -0.6)[:, None], boxes


def extent(picture):
    """The smallest box of the bright pixels of [H, W]."""
    bright = picture > (picture.max() + picture.min()) / 2
    y, x = bright.any(1).nonzero(), bright.any(0).nonzero()
    return torch.cat([x[0], y[0], x[-1] + 1, y[-1] + 1]).float()


@pytest.mark.parametrize("sides", [SIDES, (48, 48)])
@pytest.mark.parametrize("kind", BOXED)
def test_pixels_move_with_their_box(kind, sides):
    # what is turned by other than quarter turns keeps its box only as an ellipse
    images, boxes = drawn("ellipse" if kind == "document" else "rectangle", sides)
    moved, after = BOXED[kind](images, boxes, 2, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    assert after.shape == boxes.shape
    assert (after[:, 0::2, 0] == -1).all()  # rows that pad still do
    kept = after[:, 1, 0] >= 0
    assert kept.float().mean() > 0.7
    found = torch.stack([extent(picture) for picture in moved[kept, 0]])
    assert (found - after[kept, 1, 1:]).abs().max() <= 1.5
    if kind != "none":
        assert ((after - boxes)[kept, 1].abs() > 1).any(1).float().mean() > 0.9
        assert ((moved - images).abs() > 0.01).flatten(1).any(1).all()


def test_the_kinds_are_those_of_classic():
    assert list(BOXED) == list(CLASSIC)


def test_pictures_are_changed_each_in_its_own_way():
    images, boxes = drawn()
    same = images[:1].expand(N, -1, -1, -1), boxes[:1].expand(N, -1, -1)
    moved, after = BOXED["natural"](*same, 2, torch.Generator().manual_seed(1))
    assert len(moved.unique(dim=0)) == len(after.unique(dim=0)) == N
    again, boxes_again = BOXED["natural"](*same, 2, torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)
    assert torch.equal(after, boxes_again)


def test_documents_are_never_flipped():
    images, boxes = drawn()
    images[..., 0] = 1.0  # a stripe at the left
    moved, _ = BOXED["document"](images, boxes, 2, torch.Generator().manual_seed(1))
    left, right = (moved[..., part].mean() for part in (slice(0, 8), slice(-8, None)))
    assert left > right + 0.1


def test_a_box_of_which_little_is_left_is_dropped():
    corners = torch.tensor([[[-4.0, 2, 6, 8], [-8, 2, 4, 8], [70, 2, 80, 8], [60, -2, 64, 4]]])
    after = clipped(torch.ones(1, 4, 1), corners, width=64, height=48)
    assert LEAST_LEFT == 0.4
    assert after[0, :, 0].tolist() == [1, -1, -1, 1]
    assert after[0, 0, 1:].tolist() == [0, 2, 6, 8]
    assert after[0, 3, 1:].tolist() == [60, 0, 64, 4]


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 9)])
@pytest.mark.parametrize("kind", BOXED)
def test_no_box_transform_waits(kind, shape):
    with fake_gpu() as mode:
        images, boxes = on_gpu(mode, torch.zeros(8, *shape)), on_gpu(mode, torch.zeros(8, 3, 5))
        for active in (False, True):
            with Guard(active):
                images, boxes = BOXED[kind](images, boxes, 3, FakeGenerator())
    assert images.device == boxes.device == DEVICE
    assert boxes.shape == (8, 3, 5)


@pytest.mark.parametrize(
    ("box", "drawn"),
    [
        ((2, 3, 6, 8), (2, 3, 6, 8)),
        ((-5, -5, 30, 30), (0, 0, 20, 16)),  # of 20 × 16 pixels
        ((20, 2, 20, 9), (19, 2, 20, 9)),  # without width, on the right border
        ((3, 16, 9, 16), (3, 15, 9, 16)),
        ((0, 0, 0, 0), (0, 0, 1, 1)),
    ],
)
def test_a_box_on_the_border_is_drawn_inside_the_picture(box, drawn):
    image = torch.full((1, 16, 20), 7, dtype=torch.uint8)
    painted = (with_boxes(image, torch.tensor([box]), [0])[0] != 7).nonzero()
    factor = 256 // 20
    top, left = painted.amin(0).tolist()
    bottom, right = (painted.amax(0) + 1).tolist()
    inside = torch.tensor([left, top, right, bottom]) / factor
    assert (inside - torch.tensor(drawn)).abs().max() <= 1
