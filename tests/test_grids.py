"""Grids of images and the PNG files made of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from augment.data.grids import class_grid, save_png, to_pillow


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_images_row_by_row_on_white(channels):
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).repeat(1, channels, 2, 3)
    sheet = class_grid(images, columns=3)
    assert sheet.shape == (channels, 7, 13)  # 2 rows of 2 and 3 columns of 3 pixels, gaps of 1
    wanted = np.full((7, 13), 255)
    for k, (top, left) in enumerate([(1, 1), (1, 5), (1, 9), (4, 1), (4, 5)]):
        wanted[top : top + 2, left : left + 3] = k
    for channel in sheet:
        assert np.array_equal(channel.numpy(), wanted)


def test_grid_without_images_is_empty_and_white():
    sheet = class_grid(torch.zeros(0, 1, 4, 4, dtype=torch.uint8), columns=2)
    assert sheet.numel() > 0
    assert (sheet == 255).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pillow_image_has_the_same_pixels(channels, mode):
    picture = torch.randint(0, 256, (channels, 4, 6), dtype=torch.uint8)
    image = to_pillow(picture)
    assert (image.mode, image.size) == (mode, (6, 4))
    assert np.array_equal(np.array(image).reshape(4, 6, channels), picture.permute(1, 2, 0))
    large = np.array(to_pillow(picture, enlarge=3)).reshape(12, 18, channels)
    assert np.array_equal(large[1::3, 1::3], picture.permute(1, 2, 0))


@pytest.mark.parametrize(("side", "shown"), [(10, 600), (250, 500), (700, 700)])
def test_small_pictures_are_enlarged_by_a_whole_factor(side, shown, tmp_path):
    picture = torch.randint(0, 256, (3, side, side), dtype=torch.uint8)
    save_png(picture, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == (shown, shown)
        pixels = np.array(image)[:: shown // side, :: shown // side]
    assert np.array_equal(pixels, picture.permute(1, 2, 0))
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]
