"""Picture grids: what torchvision's make_grid puts together comes apart again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.utils import make_grid

from ddranking.distilled.grid import find_geometry, images_of, read_grid, take_apart
from ddranking.distilled.guarded import Limits
from ddranking.distilled.picturefile import read_picture
from ddranking.errors import BadDistilledSet, BadFile, BadInput

LIMIT = 1 << 24
LIMITS = Limits(LIMIT)


def noise(many: int, channels: int, size: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(many + size)
    return torch.randint(0, 256, (many, channels, size, size), generator=source, dtype=torch.uint8)


def as_picture(images: torch.Tensor, columns: int, padding: int, colour: int = 0) -> np.ndarray:
    made = make_grid(images, nrow=columns, padding=padding, pad_value=colour)
    return made.permute(1, 2, 0).numpy()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(2, 5),
    columns=st.integers(1, 5),
    size=st.sampled_from([8, 28, 32]),
    padding=st.integers(0, 5),
    colour=st.sampled_from([0, 128, 255]),
)
def test_inverse_of_make_grid(rows, columns, size, padding, colour):
    images = noise(rows * columns, 3, size)
    picture = as_picture(images, columns, padding, colour)
    found = find_geometry(picture, [size])
    assert found is not None
    assert (found.rows, found.columns, found.padding) == (rows, columns, padding)
    np.testing.assert_array_equal(take_apart(picture, found), images.numpy())


def test_size_is_found_when_the_dataset_is_unknown():
    picture = as_picture(noise(20, 3, 28), 4, 2)
    found = find_geometry(picture, [8, 28, 32, 64])
    assert found is not None and found.size == 28


def save(path, picture: np.ndarray, **options) -> None:
    Image.fromarray(picture).save(path, **options)


def test_grey_images_come_back_with_one_channel(tmp_path):
    images = noise(20, 1, 28)
    save(tmp_path / "x.png", as_picture(images, 2, 2))
    for channels in (1, None):
        found, _ = read_grid(tmp_path / "x.png", [28], channels, LIMITS)
        np.testing.assert_array_equal(found, images.numpy())


def test_refused(tmp_path):
    path = tmp_path / "x.png"
    picture = as_picture(noise(20, 3, 32), 2, 2)
    save(path, picture)
    with pytest.raises(BadDistilledSet, match="got 70x342 pixels"):
        read_grid(path, [28], 3, LIMITS)
    with pytest.raises(BadDistilledSet, match="a grey picture"):
        read_grid(path, [32], 1, LIMITS)
    stained = picture.copy()
    stained[1, 40] = 9
    save(path, stained)
    with pytest.raises(BadDistilledSet, match="constant padding"):
        read_grid(path, [32], 3, LIMITS)
    save(tmp_path / "x.jpg", picture)
    with pytest.raises(BadFile, match="PNG"):
        read_grid(tmp_path / "x.jpg", [32], 3, LIMITS)
    with pytest.raises(BadFile, match="at most 1000 bytes"):
        read_grid(path, [32], 3, Limits(1000))


def test_pictures_that_are_not_what_they_show(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(BadFile, match="8 bits"):
        read_picture(path, LIMIT)
    clear = np.full((4, 4, 4), 255, np.uint8)
    save(path, clear)
    assert read_picture(path, LIMIT).shape == (4, 4, 3)
    clear[0, 0, 3] = 254
    save(path, clear)
    with pytest.raises(BadFile, match="transparent"):
        read_picture(path, LIMIT)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_pictures(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    save(path, as_picture(noise(4, 3, 8), 2, 2))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.none() | st.integers(0, len(raw)))]))
    try:
        images_of(read_picture(path, LIMIT, ("PNG",)), "x.png", [8], 3)
    except BadInput as error:
        assert "\n" not in str(error)
