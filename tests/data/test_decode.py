import io
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddranking.data.decode import (
    BATCH,
    Encoded,
    decode_all,
    fit_into,
    is_grey,
    size_of,
    with_channels,
)
from ddranking.data.digest import image_hash
from ddranking.errors import BadFile


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, shape, np.uint8), mode=None)


def decode_one(content, channels: int = 3, size: int = 8):
    (batch,) = decode_all([Encoded("here row 7", content)], channels, size)
    return batch


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (31, 47), (9, 200), (12, 12), (5, 7)])
@pytest.mark.parametrize("size", [8, 16, 31])
def test_resizing_is_torchvisions_resize_and_centre_crop(shape, size) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    both = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    image = noise(*shape)
    assert np.array_equal(np.asarray(fit_into(image, size)), np.asarray(both(image)))


def test_resizing_never_squashes() -> None:
    """A circle in a wide picture stays as wide as it is high."""
    rows, columns = np.mgrid[:100, :300]
    circle = ((rows - 50) ** 2 + (columns - 150) ** 2 < 40**2).astype(np.uint8) * 255
    small = np.asarray(fit_into(Image.fromarray(circle), 50)) > 127
    assert small.any(0).sum() == small.any(1).sum() == 40


def test_an_image_of_the_right_size_is_untouched() -> None:
    image = noise(8, 8)
    assert np.array_equal(decode_one(encoded(image)).pixels[0].transpose(1, 2, 0), image)


@pytest.mark.parametrize(
    "image, grey, colour",
    [
        (Image.new("L", (8, 8), 90), 90, (90, 90, 90)),
        (Image.new("1", (8, 8), 1), 255, (255, 255, 255)),
        (Image.new("RGB", (8, 8), (255, 0, 0)), 76, (255, 0, 0)),
        (Image.new("P", (8, 8), 0), 0, (0, 0, 0)),
        (Image.new("RGBA", (8, 8), (0, 0, 255, 255)), 29, (0, 0, 255)),
        (Image.new("RGBA", (8, 8), (0, 0, 255, 0)), 255, (255, 255, 255)),
        (Image.new("LA", (8, 8), (10, 0)), 255, (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)), 100, (100, 100, 100)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), 76, (255, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_becomes_grey_or_colour(image, grey, colour) -> None:
    assert np.asarray(with_channels(image, 1))[0, 0] == grey
    assert tuple(np.asarray(with_channels(image, 3))[0, 0]) == colour


def test_a_transparent_palette_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0, 0, 200, 0])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    assert (decode_one(file.getvalue()).pixels == 255).all()


def test_order_is_kept_over_many_batches() -> None:
    many = [Encoded(f"{i}", np.full((1, 2, 2), i % 256, np.uint8)) for i in range(5 * BATCH + 3)]
    batches = list(decode_all(iter(many), 1, 2, threads=3))
    values = np.concatenate([batch.pixels for batch in batches])[:, 0, 0, 0]
    assert values.tolist() == [i % 256 for i in range(len(many))]
    assert [h for batch in batches for h in batch.hashes] == [
        image_hash(one.content.tobytes()) for one in many
    ]


def test_reading_is_no_further_ahead_than_a_few_batches() -> None:
    """ImageNet does not fit into memory."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield Encoded("", np.zeros((1, 2, 2), np.uint8))

    batches = decode_all(endless(), 1, 2, threads=2)
    next(batches)
    assert asked < 8 * BATCH
    batches.close()


def test_png_counts_as_its_pixels_and_jpeg_as_its_bytes() -> None:
    image = noise(8, 8)
    png, jpeg = encoded(image), encoded(image, "JPEG")
    raw = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    assert decode_one(png).hashes == decode_one(raw).hashes == [image_hash(raw.tobytes())]
    assert decode_one(jpeg).hashes == [image_hash(jpeg)]
    assert (decode_one(png).lossy, decode_one(raw).lossy, decode_one(jpeg).lossy) == (0, 0, 1)
    # The digest is of what was published, before it is resized.
    assert decode_one(png, size=4).hashes == decode_one(png).hashes


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_a_bad_file_by_name_and_row(kind) -> None:
    whole = encoded(noise(64, 64), kind)
    with pytest.raises(BadFile, match="here row 7: expected an image that Pillow can read whole"):
        decode_one(whole[: len(whole) // 2])


def test_what_is_no_image_is_a_bad_file(tmp_path) -> None:
    (tmp_path / "a.jpg").write_text("<html>")
    for content in (b"", b"<html>", tmp_path / "a.jpg", tmp_path / "missing.jpg"):
        with pytest.raises(BadFile, match="here row 7"):
            decode_one(content)


@pytest.mark.parametrize("excess", [1.5, 3])  # Pillow warns at one limit and refuses at twice it
def test_a_decompression_bomb_is_refused(excess, monkeypatch) -> None:
    bomb = encoded(Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(100 * 100 / excess))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the refusal may not depend on pytest's filters
        with pytest.raises(BadFile, match="DecompressionBomb"):
            decode_one(bomb)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_foreign_bytes_are_decoded_or_refused_and_nothing_else(data) -> None:
    content = bytearray(encoded(noise(8, 8), data.draw(st.sampled_from(["PNG", "JPEG", "BMP"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_one(bytes(content)).pixels.shape == (1, 3, 8, 8)
    except BadFile as error:
        assert "\n" not in str(error)


def test_grey_is_told_from_colour_by_the_header() -> None:
    assert is_grey(encoded(noise(8, 8, "L")))
    assert not is_grey(encoded(noise(8, 8)))
    with pytest.raises(BadFile):
        is_grey(b"nothing")


def test_a_pipe_named_as_an_image_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    image = Encoded("pipe", tmp_path / "pipe.png")
    for read in (size_of, lambda one: list(decode_all([one], 3, 8))):
        with pytest.raises(BadFile, match="not a regular file"):
            read(image)
